"""What both ASGI applications share: policies, the model server, metrics. And the two applications."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from proxy.policy.store import PolicyStore, Status
from proxy.server.config import ServerConfig
from proxy.server.exchange.policies import ActivePolicies
from proxy.server.exchange.record import Observer
from proxy.server.exchange.timeouts import Watchdog
from proxy.server.handlers.guarded import GuardedHandler, Models
from proxy.server.handlers.moderations import ModerationsHandler
from proxy.server.handlers.read_only import ReadOnlyHandler
from proxy.server.http.cors import WebRules
from proxy.server.http.request import AsgiApplication
from proxy.server.models.api import ModelServerApi
from proxy.server.models.chat_templates import ChatTemplates
from proxy.server.models.cloud_models import CloudModels
from proxy.server.models.context_length import ContextLengths
from proxy.server.models.shown_names import ShownNames
from proxy.server.ops.admin import Admin
from proxy.server.ops.metrics import Metrics
from proxy.server.routing.router import Router
from proxy.server.routing.routes import Access, RouteTable
from proxy.server.upstream.client import create_upstream

ANY_HOST = "0.0.0.0"  # the address of a server that other machines may reach


class Runtime:
    """Everything that outlives a request. `store` (and `shadow`) must have been loaded.

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
        listen_host: str | None = None,
        admin_host: str | None = None,
    ) -> None:
        self.config = config
        self.store = store
        self.shadow = shadow
        self.stopping = False
        self.metrics = Metrics(registry or process_registry())
        self._watchdog = Watchdog(config)
        self._upstream = create_upstream(config)
        self._model_server = ModelServerApi(config, self._upstream)
        self._observers = (self.metrics, *observers)
        self.app: AsgiApplication = self._router(listen_host)
        admin = Admin(config, store, shadow, self.metrics.registry, lambda: not self.stopping, admin_host)
        self.admin: AsgiApplication = admin.app
        store.listeners.append(self._policies_loaded)
        self._policies_loaded(store.status)

    def interrupt(self) -> None:
        """Interrupt every exchange now. Each gets a proper end."""
        self._watchdog.stop()

    async def aclose(self) -> None:
        """Close the connections to the model server. Once is enough."""
        self.stopping = True
        await self._model_server.aclose()
        await self._upstream.aclose()
        if self._policies_loaded in self.store.listeners:
            self.store.listeners.remove(self._policies_loaded)

    def _router(self, listen_host: str | None) -> Router:
        config, upstream, watchdog = self.config, self._upstream, self._watchdog
        policies = ActivePolicies(self.store, self.shadow)
        api = self._model_server
        contexts, cloud = ContextLengths(api, config.context_margin), CloudModels(api, config.first_byte_timeout)
        models = Models(ChatTemplates(api), contexts, cloud)
        guarded = GuardedHandler(config, policies, upstream, watchdog, self._observers, models)
        read_only = ReadOnlyHandler(config, upstream, watchdog, ShownNames(policies))
        moderations = ModerationsHandler(config, policies)
        handlers = {Access.GUARDED: guarded.run, Access.READ_ONLY: read_only.run, Access.OWN: moderations.run}
        remote = listen_host is None and config.allow_remote_clients
        web = WebRules(config.origins, config.hosts, ANY_HOST if remote else listen_host)
        local_only = listen_host is None and not remote
        return Router(RouteTable(), web, handlers, local_only)

    def _policies_loaded(self, status: Status) -> None:
        self.metrics.policies_loaded(status, [policy.name for policy in self.store.current.policies])


def process_registry() -> CollectorRegistry:
    """A registry with the metrics of the process, without the times at which series were made."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
