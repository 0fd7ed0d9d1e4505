"""What came of an answer, as an exchange remembers it."""

from __future__ import annotations

import logging

from proxy.core.guard import Guard
from proxy.core.types import Ending, Kind
from proxy.dialects.base import Answer
from proxy.server.exchange.record import Exchange, Outcome

DIRECTIONS = {Kind.REASONING: "reasoning", Kind.TOOL_ARGUMENTS: "tool_call"}

log = logging.getLogger("safety_proxy.server")


def settle(exchange: Exchange, guard: Guard, answer: Answer) -> None:
    """The answer is over: count what the guard saw, and say how it ended unless that has been said."""
    exchange.events = answer.events
    exchange.check_errors += guard.errors
    for channel, finding in guard.findings():
        exchange.note(DIRECTIONS.get(channel.kind, "output"), finding)
    if exchange.outcome not in (Outcome.ALLOWED, Outcome.REWRITTEN):
        return
    if guard.blocked_choices:
        filtered = any(finding.rule.ending is Ending.FILTERED for finding in guard.blocked_choices.values())
        exchange.outcome = Outcome.BLOCKED if filtered else Outcome.REWRITTEN
    elif answer.failed is not None:
        exchange.outcome = Outcome.UPSTREAM_ERROR
        exchange.upstream_reason = answer.failed.reason
        log.warning("request %s: %s (%s)", exchange.id, answer.failed.for_log, answer.failed.reason)
