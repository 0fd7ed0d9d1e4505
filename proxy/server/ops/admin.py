"""The operators' ASGI application: metrics, probes, status, reload, pause. The chat listener serves none of it."""

from __future__ import annotations

import asyncio
import json
import platform
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from proxy import __version__
from proxy.checks.registry import Entry
from proxy.errors import ClientError
from proxy.policy.file_store import Status
from proxy.policy.models_store import ModelsStore
from proxy.policy.store import PolicyStore
from proxy.server.backends.backend import Backend
from proxy.server.config import ServerConfig
from proxy.server.http.cors import WebRules, may_lack_host
from proxy.server.keys.store import KeyStore
from proxy.server.models.overview import overview
from proxy.server.ops.admin_guard import AdminGuard, Needs
from proxy.server.state.pause import Pause

LOOK = 10.0  # seconds that a request for the models waits for the model servers
OPENMETRICS_END = b"# EOF\n"
Endpoint = Callable[[Request], Awaitable[Response]]


class Stores(NamedTuple):
    """What is read again when an operator asks for it."""

    policies: PolicyStore
    shadow: PolicyStore | None = None
    models_file: ModelsStore | None = None
    keys: KeyStore | None = None


class Shared(NamedTuple):
    """What the application shares with the chat side. `ready`: whether the proxy accepts new requests."""

    stores: Stores
    registry: CollectorRegistry
    ready: Callable[[], bool]
    backends: Sequence[Backend]
    pause: Pause


