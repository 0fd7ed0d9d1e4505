"""A record of the decision log (docs/log.md) as rows of the tables, and back."""

from __future__ import annotations

import json
from calendar import timegm
from time import strptime
from typing import Any, NamedTuple

LONGEST = 500  # characters of a text that has a column of its own; the record has all of it
NUMBER = 2**31 - 1


class BadRecord(ValueError):
    """It is no record of the decision log; the message says why."""


class Row(NamedTuple):
    """A record as rows. `size`: what it takes, in bytes."""

    exchange: dict[str, Any]
    findings: list[dict[str, Any]]

    @property
    def size(self) -> int:
        """Of the record, in bytes."""
        return int(self.exchange["size"])


def row_of(record: Any) -> Row:
    """The rows of a record. Raises BadRecord."""
    try:
        text = json.dumps(record, separators=(",", ":"))  # ASCII: half of a surrogate pair is an escape
        time = milliseconds(record["time"])
        findings = [_finding(position, time, found) for position, found in enumerate(record.get("findings") or [])]
        total = (record.get("timings") or {}).get("total") or 0
        exchange = {
            "time": time,
            "id": _text(record["id"]),
            "trace": _text(record.get("trace_id")),
            "endpoint": _text(record["endpoint"]),
            "model": _text(record.get("model")),
            "key_name": _text(record.get("key")),
            "outcome": _text(record["outcome"]),
            "status": min(int(record.get("status") or 0), NUMBER),
            "took": min(round(total * 1000), NUMBER),
            "findings": min(int(record.get("findings_total") or 0), NUMBER),
            "size": len(text),
            "record": text,
        }
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadRecord(f"not a record of the decision log ({type(error).__name__}: {error})") from None
    return Row(exchange, findings)


def milliseconds(stamp: str) -> int:
    """A time as records have it, RFC 3339 in UTC to the millisecond, in milliseconds since 1970. Raises ValueError."""
    seconds, dot, rest = stamp.removesuffix("Z").partition(".")
    return timegm(strptime(seconds, "%Y-%m-%dT%H:%M:%S")) * 1000 + (int(rest[:3].ljust(3, "0")) if dot else 0)


def _finding(position: int, time: int, found: dict[str, Any]) -> dict[str, Any]:
    return {
        "position": position,
        "time": time,
        "policy": _text(found["policy"]),
        "rule": _text(found["rule"]),
        "action": _text(found["action"]),
        "enforced": bool(found["enforced"]),
        "direction": _text(found["direction"]),
        "channel": _text(found["channel"]),
        "start_at": int(found["start"]),
        "end_at": int(found["end"]),
    }


def _text(value: Any) -> str:
    """A text that every data base takes: no half of a surrogate pair, no NUL."""
    text = "" if value is None else str(value)
    return text[:LONGEST].encode("utf-8", "backslashreplace").decode().replace("\0", "\ufffd")
