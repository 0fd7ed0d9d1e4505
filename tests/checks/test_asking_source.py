"""A rule that asks about JSON source: a segment's end cuts no escape, so that what is asked about is what it says."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.asking import LONGEST_ESCAPE, Pieces, WholeEscapes
from proxy.core.types import Action
from proxy.testing import check_laws
from tests.checks.questions import all_of, asking
from tests.laws import cut

CHARACTERS = st.sampled_from(
    ["a", " ", ".", "\\", '"', "u", "0", "d", "\n", "\u00e9", "\u4e2d", "\U0001f600", "\ud83d"]
)
SIZES = st.integers(1, 9)


def source_of(characters: list[str]) -> str:
    """A text as JSON source, every other character by its number."""
    said = [
        json.dumps(char)[1:-1] if i % 2 else "".join(map(_numbered, _units(char))) for i, char in enumerate(characters)
    ]
    return "".join(said)


def _units(char: str) -> list[int]:
    data = char.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]


def _numbered(unit: int) -> str:
    return f"\\u{unit:04x}"


@given(st.lists(CHARACTERS, max_size=12), SIZES, st.integers(0, 2**32))
def test_what_is_asked_about_is_what_the_source_says(characters: list[str], size: int, places: int) -> None:
    """However small the pieces, and wherever the stream is cut: joined they say what the source says."""
    source = source_of(characters)
    scan = asking(Action.BLOCK, size).for_source().open()
    parts = cut(source, places)
    asks = [ask for part in parts for ask in scan.feed(part).asks] + list(scan.feed("", final=True).asks)
    spans = [(0, 0), *[(ask.start, ask.end) for ask in asks]]
    said = "".join(str(ask.data) for ask in asks)
    assert said.replace(" ", "") == json.loads(f'"{source}"').replace(" ", "")  # nobody is asked about spaces alone
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


@given(st.text('\\ud83Aea0n"', max_size=40), SIZES, st.integers(0, 2**32))
def test_the_segments_of_any_source_joined_are_the_source(source: str, size: int, places: int) -> None:
    """Also of source that is no JSON; no cut of the stream changes one, and none waits for more than an escape."""
    whole = WholeEscapes(Pieces(size))
    segments = [*whole.feed(source), *whole.feed("", final=True)]
    assert "".join(segment.text for segment in segments) == source
    assert all(before.end == after.start for before, after in pairwise(segments))
    piecewise = WholeEscapes(Pieces(size))
    read = 0
    got = []
    for part in cut(source, places):
        got += piecewise.feed(part)
        read += len(part)
        assert read - (got[-1].end if got else 0) <= size - 1 + LONGEST_ESCAPE
    assert [*got, *piecewise.feed("", final=True)] == segments


@pytest.mark.parametrize("by", [4, 7, "stops"])
def test_a_word_in_escapes_is_found(by: int | str) -> None:
    """Half an escape says nothing, and whoever is asked about it would let the word pass."""
    source = "".join(map(_numbered, b"b\\ad"))
    scan = asking(Action.BLOCK, by).for_source().open()
    said = "".join(str(ask.data) for ask in scan.feed(source, final=True).asks)
    assert said == "b\\ad"


@pytest.mark.parametrize("by", [5, "sentences"])
def test_it_obeys_the_laws_in_source(by: int | str) -> None:
    """As in plain text."""
    texts = [source_of(list('a. \U0001f600bad. \\"x\\')), "bad\\", "\\ud83d"]
    check_laws(asking(Action.BLOCK, by).for_source(), texts, cuts=5, replies=all_of("bad"))
