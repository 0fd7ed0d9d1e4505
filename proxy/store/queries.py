"""What pages ask: the newest exchanges that a filter lets through, page by page, and how many of each kind."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from sqlalchemy import CTE, ColumnElement, Connection, Select, func, select, tuple_

from proxy.store.schema import EXCHANGES as E
from proxy.store.schema import FINDINGS as F

PAGE = 50  # exchanges of a page
COUNTED = 3_000  # exchanges, the newest, of which counts tell
COUNTED_OF_SEVERAL = 500  # where a filter names several things: no index has them together
MOST_VALUES = 30  # of one kind, the most frequent


class Filter(NamedTuple):
    """What an exchange has to be. "" and None: anything. `since` and `until`: milliseconds since 1970."""

    outcome: str = ""
    policy: str = ""
    rule: str = ""
    model: str = ""
    key: str = ""
    id: str = ""
    since: int | None = None
    until: int | None = None


class Place(NamedTuple):
    """Where an exchange stands in the order of pages."""

    time: int
    seq: int


class Line(NamedTuple):
    """An exchange in a list. `time` and `took`: milliseconds. `rules`: policy, rule, action and whether it is in force,
    each once."""

    time: int
    seq: int
    id: str
    endpoint: str
    model: str
    key: str
    outcome: str
    status: int
    took: int
    findings: int
    rules: tuple[tuple[str, str, str, bool], ...]

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self.time, self.seq)


class Counts(NamedTuple):
    """How many exchanges there are of each outcome, policy, rule, model and key, the most frequent first.

    total: of how many of the newest; is_all: there are no more
    """

    total: int
    is_all: bool
    outcome: dict[str, int]
    policy: dict[str, int]
    rule: dict[tuple[str, str], int]
    model: dict[str, int]
    key: dict[str, int]


def page(connection: Connection, wanted: Filter, before: Place | None = None, size: int = PAGE) -> list[Line]:
    """The newest exchanges, or those that come after `before` in that order."""
    at = _matching(wanted, before, size).cte("at")
    columns = (E.c.time, E.c.seq, E.c.id, E.c.endpoint, E.c.model, E.c.key_name, E.c.outcome, E.c.status, E.c.took)
    rows = select(*columns, E.c.findings).join(at, at.c.seq == E.c.seq).order_by(E.c.time.desc(), E.c.seq.desc())
    found = connection.execute(rows).all()
    rules = _rules(connection, [row.seq for row in found])
    return [Line._make((*row, tuple(rules.get(row.seq, {})))) for row in found]


def counts(connection: Connection, wanted: Filter, most: int | None = None) -> Counts:
    """Of the newest that a filter lets through, `most`: to count a million takes too long for a page."""
    most = most or (COUNTED if _is_simple(wanted) else COUNTED_OF_SEVERAL)
    at = _matching(wanted, None, most).cte("at")
    total = connection.scalar(select(func.count()).select_from(at)) or 0
    policies, rules = _found(connection, at)
    return Counts(
        total,
        total < most,
        _values(connection, at, E.c.outcome),
        policies,
        rules,
        _values(connection, at, E.c.model),
        _values(connection, at, E.c.key_name),
    )


def by_number(connection: Connection, seq: int) -> dict[str, Any] | None:
    """The record of an exchange; None: it is not there."""
    text = connection.scalar(select(E.c.record).where(E.c.seq == seq))
    if text is None:
        return None
    record: dict[str, Any] = json.loads(text)
    return record


def _matching(wanted: Filter, before: Place | None, most: int) -> Select[Any]:
    """Time and number of the newest exchanges of a filter. An index is in this order, whatever the filter names."""
    by_rule = bool(wanted.policy or wanted.rule)
    time, seq = (F.c.time, F.c.exchange) if by_rule else (E.c.time, E.c.seq)
    rows = select(time.label("time"), seq.label("seq"))
    if by_rule:
        rows = rows.distinct().where(*_of_rule(wanted))
        if conditions := _of_exchange(wanted):
            rows = rows.join(E, E.c.seq == F.c.exchange).where(*conditions)
    else:
        rows = rows.where(*_of_exchange(wanted))
    if wanted.since is not None:
        rows = rows.where(time >= wanted.since)
    if wanted.until is not None:
        rows = rows.where(time < wanted.until)
    if before is not None:
        rows = rows.where(tuple_(time, seq) < tuple_(*before))
    return rows.order_by(time.desc(), seq.desc()).limit(most)


def _is_simple(wanted: Filter) -> bool:
    """It names one thing at most."""
    rule = wanted.policy or wanted.rule
    return sum(map(bool, (wanted.outcome, rule, wanted.model, wanted.key, wanted.id))) <= 1


def _of_rule(wanted: Filter) -> list[ColumnElement[bool]]:
    pairs = ((F.c.policy, wanted.policy), (F.c.rule, wanted.rule))
    return [column == value for column, value in pairs if value]


def _of_exchange(wanted: Filter) -> list[ColumnElement[bool]]:
    pairs = ((E.c.outcome, wanted.outcome), (E.c.model, wanted.model), (E.c.key_name, wanted.key), (E.c.id, wanted.id))
    return [column == value for column, value in pairs if value]


def _rules(connection: Connection, numbers: list[int]) -> dict[int, dict[tuple[str, str, str, bool], None]]:
    """The rules that found something, by exchange, in the order in which they did."""
    rows = select(F.c.exchange, F.c.policy, F.c.rule, F.c.action, F.c.enforced).where(F.c.exchange.in_(numbers))
    found: dict[int, dict[tuple[str, str, str, bool], None]] = {}
    for exchange, policy, rule, action, enforced in connection.execute(rows.order_by(F.c.exchange, F.c.position)):
        found.setdefault(exchange, {})[policy, rule, action, enforced] = None
    return found


def _values(connection: Connection, at: CTE, column: ColumnElement[str]) -> dict[str, int]:
    number = func.count().label("number")
    rows = select(column, number).select_from(at.join(E, E.c.seq == at.c.seq)).group_by(column)
    found = connection.execute(rows.order_by(number.desc()).limit(MOST_VALUES))
    return {row[0]: row[1] for row in found}


def _found(connection: Connection, at: CTE) -> tuple[dict[str, int], dict[tuple[str, str], int]]:
    """Exchanges in which a policy, and in which a rule, found something."""
    number = func.count(F.c.exchange.distinct()).label("number")
    both = at.join(F, F.c.exchange == at.c.seq)
    policies = select(F.c.policy, number).select_from(both).group_by(F.c.policy)
    rules = select(F.c.policy, F.c.rule, number).select_from(both).group_by(F.c.policy, F.c.rule)
    by_policy = connection.execute(policies.order_by(number.desc()).limit(MOST_VALUES))
    by_rule = connection.execute(rules.order_by(number.desc()).limit(MOST_VALUES))
    return {row[0]: row[1] for row in by_policy}, {(row[0], row[1]): row[2] for row in by_rule}
