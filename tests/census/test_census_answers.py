"""The census of answers: every field of every guarded path, cut everywhere, for every kind of client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.census.answer_fields import Fate, Field
from tests.census.doors import DOORS, GUARDED, SCRIPTS, Door
from tests.census.driving import ALLOWED, BLOCK, REWRITE, RULES, Carried, carry
from tests.census.planting import (
    AFTER,
    BAD,
    BEFORE,
    CHOICE,
    CLEAN,
    HOLE,
    LABEL,
    NOTICE,
    PLAIN,
    arrived,
    escape,
    leaks,
    place_of,
    texts_of,
    written,
)

NAME = "clean-name:7b"
ROWS = [(door, field) for door in DOORS for field in door.script.fields]
STREAMED = [(door, field) for door, field in ROWS if field.event is not None]
WHOLE = [(door, field) for door, field in ROWS if field.whole is not None]
JOINED = [(door, field) for door, field in STREAMED if field.joins]
SEVERAL = [(door, field) for door, field in JOINED if door.script.several]


def name(value: object) -> str:
    """A test's id."""
    return value.name if isinstance(value, Field) else value.path if isinstance(value, Door) else str(value)


Test = Callable[[Door, Field, str], None]


def each(rows: list[tuple[Door, Field]], rules: Iterable[str] = RULES) -> Callable[[Test], Callable[..., None]]:
    """A test for each path and rule, over all rows of the path: a test for each row would cost more than it does."""

    def over(test: Test) -> Callable[..., None]:
        def all_rows(door: Door, rule: str) -> None:
            failed = [error for one, field in rows if one is door for error in _tried(test, door, field, rule)]
            if failed:
                raise ExceptionGroup(f"{len(failed)} fields of {door.path}", failed)

        all_rows.__name__, all_rows.__doc__ = test.__name__, test.__doc__
        here = [door for door in DOORS if any(one is door for one, _ in rows)]
        doors = pytest.mark.parametrize("door", here, ids=name)
        marked: Callable[..., None] = pytest.mark.parametrize("rule", rules)(doors(all_rows))
        return marked

    return over


def _tried(test: Test, door: Door, field: Field, rule: str) -> list[Exception]:
    """The error of one row, with the field's name, if there is one."""
    try:
        test(door, field, rule)
    except Exception as error:
        error.add_note(f"in the field {field.name}")
        return [error]
    return []


def source(field: Field, text: str) -> str:
    """A text as it stands in a field."""
    return field.inside[0] + text + field.inside[1]


def events(door: Door, field: Field, *pieces: str, choice: int = 0, escaped: bool = False) -> bytes:
    """A whole stream in which the field says the pieces."""
    script = door.script
    assert field.event is not None
    lead = b"".join(script.framed(event, choice=choice) for event in field.lead)
    said = b"".join(script.framed(field.event, piece, choice, escaped) for piece in pieces)
    tail = b"".join(script.framed(event, choice=choice) for event in field.tail)
    return script.stream(lead + said + tail, 1 + choice)


def whole(field: Field, text: str, escaped: bool = False) -> bytes:
    """One body in which the field says it."""
    assert field.whole is not None
    return written(field.whole, text, escaped=escaped)


def clean_text(field: Field) -> str:
    """What every rule lets pass."""
    return NAME if field.fate in (Fate.ADMITTED, Fate.ERROR) else source(field, CLEAN)


def check_bad(door: Door, field: Field, got: Carried, rule: str, *, stream: bool, choice: int = 0) -> None:
    """Nothing of the planted words has arrived, and what happened is what the field's fate and the rule say."""
    assert not leaks(got.out, BAD, PLAIN)
    assert (got.answer.failed is not None) == (field.fate is Fate.ERROR)
    if field.fate is not Fate.GUARDED:
        assert not got.answer.guard.blocked_choices
        return
    if rule == REWRITE:
        assert not got.answer.guard.blocked_choices
        if stream or field.whole is not None or field.joins:
            assert {source(field, BEFORE + LABEL + AFTER), BEFORE + LABEL + AFTER} & arrived(got.out)
    else:
        assert list(got.answer.guard.blocked_choices) == [choice]
        shown = shown_of(field, got, stream=stream, choice=choice)
        assert source(field, BEFORE).startswith(shown.replace("\n\n" + NOTICE, "").replace(NOTICE, ""))


def shown_of(field: Field, got: Carried, *, stream: bool, choice: int = 0) -> str:
    """What an app shows of the field; nothing where its place in the other kind of answer is not in the table."""
    template = field.event if stream else field.whole
    place = place_of(template, choice) if isinstance(template, dict) else None
    return texts_of(got.out).get(place, "") if place is not None else ""


def test_every_guarded_path_has_its_fields() -> None:
    """A guarded path that is added to the route table needs a script here, and no script is for a path that is not."""
    assert set(SCRIPTS) == set(GUARDED)


@each(ROWS, [REWRITE])
def test_a_clean_text_arrives_unchanged(door: Door, field: Field, rule: str) -> None:
    """What no rule minds arrives whole in its place, or, where the table says so, not at all."""
    text = clean_text(field)
    for stream in (True, False):
        for sent in sources(door, field, text):
            got = carry(door, sent, rule, stream=stream)
            assert (got.answer.failed is not None) == (field.fate is Fate.ERROR)
            if field.fate is Fate.LEFT_OUT:
                assert not leaks(got.out, CLEAN)
            elif field.fate is Fate.GUARDED and (stream or field.whole is not None or field.joins):
                assert {text, CLEAN} & arrived(got.out)
            elif (field.event if stream else field.whole) is not None and isinstance(sent, list) == stream:
                assert leaks(got.out, NAME)


