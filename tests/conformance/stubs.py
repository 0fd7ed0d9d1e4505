"""Guards that are none: one holds all back, one refuses all, one lets all through."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from tests.plain_http import async_client

METHODS = ["GET", "POST"]


def free_port() -> int:
    """One that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def listening(app: ASGIApp) -> Iterator[str]:
    """Where an application answers."""
    with socket.create_server(("127.0.0.1", 0)) as place:
        config = uvicorn.Config(app, lifespan="off", log_level="critical", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{place.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def buffers_all(upstream: str) -> Starlette:
    """It reads the whole answer before it sends any of it, and hides nothing."""

    async def pass_on(request: Request) -> Response:
        async with async_client() as client:
            try:
                answer = await client.request(request.method, upstream + request.url.path, content=await request.body())
            except httpx.HTTPError:
                return JSONResponse({"error": {"message": "the model server broke off"}}, 502)
        return Response(answer.content, answer.status_code, media_type=answer.headers["content-type"])

    return Starlette(routes=[Route("/{path:path}", pass_on, methods=METHODS)])


def refuses_all(_: str) -> Starlette:
    """It has the same 403 for everybody."""

    async def refuse(request: Request) -> Response:
        return JSONResponse({"error": {"message": "no", "type": "refused"}}, 403)

    return Starlette(routes=[Route("/{path:path}", refuse, methods=METHODS)])


def leaks_all(upstream: str) -> Starlette:
    """It passes on each byte as it comes."""

    async def pass_on(request: Request) -> Response:
        client = async_client()
        asked = client.build_request(request.method, upstream + request.url.path, content=await request.body())
        answer = await client.send(asked, stream=True)

        async def pieces() -> AsyncIterator[bytes]:
            try:
                async for piece in answer.aiter_raw():
                    yield piece
            finally:
                await answer.aclose()
                await client.aclose()

        return StreamingResponse(pieces(), answer.status_code, media_type=answer.headers["content-type"])

    return Starlette(routes=[Route("/{path:path}", pass_on, methods=METHODS)])


def other_server(_: str) -> Starlette:
    """It has a page for everybody."""

    async def page(request: Request) -> Response:
        return PlainTextResponse("<h1>\x1b[31mWelcome</h1>")

    return Starlette(routes=[Route("/{path:path}", page, methods=METHODS)])
