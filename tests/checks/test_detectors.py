"""Every detector finds what it says it finds, lets the rest be, and is exact in a stream."""

from __future__ import annotations

import re
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.checks.detectors import DETECTORS, Detector, Options, detector_pass
from proxy.checks.detectors.patterns import LONG
from proxy.checks.detectors.scan import FoldedPass
from proxy.core.gate import Gate
from proxy.core.types import Action, Rule
from proxy.matching.matcher import Matcher
from tests.laws import check_laws

HITS = [(d, text) for d in DETECTORS.values() for text in d.hits]
MISSES = [(d, text) for d in DETECTORS.values() for text in d.misses]
ACTIONS = (Action.REWRITE, Action.BLOCK, Action.FLAG)


@cache
def matcher(name: str, action: Action = Action.REWRITE, fold: bool = False) -> Matcher:
    """A detector alone."""
    return Matcher([], others=[detector_pass(DETECTORS[name], Rule("p", name, action), fold=fold)])


def shown(name: str, text: str) -> str:
    """What is let out of the text."""
    return Gate([matcher(name)]).feed(text, final=True)


def name_of(value: object) -> str:
    """Short ids for tests."""
    return value.name if isinstance(value, Detector) else ascii(value)[:24]


@pytest.mark.parametrize(("detector", "text"), HITS, ids=name_of)
def test_it_finds_its_hits_and_only_in_them(detector: Detector, text: str) -> None:
    """Each hit is one match; what stands around it stays."""
    out = shown(detector.name, f"({text})")
    assert out.count("[removed]") == 1
    assert out.startswith("(")
    assert out.endswith(")")


@pytest.mark.parametrize(("detector", "text"), MISSES, ids=name_of)
def test_it_lets_its_misses_be(detector: Detector, text: str) -> None:
    """What only looks like it stays."""
    assert shown(detector.name, text) == text


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
@pytest.mark.parametrize("detector", DETECTORS.values(), ids=name_of)
@settings(deadline=None)
@given(data=st.data())
def test_it_obeys_the_laws(detector: Detector, action: Action, data: st.DataObject) -> None:
    """Pieces of its own examples in any order, cut anywhere."""
    pieces = [text[i : i + 5] for text in (*detector.hits, *detector.misses) for i in range(0, len(text), 5)]
    whole = st.sampled_from([*detector.hits, *detector.misses, *pieces, " ", ", ", ".", "a", "1"])
    text = "".join(data.draw(st.lists(whole, max_size=6)))
    check_laws(matcher(detector.name, action), text, data.draw(st.integers(0, 2 ** len(text) - 1)))


@pytest.mark.parametrize("detector", DETECTORS.values(), ids=name_of)
@settings(deadline=None)
@given(data=st.data())
def test_it_obeys_the_laws_on_folded_text(detector: Detector, data: st.DataObject) -> None:
    """The same with `fold: true`."""
    whole = st.sampled_from([*detector.hits, *detector.misses, " ", "\u200b", "ａ", "４"])
    text = "".join(data.draw(st.lists(whole, max_size=4)))
    check_laws(matcher(detector.name, fold=True), text, data.draw(st.integers(0, 2 ** len(text) - 1)))


@pytest.mark.parametrize(("detector", "text"), HITS, ids=name_of)
def test_what_may_become_a_find_waits(detector: Detector, text: str) -> None:
    """Not one character of a find is let out before it is known to be one, wherever the text is cut."""
    check = matcher(detector.name)
    whole = [f for f in check.open().feed(text, final=True).findings if not f.extends]
    for size in range(whole[0].start + 1, whole[0].end):
        assert check.open().feed(text[:size]).watermark <= whole[0].start


@pytest.mark.parametrize("detector", DETECTORS.values(), ids=name_of)
def test_every_detector_is_described_and_tested(detector: Detector) -> None:
    """A line for the docs, hits and misses."""
    assert detector.about
    assert detector.hits
    assert detector.misses


@pytest.mark.parametrize(("detector", "text"), MISSES, ids=name_of)
def test_a_candidate_that_is_dropped_has_a_reason(detector: Detector, text: str) -> None:
    """`explain` says why, in a few words."""
    made = detector_pass(detector, Rule("p", detector.name, Action.FLAG))
    assert all(one.validation.reason for one in made.candidates(text) if not one.validation.spans)


def test_only_the_kinds_that_a_rule_names_count() -> None:
    """`only` leaves the others alone."""
    rule = Rule("p", "r", Action.REWRITE)
    tokens = Matcher([], others=[detector_pass(DETECTORS["secrets"], rule, Options(frozenset(("github",))))])
    token, key = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8", "AKIA" + "ABCDEFGH12345678"
    assert Gate([tokens]).feed(f"{token} and {key}", final=True) == f"[removed] and {key}"


def test_fold_sees_through_full_width_letters() -> None:
    """`fold: true` reads what a reader reads."""
    folded = matcher("email", fold=True)
    assert Gate([folded]).feed("to ｂｏｂ＠example.com.", final=True) == "to [removed]."


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("detector", DETECTORS.values(), ids=name_of)
@settings(deadline=None)
@given(data=st.data())
def test_in_a_long_text_the_same_is_found(detector: Detector, fold: bool, data: st.DataObject) -> None:
    """There the places where a candidate may begin are looked for first."""
    made = detector_pass(detector, Rule("p", detector.name, Action.FLAG), fold=fold)
    search = (made.inner if isinstance(made, FoldedPass) else made).recognition.search
    whole = st.sampled_from([*detector.hits, *detector.misses, " ", "\n", "a", "_", "1", "A b c"])
    text = "".join(data.draw(st.lists(whole, max_size=5)))
    filler = " . " * LONG
    long, at = search.candidate(text + filler, 0), search.find.search(text + filler, 0)
    assert (long and long.span()) == (at and at.span())


@pytest.mark.parametrize(("detector", "text"), HITS, ids=name_of)
@pytest.mark.parametrize("fold", [False, True])
def test_every_beginning_of_a_find_is_known_as_one(detector: Detector, text: str, fold: bool) -> None:
    """By its first characters, or by what there is of them: texts in which they do not stand are not looked at."""
    made = detector_pass(detector, Rule("p", detector.name, Action.FLAG), fold=fold)
    search = (made.inner if isinstance(made, FoldedPass) else made).recognition.search
    text = text.lower() if isinstance(made, FoldedPass) else text
    first = search.find.search(text)
    assert first is not None
    for end in range(first.start() + 1, len(text) + 1):
        assert search.prefix is None or re.compile(search.prefix).match(text[:end], first.start())


def test_a_number_of_a_place_that_is_in_no_table_is_dropped() -> None:
    """China's numbers begin with a county. A right check digit behind a province alone is no number, and no failure."""
    number = "123456111111123456"
    for place in range(11, 100):
        shown("national_id", f"id {place}{number[2:]}")
    assert shown("national_id", f"id {number}") == f"id {number}"