class Admin:
    """The application, as `app`. `host`: what the listener is bound to; None: unknown."""

    def __init__(
        self,
        config: ServerConfig,
        shared: Shared,
        host: str | None,
        guard: AdminGuard,
        pages: Sequence[BaseRoute] = (),
    ) -> None:
        """`pages`: of the console."""
        self._stores = shared.stores
        self._store = shared.stores.policies
        self._registry = shared.registry
        self._ready = shared.ready
        self._backends = shared.backends
        self._pause = shared.pause
        self._guard = guard
        self._started = time.time()
        self._web = WebRules((), config.hosts, host)
        self.app = Starlette(
            routes=[
                Route("/metrics", self._refuse_web_pages(self._metrics, Needs.SCRAPE)),
                Route("/healthz", self._refuse_web_pages(self._liveness, Needs.NOTHING)),
                Route("/readyz", self._refuse_web_pages(self._readiness, Needs.NOTHING)),
                Route("/admin/status", self._refuse_web_pages(self._status, Needs.ADMIN)),
                Route("/admin/models", self._refuse_web_pages(self._models, Needs.ADMIN)),
                Route("/admin/reload", self._refuse_web_pages(self._reload, Needs.ADMIN), methods=["POST"]),
                Route("/admin/pause", self._refuse_web_pages(self._put_pause, Needs.ADMIN), methods=["POST"]),
                Route("/admin/resume", self._refuse_web_pages(self._resume, Needs.ADMIN), methods=["POST"]),
                *pages,
            ]
        )

    def _refuse_web_pages(self, endpoint: Endpoint, needs: Needs = Needs.ADMIN) -> Endpoint:
        """Refuse web pages, names that only resolve to this machine (DNS rebinding), and who shows no key where one is
        needed."""

        async def endpoint_if_local(request: Request) -> Response:
            if "origin" in request.headers or not self._serves_host(request):
                return PlainTextResponse("Not for web pages, nor under this Host name (setting hosts)\n", 403)
            try:
                self._guard.check(request, needs)
            except ClientError as error:
                headers = {name.decode(): value.decode() for name, value in getattr(error, "headers", ())}
                return PlainTextResponse(f"{error}\n", error.status, headers)
            return await endpoint(request)

        return endpoint_if_local

    def _serves_host(self, request: Request) -> bool:
        host = request.headers.get("host")
        if host is None:
            return may_lack_host(request.scope["http_version"], request.method)
        return self._web.serves(host)

    async def _metrics(self, request: Request) -> Response:
        """In a thread: a scrape takes milliseconds, and streams must not wait for it."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        body = await asyncio.to_thread(expose, self._registry, encode)
        return Response(body, headers={"content-type": content_type})

    async def _liveness(self, _: Request) -> Response:
        """Liveness: the event loop answers. Never asks the model server."""
        return PlainTextResponse("ok\n")

    async def _readiness(self, _: Request) -> Response:
        """Readiness: policies are loaded, and the proxy is not stopping. The model server may be down, unless the
        setting ready_needs_upstream says otherwise. Clients then get a quick, clear 502."""
        if self._ready():
            return PlainTextResponse("ready\n")
        return PlainTextResponse("not ready: stopping, or the model server does not answer\n", 503)

    async def _status(self, _: Request) -> Response:
        status: dict[str, Any] = {
            "version": __version__,
            "python": platform.python_version(),
            "uptime_seconds": round(time.time() - self._started, 1),
            "ready": self._ready(),
            "paused": self._pause.message,
            "upstream": self._backends[0].url,
            "upstreams": [_backend_fields(backend) for backend in self._backends],
            "policies": _policy_fields(self._store),
            "plugins": [_plugin_fields(entry) for entry in self._store.registry.plugins],
        }
        shadow, keys, reviews = self._stores.shadow, self._stores.keys, self._stores.models_file
        if shadow is not None:
            status["shadow"] = _policy_fields(shadow)
        if keys is not None:
            status["keys"] = _key_fields(keys)
        if reviews is not None:
            status["models_file"] = _models_file_fields(reviews)
        return JSONResponse(status)

    async def _models(self, _: Request) -> Response:
        """What each model claims to be. The model servers are asked anew, for as long as LOOK."""
        looks = [asyncio.ensure_future(one.models.alignments.look_at_all()) for one in self._backends]
        done = await asyncio.wait(looks, timeout=LOOK)
        for late in done[1]:
            late.cancel()
        rows = [(one.name, one.models.alignments) for one in self._backends]
        policies = self._store.current
        found = [line for name, known in rows for line in overview(name, known.rows(), policies)]
        return JSONResponse({"models": found, "silent": [name for name, known in rows if not known.answered]})

    async def _reload(self, _: Request) -> Response:
        """Read the policies, models.yaml and the keys again. What cannot be used: 422 with the reasons, and the old one
        stays."""
        stores = {name: store for name, store in self._stores._asdict().items() if store is not None}
        good = all([await store.reload() for store in stores.values()])
        outcome = {"reloaded": good, **{name: _load_fields(store.status) for name, store in stores.items()}}
        if self._stores.models_file is not None:
            outcome["models_file"] = _models_file_fields(self._stores.models_file)
        return JSONResponse(outcome, 200 if good else 422)

    async def _put_pause(self, request: Request) -> Response:
        """Refuse all generation, and end what runs. Body: nothing, or {"message": "what clients are told"}."""
        body = await request.body()
        try:
            given = json.loads(body) if body else {}
            message = given.get("message", "")
        except (ValueError, AttributeError):
            return JSONResponse({"error": 'the body is to be nothing, or {"message": "TEXT"}'}, 400)
        if not isinstance(message, str):
            return JSONResponse({"error": "message has to be a text"}, 400)
        kept = self._pause.on(message)
        return JSONResponse({"paused": self._pause.message, "survives_restart": kept})

    async def _resume(self, _: Request) -> Response:
        """Serve again."""
        kept = self._pause.off()
        return JSONResponse({"paused": None, "survives_restart": kept})


class _OneMetric:
    """A registry of one metric, as far as an encoder looks at it."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        """The metric."""
        return [self._metric]


def expose(registry: CollectorRegistry, encode: Callable[[Any], bytes]) -> bytes:
    """All metrics as text. Metric by metric, and the event loop has its turn in between: a thread that computes gives
    up the interpreter only every 5 ms."""
    out: list[bytes] = []
    for metric in registry.collect():
        out.append(encode(_OneMetric(metric)).removesuffix(OPENMETRICS_END))
        time.sleep(0)
    ends = encode(CollectorRegistry()) == OPENMETRICS_END
    return b"".join(out) + (OPENMETRICS_END if ends else b"")


def _policy_fields(store: PolicyStore) -> dict[str, Any]:
    loaded = [{"name": policy.name, "enforced": policy.enforced} for policy in store.current.policies]
    return {"directory": str(store.directory), **_load_fields(store.status), "loaded": loaded}


def _models_file_fields(reviews: ModelsStore) -> dict[str, Any]:
    fields = _load_fields(reviews.status)
    del fields["revision"]
    return {"file": str(reviews.path), **fields, "reviews": len(reviews.current.entries)}


def _backend_fields(backend: Backend) -> dict[str, Any]:
    known = backend.known
    return {
        "name": backend.name,
        "url": backend.url,
        "kind": known.kind,
        "up": backend.up,
        "trouble": known.trouble or None,
        "models": None if known.models is None else len(known.models),
        "running": backend.running,
        "weight": backend.weight,
    }


def _key_fields(store: KeyStore) -> dict[str, Any]:
    """Names of keys and what they are for; never a digest."""
    keys = [
        {"name": key.name, "admin": key.admin, "scrape": key.scrape, "expired": store.is_expired(key)}
        for key in store.current.keys
    ]
    return {"file": str(store.path), **_load_fields(store.status), "loaded": keys}


def _plugin_fields(entry: Entry) -> dict[str, str]:
    return {"check": entry.kind.name, "version": entry.version, "origin": entry.origin, "named_by": entry.what}


def _load_fields(status: Status) -> dict[str, Any]:
    return {
        "revision": status.revision,
        "loaded_at": status.loaded_at,
        "error": status.error or None,
        "failed_at": status.failed_at or None,
    }
