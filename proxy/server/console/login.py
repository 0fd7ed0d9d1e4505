"""The way in and out where other machines can reach the console: a key, asked for once."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from proxy.errors import ClientError
from proxy.server.console.access import asks_for_key
from proxy.server.console.pages import Pages


def routes(pages: Pages) -> Sequence[BaseRoute]:
    """Whoever has no key yet may see these."""
    access = pages.access

    async def log_in(request: Request) -> Response:
        try:
            access.check_host(request)
            if request.method != "POST":
                return await pages.page(request, "login.html", dict)
            key = (await access.form(request)).get("key", "").strip()
            response = pages.redirect(request, "")
            access.log_in(request, key, response)
            return response
        except ClientError as error:
            if asks_for_key(error):
                about = {"problem": str(error)}
                return await pages.page(request, "login.html", lambda: about, error.status)
            return await pages.refusal(request, error)

    async def log_out(request: Request) -> Response:
        try:
            access.check_host(request)
            await access.form(request)
        except ClientError as error:
            return await pages.refusal(request, error)
        response = pages.redirect(request, "login")
        access.log_out(request, response)
        return response

    return (
        Route("/login", log_in, methods=["GET", "POST"]),
        Route("/logout", log_out, methods=["POST"]),
    )
