"""The log of what rules found: a line for each exchange in which one found something, without any text of the exchange.

A client of another machine is named by its address. If a check failed, one more line names the place of the failure,
not the exception's message: that may hold text.
"""

from __future__ import annotations

import logging
from collections import Counter
from ipaddress import ip_address

from proxy.core.failures import CheckFailed
from proxy.core.types import Rule
from proxy.server.exchange.record import Exchange

MAX_RULES = 20  # named in one line; and so many places of failures

log = logging.getLogger("safety_proxy.decisions")


class DecisionLog:
    """An observer of exchanges. The client sees the same request id in headers, notices and errors."""

    def begin(self, exchange: Exchange) -> None:
        """An exchange has begun."""

    def end(self, exchange: Exchange) -> None:
        """Log the rules that found something, where and how often, and the checks that failed."""
        if exchange.findings:
            log.info("request %s", exchange.id, extra=_fields(exchange) | {"rules": _join(_rules(exchange))})
        errors = [error for error in exchange.check_errors if not isinstance(error, CheckFailed)]  # see plugin_log
        if errors:
            failed = Counter(map(_location, errors))
            log.error("request %s: a check failed", exchange.id, extra=_fields(exchange) | {"failed": _join(failed)})
            log.debug("request %s: its first failure", exchange.id, exc_info=errors[0])


def _fields(exchange: Exchange) -> dict[str, str]:
    return _client(exchange.client) | {"endpoint": exchange.endpoint, "outcome": exchange.outcome.value}


def _client(address: str) -> dict[str, str]:
    """The client, unless it is this machine. What is no address, as a reverse proxy's `unknown`, is left out."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return {}
    return {} if parsed.is_loopback else {"client": str(parsed)}


def _rules(exchange: Exchange) -> Counter[str]:
    """Counts by direction and rule. A prompt may have 100,000 matches, so names are made once for each rule."""
    counts: Counter[str] = Counter()
    for (direction, rule), times in Counter((direction, found.rule) for direction, found in exchange.findings).items():
        counts[_describe(direction, rule)] += times
    return counts


def _describe(direction: str, rule: Rule) -> str:
    action = rule.action.name.lower()
    return f"{direction} {rule.name} {action if rule.enforced else f'(would {action})'}"


def _location(error: Exception) -> str:
    """The kind of failure, and the line of the program that raised it."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    where = "" if step is None else f" in {step.tb_frame.f_globals.get('__name__')}:{step.tb_lineno}"
    return type(error).__name__ + where


def _join(counts: Counter[str]) -> str:
    names = [name if times == 1 else f"{name} ({times} times)" for name, times in counts.items()]
    more = len(names) - MAX_RULES
    return ", ".join(names if more <= 0 else [*names[:MAX_RULES], f"and {more} more"])
