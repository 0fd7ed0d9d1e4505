"""docs/log.md and docs/log.schema.json hold every key of the log, as it is."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from proxy.checks.http_check import HttpQuestion, HttpService
from proxy.cli.logs import logging_to
from proxy.core.failures import CheckFailed, Reason
from proxy.core.steps import in_one_go
from proxy.core.types import Action, Finding, Kind, Rule
from proxy.errors import UpstreamUnreachable
from proxy.server.exchange.record import Exchange, Outcome, log_failure
from proxy.server.exchange.refusals import ModelRefusal
from proxy.server.exchange.transcript import Text, Transcript
from proxy.server.ops.decision_log import DecisionLog, LogSink
from proxy.server.ops.recorded_texts import recorded_texts
from proxy.server.ops.records import record_of

DOCS = Path(__file__).parent.parent / "docs"
SCHEMA: dict[str, Any] = json.loads((DOCS / "log.schema.json").read_text("utf-8"))
TEXT = (DOCS / "log.md").read_text("utf-8")
RECORD = Draft202012Validator({"$ref": "#/$defs/exchange", "$defs": SCHEMA["$defs"]})
LINE = Draft202012Validator(SCHEMA)


def eventful() -> Exchange:
    """An exchange in which everything happened."""
    exchange = Exchange(
        *("/v1/chat/completions", "revision"),
        client="192.0.2.7",
        model="m",
        stream=True,
        status=200,
        outcome=Outcome.BLOCKED,
        refusal=ModelRefusal("text", "safety", "en"),
        asked="POST http://127.0.0.1:11434/v1/chat/completions",
        upstream_status=503,
        upstream_reason="status_5xx",
        markers={"chatml": 2},
    )
    exchange.add_finding("reasoning", Finding(3, 9, Rule("p", "r", Action.REWRITE)), Kind.REASONING)
    try:
        raise ValueError("secret")
    except ValueError as error:
        exchange.check_errors.append(error)
    service = HttpQuestion(HttpService("pii", "http://x"), "", "p", "input", "content", "user", "t", "", (), "en")
    exchange.check_answers.told(service, CheckFailed("pii", Reason.DEADLINE, "x"), 0.5)
    text = Text("user", Kind.CONTENT)
    text.add("Hello")
    exchange.transcript = Transcript([text], {(0, Kind.CONTENT, ""): text})
    return exchange


def whole_record(exchange: Exchange, mode: str) -> Any:
    """Its record, with its texts where there are any."""
    transcript = exchange.transcript
    if mode == "none" or not isinstance(transcript, Transcript):
        return record_of(exchange, mode)
    return record_of(exchange, mode, in_one_go(recorded_texts(transcript, mode)))


def keys(schema: Any) -> Iterator[str]:
    """Every key that a schema names, at any depth."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for value in schema.values():
            yield from keys(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from keys(value)


def test_every_key_is_explained() -> None:
    """Each key of the schema stands in docs/log.md in backquotes."""
    assert [key for key in keys(SCHEMA) if f"`{key}`" not in TEXT] == []


def test_the_schema_is_one() -> None:
    """The schema itself is right, and says of each key what it means."""
    Draft202012Validator.check_schema(SCHEMA)
    for properties in [SCHEMA["properties"], *(one["properties"] for one in SCHEMA["$defs"].values())]:
        for key, value in properties.items():
            assert "description" in value or "$ref" in value, key


@pytest.mark.parametrize("mode", ["none", "masked", "full"])
@pytest.mark.parametrize("exchange", [Exchange("/v1/chat/completions"), eventful()], ids=["bare", "eventful"])
def test_every_record_fits(exchange: Exchange, mode: str) -> None:
    """A record of an exchange in which nothing happened, and of one in which everything did, with and without texts."""
    RECORD.validate(json.loads(json.dumps(whole_record(exchange, mode))))


def test_a_record_has_every_key_of_the_schema() -> None:
    """The schema allows nothing that is never there."""
    record = whole_record(eventful(), "masked")
    assert set(record) == set(SCHEMA["$defs"]["exchange"]["properties"])
    assert set(record["findings"][0]) == set(SCHEMA["$defs"]["finding"]["properties"])
    assert set(record["check_answers"][0]) == set(SCHEMA["$defs"]["check_answer"]["properties"])
    assert set(record["texts"]["prompt"][0]) == set(SCHEMA["$defs"]["text"]["properties"])


def test_every_line_is_an_object_that_fits(caplog: pytest.LogCaptureFixture) -> None:
    """Decisions, failures of the model server, tracebacks, other libraries' lines: no key but those of the schema."""
    caplog.set_level(logging.WARNING, "uvicorn.error")  # a server that ran in this process may have silenced it
    out = io.StringIO()
    with logging_to(out, "json", "debug"), DecisionLog([LogSink(as_json=True)]) as decisions:
        decisions.end(eventful())
        decisions.end(Exchange("/api/chat"))
        log_failure(eventful(), UpstreamUnreachable("The model server cannot be reached", "connect"))
        logging.getLogger("uvicorn.error").warning("odd\nlines %s", "x", extra={"color_message": "odd"})
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    for line in lines:
        LINE.validate(line)
    assert len(lines) == 5  # the failed check has its traceback, at debug
    assert {key for line in lines for key in line} == set(SCHEMA["properties"])
    assert [line["exchange"]["endpoint"] for line in lines if "exchange" in line] == [
        "/v1/chat/completions",
        "/api/chat",
    ]
    assert "secret" not in json.dumps([line for line in lines if line["level"] != "debug"])
