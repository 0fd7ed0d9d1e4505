"""An ASGI application behind our own HTTP: for the operators' side, where answers are whole and nobody counts them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from proxy.server.http.body import ClientGone
from proxy.server.http.request import Client

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


class Asgi:
    """Serves one application's whole answers (ASGI, HTTP connection scope)."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, client: Client) -> None:
        """One request."""
        starts: list[Message] = []

        async def receive() -> Message:
            try:
                body, more = await client.receive()
            except ClientGone:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": body, "more_body": more}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                starts.append(message)
                return
            assert not message.get("more_body", False), "only whole answers are sent"
            headers = [pair for pair in starts[0]["headers"] if pair[0] != b"content-length"]
            await client.reply(starts[0]["status"], headers, message["body"])

        await self._app(_scope(client), receive, send)


def _scope(client: Client) -> Message:
    method, path, query, version = client.line
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": version,
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": client.headers,
        "client": None,
        "server": None,
    }
