"""Bounds on answers: exact, whatever the chunks, and nothing waits for them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.limits import STRIDE, LengthLimit, Limit, RepetitionLimit
from proxy.core.gate import Gate
from proxy.core.types import Action, Rule
from tests.laws import check_laws

RULE = Rule("p", "limits.x", Action.BLOCK)
WATCHING = Rule("p", "limits.x", Action.BLOCK, enforced=False)
LOOP = RepetitionLimit(RULE, most=3, longest=40, characters=12)


def run(limit: Limit, text: str, cuts: list[int]) -> tuple[str, list[tuple[int, int]]]:
    """What a gate lets out of the text cut at these places, and what the limit found."""
    gate = Gate([limit])
    edges = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    out = "".join([gate.feed(text[a:b]) for a, b in pairwise(edges)])
    out += gate.feed("", final=True)
    return out, [(f.start, f.end) for f in gate.findings]


def loops(text: str, limit: RepetitionLimit) -> bool:
    """The definition by brute force: some piece fills the end of the text often and long enough."""
    for period in range(1, limit.longest + 1):
        run = max(period * limit.most, limit.characters)
        if run <= len(text) and all(text[-i] == text[-i - period] for i in range(1, run - period + 1)):
            return True
    return False


def first_loop(text: str, limit: RepetitionLimit) -> int | None:
    """Where the limit has to speak: the first multiple of STRIDE at which the text before it loops."""
    return next((at for at in range(STRIDE, len(text) + 1, STRIDE) if loops(text[:at], limit)), None)


looping = st.builds(
    lambda head, piece, times, tail: head + piece * times + tail,
    st.text("ab\n", max_size=70),
    st.text("ab ", min_size=1, max_size=45),
    st.integers(0, 60),
    st.text("ab\n", max_size=70),
)


@given(st.text(max_size=40), st.integers(1, 30), st.lists(st.integers(0, 40), max_size=4))
def test_a_text_ends_at_its_limit(text: str, most: int, cuts: list[int]) -> None:
    """The first N characters go out, however the text is cut; the next one is the finding."""
    out, found = run(LengthLimit(RULE, most), text, cuts)
    assert out == text[:most]
    assert found == ([(most, most + 1)] if len(text) > most else [])


@given(looping, st.integers(0, 2**300), st.sampled_from([LengthLimit(RULE, 100), LengthLimit(WATCHING, 9), LOOP]))
def test_limits_obey_the_laws(text: str, places: int, limit: Limit) -> None:
    """The laws of every check."""
    check_laws(limit, text, places)


def test_a_limit_that_only_watches_changes_nothing() -> None:
    """In monitor mode the text passes whole, and the finding is reported once."""
    assert run(LengthLimit(WATCHING, 3), "abcdefgh", [2, 4, 6]) == ("abcdefgh", [(3, 4)])
    loop = RepetitionLimit(WATCHING, most=3, longest=40, characters=12)
    assert run(loop, "ab" * 100, list(range(0, 200, 7))) == ("ab" * 100, [(63, 64)])


@given(looping, st.lists(st.integers(0, 3000), max_size=6))
def test_a_loop_is_found_where_the_definition_says(text: str, cuts: list[int]) -> None:
    """The text ends one character before the first look at which its end is one piece again and again."""
    at = first_loop(text, LOOP)
    out, found = run(LOOP, text, cuts)
    assert found == ([(at - 1, at)] if at else [])
    assert out == (text[: at - 1] if at else text)


@given(looping, st.integers(2, 5), st.integers(1, 9), st.integers(1, 40))
def test_every_setting_is_exact(text: str, most: int, longest: int, characters: int) -> None:
    """The definition holds for small settings too, where the search has little to go by."""
    limit = RepetitionLimit(RULE, most, longest, characters)
    at = first_loop(text, limit)
    assert run(limit, text, [])[1] == ([(at - 1, at)] if at else [])
    assert run(limit, text, list(range(len(text))))[1] == ([(at - 1, at)] if at else [])


@pytest.mark.parametrize(
    "text",
    [
        "| a | b |\n" + "|" + "-" * 300 + "|\n",
        "\n".join(f"{i}. item number {i}" for i in range(400)),
        "ha " * 100 + "that was funny. " + "ho " * 100,
    ],
)
def test_what_people_write_is_no_loop(text: str) -> None:
    """Rules of a table, numbered lists and short runs stay, with the settings that a policy gets by default."""
    assert run(RepetitionLimit(RULE, most=8, longest=500, characters=400), text, []) == (text, [])


@pytest.mark.parametrize("limit", [LengthLimit(RULE, 100), LOOP])
def test_nothing_waits_for_a_limit(limit: Any) -> None:
    """Text is let out in the same feed in which it came."""
    gate = Gate([limit])
    assert [gate.feed(c) for c in "some text"] == list("some text")
    assert limit.hold == gate.held == 0


def test_a_long_text_costs_little_memory() -> None:
    """What a scan keeps is bounded by the longest run that it may have to see."""
    scan = LOOP.open()
    for i in range(2000):
        scan.feed(f"word {i} ")
    assert len(scan._tail) + sum(map(len, scan._fresh)) <= LOOP.window + STRIDE
