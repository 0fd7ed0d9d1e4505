"""Pages and counts, held against a plain list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from proxy.store.database import Database, Limits, open_database
from proxy.store.queries import Filter, Place, by_number, counts, page
from proxy.store.rows import milliseconds, row_of
from proxy.store.upkeep import bring_in, export, forget, prune, used
from tests.store.postgresql import postgresql
from tests.store.samples import MIB, START, finding, opened, record

OUTCOMES = ("allowed", "blocked", "rewritten")
FOUND: tuple[list[dict[str, Any]], ...] = (
    [],
    [finding("mail")],
    [finding("mail"), finding("mail"), finding("bob", "strict")],
    [finding("bob")],
)


def records() -> list[dict[str, Any]]:
    """Of all kinds; every three began at the same time."""
    return [
        record(
            number // 3,
            id=f"id-{number}",
            outcome=OUTCOMES[number % 3],
            model=f"m{number % 5}",
            key=("ann", None)[number % 2],
            findings=FOUND[number % 4],
        )
        for number in range(240)
    ]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """With these records, in a file and in a real server."""
    with ExitStack() as stack:
        url = "sqlite" if request.param == "sqlite" else stack.enter_context(postgresql())
        folder = tmp_path_factory.mktemp("store")
        database = stack.enter_context(closing(open_database(url, folder, 64 * MIB)))
        database.add([row_of(one) for one in records()])
        yield database


def test_upkeep_is_the_same_everywhere(tmp_path: Path) -> None:
    """A server exports, forgets and prunes as a file does."""
    rows = [row_of(one) for one in records()]
    with postgresql() as url, closing(open_database(url, None, MIB)) as server, closing(opened(tmp_path)) as file:
        for database in (server, file):
            assert bring_in(database, rows) == (240, 0)
            assert bring_in(database, rows) == (0, 240)
        assert list(export(server)) == list(export(file))
        assert forget(server, key="ann") == forget(file, key="ann") == 120
        now = round((START + 60) * 1000) + Limits(1, MIB).age
        assert prune(server, Limits(1, MIB), now) == prune(file, Limits(1, MIB), now) == 90
        size = used(server)
        assert prune(server, Limits(30, size // 2), now) == 30


FILTERS = [
    Filter(),
    Filter(outcome="blocked"),
    Filter(policy="house"),
    Filter(policy="house", rule="bob"),
    Filter(rule="bob", outcome="allowed", model="m3", key="ann"),
    Filter(id="id-77"),
    Filter(key="ann", since=round((START + 20) * 1000), until=round((START + 40) * 1000)),
    Filter(policy="strict", since=round((START + 20) * 1000), until=round((START + 40) * 1000)),
    Filter(model="nobody"),
]


def expected(wanted: Filter) -> list[dict[str, Any]]:
    """What the filter means, in plain words."""
    return [
        one
        for one in reversed(records())
        if wanted.outcome in ("", one["outcome"])
        and wanted.model in ("", one["model"])
        and wanted.key in ("", one["key"])
        and wanted.id in ("", one["id"])
        and (wanted.since is None or milliseconds(one["time"]) >= wanted.since)
        and (wanted.until is None or milliseconds(one["time"]) < wanted.until)
        and (
            not (wanted.policy or wanted.rule)
            or any(wanted.policy in ("", f["policy"]) and wanted.rule in ("", f["rule"]) for f in one["findings"])
        )
    ]


@pytest.mark.parametrize("wanted", FILTERS)
def test_pages_hold_each_exchange_once_newest_first(database: Database, wanted: Filter) -> None:
    """Page by page, whatever the filter, also where several began in the same millisecond."""
    got: list[str] = []
    place: Place | None = None
    with database.read() as connection:
        while lines := page(connection, wanted, place, size=7):
            got += [line.id for line in lines]
            place = lines[-1].place
    assert got == [one["id"] for one in expected(wanted)]


@pytest.mark.parametrize("wanted", FILTERS)
def test_counts_are_of_what_the_filter_lets_through(database: Database, wanted: Filter) -> None:
    """An exchange counts once for a rule, however often it found something."""
    hits = expected(wanted)
    with database.read() as connection:
        got = counts(connection, wanted)
    assert (got.total, got.is_all) == (len(hits), True)
    assert got.outcome == Counter(one["outcome"] for one in hits)
    assert got.model == Counter(one["model"] for one in hits)
    assert got.key == Counter(one["key"] or "" for one in hits)
    assert got.policy == Counter(name for one in hits for name in {f["policy"] for f in one["findings"]})
    assert got.rule == Counter(pair for one in hits for pair in {(f["policy"], f["rule"]) for f in one["findings"]})


def test_counts_say_of_how_many_they_are(database: Database) -> None:
    """Of the newest, where there are more."""
    with database.read() as connection:
        got = counts(connection, Filter(), most=100)
    assert (got.total, got.is_all, sum(got.outcome.values())) == (100, False, 100)


def test_a_line_names_each_rule_once(database: Database) -> None:
    """In the order in which they found something."""
    with database.read() as connection:
        (line,) = page(connection, Filter(id="id-238"))
        assert by_number(connection, line.seq) == records()[238]
        assert by_number(connection, 10**9) is None
    assert line.rules == (("house", "mail", "rewrite", True), ("strict", "bob", "rewrite", True))
    assert (line.took, line.status, line.findings) == (1250, 200, 3)
