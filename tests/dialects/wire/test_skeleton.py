"""Events that are all alike, read without a JSON tree: never anything that JSON would read differently."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.events import Frame, TextDelta
from proxy.core.types import Channel, Kind
from proxy.dialects.wire.skeleton import Skeleton, VaryingSkeleton, find_string
from proxy.dialects.wire.slots import saying

CHANNEL = Channel(0, Kind.CONTENT, "content")
NASTY = st.text(
    st.sampled_from('ab"\\{}:, \n\u00e9\u2028\U0001f600') | st.characters(exclude_categories=["Cs"]), max_size=12
)


def event(text: str, fingerprint: str = "fp_1", ascii_only: bool = False) -> bytes:
    """An event as a server might write it."""
    chunk = {"choices": [{"delta": {"content": text}}], "fp": fingerprint, "object": "chunk"}
    return b"data: " + json.dumps(chunk, ensure_ascii=ascii_only, separators=(",", ":")).encode() + b"\n\n"


def frame(raw: bytes, text: str) -> Frame:
    """That event as it was understood the long way."""
    return Frame(raw, (TextDelta(CHANNEL, text),))


def plain() -> Skeleton:
    """The skeleton of an ordinary event."""
    skeleton = Skeleton.of(frame(event("first"), "first"), "content")
    assert skeleton is not None
    return skeleton


def varying() -> VaryingSkeleton:
    """The skeleton of an event whose fingerprint changes."""
    skeleton = VaryingSkeleton.of(frame(event("first"), "first"), "content", "fp")
    assert skeleton is not None
    return skeleton


@given(NASTY, st.booleans())
def test_any_text_is_read_as_json_reads_it(text: str, ascii_only: bool) -> None:
    """Whatever the text and however it is escaped, the quick way gives what JSON gives."""
    for skeleton in (plain(), varying()):
        got = skeleton.frame(event(text, ascii_only=ascii_only))
        assert got is not None
        assert got.deltas == (TextDelta(CHANNEL, text),)


@given(NASTY, NASTY)
def test_another_text_can_be_put_in_its_place(text: str, other: str) -> None:
    """The event with another text is the same event in all else."""
    got = plain().frame(event(text))
    assert got is not None
    assert got.slot is not None
    said = saying(got.raw, got.slot, other)
    assert orjson.loads(said[6:]) == orjson.loads(event(other)[6:]) if other else said == b""


@given(st.binary(max_size=30), st.binary(max_size=10))
def test_bytes_that_bring_keys_of_their_own_are_not_read(inside: bytes, value: bytes) -> None:
    """What the quick way reads is what JSON reads, or it does not read it at all."""
    raw = event("SLOT", "VALUE").replace(b"SLOT", inside).replace(b"VALUE", value)
    for skeleton in (plain(), varying()):
        got = skeleton.frame(raw)
        if got is not None:
            chunk = orjson.loads(raw[6:])
            assert chunk["choices"] == [{"delta": {"content": got.deltas[0].text}}]
            assert set(chunk) == {"choices", "fp", "object"}


@pytest.mark.parametrize(
    "inside", [b'x","content":"evil', b'x"},"y":{"content":"z', b"x\\", b"\xff", b"\\ud800", b"a\nb"]
)
def test_a_text_that_is_not_one_json_string_is_left_to_the_long_way(inside: bytes) -> None:
    """A quote that ends the string early, half an escape, broken UTF-8, a lone surrogate, a raw line break."""
    assert plain().frame(event("SLOT").replace(b"SLOT", inside)) is None


@pytest.mark.parametrize("value", ["a b", "\u00e9", '"', "x" * 300])
def test_a_value_that_is_not_plain_is_left_to_the_long_way(value: str) -> None:
    """The value that changes is an id, a number or a time, or else the event is read whole."""
    assert varying().frame(event("text", value)) is None


@pytest.mark.parametrize("inside", ["1795416665", "1", "-1", "01", "1.5", "1e3", '1,"content":2', "", "9" * 20])
def test_a_number_that_changes_is_read_as_json_reads_it(inside: str) -> None:
    """A time in whole seconds may be new in each event; anything else is left to the long way."""

    def timed(time: str, text: str) -> bytes:
        return b'data: {"created":%b,"choices":[{"delta":{"content":"%b"}}]}\n\n' % (time.encode(), text.encode())

    skeleton = VaryingSkeleton.of(frame(timed("1795416664", "first"), "first"), "content", "created", number=True)
    assert skeleton is not None
    got = skeleton.frame(timed(inside, "next"))
    assert (got is not None) is (inside in ("1795416665", "1"))


def test_the_value_that_changes_is_told() -> None:
    """Whoever guards the answer sees each new value."""
    skeleton = varying()
    assert skeleton.frame(event("text", "fp_2026.11-24:x")) is not None
    assert skeleton.value == b"fp_2026.11-24:x"


def test_an_event_with_two_texts_or_an_end_has_no_skeleton() -> None:
    """Only the simplest events are read the quick way."""
    raw = event("first")
    assert Skeleton.of(Frame(raw, (TextDelta(CHANNEL, "first"), TextDelta(CHANNEL, "x"))), "content") is None
    assert Skeleton.of(Frame(raw, (TextDelta(CHANNEL, "first"),), finishes=(0,)), "content") is None
    assert Skeleton.of(frame(raw.replace(b'"fp"', b'"content"'), "first"), "content") is None


@given(st.text('a"\\\n\u00e9', max_size=12), st.text('b"\\', max_size=6))
def test_where_a_string_ends(text: str, other: str) -> None:
    """The place of a text ends with its own closing quote, whatever quotes and backslashes stand there."""
    raw = orjson.dumps({"content": text, "other": other})
    place = find_string(raw, "content")
    assert place is not None
    assert orjson.loads(b'"%b"' % raw[place[0] : place[1]]) == text
    assert find_string(raw[: place[1]], "content") is None


def test_a_text_of_nothing_but_quotes() -> None:
    """Its end is found in one pass: with one look back for each quote this would take longer than anybody waits."""
    text = '"' * 1_000_000
    raw = orjson.dumps({"content": text})
    place = find_string(raw, "content")
    assert place == (len(b'{"content":"'), len(raw) - 2)
