"""The wiring: one event loop with the chat listener, the admin listener and the watch over the policies."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from proxy.policy.store import PolicyStore, Status
from proxy.server.config import ServerConfig
from proxy.server.exchange.policies import InForce
from proxy.server.exchange.record import Observer
from proxy.server.exchange.timeouts import Watches
from proxy.server.handlers.guarded import Models, Relay
from proxy.server.handlers.moderations import Moderation
from proxy.server.handlers.read_only import ReadOnly
from proxy.server.http.asgi import Asgi
from proxy.server.http.cors import WebRules
from proxy.server.http.listener import Address, Listener
from proxy.server.models.api import Inquiry
from proxy.server.models.chat_templates import Templates
from proxy.server.models.context_length import Contexts
from proxy.server.ops.admin import Admin
from proxy.server.ops.metrics import Metrics
from proxy.server.ops.policy_watcher import PolicyWatcher
from proxy.server.routing.router import Edge
from proxy.server.routing.routes import Access, Table
from proxy.server.upstream.client import connect

log = logging.getLogger("safety_proxy.server")

LAST_WORDS = 3.0  # seconds for the ends of exchanges that were stopped
GC_THRESHOLDS = (10_000, 20, 50)  # fewer full collections: one of a large heap stalls every stream


class Bound(NamedTuple):
    """Where the server listens."""

    listen: Address
    admin: Address | None


class Server:
    """A server that runs while its `async with` block does. `store` (and `shadow`) must have been loaded."""

    def __init__(
        self,
        config: ServerConfig,
        store: PolicyStore,
        shadow: PolicyStore | None = None,
        registry: CollectorRegistry | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._config = config
        self._store = store
        self._stopping = False
        self._watches = Watches(config)
        self.metrics = Metrics(registry or process_registry())
        self._upstream = connect(config)
        policies = InForce(store, shadow)
        self._inquiry = Inquiry(config, self._upstream)
        models = Models(Templates(self._inquiry), Contexts(self._inquiry, config.context_margin))
        relay = Relay(config, policies, self._upstream, self._watches, (self.metrics, *observers), models)
        read_only = ReadOnly(config, self._upstream, self._watches)
        own = Moderation(config, policies)
        handlers = {Access.GUARDED: relay.run, Access.READ_ONLY: read_only.run, Access.OWN: own.run}
        web = WebRules(config.origins, config.hosts, config.listen[0])
        edge = Edge(Table(), web, handlers)
        self._main = Listener(edge, config.listen, config.header_timeout)
        admin = Admin(config, store, shadow, self.metrics.registry, lambda: not self._stopping)
        self._admin = Listener(Asgi(admin.app), config.admin, config.header_timeout) if config.admin else None

    @property
    def bound(self) -> Bound:
        """The addresses, with the ports that were chosen for 0."""
        return Bound(self._main.address, self._admin.address if self._admin else None)

    async def __aenter__(self) -> Self:
        """Bind. SettingsError when an address cannot be had."""
        self._store.listeners.append(self._policies_loaded)
        self._policies_loaded(self._store.status)
        try:
            await self._main.start()
            if self._admin is not None:
                await self._admin.start()
        except BaseException:
            await self._close(0)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Stop listening, let running exchanges end within the grace, then give each a proper end. Once is enough."""
        if not self._stopping:
            await self._close(self._config.grace)

    def hurry(self) -> None:
        """End every exchange now, each in its proper way."""
        self._watches.stop()

    async def _close(self, grace: float) -> None:
        self._stopping = True
        self._main.close()
        await self._main.drain(grace)
        self.hurry()
        await self._main.finish(LAST_WORDS)
        if self._admin is not None:
            self._admin.close()
            await self._admin.finish(LAST_WORDS)
        await self._inquiry.aclose()
        await self._upstream.aclose()
        self._store.listeners.remove(self._policies_loaded)

    def _policies_loaded(self, status: Status) -> None:
        self.metrics.policies_loaded(status, [policy.name for policy in self._store.current.policies])


async def serve(
    config: ServerConfig,
    store: PolicyStore,
    shadow: PolicyStore | None = None,
    *,
    registry: CollectorRegistry | None = None,
    observers: Sequence[Observer] = (),
    ready: Callable[[Bound], None] | None = None,
    watch: bool = True,
) -> None:
    """Serve until SIGTERM or SIGINT; a second one ends the grace. SIGHUP loads the policies anew.

    `ready` is called once both listeners are bound; `watch=False` leaves the policies' directories to a slow poll.
    Raises SettingsError when an address cannot be had. For the main thread, because of the signals.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    watcher = PolicyWatcher([s for s in (store, shadow) if s is not None], watch=watch)
    server = Server(config, store, shadow, registry, observers)

    def asked_to_stop() -> None:
        if stop.is_set():
            server.hurry()
        stop.set()

    watcher.own_sighup()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop)
    async with server:
        watching = loop.create_task(watcher.run())
        watching.add_done_callback(_report_end)
        if ready is not None:
            ready(server.bound)
        settle_memory()
        await stop.wait()
        log.info("stopping: running answers have %g s", config.grace)
    watching.cancel()
    await asyncio.wait([watching])


def process_registry() -> CollectorRegistry:
    """A registry with the process's own numbers. Nobody reads the times at which each series was made."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def settle_memory() -> None:
    """What has been loaded stays: the collector need not look at it again, and full collections become rare."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _report_end(watching: asyncio.Task[None]) -> None:
    if not watching.cancelled() and watching.exception() is not None:
        log.error("policies are no longer watched; POST /admin/reload still loads them", exc_info=watching.exception())
