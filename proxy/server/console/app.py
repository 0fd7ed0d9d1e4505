"""The console's routes on the admin listener. Pages are made in two threads of its own, so that streams go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from proxy.errors import ClientError
from proxy.policy.store import PolicyStore
from proxy.server.console.access import PageAccess, asks_for_key

if TYPE_CHECKING:
    from proxy.store.writer import Writer

STATIC = Path(__file__).with_name("static")
TYPES = {"console.css": "text/css", "htmx.min.js": "text/javascript"}
THREADS = 2
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
SAFE = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
PAGE = {**SAFE, "cache-control": "no-store"}
Handler = Callable[[Request], Awaitable[Response]]


class Sources(NamedTuple):
    """What pages show. records: None: nothing is stored."""

    store: PolicyStore
    records: Writer | None


class Console:
    """The console, as `routes`."""

    def __init__(self, sources: Sources, access: PageAccess) -> None:
        self._sources = sources
        self._access = access
        self._threads = ThreadPoolExecutor(THREADS, "console")
        self.routes: Sequence[BaseRoute] = (
            Route("/", self._guarded(self._start)),
            Route("/decisions", self._guarded(self._decisions)),
            Route("/decisions/{number:int}", self._guarded(self._decision)),
            Route("/login", self._login, methods=["GET", "POST"]),
            Route("/logout", self._logout, methods=["POST"]),
            Route("/console/{name}", self._static),
        )

    def close(self) -> None:
        """End the threads; a page that is being made is finished."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            try:
                self._access.check(request)
            except ClientError as error:
                if asks_for_key(error) and request.method in ("GET", "HEAD"):
                    return RedirectResponse(f"{_root(request)}/login", 303, PAGE)
                return await self._refusal(request, error)
            return await handler(request)

        return guarded

    async def _start(self, request: Request) -> Response:
        return RedirectResponse(f"{_root(request)}/decisions", 303, PAGE)

    async def _decisions(self, request: Request) -> Response:
        from proxy.server.console.decisions import decisions

        asked = dict(request.query_params)
        return await self._page(request, "decisions.html", partial(decisions, self._sources.records, asked))

    async def _decision(self, request: Request) -> Response:
        from proxy.server.console.decisions import decision

        number, whole = request.path_params["number"], "full" in request.query_params
        ask = partial(decision, self._sources.records, self._sources.store.current, number, whole=whole)
        return await self._page(request, "decision.html", ask)

    async def _login(self, request: Request) -> Response:
        """Ask for a key, and take it."""
        try:
            self._access.check_host(request)
            if request.method != "POST":
                return await self._page(request, "login.html", dict)
            key = (await self._access.form(request)).get("key", "").strip()
            response = RedirectResponse(f"{_root(request)}/", 303, PAGE)
            self._access.log_in(request, key, response)
            return response
        except ClientError as error:
            if asks_for_key(error):
                about = {"problem": str(error)}
                return await self._page(request, "login.html", lambda: about, error.status)
            return await self._refusal(request, error)

    async def _logout(self, request: Request) -> Response:
        try:
            self._access.check_host(request)
            await self._access.form(request)
        except ClientError as error:
            return await self._refusal(request, error)
        response = RedirectResponse(f"{_root(request)}/login", 303, PAGE)
        self._access.log_out(request, response)
        return response

    async def _static(self, request: Request) -> Response:
        """A style sheet or a script. They hold nothing that is not public."""
        name = request.path_params["name"]
        if name not in TYPES:
            return Response("Not found\n", 404, SAFE, "text/plain")
        body = await self._in_thread((STATIC / name).read_bytes)
        return Response(body, 200, {**SAFE, "cache-control": "max-age=300"}, TYPES[name])

    async def _refusal(self, request: Request, error: ClientError) -> Response:
        about = {"problem": str(error)}
        return await self._page(request, "refusal.html", lambda: about, error.status)

    async def _page(
        self, request: Request, template: str, ask: Callable[[], dict[str, Any]], status: int = 200
    ) -> Response:
        """A page. `ask`: gives what the template shows, and may give a `status`; it may take its time."""
        about = {
            "root": _root(request),
            "token": self._access.token(request),
            "has_session": self._access.has_session(request),
        }

        def made() -> tuple[bytes, int]:
            from proxy.server.console.rendering import render

            found = {**about, **ask()}
            return render(template, found), found.get("status", status)

        body, code = await self._in_thread(made)
        return HTMLResponse(body, code, PAGE)

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _root(request: Request) -> str:
    return str(request.scope.get("root_path", "")).rstrip("/")
