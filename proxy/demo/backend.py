"""A small model server in OpenAI's chat dialect, with a few scripted answers (script)."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from proxy.demo import script
from proxy.server.http.listener import Listener

START_TIMEOUT = 30.0  # seconds for a start and for a stop
MAX_BODY = 1 << 20  # bytes of a request
OnToken = Callable[[str], None]


class DemoBackend:
    """The server in a thread of its own, on a free port of the loopback. A context manager.

    pace:     seconds from token to token; 0: as fast as the client reads
    on_token: called with each token of a streamed answer when it is sent, in the server's thread
    """

    def __init__(self, pace: float = 0.04, on_token: OnToken = lambda token: None) -> None:
        self._pace = pace
        self._on_token = on_token
        self._bound: list[int] = []
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="demo-model", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens, as for --upstream. Known once it has started."""
        return f"http://127.0.0.1:{self._bound[0]}"

    def __enter__(self) -> Self:
        """Start, and wait until it listens."""
        self._thread.start()
        if not self._ready.wait(START_TIMEOUT):
            raise RuntimeError("the demo model did not start")
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and cut off what still runs."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(START_TIMEOUT)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        listener = Listener(self._app(), ("127.0.0.1", 0))
        await listener.start()
        self._bound.append(listener.address[1])
        self._ready.set()
        await self._stop.wait()
        listener.close()
        await listener.finish(0)

    def _app(self) -> Starlette:
        routes = [
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/models", _models),
            Route("/{path:path}", _not_found, methods=["GET", "POST", "PUT", "DELETE"]),
        ]
        return Starlette(routes=routes)

    async def _chat(self, request: Request) -> Response:
        try:
            body = orjson.loads(await _read(request))
            scripted = script.answer_for(_last_message(body["messages"]))
            usage = _usage(body["messages"], scripted)
        except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
            error = {"message": "messages is missing or wrong", "type": "invalid_request_error"}
            return JSONResponse({"error": error}, 400)
        if not body.get("stream"):
            message = {"role": "assistant", "content": scripted.answer}
            answer = _body("chat.completion", {"message": message, "finish_reason": "stop"}) | {"usage": usage}
            return JSONResponse(answer)
        wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        events = _events(scripted, usage if wants_usage else None, self._on_token)
        return StreamingResponse(self._paced(events), media_type="text/event-stream")

    async def _paced(self, events: Iterator[bytes]) -> AsyncIterator[bytes]:
        for event in events:
            yield event
            await asyncio.sleep(self._pace)


async def _read(request: Request) -> bytes:
    """The body; empty if it is larger than MAX_BODY, and so not JSON."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            return b""
    return body


async def _models(_: Request) -> Response:
    model = {"id": script.MODEL, "object": "model", "created": 1735689600, "owned_by": "safety-proxy"}
    return JSONResponse({"object": "list", "data": [model]})


async def _not_found(request: Request) -> Response:
    """An error in the shape that the path's clients read."""
    path = request.url.path
    message = f"The demo model speaks OpenAI's chat dialect only; for {path} start Ollama or LM Studio"
    error: Any = message if path.startswith("/api/") else {"message": message, "type": "not_found_error"}
    return JSONResponse({"error": error}, 404)


def _last_message(messages: list[dict[str, Any]]) -> str:
    """The text of the user's last message, from a string or from parts."""
    content = next((m.get("content") for m in reversed(messages) if m["role"] == "user"), "") or ""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content)


def _usage(messages: list[dict[str, Any]], scripted: script.ScriptedAnswer) -> dict[str, int]:
    prompt = sum(1 for m in messages for _ in script.tokens(str(m.get("content") or "")))
    answer = sum(1 for _ in script.tokens(scripted.answer))
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def _events(scripted: script.ScriptedAnswer, usage: dict[str, int] | None, on_token: OnToken) -> Iterator[bytes]:
    yield _event(_chunk({"role": "assistant", "content": ""}))
    for token in script.tokens(scripted.answer):
        on_token(token)
        yield _event(_chunk({"content": token}))
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
