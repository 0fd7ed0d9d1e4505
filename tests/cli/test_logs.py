"""The log's two forms."""

from __future__ import annotations

import io
import json
import logging
import re

from proxy.cli.logs import logging_to

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


def test_json_has_one_object_a_line() -> None:
    """With what an event carries beside its message."""
    first, second, third, fourth = (json.loads(line) for line in written("json"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first == {"level": "info", "logger": "safety_proxy.test", "message": "loaded 5 rules"}
    assert (second["message"], second["policy"]) == ("two\nlines", "starter")
    assert third["message"] == "worth knowing"
    assert "ValueError: wrong" in fourth["exception"]
