"""Requests to the model server about its models. They run beside the requests of clients."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

from proxy.errors import UpstreamError
from proxy.policy.names import normalise_model
from proxy.server.upstream.client import (
    TRANSPORT_ERRORS,
    Upstream,
    UpstreamHeaders,
    UpstreamResponse,
    to_upstream_error,
)
from proxy.server.upstream.response import read_all

TIMEOUT = 5.0  # seconds for a response
MAX_BYTES = 8 * 1024 * 1024  # bytes of a response
NOT_IMPLEMENTED = 501  # the status of a server that does not know a method


class Said(NamedTuple):
    """An answer of the model server: its status, and its JSON object; {} for anything else."""

    status: int
    value: dict[str, Any]


class ModelServerApi:
    """Asks for JSON objects. If anything goes wrong, the result of `get` and `post` is an empty one."""

    def __init__(self, upstream: Upstream, key: str | None = None) -> None:
        """`key`: the model server's own."""
        self._upstream = upstream
        self._headers = UpstreamHeaders(key, False).build([], b"application/json")
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, path: str) -> dict[str, Any]:
        """GET a path."""
        return await self._ask(b"GET", path)

    async def post(self, path: str, body: object) -> dict[str, Any]:
        """POST a body to a path."""
        return await self._ask(b"POST", path, body)

    async def said(self, method: bytes, path: str, body: object = None) -> dict[str, Any]:
        """What the model server says to a request, however long it takes; empty where it does not know the path, or
        says something else than an object. Raises UpstreamError where it says nothing, or that it has failed."""
        status, value = await self.answer(method, path, body)
        if status >= 500 and status != NOT_IMPLEMENTED:
            raise UpstreamError(f"The model server is not ready: {path} has status {status}; ask again", "status", 503)
        return value if status == 200 else {}

    async def answer(self, method: bytes, path: str, body: object = None) -> Said:
        """The same with its status, whatever that is. Raises UpstreamError where it says nothing."""
        response: UpstreamResponse | None = None
        data = b"" if body is None else orjson.dumps(body)
        try:
            response = await self._upstream.open(method, quote(path).encode(), self._headers, data)
            status, answer = response.status, await read_all(response, MAX_BYTES)
        except TRANSPORT_ERRORS as error:
            raise to_upstream_error(error, after_head=response is not None) from error
        finally:
            if response is not None:
                response.abort()
        return Said(status, _object(answer))

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine in the background. It is cancelled when the server stops."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def wait_idle(self) -> None:
        """Wait until nothing runs in the background."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def aclose(self) -> None:
        """Cancel what runs in the background."""
        for task in self._tasks:
            task.cancel()
        await self.wait_idle()

    async def _ask(self, method: bytes, path: str, body: object = None) -> dict[str, Any]:
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self.said(method, path, body)
        except (UpstreamError, TimeoutError):
            return {}


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def find_entry(listed: dict[str, Any], key: str, model: str, *names: str) -> dict[str, Any]:
    """The entry of one model in a list of models. `names`: the keys that may hold its name. Empty if there is none."""
    models = listed.get(key)
    for found in models if isinstance(models, list) else ():
        if isinstance(found, dict) and any(
            isinstance(found.get(name), str) and normalise_model(found[name]) == model for name in names
        ):
            return found
    return {}
