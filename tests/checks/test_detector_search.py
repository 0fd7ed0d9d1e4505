"""How detectors search long texts: where they look at little, they find what they find when they look at all of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.detectors import DETECTORS, Options, patterns
from proxy.checks.detectors.patterns import Search, search_for
from proxy.matching.syntax import parse

FILLERS = (
    "word ",
    "a",
    " ",
    ".",
    "-",
    "12",
    "3",
    "@",
    "%",
    ":",
    "//",
    "é",
    "\u200b",
    "_",
    "![",
    "key = ",
    "\n",
    "9" * 9,
)
NAMES = sorted(DETECTORS)


@pytest.fixture(autouse=True, scope="module")
def short_texts_are_long() -> Iterator[None]:
    """And no text has too many traces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patterns, "LONG", 1)
        patch.setattr(patterns, "SPARSE", 0)
        patterns._spans.cache_clear()
        yield
        patterns._spans.cache_clear()


def pattern_of(name: str) -> str:
    """What a detector looks for with all of its options."""
    detector = DETECTORS[name]
    hosts = ("example.com",) if "hosts" in detector.takes else ()
    return detector.recogniser(Options(frozenset(detector.kinds), tuple(sorted(detector.regions)), hosts)).pattern


def search_of(name: str) -> Search:
    """The same, compiled."""
    return search_for(pattern_of(name))


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, str]:
    """A detector's name, and a text with pieces of what it finds."""
    name = draw(st.sampled_from(NAMES))
    detector = DETECTORS[name]
    pieces = st.sampled_from([*detector.hits, *detector.misses])
    cut = st.builds(lambda piece, a, b: piece[a : a + b], pieces, st.integers(0, 20), st.integers(1, 60))
    return name, "".join(draw(st.lists(st.sampled_from(FILLERS) | pieces | cut, max_size=8)))


@given(texts())
def test_candidates_are_found_where_their_traces_are(given: tuple[str, str]) -> None:
    """From any offset on the first candidate is that of the expression itself."""
    name, text = given
    search = search_of(name)
    find = search.finder(text)
    for at in range(len(text) + 1):
        expected, found = search.find.search(text, at), find(text, at)
        assert (found and found.span()) == (expected and expected.span())
        assert (found and found.groupdict()) == (expected and expected.groupdict())


@given(texts())
def test_beginnings_are_found_branch_by_branch(given: tuple[str, str]) -> None:
    """The first one that reaches the end of the text is that of one expression for all."""
    name, text = given
    search, whole = search_of(name), whole_partial(name)
    for end in range(len(text) + 1):
        begun = whole.search(text[:end])
        assert search.begun(text[:end], 0) == (None if begun is None else begun.start())


def whole_partial(name: str) -> re.Pattern[str]:
    """One expression for every beginning of a candidate that reaches the end of a text."""
    return re.compile(rf"(?:{patterns._partial(parse(pattern_of(name)).root)})\Z")


@pytest.mark.parametrize("name", ["email", "phone", "iban", "us_ssn", "url", "invisible_text"])
def test_a_trace_is_worked_out(name: str) -> None:
    """What these find has characters that most texts have few of."""
    trace = search_of(name).trace
    assert trace is not None
    for hit in DETECTORS[name].hits:
        assert trace.chars.search(hit)


def test_what_has_no_trace_has_none() -> None:
    """A branch without one, a repeat that may be empty, a set with other characters."""
    for pattern in (r"(?:\d{3}|ab)", r"\d{0,3}ab", r"[\da]{3}b", r"a{1,300}\d"):
        assert search_for(pattern).trace is None
    assert search_for(r"a{1,9}\d").trace == (re.compile(r"\d"), 10)
    assert search_for(r"(?<!\d)(?:a\d|b{3}\d|\dx)").trace == (re.compile(r"\d"), 4)


def test_a_trace_may_stand_at_the_end_of_a_long_candidate() -> None:
    """The candidate is found, and its beginning too, before its trace is there."""
    search = search_for(r"a{1,9}\d")
    before = "x" * 300
    match = search.finder(before + "a" * 9 + "1")(before + "a" * 9 + "1", 0)
    assert match is not None
    assert match.span() == (300, 310)
    assert search.begun(before + "a" * 9, 0) == 300
    assert search.begun(before + "a" * 9 + "1", 0) == 300
