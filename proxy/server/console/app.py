"""The console's routes on the admin listener, collected from the modules of pages."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from proxy.server.console import decision_pages, login, static_files
from proxy.server.console.access import PageAccess
from proxy.server.console.pages import NAVIGATION, Pages
from proxy.server.console.sources import Sources


class Console:
    """The console, as `routes`."""

    def __init__(self, sources: Sources, access: PageAccess) -> None:
        self._pages = pages = Pages(access)
        self.routes: Sequence[BaseRoute] = (
            Route("/", pages.guarded(self._start)),
            *decision_pages.routes(pages, sources),
            *login.routes(pages),
            *static_files.routes(pages),
        )

    def close(self) -> None:
        """End the threads; a page that is being made is finished."""
        self._pages.close()

    async def _start(self, request: Request) -> Response:
        return self._pages.redirect(request, NAVIGATION[0][0])
