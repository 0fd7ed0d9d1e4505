"""The thread that fills the store: nobody waits for it, and nothing is lost unseen."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import DatabaseError

from proxy.store.database import FILE_NAME, Database, Limits
from proxy.store.rows import row_of
from proxy.store.upkeep import export, used
from proxy.store.writer import Writer
from tests.store.samples import MIB, START, opened, record
from tests.waiting import PATIENCE, until_elsewhere

LIMITS = Limits(30, 64 * MIB)


def writer(folder: Path, limits: Limits = LIMITS, most: int = 2_000) -> Writer:
    """One that tries again at once, in a time in which no record is old."""
    return Writer(lambda: opened(folder, limits.size), limits, most=most, again=0.01, clock=lambda: START)


def stored(folder: Path) -> int:
    """How many records there are."""
    with closing(opened(folder)) as database:
        return sum(1 for _ in export(database))


def test_what_is_put_is_stored(tmp_path: Path) -> None:
    """All of it, also what waits at the end."""
    with writer(tmp_path) as thread:
        for number in range(500):
            thread.put(row_of(record(number)))
    assert thread.lost == 0
    assert stored(tmp_path) == 500


def test_what_finds_no_room_is_counted(tmp_path: Path) -> None:
    """`put` does not wait, even if nothing is ever stored."""
    told: list[int] = []
    thread = Writer(lambda: opened(tmp_path), LIMITS, lambda: told.append(1), most=10)
    for number in range(25):
        thread.put(row_of(record(number)))
    assert (thread.lost, len(told)) == (15, 15)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Another program writes, and does not end."""
    with closing(sqlite3.connect(folder / FILE_NAME, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def test_a_locked_data_base_delays_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The records wait in memory, the log says so once, and they are stored when the lock is gone."""
    monkeypatch.setattr("proxy.store.database.BUSY", 0.01)
    caplog.set_level(logging.WARNING, "safety_proxy.store")
    with writer(tmp_path) as thread:
        thread.put(row_of(record(0)))
        assert thread.settle(PATIENCE)
        with locked(tmp_path):
            for number in range(1, 20):
                thread.put(row_of(record(number)))
            until_elsewhere(lambda: "locked" in thread.error)
        assert thread.settle(PATIENCE)
    assert thread.lost == 0
    assert stored(tmp_path) == 20
    assert [entry.levelname for entry in caplog.records] == ["ERROR", "WARNING"]


def test_a_data_base_that_stays_locked_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be stored is counted."""
    monkeypatch.setattr("proxy.store.database.BUSY", 0.01)
    with writer(tmp_path) as thread:
        thread.put(row_of(record(0)))
        assert thread.settle(PATIENCE)
        lock = locked(tmp_path)
        lock.__enter__()
        for number in range(1, 20):
            thread.put(row_of(record(number)))
    lock.__exit__(None, None, None)
    assert thread.lost == 19
    assert stored(tmp_path) == 1


def test_a_store_at_its_size_makes_room(tmp_path: Path) -> None:
    """The oldest records go, nothing new is lost, and the file never grows beyond the size."""
    limits = Limits(30, MIB)
    with writer(tmp_path, limits) as thread:
        for number in range(1500):
            thread.put(row_of(record(number, padding="x" * 3000)))
            if number % 100 == 0:
                assert thread.settle(PATIENCE)
        assert thread.settle(PATIENCE)
        assert (tmp_path / FILE_NAME).stat().st_size <= MIB
    assert thread.lost == 0
    with closing(opened(tmp_path, MIB)) as database:
        newest = list(export(database))[-1]
        assert '"id":"id-1499"' in newest
        assert used(database) <= MIB


class FullDisk(Database):
    """A file that may not grow any more, as on a full disk. The limit belongs to a connection, and there may be two."""

    most = 100_000  # pages

    def fill(self) -> None:
        """From now on; pruning has nothing that it may delete."""
        with self.engine.connect() as connection:
            (self.most,) = connection.exec_driver_sql("PRAGMA page_count").one()
        event.listen(self.engine, "checkout", self._limit)

    def empty(self) -> None:
        """There is room again."""
        self.most = FullDisk.most

    def _limit(self, connection: Any, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count={self.most}")


def test_a_full_disk_delays_and_is_told(tmp_path: Path) -> None:
    """Records wait in memory; what finds no room there is counted; with room on the disk it goes on."""
    disks: list[FullDisk] = []

    def opens() -> FullDisk:
        opened(tmp_path).close()
        with closing(opened(tmp_path)) as known:
            url = known.url
        disks.append(FullDisk(url, 64 * MIB))
        disks[0].fill()
        return disks[0]

    with Writer(opens, LIMITS, most=20, again=0.01, clock=lambda: START) as thread:
        for number in range(30):
            thread.put(row_of(record(number, padding="x" * 50_000)))
        until_elsewhere(lambda: "full" in thread.error)
        assert thread.lost == 10
        disks[0].empty()
        assert thread.settle(PATIENCE)
    assert stored(tmp_path) == 20


def test_a_file_that_breaks_while_it_runs_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new one begins, and what waited is stored in it."""
    with writer(tmp_path) as thread:
        thread.put(row_of(record(0)))
        assert thread.settle(PATIENCE)
        with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (tmp_path / FILE_NAME).write_bytes(b"\xa5" * 65536)
        monkeypatch.setattr(thread.database, "add", found_broken)
        thread.put(row_of(record(1)))
        assert thread.settle(PATIENCE)
    assert stored(tmp_path) == 1
    assert [path for path in tmp_path.iterdir() if ".broken-" in path.name]


def found_broken(_: object) -> None:
    """What SQLite says of a damaged page."""
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorname = "SQLITE_CORRUPT_INDEX"
    raise DatabaseError("INSERT", None, error)
