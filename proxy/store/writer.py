"""The thread that fills the store. What it has no time or no room for is counted and lost; nobody waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from proxy.errors import SettingsError
from proxy.store.database import Database, Limits, is_broken, is_full
from proxy.store.rows import Row
from proxy.store.upkeep import prune

MOST_ROWS = 2_000  # that wait
MOST_BYTES = 64 * 1024 * 1024  # of records that wait
BATCH = 50  # records of one transaction
BATCH_BYTES = 256 * 1024  # and so much of them, or one that is longer
INDEXES = 2  # times a record's size: what it takes with its findings and in the indexes
PRUNE_EVERY = 60.0  # seconds
AGAIN = 1.0  # seconds until what has failed is tried again

log = logging.getLogger("safety_proxy.store")


class Writer:
    """Stores records while its `with` block runs. `put` may be called by any thread.

    database: what it writes to; None: it is not open (yet)
    error:    why nothing can be stored now; "": it can
    lost:     how many records were not stored
    """

    def __init__(
        self,
        opens: Callable[[], Database],
        limits: Limits,
        lost: Callable[[], None] = lambda: None,
        *,
        most: int = MOST_ROWS,
        again: float = AGAIN,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`opens`: opens the data base, in the thread. `lost`: is called for each record that is not stored."""
        self.database: Database | None = None
        self.error = ""
        self.lost = 0
        self._opens = opens
        self._limits = limits
        self._count_lost = lost
        self._most = most
        self._again = again
        self._clock = clock
        self._waiting: deque[Row] = deque()
        self._bytes = 0
        self._ends = False
        self._next_prune = 0.0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)

    def put(self, row: Row) -> None:
        """Store it soon, or count it."""
        with self._changed:
            has_room = len(self._waiting) < self._most and self._bytes + row.size <= MOST_BYTES
            if has_room:
                self._waiting.append(row)
                self._bytes += row.size
                self._changed.notify_all()
        if not has_room:
            self._lose()

    def settle(self, timeout: float) -> bool:
        """Wait until nothing waits any more, for tests and tools; False: it took longer. Seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Store what waits, as far as that works at once, then close."""
        with self._changed:
            self._ends = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._work():
                pass
            for _ in self._waiting:
                self._lose()
        finally:
            if self.database is not None:
                self.database.close()

    def _work(self) -> bool:
        """One round; False: it was the last."""
        try:
            if self.database is None:
                self.database = self._opens()
            self._prune_if_due(self.database)
            self._store(self.database)
        except (SQLAlchemyError, SettingsError, OSError) as error:
            return self._failed(error)
        self._works()
        return self._wait_for_rows()

    def _prune_if_due(self, database: Database) -> None:
        now = self._clock()
        if now >= self._next_prune:
            self._next_prune = now + PRUNE_EVERY
            prune(database, self._limits, round(now * 1000))

    def _store(self, database: Database) -> None:
        """All that waits. What has been stored waits no more, whatever happens to the rest."""
        while batch := self._next_batch():
            try:
                self._add(database, batch)
            except (DataError, IntegrityError):
                self._add_each(database, batch)
            self._take_off(len(batch))

    def _next_batch(self) -> list[Row]:
        """The first that wait; they stay where they are."""
        batch: list[Row] = []
        size = 0
        for at in range(min(BATCH, len(self._waiting))):
            row = self._waiting[at]
            size += row.size
            if batch and size > BATCH_BYTES:
                break
            batch.append(row)
        return batch

    def _add(self, database: Database, batch: list[Row]) -> None:
        """All or none. Where there is no room, the oldest records make room."""
        try:
            database.add(batch)
        except DBAPIError as error:
            room = INDEXES * sum(row.size for row in batch)
            if not (is_full(error) and prune(database, self._limits, round(self._clock() * 1000), room)):
                raise
            database.add(batch)

    def _add_each(self, database: Database, batch: list[Row]) -> None:
        """A record that the data base does not take must not keep the others waiting."""
        for row in batch:
            try:
                database.add([row])
            except (DataError, IntegrityError) as error:
                log.exception(
                    "store: request %s cannot be stored; please report this", row.exchange["id"], exc_info=error
                )
                self._lose()

    def _take_off(self, count: int) -> None:
        with self._changed:
            for _ in range(count):
                self._bytes -= self._waiting.popleft().size
            self._changed.notify_all()

    def _failed(self, error: Exception) -> bool:
        """Tell it once, and wait; False: there is no time to try again."""
        reason = str(getattr(error, "orig", None) or error)
        if not self.error:
            log.error("store: records cannot be stored (%s). They wait, and what finds no room is lost", reason)
        self.error = reason
        if self.database is not None and isinstance(error, DBAPIError) and is_broken(error):
            self.database.close()
            self.database = None  # it is opened again, which puts a broken file aside
        with self._changed:
            self._changed.wait_for(lambda: self._ends, self._again)
            return not self._ends

    def _works(self) -> None:
        if self.error:
            log.warning("store: records can be stored again")
        self.error = ""

    def _wait_for_rows(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._ends, PRUNE_EVERY)
            return bool(self._waiting) or not self._ends

    def _lose(self) -> None:
        self.lost += 1
        self._count_lost()
