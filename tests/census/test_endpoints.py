"""docs/endpoints.md: it says of every path of the three model servers what the route table says."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from proxy.server.routing.routes import TABLE, Access
from tools.endpoints import BACKENDS, WORDS, page, row

DOCUMENT = Path(__file__).parents[2] / "docs/endpoints.md"
PRINTED = functools.cache(page)


def test_the_page_is_current() -> None:
    """The page is what the tool prints now."""
    assert DOCUMENT.read_text("utf-8") == PRINTED(), "run: python -m tools.endpoints > docs/endpoints.md"


@pytest.mark.parametrize("door", sorted({door for doors in BACKENDS.values() for door in doors}))
def test_every_path_of_a_model_server_has_a_verdict(door: str) -> None:
    """Each stands on the page with its word and a sentence."""
    route = row(door)
    assert f"| `{door}` | {WORDS[route.access]} | {route.note} |" in PRINTED()


def test_a_path_that_the_table_does_not_know() -> None:
    """The page cannot be made with a path of which nothing is said."""
    with pytest.raises(KeyError, match="/v1/unheard-of"):
        row("GET /v1/unheard-of")


def test_every_row_of_the_table_stands_on_the_page() -> None:
    """No route is left out."""
    for route in TABLE:
        assert f"`{route.method} {route.path}`" in PRINTED()


def test_nothing_is_open_that_is_not_on_the_lists() -> None:
    """Only the moderation call is ours; every other open path is one of a model server."""
    known = {(route.method, route.path) for doors in BACKENDS.values() for route in map(row, doors)}
    open_ = {(route.method, route.path) for route in TABLE if route.access not in (Access.ADMIN, Access.REFUSED)}
    assert open_ - known == {("POST", "/v1/moderations")}
