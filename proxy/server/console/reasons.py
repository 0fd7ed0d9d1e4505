"""Why an exchange ended as it did, in a sentence, and when what happened: from its record alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

WHERE = {
    "input": "in the prompt",
    "history": "in an earlier turn",
    "output": "in the answer",
    "reasoning": "in the model's reasoning",
    "tool_call": "in a tool call",
}
WIDTH = 100  # of the whole timeline


class Stage(NamedTuple):
    """A part of the time. start and width: of WIDTH."""

    name: str
    seconds: float
    start: float
    width: float


def reason(record: dict[str, Any]) -> str:
    """The sentence."""
    outcome = record.get("outcome")
    if outcome == "blocked":
        return f"Blocked: {_found(record, 'block') or 'no rule of the record says why'}."
    if outcome == "rewritten":
        return f"Rewritten: {_found(record, 'rewrite') or _found(record, 'block') or 'by a rule'}."
    if outcome == "rejected":
        return f"Rejected before a model was asked (status {record.get('status')})."
    if outcome == "upstream_error":
        return f"The model server failed: {(record.get('upstream') or {}).get('error') or 'no reason is known'}."
    if outcome == "proxy_error":
        return f"The proxy failed: {_failed(record) or 'see its log'}."
    if outcome == "client_cancelled":
        return "The client went away before the end."
    if outcome != "allowed":
        return f"Ended as {outcome}, which this version of the proxy does not know."
    found = record.get("findings_total")
    return f"Allowed; rules found something {found} times, and only flag or watch." if found else "Allowed."


def timeline(record: dict[str, Any]) -> list[Stage]:
    """The stages in their order; those that are not known are left out."""
    timings = record.get("timings") or {}
    total = _number(timings.get("total"))
    if not total:
        return []
    stages: list[Stage] = []
    at = 0.0
    for name, seconds in _stages(timings, total):
        if seconds > 0:
            width = min(seconds / total, 1.0) * WIDTH
            stages.append(Stage(name, seconds, round(min(at / total, 1.0) * WIDTH, 3), round(max(width, 0.5), 3)))
            at += seconds
    return stages


def _stages(timings: dict[str, Any], total: float) -> Iterator[tuple[str, float]]:
    request, judged, queue = (_number(timings.get(name)) for name in ("request", "input", "queue"))
    yield "request read", request
    yield "prompt judged", judged
    yield "waited for its turn", queue
    first_byte, first_text = (_number(timings.get(name)) for name in ("first_byte", "first_text"))
    yield "first byte of the model server", first_byte
    yield "first text", max(first_text - first_byte, 0.0)
    yield "to the end", total - request - judged - queue - max(first_byte, first_text)


def _found(record: dict[str, Any], action: str) -> str:
    """Which rule did it, and where."""
    for found in record.get("findings") or ():
        if found.get("action") == action and found.get("enforced"):
            where = WHERE.get(str(found.get("direction")), "")
            place = f"characters {found.get('start')} to {found.get('end')}"
            return f"the rule {found.get('policy')}/{found.get('rule')} found something {where} ({place})"
    return ""


def _failed(record: dict[str, Any]) -> str:
    for error in record.get("check_errors") or ():
        return f"the check {error.get('check')} ({error.get('reason')})"
    return ""


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
