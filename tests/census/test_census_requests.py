"""The census of requests: every place of every guarded path's requests that takes text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from proxy.core.types import Direction
from proxy.dialects.base import Dialect
from proxy.dialects.request import Options
from proxy.errors import ClientError
from proxy.server.exchange.prompt_filter import Blocked, judge_request
from proxy.server.exchange.record import Exchange
from tests.census.doors import GUARDED
from tests.census.driving import BLOCK, REWRITE, RULES, TAKEN, notice, plan
from tests.census.planting import AFTER, BAD, BEFORE, CLEAN, LABEL, PLAIN, escape, leaks, strings
from tests.census.request_fields import ASKED, ENDINGS, EXEMPT, SPLIT, Fate, Row, places_of, rows

pytestmark = pytest.mark.anyio
ROWS = list(rows())
JUDGED = [row for row in ROWS if row.fate is Fate.JUDGED]
REFUSED, STOPPED = b"", b"stopped"


def name(row: Row) -> str:
    """A test's id."""
    return f"{row.path} {row.place.path}{' (any JSON)' if row.place.free else ''}"


async def asked(dialect: Dialect, body: bytes, rule: str) -> bytes:
    """What the model server receives: REFUSED if the request is not taken, STOPPED if the rule ends it."""
    TAKEN[0] += 1
    try:
        request = dialect.parse(body, Options())
        await judge_request(
            request.texts,
            request.joiner,
            lambda role: plan(rule, Direction.INPUT, role),
            notice,
            Exchange("/", "revision"),
        )
    except ClientError:
        return REFUSED
    except Blocked as block:
        return STOPPED if not leaks(dialect.blocked(notice(block.finding), "request-1"), BAD, PLAIN) else body
    return dialect.upstream_body(request)


def values(row: Row, text: str) -> Iterator[Any]:
    """A text, and where any JSON may stand, the text in it."""
    yield text
    if row.place.free:
        yield from ({"a": text}, {text: 1}, {"a": [{"b": [text]}]}, {"a": {text: {}}})


def left_out(row: Row, value: Any, sent: bytes) -> bool:
    """Whether a text, in a place for other JSON, is not sent, and the rest of the request is."""
    sent_on = sent not in (REFUSED, STOPPED) and not leaks(sent, BAD, CLEAN)
    return row.place.free and isinstance(value, str) and sent_on


def bodies(request: dict[str, Any]) -> Iterator[bytes]:
    """A request's bytes, plain and with every letter of every string escaped."""
    yield json.dumps(request, ensure_ascii=False).encode()
    yield _escaped(request).encode()


def _escaped(value: Any) -> str:
    if isinstance(value, str):
        return f'"{escape(value)}"'
    if isinstance(value, dict):
        return "{" + ",".join(f"{_escaped(k)}:{_escaped(v)}" for k, v in value.items()) + "}"
    return "[" + ",".join(map(_escaped, value)) + "]" if isinstance(value, list) else json.dumps(value)


def test_every_guarded_path_has_its_requests() -> None:
    """A guarded path that is added to the route table needs its allow-list here."""
    assert set(ASKED) == set(GUARDED)


def test_every_exemption_is_needed() -> None:
    """A place that is exempt stands in some allow-list: what is gone from there goes from the table."""
    known = {place.path for path in ASKED for place in places_of(path)}
    doors = {f"{path} {place.path}" for path in ASKED for place in places_of(path)}
    assert set(EXEMPT) <= known | doors
    assert all(any(path.endswith(end) for path in known) for end in ENDINGS)


@pytest.mark.parametrize("row", JUDGED, ids=name)
async def test_a_forbidden_text_does_not_go_upstream(row: Row) -> None:
    """A block ends the request, a rewrite puts its label in the place; plain and escaped."""
    seen = 0
    for value in values(row, BEFORE + BAD + AFTER):
        for body in bodies(row.request(value)):
            stopped = await asked(row.dialect, body, BLOCK)
            sent = await asked(row.dialect, body, REWRITE)
            assert not leaks(sent, BAD)
            assert (stopped, LABEL.encode() in sent) in ((STOPPED, True), (REFUSED, False)) or left_out(
                row, value, sent
            )
            seen += stopped == STOPPED
    assert seen >= 2


@pytest.mark.parametrize("row", JUDGED, ids=name)
async def test_a_clean_text_goes_upstream(row: Row) -> None:
    """What no rule minds arrives unchanged where it stood."""
    arrived = 0
    for value in values(row, CLEAN):
        for body in bodies(row.request(value)):
            sent = await asked(row.dialect, body, BLOCK)
            arrives = sent != REFUSED and CLEAN in set(strings(json.loads(sent)))
            arrived += arrives
            assert arrives or sent == REFUSED or left_out(row, value, sent)
    assert arrived >= 2


@pytest.mark.parametrize("row", [row for row in ROWS if row.fate is Fate.WORD], ids=name)
async def test_a_word_of_a_backend(row: Row) -> None:
    """A word that a rule forbids does not go upstream, another passes, and what is more than a word does not."""
    for body in bodies(row.request(PLAIN)):
        assert await asked(row.dialect, body, BLOCK) == STOPPED
        assert not leaks(await asked(row.dialect, body, REWRITE), PLAIN)
    for body in bodies(row.request("plainword")):
        assert "plainword" in set(strings(json.loads(await asked(row.dialect, body, BLOCK))))
    for body in bodies(row.request(BAD)):
        sent = await asked(row.dialect, body, BLOCK)
        assert sent != STOPPED
        assert not leaks(sent, BAD)


@pytest.mark.parametrize("row", [row for row in ROWS if row.fate not in (Fate.JUDGED, Fate.WORD)], ids=name)
async def test_what_no_rule_looks_at(row: Row) -> None:
    """Texts in places that no model reads are refused, dropped or sent on, as the table says."""
    for value in (*values(row, BAD), *values(row, PLAIN)):
        for body in bodies(row.request(value)):
            sent = await asked(row.dialect, body, BLOCK)
            if row.fate is Fate.REFUSED:
                assert sent in (REFUSED, STOPPED)
            elif row.fate is Fate.DROPPED:
                assert sent not in (REFUSED, STOPPED)
                assert not leaks(sent, BAD, PLAIN)
            else:
                assert sent != STOPPED


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("path", SPLIT)
async def test_a_phrase_in_two_texts(path: str, rule: str) -> None:
    """Two messages or two parts that the model reads as one text are judged as one, at every cut that it sees."""
    dialect = GUARDED[path]
    assert dialect is not None
    for pair in SPLIT[path]:
        head, tail = BAD.split(" ")
        sent = await asked(dialect, json.dumps(pair(BEFORE + head, tail + AFTER)).encode(), rule)
        assert (sent == STOPPED) == (rule == BLOCK)
        assert head.encode() not in sent
        assert tail.encode() not in sent


@pytest.mark.parametrize("path", ASKED)
async def test_keys_that_nobody_knows(path: str) -> None:
    """Words under an unknown key, beside any known one, do not go upstream."""
    dialect = GUARDED[path]
    assert dialect is not None
    for row in (row for row in JUDGED if row.path == path):
        request = _overgrown(row.request({"a": "x"} if row.place.free else "x"))
        sent = await asked(dialect, json.dumps(request).encode(), BLOCK)
        assert not leaks(sent, PLAIN) or sent == STOPPED


def _overgrown(value: Any) -> Any:
    if isinstance(value, dict):
        return {**{k: _overgrown(v) for k, v in value.items()}, "x_more": PLAIN, PLAIN: {"deep": [PLAIN]}}
    return [_overgrown(item) for item in value] if isinstance(value, list) else value
