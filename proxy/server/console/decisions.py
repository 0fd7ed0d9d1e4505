"""What the pages of decisions show: a list with filters and counts, and one exchange. Made in a thread."""

from __future__ import annotations

import re
from calendar import timegm
from time import strptime
from typing import Any, NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from proxy.policy.policyset import PolicySet
from proxy.server.console.reasons import reason, timeline
from proxy.server.console.text import LONG, Shown, Span, labels, plain, shown
from proxy.server.exchange.record import Outcome
from proxy.store.queries import PAGE, Counts, Filter, Place, by_number, counts, page
from proxy.store.writer import Writer

LONGEST = 500  # characters of a filter, as the store's columns have
LARGEST = 2**62
FIELDS = ("outcome", "policy", "rule", "model", "key", "id", "since", "until")
NO_STORE = "Nothing is stored here: set state_dir, so that the records of exchanges are kept (setting store)."
OPENING = "The store is being opened; its records can be seen in a moment."


class Choice(NamedTuple):
    """A value of a filter with how many exchanges have it."""

    value: str
    label: str
    times: int | None


def decisions(records: Writer | None, asked: dict[str, str]) -> dict[str, Any]:
    """The list. `asked`: the filter as a form sends it."""
    given = {name: asked.get(name, "")[:LONGEST].replace("\0", "") for name in FIELDS}
    empty: dict[str, Any] = {"given": given, "lines": [], "older": None, "choices": {}, "notes": notes(records)}
    try:
        wanted, place = filter_of(given), place_of(asked.get("before", ""))
    except ValueError as error:
        return {**empty, "notes": [str(error)], "status": 400, "total": ""}
    if records is None or records.database is None:
        return {**empty, "total": ""}
    try:
        with records.database.read() as connection:
            lines = page(connection, wanted, place, PAGE + 1)
            counted = counts(connection, wanted)
    except SQLAlchemyError as error:
        return {**empty, "notes": [f"The store cannot be read: {getattr(error, 'orig', error)}"], "total": ""}
    older = lines[PAGE - 1].place if len(lines) > PAGE else None
    before = {**given, "before": f"{older.time}-{older.seq}"} if older else None
    return {
        **empty,
        "lines": lines[:PAGE],
        "older": before,
        "choices": choices(counted, given),
        "total": total(counted),
    }


def decision(records: Writer | None, policies: PolicySet, number: int, *, whole: bool = False) -> dict[str, Any]:
    """One exchange. `policies`: those in force now. `whole`: texts are not cut."""
    missing = {"record": None, "notes": notes(records), "status": 404}
    if records is None or records.database is None:
        return missing
    try:
        with records.database.read() as connection:
            record = by_number(connection, min(number, LARGEST))
    except SQLAlchemyError as error:
        return {**missing, "notes": [f"The store cannot be read: {getattr(error, 'orig', error)}"]}
    if record is None:
        return missing
    in_force = {rule.name for policy in policies.policies for rule in policy.rules}
    return {
        "record": record,
        "number": number,
        "whole": whole,
        "notes": notes(records),
        "reason": reason(record),
        "timeline": timeline(record),
        "revision": policies.revision,
        "gone": [name for name in _names(record.get("findings", [])) if name not in in_force],
        "texts": list(_texts(record, None if whole else LONG)),
        "no_text": no_text(record),
    }


def notes(records: Writer | None) -> list[str]:
    """What somebody who looks has to know of the store."""
    if records is None:
        return [NO_STORE]
    found = [OPENING] if records.database is None and not records.error else []
    if records.error:
        found.append(f"Records cannot be stored now: {records.error}")
    if records.lost:
        found.append(f"{records.lost} records were not stored since the start; they are missing here.")
    return found


def filter_of(given: dict[str, str]) -> Filter:
    """The filter. Raises ValueError for a time that is none."""
    policy, slash, rule = given["rule"].partition("/")
    if not slash:
        policy, rule = given["policy"], given["rule"]
    return Filter(
        outcome=given["outcome"],
        policy=policy or given["policy"],
        rule=rule,
        model=given["model"],
        key=given["key"],
        id=given["id"].strip(),
        since=_time("From", given["since"]),
        until=_time("Until", given["until"]),
    )


def place_of(text: str) -> Place | None:
    """A place as a link has it. Raises ValueError."""
    if not text:
        return None
    found = re.fullmatch(r"(\d{1,18})-(\d{1,18})", text, re.ASCII)
    if found is None:
        raise ValueError("This link to older exchanges is not complete: begin with the newest")
    return Place(int(found[1]), int(found[2]))


def total(counted: Counts) -> str:
    """How many exchanges the counts are of."""
    if counted.is_all:
        return "1 exchange" if counted.total == 1 else f"{counted.total:,} exchanges"
    return f"more than {counted.total:,} exchanges; counts are of the newest {counted.total:,}"


def choices(counted: Counts, given: dict[str, str]) -> dict[str, list[Choice]]:
    """For each filter its values, and the one that is chosen even if nothing has it."""
    found = {
        "outcome": {**dict.fromkeys((outcome.value for outcome in Outcome), 0), **counted.outcome},
        "policy": counted.policy,
        "rule": {f"{policy}/{rule}": times for (policy, rule), times in counted.rule.items()},
        "model": counted.model,
        "key": counted.key,
    }
    return {name: list(_choices(values, given[name])) for name, values in found.items()}


def _choices(values: dict[str, int], chosen: str) -> Any:
    for value, times in values.items():
        if value:
            yield Choice(value, plain(value, 60), times)
    if chosen and chosen not in values:
        yield Choice(chosen, plain(chosen, 60), 0)


def _time(name: str, text: str) -> int | None:
    """Milliseconds of a field `datetime-local`, taken as UTC."""
    if not text:
        return None
    for form in ("%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"):
        try:
            return timegm(strptime(text, form)) * 1000
        except ValueError:
            continue
    raise ValueError(f"{name}: a time is written as 2027-01-31T12:00 (UTC)")


class Text(NamedTuple):
    """A text of an exchange. left_out: characters that were not recorded."""

    part: str
    role: str
    channel: str
    shown: Shown | None
    left_out: int
    rules: list[str]


def _texts(record: dict[str, Any], most: int | None) -> Any:
    for part in ("prompt", "answer"):
        for one in (record.get("texts") or {}).get(part) or ():
            found = one.get("findings") or []
            text = one.get("text")
            if text is None:
                pieces = None
            elif record.get("record_text") == "masked":
                pieces = shown(text, most, labels(str(text), _names(found)))
            else:
                pieces = shown(text, most, [Span(f["start"], f["end"], f"{f['policy']}/{f['rule']}") for f in found])
            left_out = int(one.get("left_out") or 0)
            yield Text(part, str(one.get("role")), str(one.get("channel")), pieces, left_out, _names(found))


def no_text(record: dict[str, Any]) -> str:
    """Why there is no text; "" where there is."""
    if record.get("texts"):
        return ""
    if record.get("record_text", "none") == "none":
        return "No text was recorded (record_text = none), so there are offsets and lengths only."
    return "The exchange had no text, or it was too busy to record it."


def _names(findings: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(f"{found.get('policy')}/{found.get('rule')}" for found in findings))
