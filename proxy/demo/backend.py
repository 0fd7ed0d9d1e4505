"""A model server of a hundred lines that speaks OpenAI's chat dialect. It knows a few answers by heart (script)."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from proxy.demo import script

START_SECONDS = 10.0


class DemoBackend:
    """The server in a thread of its own, on a free port of the loopback. A context manager.

    pace: seconds from token to token; 0: as fast as the client reads
    said: is told each token of a streamed answer when it is sent, in the server's thread
    """

    def __init__(self, pace: float = 0.04, said: Callable[[str], None] = lambda piece: None) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            app(pace, said), log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="demo-model", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens; what --upstream would be."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])

    def __enter__(self) -> Self:
        """Start. The socket listens since it was made, so a client that connects now waits and is not refused."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and cut what still runs."""
        self._server.should_exit = True
        self._thread.join(START_SECONDS)
        self._socket.close()


def app(pace: float, said: Callable[[str], None]) -> Starlette:
    """The server as an ASGI application."""

    async def chat(request: Request) -> Response:
        return await _chat(request, pace, said)

    return Starlette(
        routes=[
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/models", _models, methods=["GET"]),
            Route("/{path:path}", _unknown, methods=["GET", "POST"]),
        ]
    )


async def _models(_: Request) -> Response:
    model = {"id": script.MODEL, "object": "model", "created": 1735689600, "owned_by": "safety-proxy"}
    return _json({"object": "list", "data": [model]})


async def _unknown(request: Request) -> Response:
    """404 with a sentence, in the shape that the path's clients read."""
    message = f"The demo model speaks OpenAI's chat dialect only; for {request.url.path} start Ollama or LM Studio"
    error = message if request.url.path.startswith("/api/") else {"message": message, "type": "not_found_error"}
    return _json({"error": error}, status=404)


async def _chat(request: Request, pace: float, said: Callable[[str], None]) -> Response:
    try:
        body = orjson.loads(await request.body())
        scene = script.scene_for(_last_message(body["messages"]))
        usage = _usage(body["messages"], scene)
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        return _json(
            {"error": {"message": "messages is missing or wrong", "type": "invalid_request_error"}}, status=400
        )
    if not body.get("stream"):
        message = {"role": "assistant", "content": scene.answer}
        return _json(_body("chat.completion", {"message": message, "finish_reason": "stop"}) | {"usage": usage})
    wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    events = _paced(_events(scene, usage if wants_usage else None, said), pace)
    return StreamingResponse(events, media_type="text/event-stream")


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


async def _paced(events: Iterator[bytes], pace: float) -> AsyncIterator[bytes]:
    for event in events:
        yield event
        await asyncio.sleep(pace)


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


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
