"""The log of what the rules did: a line for each exchange in which one found something, without any text of it."""

from __future__ import annotations

import logging
from collections import Counter

from proxy.core.types import Finding
from proxy.server.exchange import Exchange

MOST_RULES = 20  # named in one line

log = logging.getLogger("safety_proxy.decisions")


class DecisionLog:
    """An observer of exchanges. The request's id is the one that the client has in headers, notices and errors."""

    def begin(self, exchange: Exchange) -> None:
        """An exchange has begun."""

    def end(self, exchange: Exchange) -> None:
        """It is over: name the rules that found something, where, and how often."""
        if not exchange.found:
            return
        counts = Counter(_named(direction, finding) for direction, finding in exchange.found)
        named = [name if times == 1 else f"{name} ({times} times)" for name, times in counts.items()]
        if len(named) > MOST_RULES:
            named = [*named[:MOST_RULES], f"and {len(named) - MOST_RULES} more"]
        about = {"endpoint": exchange.endpoint, "outcome": exchange.outcome.value, "rules": ", ".join(named)}
        log.info("request %s", exchange.id, extra=about)


def _named(direction: str, finding: Finding) -> str:
    rule = finding.rule
    action = rule.action.name.lower()
    return f"{direction} {rule.name} {action if rule.enforced else f'(would {action})'}"