def sources(door: Door, field: Field, text: str) -> Iterator[list[bytes] | bytes]:
    """A text in a stream and in a whole answer, plain and escaped."""
    for escaped in (False, True):
        if field.event is not None:
            yield [events(door, field, text, escaped=escaped)]
        if field.whole is not None:
            yield whole(field, text, escaped=escaped)


@each(ROWS)
def test_a_planted_text_stays_out(door: Door, field: Field, rule: str) -> None:
    """Plain and escaped, in a stream and in a whole answer, for both kinds of client."""
    words = [source(field, BEFORE + BAD + AFTER)]
    words += [PLAIN] if field.fate is not Fate.GUARDED else []
    for text in words:
        for stream in (True, False):
            for sent in sources(door, field, text):
                check_bad(door, field, carry(door, sent, rule, stream=stream), rule, stream=stream)


@each(JOINED)
def test_a_planted_text_in_pieces(door: Door, field: Field, rule: str) -> None:
    """Cut between any two letters of it, and letter by letter, plain and escaped."""
    text = source(field, BEFORE + BAD + AFTER)
    first = len(field.inside[0] + BEFORE)
    cut = [(text[:at], text[at:]) for at in range(first, first + len(BAD) + 1)]
    for pieces in (*cut, tuple(text)):
        for stream in (True, False):
            for escaped in (False, True):
                sent = [events(door, field, *pieces, escaped=escaped)]
                check_bad(door, field, carry(door, sent, rule, stream=stream), rule, stream=stream)


@each(STREAMED)
def test_a_planted_text_in_reads(door: Door, field: Field, rule: str) -> None:
    """The network cuts an event anywhere, inside a character too, and the whole stream into bytes."""
    body = events(door, field, source(field, BEFORE + BAD + AFTER))
    start = body.index(BAD.encode())
    for at in range(start, start + len(BAD.encode()) + 1):
        got = carry(door, [body[:at], body[at:]], rule, stream=True)
        check_bad(door, field, got, rule, stream=True)
    got = carry(door, [body[i : i + 1] for i in range(len(body))], rule, stream=True)
    check_bad(door, field, got, rule, stream=True)


@each(SEVERAL)
def test_a_planted_text_in_another_choice(door: Door, field: Field, rule: str) -> None:
    """The second of two choices is guarded like the first, which goes on."""
    text = source(field, BEFORE + BAD + AFTER)
    at = text.index(BAD) + 3
    for stream in (True, False):
        for pieces in ((text,), (text[:at], text[at:])):
            sent = [events(door, field, *pieces, choice=1)]
            got = carry(door, sent, rule, stream=stream, more=door.script.several)
            check_bad(door, field, got, rule, stream=stream, choice=1)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("door", [door for door in DOORS if door.script.json], ids=name)
def test_escapes_in_content_that_is_json(door: Door, rule: str) -> None:
    """Content that was asked for as JSON is read decoded: a word that is written with escapes is seen at any cut."""
    field = door.script.field(door.script.content)
    text = '{"a": "' + escape(BAD) + '"}'
    for at in range(len(text)):
        for stream in (True, False):
            sent = [events(door, field, text[:at], text[at:])]
            got = carry(door, sent, rule, stream=stream, more=door.script.json)
            assert not leaks(got.out, BAD, escape(BAD))
            assert bool(got.answer.guard.blocked_choices) == (rule == BLOCK)


@each(ROWS)
def test_a_planted_text_where_all_is_allowed(door: Door, field: Field, rule: str) -> None:
    """With every setting that an operator can switch on, and an answer that is kept, it stays out all the same."""
    more = {"store": True} if "store" in door.dialect.parse(request_of(door), ALLOWED).body else {}
    for text in (source(field, BEFORE + BAD + AFTER), PLAIN):
        for stream in (True, False):
            for sent in sources(door, field, text):
                got = carry(door, sent, rule, stream=stream, more=more, options=ALLOWED)
                assert not leaks(got.out, BAD, PLAIN)


def request_of(door: Door) -> bytes:
    """A request of the path that wants its answer kept; where that means nothing, it is dropped."""
    return json.dumps({**door.script.request, "store": True}).encode()


@pytest.mark.parametrize("door", DOORS, ids=name)
def test_a_word_in_any_string(door: Door) -> None:
    """In the place of every string and every key that stands in the table's events, be it text or not."""
    for body in every_place(door):
        for sent, streams in body:
            for stream in streams:
                got = carry(door, sent, BLOCK, stream=stream)
                assert not leaks(got.out, BAD, PLAIN)


def every_place(door: Door) -> Iterator[list[tuple[list[bytes] | bytes, tuple[bool, ...]]]]:
    """Streams and bodies, each with one other string or key changed; places that are alike are tried once."""
    tried: set[tuple[object, ...]] = set()
    for field in door.script.fields:
        for template in (field.event, field.whole):
            if not isinstance(template, dict):
                continue
            for changed in replanted(template):
                place = (template is field.whole, place_of(changed) or str(changed)[:60])
                if place not in tried:
                    tried.add(place)
                    moved = replace(field, event=changed, whole=changed)
                    yield [
                        (whole(moved, word) if template is field.whole else [events(door, moved, word)], (True, False))
                        for word in (BAD, PLAIN)
                    ]


def replanted(template: object) -> Iterator[Any]:
    """Copies of a template with a clean text for its hole, and the hole in the place of another string, or as a key."""
    yield from _replanted(json.loads(json.dumps(template).replace(HOLE, "x")))


def _replanted(value: object) -> Iterator[Any]:
    if isinstance(value, str) and value != CHOICE:
        yield HOLE
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from ({**value, key: changed} for changed in _replanted(item))
        yield {**value, HOLE: 1}
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from ([*value[:i], changed, *value[i + 1 :]] for changed in _replanted(item))
