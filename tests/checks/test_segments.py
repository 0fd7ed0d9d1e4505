"""Segments: where they end in any script, and that no cut of the text on its way changes them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.segments import LOOKAHEAD, Segment, Segmenter, segments_of

PIECES = st.sampled_from(
    [
        *".!?。！?|\n \t'\")”』*x",
        "J",
        "7",
        "é",
        "e\u0301",
        "\u200d",
        "👩",
        "ก",
        "क",
        "ि",
        "।",
        "word",
        " Next",
        " next",
        "...",
        "\r\n",
    ]
)
TEXTS = st.lists(PIECES, max_size=60).map("".join) | st.text(max_size=80)
SIZES = st.tuples(st.integers(1, 8), st.integers(0, 30)).map(lambda pair: (pair[0], sum(pair)))


def fed(pieces: list[str], shortest: int, longest: int) -> list[Segment]:
    """The segments of a text that comes in these pieces."""
    segmenter = Segmenter(shortest, longest)
    found = [segment for piece in pieces for segment in segmenter.feed(piece)]
    return found + segmenter.feed("", final=True)


def sentences(text: str) -> list[str]:
    """The segments of a text, with none merged for being short."""
    return [segment.text for segment in segments_of(text, 1, 600)]


@given(TEXTS, SIZES)
def test_joined(text: str, sizes: tuple[int, int]) -> None:
    """The segments joined are the text, each begins where the one before it ended, and none is empty."""
    place = 0
    for segment in segments_of(text, *sizes):
        assert segment.start == place
        assert segment.text
        place = segment.end
    assert "".join(segment.text for segment in segments_of(text, *sizes)) == text


@given(TEXTS, SIZES)
def test_lengths(text: str, sizes: tuple[int, int]) -> None:
    """All are at most `longest`, all but the last at least `shortest`."""
    lengths = [len(segment.text) for segment in segments_of(text, *sizes)]
    assert all(length <= sizes[1] for length in lengths)
    assert all(length >= sizes[0] for length in lengths[:-1])


@given(TEXTS, SIZES, st.lists(st.integers(0, 80), max_size=6))
def test_cuts(text: str, sizes: tuple[int, int], places: list[int]) -> None:
    """Cutting the text differently changes no segment: whole, in single characters, at random."""
    cuts = sorted({min(place, len(text)) for place in places} | {0, len(text)})
    pieces = [text[start:end] for start, end in pairwise(cuts)]
    whole = segments_of(text, *sizes)
    assert fed(list(text), *sizes) == whole
    assert fed(pieces, *sizes) == whole


@given(TEXTS, SIZES)
def test_no_longer_than_need_be(text: str, sizes: tuple[int, int]) -> None:
    """Fewer characters wait than `hold` says, and a segment is given as soon as its lookahead is there."""
    segmenter = Segmenter(*sizes)
    given_at: dict[Segment, int] = {}
    for read, character in enumerate(text, 1):
        given_at.update(dict.fromkeys(segmenter.feed(character), read))
        assert len(segmenter.waiting) < segmenter.hold
    assert all(read <= segment.start + segmenter.hold for segment, read in given_at.items())


@given(TEXTS, TEXTS, SIZES)
def test_ends_do_not_depend_on_what_follows(text: str, more: str, sizes: tuple[int, int]) -> None:
    """What follows a segment and its lookahead changes nothing about it."""
    certain = [segment for segment in segments_of(text, *sizes) if segment.end + LOOKAHEAD <= len(text)]
    assert segments_of(text + more, *sizes)[: len(certain)] == certain


@given(TEXTS, TEXTS, SIZES)
def test_going_back(text: str, more: str, sizes: tuple[int, int]) -> None:
    """After `restore` it reads on as it did after `save`."""
    segmenter = Segmenter(*sizes)
    segmenter.feed(text)
    mark = segmenter.save()
    first = segmenter.feed(more, final=True)
    segmenter.restore(mark)
    assert segmenter.feed(more, final=True) == first


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("One. Two! Three? Four", ["One.", " Two!", " Three?", " Four"]),
        ("He said “Go.” Then he went.", ["He said “Go.”", " Then he went."]),
        ("**Bold.** Next", ["**Bold.**", " Next"]),
        ("What?! No...  yes", ["What?!", " No...", "  yes"]),
        ("A line\nand more\r\nend", ["A line\n", "and more\r\n", "end"]),
        ("今日は。元気？「はい！」はい", ["今日は。", "元気？", "「はい！」", "はい"]),
        ("यह है। वह है॥", ["यह है।", " वह है॥"]),
        ("هل أنت؟ نعم۔ لا", ["هل أنت؟", " نعم۔", " لا"]),
        ("ខ្ញុំ។អ្នក", ["ខ្ញុំ។", "អ្នក"]),
        ("ሰላም።ደህና", ["ሰላም።", "ደህና"]),
    ],
)
def test_sentences(text: str, wanted: list[str]) -> None:
    """A segment ends behind a sentence with its closing marks, and behind a line, in any script."""
    assert sentences(text) == wanted


@pytest.mark.parametrize(
    "text", ["pi is 3.14 or so", "see example.com/a?b=c now", "J. R. R. Tolkien", "e.g. this", "wait... then", "a != b"]
)
def test_no_sentences(text: str) -> None:
    """Numbers, addresses, initials and a full stop before a small letter end nothing."""
    assert sentences(text) == [text]


def test_short_sentences_go_together() -> None:
    """A sentence that is shorter than `shortest` is judged with the next one."""
    assert [segment.text for segment in segments_of("Hi. Yes. This one is longer. No.", 12, 100)] == [
        "Hi. Yes. This one is longer.",
        " No.",
    ]


def test_long_sentences_are_cut_before_a_word() -> None:
    """Without an end in time it is cut before a word; a text without spaces between letters, never before an accent."""
    assert [segment.text for segment in segments_of("aaaa bbbb cccc dddd", 1, 11)] == ["aaaa bbbb", " cccc dddd"]
    assert [segment.text for segment in segments_of("abe\u0301fg", 1, 3)] == ["ab", "e\u0301f", "g"]
    assert [segment.text for segment in segments_of("\u0301" * 40, 1, 20)] == ["\u0301" * 20] * 2


def test_a_text_without_any_end() -> None:
    """A long text that comes at once and has no ends is cut at each longest length."""
    assert len(segments_of("x" * 100_000, 1, 100)) == 1_000


@pytest.mark.parametrize("sizes", [(0, 5), (6, 5)])
def test_impossible_sizes(sizes: tuple[int, int]) -> None:
    """Sizes that no segment can have are refused."""
    with pytest.raises(ValueError, match="cannot be made"):
        Segmenter(*sizes)
