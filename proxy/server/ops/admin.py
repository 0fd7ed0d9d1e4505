"""The admin listener: metrics, probes, status, reload. For operators; nothing of it is on the chat listener."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from proxy import __version__
from proxy.policy.store import PolicyStore, Status
from proxy.server.config import ServerConfig
from proxy.server.http.cors import WebRules
from proxy.server.upstream.client import shown_url


class Admin:
    """Its answers.

    ready: whether new requests are wanted
    host:  what the listener is bound to; None: unknown
    """

    def __init__(
        self,
        config: ServerConfig,
        store: PolicyStore,
        shadow: PolicyStore | None,
        registry: CollectorRegistry,
        ready: Callable[[], bool],
        host: str | None,
    ) -> None:
        self._config = config
        self._store = store
        self._shadow = shadow
        self._registry = registry
        self._ready = ready
        self._started = time.time()
        self._web = WebRules((), config.hosts, host)
        self.app = Starlette(
            routes=[
                Route("/metrics", self._guarded(self._metrics)),
                Route("/healthz", self._guarded(self._alive)),
                Route("/readyz", self._guarded(self._readiness)),
                Route("/admin/status", self._guarded(self._status)),
                Route("/admin/reload", self._guarded(self._reload), methods=["POST"]),
            ]
        )

    def _guarded(self, answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """Web pages have no business here, and no name that merely resolves to this machine is answered."""

        async def answer_if_local(request: Request) -> Response:
            if "origin" in request.headers or not self._web.serves(request.headers.get("host", "")):
                return PlainTextResponse("Not for web pages, nor under this Host name (setting hosts)\n", 403)
            return await answer(request)

        return answer_if_local

    async def _metrics(self, request: Request) -> Response:
        """In a thread: a scrape takes milliseconds, and streams must not wait for it."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        body = await asyncio.to_thread(encode, self._registry)
        return Response(body, headers={"content-type": content_type})

    async def _alive(self, _: Request) -> Response:
        """Liveness: the event loop answers. Never asks the model server."""
        return PlainTextResponse("ok\n")

    async def _readiness(self, _: Request) -> Response:
        """Readiness: policies are loaded, and the proxy is not about to stop. A model server that is down is no reason:
        clients then get a quick, clear 502."""
        if self._ready():
            return PlainTextResponse("ready\n")
        return PlainTextResponse("stopping\n", 503)

    async def _status(self, _: Request) -> Response:
        status: dict[str, Any] = {
            "version": __version__,
            "python": platform.python_version(),
            "uptime_seconds": round(time.time() - self._started, 1),
            "ready": self._ready(),
            "upstream": shown_url(self._config.upstream),
            "policies": _policies(self._store),
        }
        if self._shadow is not None:
            status["shadow"] = _policies(self._shadow)
        return JSONResponse(status)

    async def _reload(self, _: Request) -> Response:
        """Read the policies again; 422 and the reasons when they cannot be used, and the old ones stay."""
        stores = [store for store in (self._store, self._shadow) if store is not None]
        good = all([await store.reload() for store in stores])
        answer = {"reloaded": good, **{_name(store): _load(store.status) for store in stores}}
        return JSONResponse(answer, 200 if good else 422)


def _name(store: PolicyStore) -> str:
    return "shadow" if store.shadow else "policies"


def _policies(store: PolicyStore) -> dict[str, Any]:
    loaded = [{"name": policy.name, "enforced": policy.enforced} for policy in store.current.policies]
    return {"directory": str(store.directory), **_load(store.status), "loaded": loaded}


def _load(status: Status) -> dict[str, Any]:
    return {
        "revision": status.revision,
        "loaded_at": status.loaded_at,
        "error": status.error or None,
        "failed_at": status.failed_at or None,
    }
