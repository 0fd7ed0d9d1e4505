"""What every page of the console needs: who may see it, forms that come from a page of ours, a thread that makes it.

A module of pages (`decision_pages`) has a function `routes(pages, ...)`, which `app` collects, and a line in
`NAVIGATION`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from proxy.errors import ClientError
from proxy.server.console.access import PageAccess, asks_for_key

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
NAVIGATION = (("decisions", "Decisions"),)  # path and title, in the order of the header

Handler = Callable[[Request], Awaitable[Response]]
FormHandler = Callable[[Request, Mapping[str, str]], Awaitable[Response]]


class Pages:
    """Makes the pages' responses, in two threads of its own, so that streams go on."""

    def __init__(self, access: PageAccess) -> None:
        self.access = access
        self._threads = ThreadPoolExecutor(THREADS, "console")

    def close(self) -> None:
        """End the threads; a page that is being made is finished."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def guarded(self, handler: Handler) -> Handler:
        """The handler of a page, for those who may see it. Others are asked for a key, or refused."""

        async def guarded(request: Request) -> Response:
            try:
                self.access.check(request)
            except ClientError as error:
                if asks_for_key(error) and request.method in ("GET", "HEAD"):
                    return self.redirect(request, "login")
                return await self.refusal(request, error)
            return await handler(request)

        return guarded

    def form(self, handler: FormHandler) -> Handler:
        """The handler of a form, for those who may see the page, and only for forms that a page of ours has sent."""

        async def sent(request: Request) -> Response:
            try:
                fields = await self.access.form(request)
            except ClientError as error:
                return await self.refusal(request, error)
            return await handler(request, fields)

        return self.guarded(sent)

    async def page(
        self, request: Request, template: str, ask: Callable[[], dict[str, Any]], status: int = 200
    ) -> Response:
        """A page. `ask`: gives what the template shows, and may give a `status`; it runs in a thread."""
        about = {
            "root": root(request),
            "navigation": NAVIGATION,
            "token": self.access.token(request),
            "has_session": self.access.has_session(request),
        }

        def made() -> tuple[bytes, int]:
            from proxy.server.console.rendering import render

            found = {**about, **ask()}
            return render(template, found), found.get("status", status)

        body, code = await self.in_thread(made)
        return HTMLResponse(body, code, PAGE)

    async def refusal(self, request: Request, error: ClientError) -> Response:
        """A page that says why there is none."""
        about = {"problem": str(error)}
        return await self.page(request, "refusal.html", lambda: about, error.status)

    def redirect(self, request: Request, path: str) -> RedirectResponse:
        """To another page of the console; `path` without a slash before it."""
        return RedirectResponse(f"{root(request)}/{path}", 303, PAGE)

    async def in_thread(self, work: Callable[[], Any]) -> Any:
        """What may take its time, beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def root(request: Request) -> str:
    """The path that the admin application is mounted at, without a slash at its end."""
    return str(request.scope.get("root_path", "")).rstrip("/")
