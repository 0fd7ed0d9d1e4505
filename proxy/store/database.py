"""The data base: a file of SQLite, or a server of PostgreSQL. It is opened, checked and brought up to date here."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import URL, Connection, Engine, create_engine, event, insert, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from proxy.errors import SettingsError
from proxy.store.rows import Row
from proxy.store.schema import EXCHANGES, FINDINGS, migrate

FILE_NAME = "decisions.db"
OWNER_ONLY = 0o600
BUSY = 2.0  # seconds that a statement waits for another program's lock
BROKEN = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
DRIVER = "postgresql+psycopg"

log = logging.getLogger("safety_proxy.store")


class Broken(Exception):
    """The file is not what the proxy has written."""


class Limits(NamedTuple):
    """How much is kept. `days`: of this age; `size`: in bytes."""

    days: int
    size: int

    @property
    def age(self) -> int:
        """In milliseconds."""
        return self.days * 24 * 3600 * 1000


class Database:
    """An open data base. `write` is for one thread, `read` for several."""

    def __init__(self, url: URL, size: int) -> None:
        """`size`: of a file, in bytes: it does not grow beyond that. Raises Broken, DBAPIError or SettingsError."""
        self.url = url
        self.is_file = url.get_backend_name() == "sqlite"
        self._size = size
        self.engine = self._open_engine(is_writer=True)
        self.readers = self._open_engine(is_writer=False)
        try:
            if self.is_file:
                self._check()
            with self.write() as connection:
                migrate(connection)
        except DBAPIError as error:
            self.close()
            if is_broken(error):
                raise Broken(str(error.orig)) from None
            raise
        except BaseException:
            self.close()
            raise

    def write(self) -> Any:
        """A transaction that writes, as a context manager. It waits no longer than BUSY for others."""
        return self.engine.begin()

    def read(self) -> Any:
        """A connection that cannot write, as a context manager."""
        return self.readers.connect()

    def add(self, rows: Sequence[Row]) -> None:
        """Store records, all or none of them. Raises DBAPIError."""
        with self.write() as connection:
            for row in rows:
                add(connection, row)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()
        self.readers.dispose()

    def _open_engine(self, *, is_writer: bool) -> Engine:
        if not self.is_file:
            try:
                return create_engine(self.url, pool_pre_ping=True, connect_args={"connect_timeout": 5})
            except ImportError as error:
                fix = "install the proxy with its extra: pip install 'safety-proxy[postgresql]'"
                raise SettingsError(f"store is a PostgreSQL server, and {error.name} is not installed; {fix}") from None
        engine = create_engine(self.url, connect_args={"timeout": BUSY})
        event.listen(engine, "connect", self._set_up if is_writer else _set_up_reader)
        event.listen(engine, "begin", _begin_write if is_writer else _begin_read)
        return engine

    def _set_up(self, connection: Any, _: Any) -> None:
        """Of a new connection. WAL: readers and the writer do not wait for each other."""
        connection.isolation_level = None  # transactions begin where we say so
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA secure_delete=ON")  # what is forgotten is not to be found in the file
        connection.execute("PRAGMA journal_size_limit=16777216")
        (page,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute(f"PRAGMA max_page_count={max(self._size // page, 64)}")

    def _check(self) -> None:
        """Raise Broken for a file whose pages are damaged."""
        with self.engine.connect() as connection:
            found = connection.scalar(text("PRAGMA quick_check(1)"))
        if found != "ok":
            raise Broken(str(found))


def add(connection: Connection, row: Row) -> None:
    """Store one record in a transaction."""
    key = connection.execute(insert(EXCHANGES).values(row.exchange)).inserted_primary_key
    assert key is not None
    (seq,) = key
    if row.findings:
        connection.execute(insert(FINDINGS), [{"exchange": seq, **found} for found in row.findings])


def open_database(store: str, state_dir: Path | None, size: int) -> Database:
    """Open what the setting `store` names. A broken file is put aside, and a new one begun. Raises SettingsError, or
    DBAPIError for what may pass, such as a lock or a full disk."""
    url = url_of(store, state_dir)
    if url.get_backend_name() != "sqlite":
        return Database(url, size)
    path = Path(str(url.database))
    try:
        _make_file(path)
        return Database(url, size)
    except Broken as error:
        put_aside(path, str(error))
        _make_file(path)
        return Database(url, size)
    except OSError as error:
        fix = "give a directory that the proxy can write, or turn it off (store = off)"
        raise SettingsError(f"store: {path} cannot be written ({error.strerror or error}): {fix}") from None


def url_of(store: str, state_dir: Path | None) -> URL:
    """The data base that the setting `store` names, with its driver. Raises SettingsError."""
    if store == "sqlite":
        if state_dir is None:
            raise SettingsError("store is sqlite, and there is no place for the file: set state_dir")
        return URL.create("sqlite", database=str(state_dir / FILE_NAME))
    try:
        url = make_url(store)
    except ArgumentError:
        raise SettingsError("store is no URL of a data base, such as postgresql://host/name") from None
    return url.set(drivername=DRIVER) if url.get_backend_name() == "postgresql" else url


def put_aside(path: Path, reason: str) -> None:
    """Rename a broken file, and what SQLite keeps beside it. Raises OSError."""
    aside = path.with_name(f"{path.name}.broken-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    for end in ("", "-wal", "-shm"):
        file = path.with_name(path.name + end)
        if file.exists():
            file.replace(aside.with_name(aside.name + end))
    log.error("store: %s is broken (%s). It was put aside as %s, and a new one begins", path, reason, aside.name)


def is_broken(error: DBAPIError) -> bool:
    """Whether the file is damaged, and not only locked or full."""
    return isinstance(error.orig, sqlite3.Error) and getattr(error.orig, "sqlite_errorname", "").startswith(BROKEN)


def is_full(error: DBAPIError) -> bool:
    """Whether there is no room for more."""
    return getattr(error.orig, "sqlite_errorname", "") == "SQLITE_FULL"


def _make_file(path: Path) -> None:
    """For its owner alone; SQLite would make it readable by others."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, OWNER_ONLY))


def _set_up_reader(connection: Any, _: Any) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA query_only=ON")


def _begin_write(connection: Connection) -> None:
    """At once, not with the first write: a transaction that becomes a writer later cannot wait for others."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_read(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")
