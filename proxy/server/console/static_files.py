"""The style sheet and the scripts. They hold nothing that is not public, so nobody is asked for a key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from proxy.server.console.pages import SAFE, Pages

STATIC = Path(__file__).with_name("static")
TYPES = {"console.css": "text/css", "htmx.min.js": "text/javascript"}


def routes(pages: Pages) -> Sequence[BaseRoute]:
    """Only the files of `TYPES` are served."""

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in TYPES:
            return Response("Not found\n", 404, SAFE, "text/plain")
        body = await pages.in_thread((STATIC / name).read_bytes)
        return Response(body, 200, {**SAFE, "cache-control": "max-age=300"}, TYPES[name])

    return (Route("/console/{name}", static),)
