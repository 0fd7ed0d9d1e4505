"""Bodies that Go reads otherwise than Python: a message that only the model server sees does not get there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.census.doors import GUARDED
from tests.census.driving import BLOCK
from tests.census.go_json import STRUCTS, fold, read, texts
from tests.census.planting import AFTER, BAD, BEFORE, leaks
from tests.census.request_fields import Fate, Row, rows
from tests.census.test_census_requests import REFUSED, STOPPED, asked

HIDDEN = BEFORE + BAD + AFTER
JUDGED = [row for row in rows() if row.path in STRUCTS and row.fate is Fate.JUDGED]
ROWS = [row for row in JUDGED if not row.place.path.endswith(".KEY")]


def spellings(key: str) -> Iterator[str]:
    """Other spellings of a key that Go takes for it."""
    yield key.upper()
    yield key.capitalize()
    yield from (key[:i] + key[i].upper() + key[i + 1 :] for i in range(1, len(key)))
    if "s" in key:
        yield key.replace("s", "\u017f", 1)
    if "k" in key:
        yield key.replace("k", "\u212a", 1)


def twisted(value: Any, clean: Any) -> Iterator[str]:
    """JSON of a request with one key, at any depth, spelled otherwise or given twice; `clean` is the same without harm.

    Beside a spelling that is known stands the same key with the clean value, before it or after it, so that a reader
    who takes keys as they are written sees only that.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            for name in (key, *spellings(key)):
                evil, good = f"{_json(name)}:{_json(item)}", f"{_json(key)}:{_json(clean[key])}"
                if name != key:
                    yield _put(value, key, evil)
                yield _put(value, key, f"{good},{evil}")
                yield _put(value, key, f"{evil},{good}")
            for inner in twisted(item, clean[key]):
                yield _put(value, key, f"{_json(key)}:{inner}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            for inner in twisted(item, clean[i]):
                yield "[" + ",".join([*map(_json, value[:i]), inner, *map(_json, value[i + 1 :])]) + "]"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _put(value: dict[str, Any], key: str, member: str) -> str:
    others = [f"{_json(k)}:{_json(v)}" for k, v in value.items() if k != key]
    return "{" + ",".join([*others, member]) + "}"


def go_sees(row: Row, body: bytes) -> bool:
    """Whether the hidden text is in what Go reads."""
    return any(BAD in text for text in texts(read(body, STRUCTS[row.path])))


@pytest.mark.anyio
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.path} {row.place.path}")
async def test_no_hidden_text_goes_upstream(row: Row) -> None:
    """Another case, U+017F, U+212A or a key twice, at every depth: refused, left out, or judged where Go reads it."""
    evil, good = ({"a": text} if row.place.free else text for text in (HIDDEN, "clean"))
    count = 0
    for twist in twisted(row.request(evil), row.request(good)):
        sent = await asked(row.dialect, twist.encode(), BLOCK)
        count += 1
        assert sent in (REFUSED, STOPPED) or not go_sees(row, sent), twist
        assert sent == REFUSED or row.place.free or not leaks(sent, BAD), twist
    assert count > 10


def test_the_reference_reads_as_go_does() -> None:
    """What was measured on Ollama: each of these brings the second text to the model."""
    struct = STRUCTS["/api/chat"]
    for body in (
        '{"MESSAGES":[{"role":"user","content":"evil"}]}',
        '{"me\u017fsages":[{"role":"user","content":"evil"}]}',
        '{"messages":[{"content":"safe"}],"Messages":[{"role":"user","content":"evil"}]}',
        '{"messages":[{"role":"user","content":"safe","CONTENT":"evil"}]}',
        '{"messages":[{"role":"user","content":"safe"}],"messages":[{"role":"user","content":"evil"}]} {"messages":[]}',
        '{"messages":[{"role":"user","content":"evil"}],"messages":[{"role":"system"}]}',
    ):
        assert read(body.encode(), struct)["messages"][0]["content"] == "evil"
    assert fold("\u212aeep_Alive") == "keep_alive"
    assert "content" not in read(b'{"messages":[{"c\\u00f6ntent":"evil"}]}', struct)["messages"][0]


def test_the_twists_have_teeth() -> None:
    """On the client's own bytes Go reads the hidden text in most of the twists: only the proxy keeps it away."""
    for row in ROWS:
        evil, good = ({"a": text} if row.place.free else text for text in (HIDDEN, "clean"))
        seen = [go_sees(row, twist.encode()) for twist in twisted(row.request(evil), row.request(good))]
        known = go_sees(row, json.dumps(row.request(evil)).encode())
        assert not known or sum(seen) > len(seen) / 2


@pytest.mark.anyio
@pytest.mark.parametrize("path", [path for path in STRUCTS if path in GUARDED])
@pytest.mark.parametrize(
    "twist",
    ["%s {}", "%s\n%s", "\ufeff%s", "[%s]", "%s,", "{%s}", '{"a":1,"a":2,"b":%s}', "%s\x00", "\x00%s", "%s//", "NaN"],
)
async def test_bodies_that_are_not_one_document(path: str, twist: str) -> None:
    """A second document, a byte order mark, something before or behind it: refused, whatever Go would make of it."""
    dialect = GUARDED[path]
    assert dialect is not None
    row = next(row for row in ROWS if row.path == path)
    good, evil = (json.dumps(row.request({"a": t} if row.place.free else t)) for t in ("clean", HIDDEN))
    for body in (twist.replace("%s", good, 1).replace("%s", evil), twist.replace("%s", evil)):
        assert await asked(dialect, body.encode(), BLOCK) == REFUSED


@pytest.mark.anyio
@pytest.mark.parametrize("path", [path for path in STRUCTS if path in GUARDED])
@pytest.mark.parametrize(
    "bad", [b"\xff", b"\xc3", b"\\ud800", b"\\udc00\\ud800", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"]
)
async def test_texts_that_are_no_unicode(path: str, bad: bytes) -> None:
    """Go reads broken UTF-8 and halves of surrogate pairs as U+FFFD; here the request is refused."""
    dialect = GUARDED[path]
    assert dialect is not None
    row = next(row for row in ROWS if row.path == path and not row.place.free)
    body = json.dumps(row.request("z@rb laxium")).encode().replace(b"@", bad)
    assert await asked(dialect, body, BLOCK) == REFUSED
