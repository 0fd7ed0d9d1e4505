"""What of a request's query goes upstream."""

from __future__ import annotations

import pytest

from proxy.server.upstream.client import plain_query


@pytest.mark.parametrize("query", [b"n=50&rate=20.5&b=1", b"api-version=2026-11-01", b"think=", b"r=1e+06"])
def test_plain_pairs_go_upstream(query: bytes) -> None:
    """Short pairs of plain characters pass as they are."""
    assert plain_query(query) == query


@pytest.mark.parametrize(
    "query",
    [
        b"conv_id=1",
        b"CONV_ID=1",
        b"model=x",
        b"autoload=1",
        b"slot=3",
        b"a=%0d%0a",
        b"a=b c",
        b"=x",
        b"x",
        b"a=" + b"x" * 2000,
    ],
)
def test_everything_else_is_left_behind(query: bytes) -> None:
    """Names that reach into stored streams, load models or carry keys, and anything that is not plain."""
    assert plain_query(query) == b""


def test_what_may_pass_passes_beside_what_may_not() -> None:
    """Pairs are looked at one by one."""
    assert plain_query(b"a=1&conv_id=2&b=3") == b"a=1&b=3"
