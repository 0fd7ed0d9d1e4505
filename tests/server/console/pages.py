"""The console for tests, with a store of records."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple, cast

import httpx
from starlette.applications import Starlette

from proxy.core.types import Action, Rule
from proxy.policy.store import PolicyStore
from proxy.server.console.access import PageAccess
from proxy.server.console.app import Console
from proxy.server.console.sources import Sources
from proxy.server.http.cors import WebRules
from proxy.server.keys.authentication import Authentication
from proxy.server.keys.store import KeyStore
from proxy.server.ops.admin_guard import AdminGuard
from proxy.store.database import Limits
from proxy.store.rows import row_of
from proxy.store.writer import Writer
from tests.plain_http import async_client
from tests.server.running import Policies, Store
from tests.store.samples import MIB, START, opened
from tests.waiting import PATIENCE, until_elsewhere

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"


class House(NamedTuple):
    """A policy in force, as far as pages look at it."""

    name: str
    enforced: bool = True
    rules: tuple[Rule, ...] = (Rule("house", "mail", Action.REWRITE),)


@asynccontextmanager
async def console(
    folder: Path,
    records: Sequence[dict[str, Any]] = (),
    *,
    host: str = LOOPBACK,
    keys: KeyStore | None = None,
    client: str = LOOPBACK,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of it. `client`: its address."""
    with Writer(lambda: opened(folder), Limits(30, 64 * MIB), clock=lambda: START) as writer:
        for record in records:
            writer.put(row_of(record))
        assert writer.settle(PATIENCE)
        until_elsewhere(lambda: writer.database is not None)
        async with pages_of(writer, host, keys, client) as http:
            yield http


@asynccontextmanager
async def pages_of(
    records: Writer | None, host: str = LOOPBACK, keys: KeyStore | None = None, client: str = LOOPBACK
) -> AsyncIterator[httpx.AsyncClient]:
    """The same with a store that is given."""
    store = cast(PolicyStore, Store(Policies(policies=[House("house")])))
    guard = AdminGuard(Authentication(keys), host, allow_anonymous=True)
    made = Console(Sources(store, records), PageAccess(guard, WebRules((), (), host)))
    transport = httpx.ASGITransport(Starlette(routes=made.routes), client=(client, 1))
    try:
        async with async_client(transport=transport, base_url="http://localhost:9435") as http:
            yield http
    finally:
        made.close()


class Seen(HTMLParser):
    """What a browser makes of a page: its tags with their attributes, and the text that a reader sees."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Called by the parser."""
        self.text += data

    @property
    def plain(self) -> str:
        """The text with single spaces."""
        return re.sub(r"\s+", " ", self.text)

    def links(self) -> list[str]:
        """Where it leads."""
        return [attrs.get("href") or "" for tag, attrs in self.tags if tag == "a"]

    def token(self) -> str:
        """What its form has to send."""
        return next(a["value"] or "" for t, a in self.tags if t == "input" and a.get("name") == "token")
