"""The client: asks the target, and keeps what came."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import httpx

from proxy.conformance.cases import Exchange
from proxy.conformance.dialects.base import Dialect
from proxy.conformance.heard import Understood
from proxy.conformance.secrets import fill
from proxy.conformance.server import Script, raw_bytes

LIMIT = 8 << 20
"""Bytes of an answer after which nobody reads on: no case sends nearly as much."""


@dataclass
class Reply:
    """What came.

    cut:     why the connection ended before the answer did; hung: nothing more came in time
    first:   seconds to the first text, and `last` to the end
    address: the client's own end of the connection
    """

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    cut: str = ""
    hung: bool = False
    first: float = 0.0
    last: float = 0.0
    address: tuple[str, int] | None = None

    def json(self) -> Any:
        """The body; None if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Client:
    """Asks one target. `patience`: seconds in which it has to go on."""

    def __init__(self, http: httpx.AsyncClient, url: str, patience: float) -> None:
        self._http = http
        self.url = url.rstrip("/")
        self.patience = patience

    async def ask(
        self, exchange: Exchange, dialect: Dialect, script: Script | None = None, turns: Sequence[tuple[str, str]] = ()
    ) -> Reply:
        """Carry out an exchange, or a later turn of its conversation."""
        reply, began = Reply(), perf_counter()
        try:
            async with asyncio.timeout(2 * self.patience):
                await self._receive(exchange, dialect, script, self._request(exchange, dialect, turns), reply, began)
        except (TimeoutError, httpx.TimeoutException):
            reply.hung = True
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reply.cut = f"{type(error).__name__}: {error}"
        reply.last = perf_counter() - began
        return reply

    def _request(self, exchange: Exchange, dialect: Dialect, turns: Sequence[tuple[str, str]]) -> httpx.Request:
        case = exchange.case
        turns = turns or [("user", fill(case.prompt, exchange.secret))]
        body = json.dumps({**dialect.request(turns, exchange.stream), **case.extra}).encode()
        if case.body is not None:
            body = raw_bytes(fill(case.body, exchange.secret))
        headers = {"content-type": "application/json"}
        return self._http.build_request(
            case.method, self.url + (case.path or dialect.path), content=body, headers=headers
        )

    async def _receive(
        self,
        exchange: Exchange,
        dialect: Dialect,
        script: Script | None,
        request: httpx.Request,
        reply: Reply,
        began: float,
    ) -> None:
        response = await self._http.send(request, stream=True)
        try:
            reply.status, reply.headers = response.status_code, list(response.headers.multi_items())
            stream = response.extensions.get("network_stream")
            reply.address = stream.get_extra_info("client_addr") if stream else None
            async for piece in response.aiter_bytes():
                reply.body += piece
                has_text = bool(reply.first) or _has_text(reply, exchange, dialect)
                if has_text and not reply.first:
                    reply.first = perf_counter() - began
                    if script is not None:
                        script.heard.set()
                if (has_text and exchange.case.leaves) or len(reply.body) > LIMIT:
                    return
        finally:
            await response.aclose()


def _has_text(reply: Reply, exchange: Exchange, dialect: Dialect) -> bool:
    understood: Understood = dialect.understood(reply.body, exchange.stream)
    return bool(understood.texts)


def http_client(patience: float, headers: Mapping[str, str]) -> httpx.AsyncClient:
    """The client's connections. No proxy of the environment stands between it and the target."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=8)
    return httpx.AsyncClient(timeout=patience, headers=dict(headers), trust_env=False, limits=limits)
