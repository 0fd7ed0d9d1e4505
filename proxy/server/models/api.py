"""What the model server tells of itself, asked beside the requests of clients and never in their way."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any
from urllib.parse import quote

import orjson

from proxy.errors import UpstreamBroken
from proxy.policy.names import normalise_model
from proxy.server.config import ServerConfig
from proxy.server.upstream.client import TRANSPORT_ERRORS, Upstream, UpstreamResponse
from proxy.server.upstream.headers import UpstreamHeaders
from proxy.server.upstream.response import read_all

PATIENCE = 5.0  # seconds for an answer
MOST = 8 * 1024 * 1024  # bytes of one


class ModelServerApi:
    """Asks for JSON objects. Whatever goes wrong, the answer is an empty one."""

    def __init__(self, config: ServerConfig, upstream: Upstream) -> None:
        self._upstream = upstream
        self._headers = UpstreamHeaders(config.upstream_key, False).of([], b"application/json")
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, path: str) -> dict[str, Any]:
        """The object at a path."""
        return await self._ask(b"GET", path, b"")

    async def post(self, path: str, body: object) -> dict[str, Any]:
        """What is answered to a body."""
        return await self._ask(b"POST", path, orjson.dumps(body))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something in the background, until the server ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        """Wait for everything that was started."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def aclose(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()
        await self.settled()

    async def _ask(self, method: bytes, path: str, body: bytes) -> dict[str, Any]:
        response: UpstreamResponse | None = None
        try:
            async with asyncio.timeout(PATIENCE):
                response = await self._upstream.open(method, quote(path).encode(), self._headers, body)
                answer = await read_all(response, MOST)
            value = orjson.loads(answer) if response.status == 200 else {}
        except (*TRANSPORT_ERRORS, UpstreamBroken, TimeoutError, orjson.JSONDecodeError):
            return {}
        finally:
            if response is not None:
                response.abort()
        return value if isinstance(value, dict) else {}


def entry(listed: dict[str, Any], key: str, model: str, *names: str) -> dict[str, Any]:
    """What a list of models says of one; `names` are the keys that may hold its name."""
    models = listed.get(key)
    for found in models if isinstance(models, list) else ():
        if isinstance(found, dict) and any(
            isinstance(found.get(name), str) and normalise_model(found[name]) == model for name in names
        ):
            return found
    return {}
