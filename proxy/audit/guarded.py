"""The policies in front of the model server, in this process: a proxy without a listener.

It judges as `safety-proxy serve` does. It writes no log of decisions, asks no client for a key, limits nobody, and
keeps no state: an audit is no traffic.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import httpx

from proxy.server.exchange.record import Exchange
from proxy.server.runtime import Runtime
from proxy.settings import Settings
from proxy.startup.configuration import server_config
from proxy.startup.plugins import find_registry
from proxy.startup.policies import load, load_reviews

BASE = "http://127.0.0.1"
REMEMBERED = 1000  # exchanges whose rules are kept until they are asked for


class FoundRules:
    """An observer: which rules found something in each exchange, by its id."""

    def __init__(self) -> None:
        self._found: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def end(self, exchange: Exchange) -> None:
        """Keep the rules; those that act before those that only flag."""
        rules = {finding.rule: None for _, finding in exchange.findings}
        self._found[exchange.id] = tuple(rule.name for rule in sorted(rules, key=lambda rule: not rule.holds))
        while len(self._found) > REMEMBERED:
            self._found.popitem(last=False)

    def take(self, request_id: str) -> tuple[str, ...]:
        """Those of one request."""
        return self._found.pop(request_id, ())


class Guarded(NamedTuple):
    """A proxy in this process.

    client:   its client
    revision: of its policies
    rules:    which of them found something
    """

    client: httpx.AsyncClient
    revision: str
    rules: FoundRules


def quiet(settings: Settings) -> Settings:
    """The same settings without what is about clients and logs."""
    return replace(
        settings,
        keys=None,
        admin_key=None,
        state_dir=None,
        decision_log=None,
        record_text="none",
        otel_endpoint=None,
        requests_per_minute=0,
        tokens_per_minute=0,
        limits_store=None,
        cool_down_after=0,
        shadow=None,
        hosts=(),
    )


@asynccontextmanager
async def guarded(settings: Settings, url: str, folder: Path) -> AsyncIterator[Guarded]:
    """A proxy with the policies of a folder in front of a model server. Raises PolicyError or SettingsError."""
    settings = quiet(settings)
    registry = await asyncio.to_thread(find_registry, settings)
    store = await load(folder, hash_key=settings.hash_key, allow_empty=settings.allow_empty, registry=registry)
    rules = FoundRules()
    reviews = await load_reviews(settings, folder)
    runtime = Runtime(server_config(settings, url), store, observers=[rules], reviews=reviews)
    try:
        await asyncio.gather(*(backend.models.alignments.look_at_all() for backend in runtime.backends.all))
        await runtime.guards.look()
        transport = httpx.ASGITransport(app=runtime.app)
        async with httpx.AsyncClient(transport=transport, base_url=BASE, timeout=None) as client:
            yield Guarded(client, store.current.revision, rules)
    finally:
        runtime.interrupt()
        await runtime.aclose()
