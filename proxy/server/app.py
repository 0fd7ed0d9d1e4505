"""`safety-proxy serve`: one event loop with the chat listener, the admin listener and the watcher of the policies."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from prometheus_client import CollectorRegistry

from proxy.policy.models_store import ModelsStore
from proxy.policy.store import PolicyStore
from proxy.server.config import ServerConfig
from proxy.server.exchange.record import Observer
from proxy.server.http.listener import Address, Listener, ListenerOptions, bound_host
from proxy.server.keys.store import KeyStore
from proxy.server.ops.drops import Drops
from proxy.server.ops.policy_watcher import PolicyWatcher, Reloading
from proxy.server.runtime import Runtime
from proxy.server.state.directory import StateDirectory

if TYPE_CHECKING:
    from proxy.store.writer import Writer

log = logging.getLogger("safety_proxy.server")

LAST_RESPONSES = 3.0  # seconds for the last bytes of interrupted exchanges
GC_THRESHOLDS = (10_000, 20, 50)  # full collections are rare: one of a large heap stalls every stream


class Bound(NamedTuple):
    """Where the server listens."""

    listen: Address
    admin: Address | None


class Server:
    """A server that runs while its `async with` block runs. `store` (and `shadow`) must have been loaded."""

    def __init__(
        self,
        config: ServerConfig,
        store: PolicyStore,
        shadow: PolicyStore | None = None,
        registry: CollectorRegistry | None = None,
        observers: Sequence[Observer] = (),
        drops: Drops | None = None,
        reviews: ModelsStore | None = None,
        keys: KeyStore | None = None,
        state: StateDirectory | None = None,
        records: Writer | None = None,
    ) -> None:
        self._config = config
        self._closed = False
        hosts: dict[str, Any] = {"listen_host": bound_host(config.listen)}
        if config.admin is not None:
            hosts["admin_host"] = bound_host(config.admin)
        own: dict[str, Any] = {"reviews": reviews, "keys": keys, "state": state, "records": records}
        self.runtime = Runtime(config, store, shadow, registry, observers, drops=drops, **own, **hosts)
        self.metrics = self.runtime.metrics
        options = listener_options(config)
        self.listener = Listener(self.runtime.app, config.listen, options)
        self._admin = Listener(self.runtime.admin, config.admin, options) if config.admin else None

    @property
    def bound(self) -> Bound:
        """The addresses, with the real ports in place of 0."""
        return Bound(self.listener.address, self._admin.address if self._admin else None)

    async def __aenter__(self) -> Self:
        """Bind. Raises SettingsError if an address cannot be bound."""
        try:
            await self.listener.start()
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
        """Stop listening, wait for running exchanges within the grace, then give each a proper end. Once is enough."""
        if not self._closed:
            await self._close(self._config.grace)

    def hurry(self) -> None:
        """Interrupt every exchange now. Each gets a proper end."""
        self.runtime.interrupt()

    async def _close(self, grace: float) -> None:
        self._closed = self.runtime.stopping = True
        self.listener.close()
        await self.listener.drain(grace)
        self.runtime.interrupt()
        await self.listener.finish(LAST_RESPONSES)
        if self._admin is not None:
            self._admin.close()
            await self._admin.finish(LAST_RESPONSES)
        await self.runtime.aclose()


def listener_options(config: ServerConfig) -> ListenerOptions:
    """The options of both listeners."""
    return ListenerOptions(
        header_timeout=config.header_timeout,
        certificate=config.tls_certificate,
        key=config.tls_key,
        key_password=config.tls_key_password,
        proxy_headers_from=config.proxy_headers_from,
        root_path=config.root_path,
    )


async def serve(
    config: ServerConfig,
    store: PolicyStore,
    shadow: PolicyStore | None = None,
    *,
    registry: CollectorRegistry | None = None,
    observers: Sequence[Observer] = (),
    drops: Drops | None = None,
    reviews: ModelsStore | None = None,
    keys: KeyStore | None = None,
    state: StateDirectory | None = None,
    records: Writer | None = None,
    ready: Callable[[Bound], None] | None = None,
    stopping: Callable[[], None] | None = None,
    reloading: Reloading = nullcontext,
    watch: bool = True,
) -> None:
    """Serve until SIGTERM or SIGINT. A second one ends the grace. SIGHUP reloads policies, models.yaml and keys.

    `ready` is called once both listeners are bound, `stopping` at the first signal; `reloading` is entered for each
    reload by SIGHUP. `watch=False` leaves the policies' directories to a slow poll.
    Raises SettingsError when an address cannot be had. For the main thread, because of the signals.
    """
    stop = asyncio.Event()
    stores = [one for one in (store, shadow, reviews, keys) if one is not None]
    watcher = PolicyWatcher(stores, watch=watch, reloading=reloading)
    server = Server(config, store, shadow, registry, observers, drops, reviews, keys, state, records)

    def stop_requested() -> None:
        if stop.is_set():
            server.hurry()
        stop.set()

    server.listener.on_signal(stop_requested)
    with server.listener.capture_signals(), watcher.reload_on_sighup():
        async with server:
            loop = asyncio.get_running_loop()
            watching, checking = loop.create_task(watcher.run()), loop.create_task(server.runtime.run_checks())
            watching.add_done_callback(_report_end)
            checking.add_done_callback(_report_end)
            if ready is not None:
                ready(server.bound)
            settle_memory()
            await stop.wait()
            server.runtime.stopping = True  # not ready from here on
            log.info("stopping: running answers have %g s", config.grace)
            if stopping is not None:
                stopping()
            checking.cancel()
            await asyncio.wait([checking])
        watching.cancel()
        await asyncio.wait([watching])


def settle_memory() -> None:
    """Take what has been loaded out of garbage collection, and make full collections rare."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.enable()


def _report_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error(
            "policies are no longer watched, or no longer tested; POST /admin/reload still loads them",
            exc_info=task.exception(),
        )
