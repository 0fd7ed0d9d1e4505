"""A model server of a hundred lines that speaks OpenAI's chat dialect. It knows a few answers by heart (script)."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import orjson

from proxy.demo import script
from proxy.errors import ClientError
from proxy.server.http.body import ClientGone
from proxy.server.http.listener import Listener
from proxy.server.http.request import Client

SECONDS = 10.0  # for a start, a request's head or body, and a stop
MAX_BODY = 1 << 20  # bytes of a request
Said = Callable[[str], None]


class DemoBackend:
    """The server in a thread of its own, on a free port of the loopback. A context manager.

    pace: seconds from token to token; 0: as fast as the client reads
    said: is told each token of a streamed answer when it is sent, in the server's thread
    """

    def __init__(self, pace: float = 0.04, said: Said = lambda piece: None) -> None:
        self._pace = pace
        self._said = said
        self._bound: list[int] = []
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="demo-model", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens, once it does; what --upstream would be."""
        return f"http://127.0.0.1:{self._bound[0]}"

    def __enter__(self) -> Self:
        """Start, and wait until it listens."""
        self._thread.start()
        if not self._ready.wait(SECONDS):
            raise RuntimeError("the demo model did not start")
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and cut what still runs."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(SECONDS)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        listener = Listener(self._serve, ("127.0.0.1", 0), SECONDS)
        await listener.start()
        self._bound.append(listener.address[1])
        self._ready.set()
        await self._end.wait()
        listener.close()
        await listener.finish(0)

    async def _serve(self, client: Client) -> None:
        try:
            await self._answer(client)
        except ClientGone:
            return
        except ClientError as error:
            await _reply(client, {"error": {"message": str(error), "type": "invalid_request_error"}}, error.status)

    async def _answer(self, client: Client) -> None:
        method, path = client.line.method, client.line.path
        if (method, path) == ("POST", "/v1/chat/completions"):
            await _chat(client, self._pace, self._said)
        elif (method, path) == ("GET", "/v1/models"):
            model = {"id": script.MODEL, "object": "model", "created": 1735689600, "owned_by": "safety-proxy"}
            await _reply(client, {"object": "list", "data": [model]})
        else:
            await _reply(client, {"error": _unknown(path)}, 404)


def _unknown(path: str) -> str | dict[str, str]:
    """A sentence in the shape that the path's clients read."""
    message = f"The demo model speaks OpenAI's chat dialect only; for {path} start Ollama or LM Studio"
    return message if path.startswith("/api/") else {"message": message, "type": "not_found_error"}


async def _chat(client: Client, pace: float, said: Said) -> None:
    try:
        body = orjson.loads(await client.read(MAX_BODY, SECONDS))
        scene = script.scene_for(_last_message(body["messages"]))
        usage = _usage(body["messages"], scene)
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        error = {"message": "messages is missing or wrong", "type": "invalid_request_error"}
        await _reply(client, {"error": error}, 400)
        return
    if not body.get("stream"):
        message = {"role": "assistant", "content": scene.answer}
        await _reply(client, _body("chat.completion", {"message": message, "finish_reason": "stop"}) | {"usage": usage})
        return
    wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    client.start(200, [(b"content-type", b"text/event-stream; charset=utf-8")])
    for event in _events(scene, usage if wants_usage else None, said):
        if client.gone:
            return
        await client.send(event)
        await asyncio.sleep(pace)
    await client.end()


def _last_message(messages: list[dict[str, Any]]) -> str:
    """The text of the user's last message, from a string or from parts."""
    content = next((m.get("content") for m in reversed(messages) if m["role"] == "user"), "") or ""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content)


def _usage(messages: list[dict[str, Any]], scene: script.Scene) -> dict[str, int]:
    prompt = sum(1 for m in messages for _ in script.pieces(str(m.get("content") or "")))
    answer = sum(1 for _ in script.pieces(scene.answer))
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def _events(scene: script.Scene, usage: dict[str, int] | None, said: Callable[[str], None]) -> Iterator[bytes]:
    yield _event(_chunk({"role": "assistant", "content": ""}))
    for piece in script.pieces(scene.answer):
        said(piece)
        yield _event(_chunk({"content": piece}))
    yield _event(_chunk({}, "stop"))
    if usage is not None:
        yield _event(_body("chat.completion.chunk") | {"usage": usage})
    yield b"data: [DONE]\n\n"


def _chunk(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    return _body("chat.completion.chunk", {"delta": delta, "finish_reason": finish})


def _body(kind: str, *choices: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-demo",
        "object": kind,
        "created": int(time.time()),
        "model": script.MODEL,
        "choices": [{"index": index, **choice} for index, choice in enumerate(choices)],
    }


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"


async def _reply(client: Client, body: dict[str, Any], status: int = 200) -> None:
    await client.reply(status, [(b"content-type", b"application/json")], orjson.dumps(body))
