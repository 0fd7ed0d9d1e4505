"""The log of decisions: which rules, never which text."""

from __future__ import annotations

import logging

import pytest

from proxy.cli.logs import JsonFormatter, TextFormatter
from proxy.core.types import Action, Finding, Rule
from proxy.server.exchange.record import Exchange, Outcome
from proxy.server.ops.decision_log import MAX_RULES, DecisionLog


def told(exchange: Exchange, caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines that are logged for it, as the text log has them, without the time."""
    caplog.set_level(logging.INFO, "safety_proxy.decisions")
    DecisionLog().begin(exchange)
    DecisionLog().end(exchange)
    return [TextFormatter().format(record).partition(f" {record.levelname} ")[2] for record in caplog.records]


def test_a_line_names_the_rules_of_an_exchange(caplog: pytest.LogCaptureFixture) -> None:
    """Each rule once for a direction, with how often; one that only watches says what it would have done."""
    exchange = Exchange("/v1/chat/completions", id="c0ffee", outcome=Outcome.BLOCKED)
    for _ in range(2):
        exchange.add_finding("output", Finding(0, 1, Rule("house", "mail", Action.REWRITE)))
    exchange.add_finding("input", Finding(0, 1, Rule("shadow:next", "bob", Action.BLOCK, enforced=False)))
    rules = "output house/mail rewrite (2 times), input shadow:next/bob (would block)"
    assert told(exchange, caplog) == [f"request c0ffee endpoint=/v1/chat/completions outcome=blocked rules={rules}"]


@pytest.mark.parametrize(
    ("client", "named"),
    [("192.0.2.7", " client=192.0.2.7"), ("2001:DB8::1", " client=2001:db8::1")]
    + [(nobody, "") for nobody in ("127.0.0.1", "::1", "", "unknown", "192.0.2.7 outcome=allowed")],
)
def test_a_client_of_another_machine_is_named(client: str, named: str, caplog: pytest.LogCaptureFixture) -> None:
    """By its address. This machine is not named, and neither is what is no address."""
    exchange = Exchange("/v1/chat/completions", id="c0ffee", client=client)
    exchange.add_finding("input", Finding(0, 1, Rule("house", "mail", Action.FLAG)))
    rest = "endpoint=/v1/chat/completions outcome=allowed rules=input house/mail flag"
    assert told(exchange, caplog) == [f"request c0ffee{named} {rest}"]


def test_nothing_found_is_no_line(caplog: pytest.LogCaptureFixture) -> None:
    """The log does not grow with ordinary traffic."""
    assert told(Exchange("/v1/chat/completions"), caplog) == []


def test_a_line_stays_short(caplog: pytest.LogCaptureFixture) -> None:
    """However many rules find something, so many are named."""
    exchange = Exchange("/v1/chat/completions")
    for number in range(MAX_RULES + 5):
        exchange.add_finding("input", Finding(0, 1, Rule("house", f"r{number}", Action.FLAG)))
    (line,) = told(exchange, caplog)
    assert line.endswith("house/r19 flag, and 5 more")


def fail(text: str) -> Exception:
    """An exception that says what it was reading."""
    try:
        raise ValueError(f"cannot read {text}")
    except ValueError as error:
        return error


@pytest.mark.parametrize("form", [TextFormatter, JsonFormatter])
def test_a_check_that_failed_is_logged_by_its_place(
    caplog: pytest.LogCaptureFixture, form: type[TextFormatter | JsonFormatter]
) -> None:
    """Once for an exchange, at error level, with what it is and where it was raised, and without what it says."""
    exchange = Exchange("/v1/chat/completions", id="c0ffee", outcome=Outcome.BLOCKED)
    exchange.check_errors += [fail("my secret"), fail("my secret"), KeyError("my secret")]
    told(exchange, caplog)
    (record,) = caplog.records
    line = form().format(record)
    assert record.levelname == "ERROR"
    assert "request c0ffee: a check failed" in line
    assert f"ValueError in {__name__}:" in line
    assert "(2 times), KeyError" in line
    assert "secret" not in line


def test_the_traceback_is_for_debugging(caplog: pytest.LogCaptureFixture) -> None:
    """It may hold text, so it is logged at debug level only."""
    exchange = Exchange("/v1/chat/completions")
    exchange.check_errors.append(fail("my secret"))
    caplog.set_level(logging.DEBUG, "safety_proxy.decisions")
    DecisionLog().end(exchange)
    assert [record.levelname for record in caplog.records if record.exc_info] == ["DEBUG"]


def test_many_failures_are_one_short_line(caplog: pytest.LogCaptureFixture) -> None:
    """A check may fail for each of an answer's channels."""
    exchange = Exchange("/v1/chat/completions")
    exchange.check_errors += [type(f"Error{i}", (Exception,), {})() for i in range(MAX_RULES + 5)]
    (line,) = told(exchange, caplog)
    assert line.endswith("Error19, and 5 more")
