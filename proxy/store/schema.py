"""The tables, and the numbered steps from an older version of them to this one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    func,
    insert,
    inspect,
    select,
)

from proxy.errors import SettingsError

BIG = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts rows by itself only in an INTEGER
METADATA = MetaData()

EXCHANGES = Table(
    "exchanges",
    METADATA,
    Column("seq", BIG, primary_key=True, autoincrement=True),
    Column("time", BigInteger, nullable=False),  # when it began, in milliseconds since 1970
    Column("id", String, nullable=False),
    Column("trace", String, nullable=False),
    Column("endpoint", String, nullable=False),
    Column("model", String, nullable=False),
    Column("key_name", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("status", Integer, nullable=False),
    Column("took", Integer, nullable=False),  # in milliseconds
    Column("findings", Integer, nullable=False),
    Column("size", Integer, nullable=False),  # of the record, in bytes
    Column("record", Text, nullable=False),  # JSON in ASCII
    Index("exchanges_time", "time", "seq"),
    Index("exchanges_outcome", "outcome", "time", "seq"),
    Index("exchanges_model", "model", "time", "seq"),
    Index("exchanges_key", "key_name", "time", "seq"),
    Index("exchanges_id", "id"),
    Index("exchanges_trace", "trace"),
)
"""One row for each record. A text that the record does not have is ""."""

FINDINGS = Table(
    "findings",
    METADATA,
    Column("exchange", BIG, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("time", BigInteger, nullable=False),  # that of the exchange, so that an index is in the order of a page
    Column("policy", String, nullable=False),
    Column("rule", String, nullable=False),
    Column("action", String, nullable=False),
    Column("enforced", Boolean, nullable=False),
    Column("direction", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("start_at", BigInteger, nullable=False),
    Column("end_at", BigInteger, nullable=False),
    Index("findings_rule", "policy", "rule", "time", "exchange"),
    Index("findings_policy", "policy", "time", "exchange"),
    sqlite_with_rowid=False,
)
"""What rules found, as the record has it."""

VERSIONS = Table("schema_steps", METADATA, Column("number", Integer, primary_key=True, autoincrement=False))
"""Which steps have been made."""


class Step(NamedTuple):
    """A change of the tables. A data base that begins with this version has it already."""

    number: int
    apply: Callable[[Connection], None]


def _begin(_: Connection) -> None:
    """The first version: there is nothing before it."""


STEPS: tuple[Step, ...] = (Step(1, _begin),)


def migrate(connection: Connection, steps: Sequence[Step] = STEPS) -> None:
    """Make the tables, or bring older ones up to date. Raises SettingsError for tables of a newer proxy."""
    has_tables = inspect(connection).has_table(VERSIONS.name)
    version = connection.scalar(select(func.max(VERSIONS.c.number))) if has_tables else None
    newest = steps[-1].number
    if version is not None and version > newest:
        fix = "use that version, or name another data base in the setting store"
        raise SettingsError(f"store: a newer version of the proxy has made it (step {version}, not {newest}): {fix}")
    if version is None:
        METADATA.create_all(connection)
    for step in steps:
        if version is not None and step.number > version:
            step.apply(connection)
        if version is None or step.number > version:
            connection.execute(insert(VERSIONS).values(number=step.number))
