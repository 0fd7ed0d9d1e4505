"""The log's two forms."""

from __future__ import annotations

import io
import json
import logging
import re
import threading

import pytest

from proxy.cli.logs import logging_to
from proxy.server.ops.drops import Drops
from tests.waiting import PATIENCE

log = logging.getLogger("safety_proxy.test")


def written(form: str) -> list[str]:
    """The lines that a few events give."""
    out = io.StringIO()
    with logging_to(out, form):
        log.info("loaded %d rules", 5)
        log.warning("two\nlines", extra={"policy": "starter"})
        logging.getLogger("somebody.else").info("chatter")
        logging.getLogger("somebody.else").warning("worth knowing")
        try:
            raise ValueError("wrong")
        except ValueError:
            log.exception("failed")
    log.info("afterwards")
    return out.getvalue().splitlines()


def test_text_has_a_head_on_every_line() -> None:
    """Also on each line of a message or traceback that has several, so that none can be taken for another event."""
    lines = written("text")
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (INFO|WARNING|ERROR) ", line) for line in lines)
    said = [line[20:] for line in lines]
    assert said[:4] == ["INFO loaded 5 rules", "WARNING two", "WARNING lines policy=starter", "WARNING worth knowing"]
    assert said[-1] == "ERROR ValueError: wrong"
    assert "afterwards" not in str(said)


def test_text_has_nothing_that_a_terminal_obeys() -> None:
    """Control characters are shown, not sent."""
    out = io.StringIO()
    with logging_to(out, "text"):
        log.info("red \x1b[31m, back \x08, and \x9b2J")
    assert out.getvalue()[20:] == "INFO red \\x1b[31m, back \\x08, and \\x9b2J\n"


def test_json_has_one_object_a_line() -> None:
    """With what an event carries beside its message."""
    first, second, third, fourth = (json.loads(line) for line in written("json"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first == {"level": "info", "logger": "safety_proxy.test", "message": "loaded 5 rules"}
    assert (second["message"], second["policy"]) == ("two\nlines", "starter")
    assert third["message"] == "worth knowing"
    assert "ValueError: wrong" in fourth["exception"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_stays_one_object_a_line_whatever_it_tells(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Line ends of every kind, halves of surrogate pairs, and characters that stderr's encoding does not have."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own report cannot be sent with such halves
    hostile = 'a\nb\r\u2028\u2029\x85\x1b[31m\ud800\u00e9\U0001f600\0"'
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding, errors="backslashreplace")
    with logging_to(out, "json"):
        log.info("said %s", hostile, extra={"model": hostile})
    out.flush()
    (line,) = raw.getvalue().decode(encoding).splitlines()
    event = json.loads(line)
    assert (event["message"], event["model"]) == ("said " + hostile, hostile)


@pytest.mark.parametrize(("level", "said"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_says_what_is_told(level: str, said: int) -> None:
    """This and what is worse."""
    out = io.StringIO()
    with logging_to(out, "text", level):
        for name in ("debug", "info", "warning", "error"):
            getattr(logging.getLogger("safety_proxy.test"), name)("told")
    assert len(out.getvalue().splitlines()) == said


class Pipe(io.StringIO):
    """A pipe that nobody reads until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()

    def write(self, text: str) -> int:
        """Wait."""
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        return super().write(text)


def test_a_full_pipe_delays_nobody() -> None:
    """Lines wait in a bounded queue; those that find no room are counted."""
    out, drops = Pipe(), Drops()
    log = logging.getLogger("safety_proxy.test")
    with logging_to(out, "text", drops=drops, most=2):
        log.info("first")
        assert out.begun.wait(PATIENCE)
        for number in range(5):
            log.info("line %d", number)
        out.go_on.set()
    assert [line[25:] for line in out.getvalue().splitlines()] == ["first", "line 0", "line 1"]
    assert drops.take() == {"log": 3}


def test_a_command_that_logs_little_leaves_the_levels_as_they_were() -> None:
    """Whoever runs one in a process of his own goes on as before."""
    before = logging.getLogger("safety_proxy").level
    with logging_to(io.StringIO(), "text", "error"):
        assert logging.getLogger("safety_proxy").level == logging.ERROR
    assert logging.getLogger("safety_proxy").level == before
