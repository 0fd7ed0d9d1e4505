"""The proxy that everybody writes first: starlette and httpx. It parses each event, writes it anew and checks nothing.

    python -m bench.naive --port 9200 --upstream http://127.0.0.1:9100

httpx's limit of 100 connections is lifted, and uvicorn runs on uvloop and httptools, so it is as fast as it can be.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import AsyncIterator

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route


def application(upstream: str) -> Starlette:
    """One route, any of OpenAI's chat requests."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    client = httpx.AsyncClient(base_url=upstream, timeout=None, limits=limits)

    async def chat(request: Request) -> Response:
        body = await request.json()
        if not body.get("stream"):
            response = await client.post("/v1/chat/completions", json=body)
            return JSONResponse(response.json(), response.status_code)
        sent = client.build_request("POST", "/v1/chat/completions", json=body)
        streamed = await client.send(sent, stream=True)
        return StreamingResponse(events(streamed), streamed.status_code, media_type="text/event-stream")

    return Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])


async def events(response: httpx.Response) -> AsyncIterator[str]:
    """Each event parsed and dumped."""
    try:
        async for line in response.aiter_lines():
            if line == "data: [DONE]":
                yield "data: [DONE]\n\n"
            elif line.startswith("data: "):
                yield f"data: {json.dumps(json.loads(line[6:]))}\n\n"
    finally:
        await response.aclose()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    options = parser.parse_args()
    uvicorn.run(
        application(options.upstream),
        port=options.port,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()
