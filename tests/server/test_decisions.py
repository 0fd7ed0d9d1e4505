"""The log of decisions: which rules, never which text."""

from __future__ import annotations

import logging

import pytest

from proxy.cli.logs import Text
from proxy.core.types import Action, Finding, Rule
from proxy.server.decisions import MOST_RULES, DecisionLog
from proxy.server.exchange import Exchange, Outcome


def told(exchange: Exchange, caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines that are logged for it, as the text log has them, without the time."""
    caplog.set_level(logging.INFO, "safety_proxy.decisions")
    DecisionLog().begin(exchange)
    DecisionLog().end(exchange)
    return [Text().format(record).partition(" INFO ")[2] for record in caplog.records]


def test_a_line_names_the_rules_of_an_exchange(caplog: pytest.LogCaptureFixture) -> None:
    """Each rule once for a direction, with how often; one that only watches says what it would have done."""
    exchange = Exchange("/v1/chat/completions", id="c0ffee", outcome=Outcome.BLOCKED)
    for _ in range(2):
        exchange.note("output", Finding(0, 1, Rule("house", "mail", Action.REWRITE)))
    exchange.note("input", Finding(0, 1, Rule("shadow:next", "bob", Action.BLOCK, enforced=False)))
    rules = "output house/mail rewrite (2 times), input shadow:next/bob (would block)"
    assert told(exchange, caplog) == [f"request c0ffee endpoint=/v1/chat/completions outcome=blocked rules={rules}"]


def test_nothing_found_is_no_line(caplog: pytest.LogCaptureFixture) -> None:
    """The log does not grow with ordinary traffic."""
    assert told(Exchange("/v1/chat/completions"), caplog) == []


def test_a_line_stays_short(caplog: pytest.LogCaptureFixture) -> None:
    """However many rules find something, so many are named."""
    exchange = Exchange("/v1/chat/completions")
    for number in range(MOST_RULES + 5):
        exchange.note("input", Finding(0, 1, Rule("house", f"r{number}", Action.FLAG)))
    (line,) = told(exchange, caplog)
    assert line.endswith("house/r19 flag, and 5 more")
