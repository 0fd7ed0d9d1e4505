"""The pages of decisions: the list, and one exchange."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from proxy.server.console.pages import Pages
from proxy.server.console.sources import Sources


def routes(pages: Pages, sources: Sources) -> Sequence[BaseRoute]:
    """The queries are imported with the first page, so that a start does not wait for SQLAlchemy."""

    async def listed(request: Request) -> Response:
        from proxy.server.console.decisions import decisions

        asked = dict(request.query_params)
        return await pages.page(request, "decisions.html", partial(decisions, sources.records, asked))

    async def detail(request: Request) -> Response:
        from proxy.server.console.decisions import decision

        number, whole = request.path_params["number"], "full" in request.query_params
        ask = partial(decision, sources.records, sources.store.current, number, whole=whole)
        return await pages.page(request, "decision.html", ask)

    return (
        Route("/decisions", pages.guarded(listed)),
        Route("/decisions/{number:int}", pages.guarded(detail)),
    )
