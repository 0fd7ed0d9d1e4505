"""What leaves the store: what is too old, too much, or to be forgotten. And records as lines of JSON, out and in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, delete, func, select, text, tuple_

from proxy.store.database import Database, Limits, add
from proxy.store.rows import Row
from proxy.store.schema import EXCHANGES, FINDINGS

CHUNK = 200  # records that one transaction deletes: others have their turn in between
FULL = 0.9  # of the size: pruning leaves no more
PAGES = 2000  # given back to the disk at once


def prune(database: Database, limits: Limits, now: int, room: int = 0) -> int:
    """Delete what is older or more than the limits allow, the oldest first; returns how many.

    now: in milliseconds. room: bytes that have to be free besides
    """
    gone = _delete_all(database, EXCHANGES.c.time < now - limits.age)
    while used(database) > limits.size * FULL - room:
        deleted = _delete(database, select(EXCHANGES.c.seq).order_by(EXCHANGES.c.time, EXCHANGES.c.seq).limit(CHUNK))
        if not deleted:
            break
        gone += deleted
    if gone and database.is_file:
        give_back(database)
    return gone


def forget(database: Database, *, key: str = "", request: str = "", trace: str = "") -> int:
    """Delete all records of a key, of a request or of a trace; returns how many. Nothing of them stays in the file."""
    named: dict[Column[Any], str] = {EXCHANGES.c.key_name: key, EXCHANGES.c.id: request, EXCHANGES.c.trace: trace}
    gone = sum(_delete_all(database, column == value) for column, value in named.items() if value)
    if database.is_file:
        give_back(database)
    return gone


def used(database: Database) -> int:
    """Bytes: of a file its pages in use; of a server the records themselves."""
    with database.read() as connection:
        if not database.is_file:
            return int(connection.scalar(select(func.coalesce(func.sum(EXCHANGES.c.size), 0))))
        names = ("page_count", "freelist_count", "page_size")
        pages, free, size = (int(connection.scalar(text(f"PRAGMA {name}"))) for name in names)
        return (pages - free) * size


def give_back(database: Database) -> None:
    """Free pages go back to the disk, and the file beside it that has the latest changes is emptied."""
    with database.engine.connect() as connection:
        raw: Any = connection.connection.dbapi_connection
        raw.executescript(f"PRAGMA incremental_vacuum({PAGES})")  # `execute` would free one page and stop
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def export(database: Database) -> Iterator[str]:
    """All records as lines of JSON, the oldest first."""
    at = (0, 0)
    place = tuple_(EXCHANGES.c.time, EXCHANGES.c.seq)
    columns = (EXCHANGES.c.time, EXCHANGES.c.seq, EXCHANGES.c.record)
    while True:
        with database.read() as connection:
            page = select(*columns).where(place > tuple_(*at)).order_by(EXCHANGES.c.time, EXCHANGES.c.seq)
            found = connection.execute(page.limit(CHUNK)).all()
        if not found:
            return
        yield from (row.record for row in found)
        at = (found[-1].time, found[-1].seq)


def bring_in(database: Database, rows: Iterable[Row]) -> tuple[int, int]:
    """Store records that are not there yet; returns how many were new, and how many were there."""
    new = known = 0
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == CHUNK:
            new, known, batch = *_count(database, batch, new, known), []
    return _count(database, batch, new, known)


def _count(database: Database, batch: list[Row], new: int, known: int) -> tuple[int, int]:
    with database.write() as connection:
        for row in batch:
            if _is_there(connection, row):
                known += 1
            else:
                add(connection, row)
                new += 1
    return new, known


def _is_there(connection: Connection, row: Row) -> bool:
    """The same request at the same time: a client may choose the same id again."""
    same = select(EXCHANGES.c.seq).where(EXCHANGES.c.id == row.exchange["id"])
    return connection.execute(same.where(EXCHANGES.c.time == row.exchange["time"]).limit(1)).first() is not None


def _delete_all(database: Database, condition: ColumnElement[bool]) -> int:
    gone = 0
    while deleted := _delete(database, select(EXCHANGES.c.seq).where(condition).limit(CHUNK)):
        gone += deleted
    return gone


def _delete(database: Database, which: Select[int]) -> int:
    with database.write() as connection:
        numbers = list(connection.scalars(which))
        connection.execute(delete(FINDINGS).where(FINDINGS.c.exchange.in_(numbers)))
        connection.execute(delete(EXCHANGES).where(EXCHANGES.c.seq.in_(numbers)))
    return len(numbers)
