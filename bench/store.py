"""How long pages of the store take at a million records: `python -m bench.store [--rows N] [--file PATH]`.

It fills a file of SQLite with records of uneven frequencies, then asks for pages and counts, each kind in turn, and
prints p50 and p95 by kind. The file is in a temporary directory unless one is named; one that is
there is used as it is.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from proxy.server.ops.records import timestamp
from proxy.store.database import Database, open_database
from proxy.store.queries import Filter, Place, counts, page
from proxy.store.rows import Row, row_of

START = 1_780_000_000.0  # seconds since 1970
MODELS = [f"model-{number}" for number in range(20)]
RULES = [("house", f"rule-{number}") for number in range(30)] + [("strict", f"rule-{number}") for number in range(30)]
KEYS = [f"key-{number}" for number in range(50)]
OUTCOMES = {"allowed": 900, "rewritten": 60, "blocked": 25, "client_cancelled": 10, "rejected": 4, "proxy_error": 1}
BATCH = 5_000
TIMES = 60


def zipf(chance: random.Random, values: list[Any]) -> Any:
    """One of them; the first ones are the most frequent."""
    return values[min(int(chance.paretovariate(1.0)) - 1, len(values) - 1)]


def made(chance: random.Random, number: int) -> Row:
    """A record: one in ten has findings."""
    found = [zipf(chance, RULES) for _ in range(chance.randint(1, 4))] if chance.random() < 0.1 else []
    place = {"action": "rewrite", "enforced": True, "direction": "output", "channel": "content", "start": 1, "end": 9}
    (outcome,) = chance.choices(list(OUTCOMES), list(OUTCOMES.values()))
    return row_of(
        {
            "id": f"{number:016x}",
            "time": timestamp(START + number),
            "trace_id": f"{number:032x}",
            "endpoint": "/v1/chat/completions",
            "model": zipf(chance, MODELS),
            "key": zipf(chance, KEYS),
            "outcome": outcome,
            "status": 200,
            "findings": [{"policy": policy, "rule": rule, **place} for policy, rule in found],
            "findings_total": len(found),
            "timings": {"total": chance.random() * 20},
            "padding": "x" * 500,
        }
    )


def fill(database: Database, rows: int) -> None:
    """So many records."""
    chance = random.Random(24)
    for start in range(0, rows, BATCH):
        database.add([made(chance, number) for number in range(start, min(start + BATCH, rows))])


def questions(rows: int) -> Iterator[tuple[str, Filter, bool]]:
    """What is asked: a name, a filter, and whether it is a page from the middle."""
    yield "newest", Filter(), False
    yield "from the middle", Filter(), True
    yield "outcome, frequent", Filter(outcome="allowed"), True
    yield "outcome, rare", Filter(outcome="proxy_error"), True
    yield "model", Filter(model="model-3"), True
    yield "key, rare", Filter(key="key-40"), False
    yield "rule, frequent", Filter(policy="house", rule="rule-0"), True
    yield "rule, rare", Filter(policy="strict", rule="rule-20"), False
    yield "policy", Filter(policy="house"), True
    yield "rule and outcome", Filter(policy="house", rule="rule-0", outcome="blocked"), False
    yield "model and outcome", Filter(model="model-10", outcome="blocked"), False
    yield "all at once", Filter("blocked", "house", "rule-1", "model-1", "key-1"), False
    yield "a day", Filter(since=round((START + rows / 2) * 1000), until=round((START + rows / 2 + 86400) * 1000)), False
    yield "id", Filter(id=f"{rows // 3:016x}"), False
    yield "nothing", Filter(model="nobody"), False


def timed(connection: Connection, ask: Callable[[Connection], object]) -> list[float]:
    """Milliseconds, of several times."""
    took = []
    for _ in range(TIMES):
        start = time.perf_counter()
        ask(connection)
        took.append((time.perf_counter() - start) * 1000)
    return took


def p95(times: list[float]) -> float:
    """The value below which 95 of 100 lie."""
    return statistics.quantiles(times, n=20)[-1]


def measure(database: Database, rows: int) -> None:
    """Print a table."""
    print(f"{'':20} {'page p50':>9} {'p95':>7} {'counts p50':>11} {'p95':>7}   milliseconds, {rows} records")
    everything: list[float] = []
    middle = Place(round((START + rows / 2) * 1000), rows // 2)
    with database.read() as connection:
        for name, wanted, in_the_middle in questions(rows):
            place = middle if in_the_middle else None
            pages = timed(connection, lambda c, w=wanted, p=place: page(c, w, p))  # type: ignore[misc]
            count = timed(connection, lambda c, w=wanted: counts(c, w))  # type: ignore[misc]
            everything += pages
            shown = (statistics.median(pages), p95(pages), statistics.median(count), p95(count))
            print("{:20} {:9.1f} {:7.1f} {:11.1f} {:7.1f}".format(name, *shown))
    print(f"{'pages, all':20} {statistics.median(everything):9.1f} {p95(everything):7.1f}")


def main() -> None:
    """Fill and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--file", type=Path, help="keep the file, or use the one that is there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = args.file or Path(folder) / "bench.db"
        is_new = not file.exists()
        with closing(open_database(f"sqlite:///{file.absolute()}", None, 8 << 30)) as database:
            if is_new:
                start = time.perf_counter()
                fill(database, args.rows)
                print(f"filled in {time.perf_counter() - start:.0f} s, {file.stat().st_size / 2**20:.0f} MiB")
            measure(database, args.rows)


if __name__ == "__main__":
    main()
