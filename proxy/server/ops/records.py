"""A finished exchange as one record of the decision log: an object with stable keys, described in docs/log.md."""

from __future__ import annotations

import time
from collections.abc import Iterator
from ipaddress import ip_address
from itertools import islice
from time import perf_counter
from typing import Any

from proxy.checks.fail_open import FailedOpen
from proxy.checks.failures import CHECKS, failed_check, failure_reason
from proxy.core.failures import CheckFailed
from proxy.core.types import Action
from proxy.server.exchange.record import Exchange

MAX_NAME = 200  # characters of a model's name
MAX_FINDINGS = 100  # in one record; a prompt may have 100,000 matches
ACTIONS = {Action.FLAG: "flag", Action.REWRITE: "rewrite", Action.BLOCK: "block"}


def record_of(exchange: Exchange, record_text: str = "none", texts: dict[str, Any] | None = None) -> dict[str, Any]:
    """The record. `record_text`: what of the texts it holds, `none`, `masked` or `full`; `texts`: these."""
    record: dict[str, Any] = {
        "id": exchange.id,
        "time": timestamp(time.time() - (perf_counter() - exchange.began)),
        "trace_id": exchange.trace.trace_id if exchange.trace is not None else None,
        "client": other_machine(exchange.client) or None,
        "endpoint": exchange.endpoint,
        "model": exchange.model[:MAX_NAME] or None,
        "alignment": exchange.alignment,
        "key": exchange.key or None,
        "policy": exchange.revision,
        "stream": exchange.stream,
        "outcome": exchange.outcome.value,
        "status": exchange.status or None,
        "findings": list(_findings(exchange)),
        "findings_total": len(exchange.findings) + exchange.more_findings.total(),
        "timings": _timings(exchange),
        "tokens": {"prompt": exchange.prompt_tokens or None, "answer": exchange.answer_tokens or None},
        "events": exchange.events,
        "held": _held(exchange),
        "refusal": exchange.refusal.signal or None,
        "refusal_kind": exchange.refusal.kind or None,
        "refusal_language": exchange.refusal.language or None,
        "upstream": _upstream(exchange),
        "checks": {check: round(seconds, 6) for check, seconds in exchange.check_seconds.items()},
        "check_answers": list(_check_answers(exchange)),
        "check_answers_total": exchange.check_answers.total,
        "check_errors": list(islice(_check_errors(exchange), MAX_FINDINGS)),
        "markers": dict(exchange.markers),
        "prompt_cut": exchange.prompt_cut,
        "record_text": record_text,
    }
    return record if texts is None else {**record, "texts": texts}


def timestamp(seconds: float) -> str:
    """Seconds since 1970 as RFC 3339, in UTC, to the millisecond."""
    milliseconds = round(seconds * 1000)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000))
    return f"{stamp}.{milliseconds % 1000:03d}Z"


def other_machine(address: str) -> str:
    """A client's address; "" for this machine, and for what is no address, as a reverse proxy's `unknown`."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    return "" if parsed.is_loopback else str(parsed)


def _findings(exchange: Exchange) -> Iterator[dict[str, Any]]:
    for (direction, finding), kind in zip(exchange.findings[:MAX_FINDINGS], exchange.channels, strict=False):
        rule = finding.rule
        yield {
            "policy": rule.policy,
            "rule": rule.id,
            "action": ACTIONS[rule.action],
            "enforced": rule.enforced,
            "direction": direction,
            "channel": kind.value,
            "start": finding.start,
            "end": finding.end,
            "length": finding.end - finding.start,
        }


def _timings(exchange: Exchange) -> dict[str, float | None]:
    """Seconds; null for what has not happened."""

    def between(start: float, end: float) -> float | None:
        return round(end - start, 6) if start and end else None

    added = exchange.added_to_first_text
    return {
        "total": between(exchange.began, exchange.ended),
        "request": between(exchange.began, exchange.request_read),
        "input": between(exchange.request_read, exchange.sent_upstream - exchange.queued),
        "queue": round(exchange.queued, 6) if exchange.queue_place else None,
        "first_byte": between(exchange.sent_upstream, exchange.upstream_bytes),
        "first_text": between(exchange.sent_upstream, exchange.upstream_text),
        "added_to_first_text": None if added is None else round(added, 6),
        "output": round(exchange.output_seconds, 6),
    }


def _held(exchange: Exchange) -> dict[str, Any]:
    shares = [(rule, share) for rule, share in exchange.hold.shares() if rule is not None]
    rule, _ = max(shares, key=lambda one: one[1].seconds, default=(None, None))
    return {
        "characters": exchange.max_held,
        "seconds": round(exchange.held_seconds, 6),
        "rule": None if rule is None else rule.name,
    }


def _upstream(exchange: Exchange) -> dict[str, Any]:
    return {
        "name": exchange.upstream or None,
        "url": exchange.asked.partition(" ")[2] or None,
        "status": exchange.upstream_status or None,
        "error": exchange.upstream_reason or None,
        "moved_from": [{"name": name, "error": reason} for name, reason in exchange.moved_from],
    }


def _check_answers(exchange: Exchange) -> Iterator[dict[str, Any]]:
    """What guards and others said that were asked."""
    for answer in exchange.check_answers:
        yield {
            "check": answer.check,
            "kind": answer.kind,
            "result": answer.result,
            "level": answer.level or None,
            "categories": list(answer.categories),
            "seconds": round(answer.seconds, 6),
        }


def _check_errors(exchange: Exchange) -> Iterator[dict[str, str | None]]:
    """Failures by check, reason and place, without an exception's message: that may hold text. A policy that fails open
    lets the place be forgotten."""
    for error in exchange.check_errors:
        if not isinstance(error, CheckFailed):
            yield _check_error(failed_check(error), failure_reason(error), "block", place_of(error))
    for on_error, failed in exchange.plugin_failures or ():
        yield _check_error(failed.check, failed.reason, on_error, failed.detail)
    for _, finding in exchange.findings:
        if isinstance(finding.rule, FailedOpen) and finding.rule.check in CHECKS:
            yield _check_error(finding.rule.check, finding.rule.reason, "allow", None)


def _check_error(check: str, reason: str, on_error: str, place: str | None) -> dict[str, str | None]:
    return {"check": check, "reason": reason, "on_error": on_error, "place": place}


def place_of(error: Exception) -> str:
    """The kind of failure, and the line of the program that raised it."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    where = "" if step is None else f" in {step.tb_frame.f_globals.get('__name__')}:{step.tb_lineno}"
    return type(error).__name__ + where
