"""The log of decisions: which rules, never which text."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from proxy.cli.logs import JsonFormatter, TextFormatter
from proxy.core.types import Action, Finding, Kind, Rule
from proxy.server.exchange.record import Exchange, Outcome
from proxy.server.ops.decision_log import MAX_RULES, DecisionLog, LogSink
from proxy.server.ops.drops import Drops
from proxy.server.ops.metrics import Metrics
from proxy.server.ops.records import record_of
from tests.waiting import PATIENCE


def told(exchange: Exchange, caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines that are logged for it, as the text log has them, without the time."""
    caplog.set_level(logging.INFO, "safety_proxy.decisions")
    with DecisionLog([LogSink()]) as decisions:
        decisions.end(exchange)
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
    with DecisionLog([LogSink()]) as decisions:
        decisions.end(exchange)
    assert [record.levelname for record in caplog.records if record.exc_info] == ["DEBUG"]


def test_many_failures_are_one_short_line(caplog: pytest.LogCaptureFixture) -> None:
    """A check may fail for each of an answer's channels."""
    exchange = Exchange("/v1/chat/completions")
    exchange.check_errors += [type(f"Error{i}", (Exception,), {})() for i in range(MAX_RULES + 5)]
    (line,) = told(exchange, caplog)
    assert line.endswith("Error19, and 5 more")


class Blocked:
    """A sink that waits until it is let go, as a full pipe does."""

    texts = False

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.ids: list[str] = []
        self.closed = False

    def wants(self, exchange: Exchange) -> bool:
        """Everything."""
        return True

    def write(self, record: dict[str, Any], exchange: Exchange) -> None:
        """Wait."""
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        self.ids.append(record["id"])

    def close(self) -> None:
        """The end."""
        self.closed = True


def test_a_sink_that_waits_delays_nobody() -> None:
    """Exchanges wait in a bounded queue; those that find no room are counted, and metrics tell them."""
    drops, sink = Drops(), Blocked()
    registry = CollectorRegistry()
    Metrics(registry, drops=drops)
    with DecisionLog([sink], drops, most=3) as decisions:
        decisions.end(Exchange("/api/chat", id="first"))
        assert sink.begun.wait(PATIENCE)
        for number in range(10):
            decisions.end(Exchange("/api/chat", id=str(number)))
        sink.go_on.set()
    assert sink.ids == ["first", "0", "1", "2"]
    assert sink.closed
    name = "safety_proxy_log_records_dropped_total"
    assert registry.get_sample_value(name, {"sink": "decisions"}) == 7
    assert registry.get_sample_value(name, {"sink": "file"}) == 0


class Failing(Blocked):
    """A sink with a fault."""

    def write(self, record: dict[str, Any], exchange: Exchange) -> None:
        """Fail once."""
        if not self.ids:
            self.ids.append("failed")
            raise RuntimeError("a fault of a sink")
        self.ids.append(record["id"])


def test_a_fault_of_a_sink_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The record is counted as lost and the fault told; the next one is written."""
    drops, sink = Drops(), Failing()
    with DecisionLog([sink], drops) as decisions:
        for number in "12":
            decisions.end(Exchange("/api/chat", id=number))
    assert sink.ids == ["failed", "2"]
    assert drops.take() == {"decisions": 1}
    assert "request 1: its record cannot be written" in caplog.text


def test_a_record_of_each_exchange_as_json(caplog: pytest.LogCaptureFixture) -> None:
    """With findings as objects; an exchange in which nothing was found has one too."""
    caplog.set_level(logging.INFO, "safety_proxy.decisions")
    exchange = Exchange("/v1/chat/completions", id="c0ffee", outcome=Outcome.BLOCKED)
    exchange.add_finding("tool_call", Finding(4, 9, Rule("house", "mail", Action.BLOCK)), Kind.TOOL_ARGUMENTS)
    with DecisionLog([LogSink(as_json=True)]) as decisions:
        decisions.end(exchange)
        decisions.end(Exchange("/api/chat"))
    first, second = (json.loads(JsonFormatter().format(record))["exchange"] for record in caplog.records)
    assert (first["id"], first["outcome"], second["findings"]) == ("c0ffee", "blocked", [])
    assert first["findings"] == [
        {
            "policy": "house",
            "rule": "mail",
            "action": "block",
            "enforced": True,
            "direction": "tool_call",
            "channel": "tool_arguments",
            "start": 4,
            "end": 9,
            "length": 5,
        }
    ]


def test_a_record_stays_small() -> None:
    """However many matches a prompt has, 100 are listed and all are counted."""
    exchange = Exchange("/v1/chat/completions")
    for place in range(5_000):
        exchange.add_finding("input", Finding(place, place + 1, Rule("house", "r", Action.FLAG)))
    record = record_of(exchange)
    assert (len(record["findings"]), record["findings_total"]) == (100, 5_000)
