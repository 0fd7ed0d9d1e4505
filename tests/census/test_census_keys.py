"""The census of keys: no dialect shows a field that has no row in the table."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from proxy import dialects
from tests.census.answer_fields import Fate, Field
from tests.census.doors import DOORS, Door
from tests.census.driving import REWRITE, carry
from tests.census.planting import Template, documents, place_of, texts_of, written

IDENTIFIER = re.compile(r"[a-z_]{2,40}")
PROBE = "cleanprobe"
AT_ONCE = 64
HIDDEN = (Fate.LEFT_OUT, Fate.ERROR)


def words_of(code: Path) -> set[str]:
    """Every string in a file of code that could be a key."""
    tree = ast.parse(code.read_text("utf-8"))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {word for text in texts for word in text.split() if IDENTIFIER.fullmatch(word)}


KEYS = sorted(set().union(*(words_of(path) for path in Path(dialects.__path__[0]).rglob("*.py"))))
"""Every key that some dialect can know: one that is added to an allow-list stands in the code."""


def test_the_code_of_every_vendor_is_read() -> None:
    """A key of each vendor is among them, so none of their folders is left out."""
    assert {"choices", "sequence_number", "content_block", "prompt_eval_count", "model_instance_id"} <= set(KEYS)


def grown(value: Any, keys: Sequence[str], probe: Any) -> Any:
    """A JSON value with the keys in each of its objects that has not got them, but for what is a tool's own."""
    if isinstance(value, dict):
        own = {k: v if k in ("arguments", "input") else grown(v, keys, probe) for k, v in value.items()}
        return {**own, **{key: probe for key in keys if key not in value}}
    return [grown(item, keys, probe) for item in value] if isinstance(value, list) else value


def sent(door: Door, field: Field, keys: Sequence[str], probe: Any) -> Iterator[tuple[list[bytes] | bytes, bool]]:
    """The field's stream and its whole answer with the keys in all their objects."""

    def framed(template: Template) -> bytes:
        return door.script.frame(written(grown(template, keys, probe), "x"))

    if isinstance(field.event, dict):
        script = door.script
        events = (*script.before, *field.lead, field.event, *field.tail, *script.after)
        yield [b"".join(map(framed, events)) + script.end], True
    if field.whole is not None:
        yield written(grown(field.whole, keys, probe), "x"), False


def shown(door: Door, field: Field, keys: Sequence[str], probe: Any) -> set[tuple[str, ...]]:
    """Where the probe arrives. A key that breaks an answer is tried by itself, after the others."""
    places: set[tuple[str, ...]] = set()
    for answer, stream in sent(door, field, keys, probe):
        got = carry(door, answer, REWRITE, stream=stream)
        if got.answer.failed is None:
            places |= {place for place, text in texts_of(got.out).items() if PROBE in text}
            assert all(PROBE not in key for value in documents(got.out) for key in value)
        elif len(keys) > 1:
            half = len(keys) // 2
            return shown(door, field, keys[:half], probe) | shown(door, field, keys[half:], probe)
    return places


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.path)
def test_no_key_is_shown_that_has_no_row(door: Door) -> None:
    """A text under any key that the dialects' code names, in any object: where it arrives, the table has a row."""
    rows = [field for field in door.script.fields if field.fate not in HIDDEN]
    templates = [t for field in rows for t in (field.event, field.whole) if isinstance(t, dict)]
    known = {place_of(template) for template in templates}
    known |= {("chat.end", "result", *place) for place in known}  # LM Studio's last event repeats the whole answer
    arrived: set[tuple[str, ...]] = set()
    for field in rows or door.script.fields[:1]:
        for at in range(0, len(KEYS), AT_ONCE):
            for probe in (PROBE, [PROBE]):
                arrived |= shown(door, field, KEYS[at : at + AT_ONCE], probe)
    assert arrived <= known, arrived - known
