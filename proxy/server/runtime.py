"""What both ASGI applications share: policies, the model server, metrics. And the two applications."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from secrets import token_bytes
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from proxy.checks.asking import AskingRule
from proxy.checks.http_check import HttpQuestion
from proxy.checks.isolated import ProcessQuestion
from proxy.core.prompt_memory import PromptMemory
from proxy.core.types import Direction, Kind, Rule
from proxy.policy.file_store import Status
from proxy.policy.models_store import ModelsStore
from proxy.policy.store import PolicyStore
from proxy.server.asks.desk import Desk
from proxy.server.asks.http import HttpAnswerer
from proxy.server.asks.process import ProcessAnswerer
from proxy.server.backends.backend import Backend
from proxy.server.backends.choice import Backends
from proxy.server.config import ServerConfig
from proxy.server.console.access import PageAccess
from proxy.server.console.app import Console
from proxy.server.console.sources import Sources
from proxy.server.exchange.policies import ActivePolicies
from proxy.server.exchange.record import DIRECTIONS, Observer
from proxy.server.exchange.timeouts import Watchdog
from proxy.server.guards.service import Guards
from proxy.server.handlers.guarded import GuardedHandler
from proxy.server.handlers.moderations import ModerationsHandler
from proxy.server.handlers.read_only import ReadOnlyHandler
from proxy.server.http.cors import WebRules
from proxy.server.http.request import AsgiApplication
from proxy.server.keys.authentication import Authentication
from proxy.server.keys.store import KeyStore
from proxy.server.limits.admission import Admission
from proxy.server.models.shown_names import ShownNames
from proxy.server.ops.access_metrics import AccessMetrics
from proxy.server.ops.admin import Admin, Shared, Stores
from proxy.server.ops.admin_guard import AdminGuard
from proxy.server.ops.drops import Drops
from proxy.server.ops.metrics import Metrics
from proxy.server.ops.plugin_log import PluginLog
from proxy.server.ops.selftest import SelfTest
from proxy.server.ops.upstream_probe import UpstreamProbe
from proxy.server.routing.router import Router
from proxy.server.routing.routes import Access, RouteTable
from proxy.server.state.directory import StateDirectory
from proxy.server.state.pause import Pause

if TYPE_CHECKING:
    from proxy.server.limits.rates import Rates
    from proxy.store.writer import Writer

ANY_HOST = "0.0.0.0"  # the address of a server that other machines may reach


class Runtime:
    """Everything that outlives a request. `store` (and `shadow`) must have been loaded.

    desk:        who answers questions of checks
    app, admin:  the two ASGI applications; they know no lifespan of their own
    listen_host: what the chat side is bound to; None: unknown, because another program listens
    """

    def __init__(
        self,
        config: ServerConfig,
        store: PolicyStore,
        shadow: PolicyStore | None = None,
        registry: CollectorRegistry | None = None,
        observers: Sequence[Observer] = (),
        *,
        drops: Drops | None = None,
        listen_host: str | None = None,
        admin_host: str | None = None,
        reviews: ModelsStore | None = None,
        keys: KeyStore | None = None,
        state: StateDirectory | None = None,
        records: Writer | None = None,
    ) -> None:
        """`reviews`: None: the operator has not reviewed any model. `keys`: None: no key is asked for. What is given
        must have been loaded. `state`: None: nothing survives a restart. `records`: what the console
        shows; None: nothing is stored."""
        self.config = config
        self.store = store
        self.shadow = shadow
        self.authentication = Authentication(keys)
        self.pause = Pause(state)
        self._rates = _rates(config, keys)
        self.admission = Admission(config, self.pause, self._rates)
        self.stopping = False
        self.metrics = Metrics(registry or process_registry(), drops=drops)
        self._memory = PromptMemory(token_bytes(32), config.prompt_memory) if config.prompt_memory else None
        if self._memory is not None:
            self.metrics.watch(self._memory)
        self._watchdog = Watchdog(config)
        self.desk = Desk({HttpQuestion: HttpAnswerer(), ProcessQuestion: ProcessAnswerer(store.registry.worker)})
        self._policies = ActivePolicies(store, shadow, self._memory)
        self._names = ShownNames(self._policies)
        self.backends = Backends(config, self._names.admits)
        for backend in self.backends.all:
            backend.report = partial(self.metrics.upstream_seen, backend.name)
            self._watch_models(backend, reviews)
        self.metrics.begin_upstreams(backend.name for backend in self.backends.all)
        self.guards = Guards(self.backends, self._rules_that_ask, self.metrics.guards.asked, self.metrics.guards.judged)
        self.desk.answerers.update(self.guards.answerers)
        self.probe = UpstreamProbe(self.backends.all)
        stores = [one for one in (store, shadow) if one is not None]
        self.self_test = SelfTest(stores, self.metrics.self_tested)
        self.metrics.plugins_found(store.registry.plugins)
        self.metrics.watch_access(AccessMetrics(self.admission, self.authentication, keys))
        self.pause.listeners.append(self._watchdog.pause)
        self._observers: tuple[Observer, ...] = (self.admission, self.metrics, self.probe, PluginLog(), *observers)
        self.app: AsgiApplication = self._router(listen_host)
        registry = self.metrics.registry
        guard = AdminGuard(self.authentication, admin_host, config.allow_anonymous)
        stores_read = Stores(store, shadow, reviews, keys)
        shared = Shared(stores_read, registry, self._is_ready, self.backends.all, self.pause)
        self._console = _console(config, Sources(store, records), guard, admin_host)
        admin = Admin(config, shared, admin_host, guard, self._console.routes if self._console is not None else ())
        self.admin: AsgiApplication = admin.app
        for one in stores:
            one.approvers.append(self.guards.approve)
        store.listeners.append(self._policies_loaded)
        self._policies_loaded(store.status)
        if reviews is not None:
            reviews.listeners.append(self.metrics.alignment.models_file_read)
            self.metrics.alignment.models_file_read(reviews.status)
        if shadow is not None:
            shadow.listeners.append(self._shadow_loaded)
            self._shadow_loaded(shadow.status)

    async def run_checks(self) -> None:
        """Look after the model servers, their models, the policies, and the guards, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for backend in self.backends.all:
                group.create_task(backend.models.alignments.run())
            group.create_task(self.probe.run())
            group.create_task(self.self_test.run())
            group.create_task(self.guards.run())

    def interrupt(self) -> None:
        """Interrupt every exchange now. Each gets a proper end."""
        self._watchdog.stop()

    async def aclose(self) -> None:
        """Close the connections to the model server. Once is enough."""
        self.stopping = True
        if self._console is not None:
            self._console.close()
        await self.backends.aclose()
        await self.desk.aclose()
        if self._rates is not None:
            await self.admission.counted()
            await self._rates.aclose()
        for store, listener in ((self.store, self._policies_loaded), (self.shadow, self._shadow_loaded)):
            if store is not None and listener in store.listeners:
                store.listeners.remove(listener)
                store.approvers.remove(self.guards.approve)

    def _is_ready(self) -> bool:
        return not self.stopping and (not self.config.ready_needs_upstream or self.probe.up)

    def _router(self, listen_host: str | None) -> Router:
        config, backends, watchdog, policies = self.config, self.backends, self._watchdog, self._policies
        guarded = GuardedHandler(config, policies, backends, watchdog, self._observers, self.desk, self.admission)
        read_only = ReadOnlyHandler(config, backends, watchdog, self._names)
        moderations = ModerationsHandler(config, policies, self.admission, self.desk)
        handlers = {Access.GUARDED: guarded.run, Access.READ_ONLY: read_only.run, Access.OWN: moderations.run}
        remote = listen_host is None and config.allow_remote_clients
        web = WebRules(config.origins, config.hosts, ANY_HOST if remote else listen_host)
        local_only = listen_host is None and not remote
        return Router(RouteTable(), web, handlers, local_only, self.authentication)

    def _watch_models(self, backend: Backend, reviews: ModelsStore | None) -> None:
        """What is found out of a backend's models goes into the metrics; the operator's reviews go before it."""
        alignments, metrics = backend.models.alignments, self.metrics.alignment
        alignments.report = partial(metrics.models_seen, backend.name)
        alignments.lapsed = metrics.review_lapsed
        if reviews is not None:
            alignments.reviews = reviews
            reviews.listeners.append(lambda _: alignments.reviews_changed())

    def _policies_loaded(self, status: Status) -> None:
        current = self.store.current
        self.metrics.policies_loaded(status, [policy.name for policy in current.policies], directions(current.places))
        self.guards.policies_loaded()

    def _rules_that_ask(self) -> Iterator[AskingRule]:
        """Of all policies."""
        for store in (self.store, self.shadow):
            if store is not None:
                yield from (rule for policy in store.current.policies for rule in policy.asking)

    def _shadow_loaded(self, _: Status) -> None:
        assert self.shadow is not None
        self.metrics.begin_rules(directions(self.shadow.current.places))
        self.guards.policies_loaded()


def _rates(config: ServerConfig, keys: KeyStore | None) -> Rates | None:
    """What counts by minute; None where nothing is to be counted. The library takes a while to be imported."""
    if not (config.requests_per_minute or config.tokens_per_minute or keys is not None):
        return None
    from proxy.server.limits.rates import Rates, open_store

    store = open_store(config.limits_store) if config.limits_store is not None else None
    return Rates(store, config.limits_on_error)


def _console(config: ServerConfig, sources: Sources, guard: AdminGuard, host: str | None) -> Console | None:
    if not config.console:
        return None
    return Console(sources, PageAccess(guard, WebRules((), config.hosts, host)))


def directions(places: Iterable[tuple[Rule, Direction, Kind]]) -> Iterator[tuple[Rule, str]]:
    """The rules with the directions of an exchange in which each can find something."""
    for rule, direction, kind in places:
        if direction is Direction.OUTPUT:
            yield rule, DIRECTIONS.get(kind, "output")
        else:
            yield from ((rule, one) for one in ("input", "history"))


def process_registry() -> CollectorRegistry:
    """A registry with the metrics of the process, without the times at which series were made."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
