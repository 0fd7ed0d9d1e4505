"""Detectors that read one text together find what each of them finds alone, whatever is remembered."""

from __future__ import annotations

import re
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.checks.detectors import DETECTORS, detector_pass
from proxy.checks.detectors.group import DetectorGroup
from proxy.checks.detectors.scan import DetectorPass, FoldedPass
from proxy.checks.passes import OwnPass, grouped
from proxy.checks.rule_pass import Folded
from proxy.core.types import Action, Finding, Rule
from proxy.matching.matcher import Matcher
from tests.laws import blocking, check_laws, cut, feed

NAMES = [name for name in DETECTORS if name != "many_shot"]
EXAMPLES = [text for name in NAMES for text in (*DETECTORS[name].hits, *DETECTORS[name].misses)]
PIECES = [text[i : i + 6] for text in EXAMPLES for i in range(0, len(text), 6)]
WORDS = ("", "the,", "quick:", "brown-", "fox.", "called", "12", "(me)", "at", "home\n", "token=", "face", "10.", "De")
texts = st.lists(st.sampled_from([*EXAMPLES, *PIECES, *(f" {word}" for word in WORDS)]), max_size=5).map("".join)


def rules(names: list[str], fold: bool = False) -> list[OwnPass]:
    """A rule for each detector; some only flag."""
    actions = (Action.REWRITE, Action.REWRITE, Action.FLAG)
    return [
        detector_pass(DETECTORS[name], Rule("p", name, actions[i % 3], i), fold=fold) for i, name in enumerate(names)
    ]


@cache
def together(fold: bool = False) -> Matcher:
    """All of them; one for all tests, so that much is remembered."""
    return Matcher([], others=grouped(rules(NAMES, fold)))


@cache
def apart(fold: bool = False) -> list[Matcher]:
    """Each by itself, and nothing is remembered."""
    return [Matcher([], others=[one], max_cached=0) for one in rules(NAMES, fold)]


def told(found: list[Finding]) -> set[tuple[int, int, str]]:
    """Findings without the order of those that begin at one place."""
    return {(f.start, f.end, f.rule.id) for f in found}


def findings(check: Matcher, chunks: list[str]) -> list[Finding]:
    """All that a fresh scan finds."""
    return [finding for answer in feed(check, chunks) for finding in answer.findings]


@pytest.mark.parametrize("fold", [False, True])
@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_a_group_finds_what_its_members_find(fold: bool, data: st.DataObject) -> None:
    """In the same pieces, with what earlier texts have left in the caches."""
    text = data.draw(texts)
    chunks = cut(text, data.draw(st.integers(0, 2 ** len(text) - 1)))
    each = [finding for matcher in apart(fold) for finding in findings(matcher, chunks)]
    assert told(findings(together(fold), chunks)) == told(each)


@settings(deadline=None, max_examples=300)
@given(text=texts)
def test_a_group_lets_out_what_all_its_members_have_decided(text: str) -> None:
    """After each token its watermark is the least of theirs."""
    chunks = re.findall(r" ?\w+|\W", text)
    each = [feed(matcher, chunks) for matcher in apart()]
    for answer, *others in zip(feed(together(), chunks), *each, strict=True):
        assert answer.watermark == min(other.watermark for other in others)


@settings(deadline=None)
@given(data=st.data())
def test_a_group_obeys_the_laws(data: st.DataObject) -> None:
    """Cut anywhere."""
    text = data.draw(texts)[:200]
    check_laws(together(), text, data.draw(st.integers(0, 2 ** len(text) - 1)))


@settings(deadline=None)
@given(before=texts, text=texts, other=texts)
def test_a_group_can_go_back(before: str, text: str, other: str) -> None:
    """To where it was saved, or to a state that has a key."""
    group = DetectorGroup.of([one for one in rules(NAMES) if isinstance(one, DetectorPass)])
    scan = group.open()
    scan.feed(before)
    mark, key = scan.save(), scan.state_key()
    expected = scan.feed(text, final=True)
    scan.restore(mark)
    scan.feed(other)
    scan.restore(mark)
    assert scan.feed(text, final=True) == expected
    if key is not None:
        again = group.open()
        again.restore_key(key, len(before))
        assert told(list(again.feed(text, final=True).findings)) == told(list(expected.findings))


def test_rules_that_look_for_the_same_do_so_once() -> None:
    """Each of them gets the find; text waits if it has to wait for one of them."""
    two = [detector_pass(DETECTORS["email"], Rule("p", str(i), Action(i + 1))) for i in range(2)]
    group = DetectorGroup.of([one for one in two if isinstance(one, DetectorPass)])
    assert len(group.members) == 1
    assert group.hides
    found = Matcher([], others=[group]).open().feed("to bob@example.com!", final=True).findings
    assert [(f.start, f.end, f.rule.id) for f in found] == [(3, 18, "0"), (3, 18, "1")]


def test_what_ends_a_text_or_counts_its_finds_stays_by_itself() -> None:
    """Blocks, and detectors that count from the n-th find on; folded ones are a group of their own."""
    block = detector_pass(DETECTORS["email"], Rule("p", "b", Action.BLOCK))
    counting = detector_pass(DETECTORS["many_shot"], Rule("p", "m", Action.FLAG))
    passes = grouped([block, counting, *rules(["iban", "url"]), *rules(["iban", "url"], fold=True)])
    assert passes[:2] == [block, counting]
    assert isinstance(passes[2], DetectorGroup)
    assert isinstance(passes[3], Folded)
    assert not isinstance(passes[3], FoldedPass)
    assert [blocking(f) for f in Matcher([], others=passes).open().feed("a@example.com", final=True).findings] == [True]


def test_most_tokens_are_read_once() -> None:
    """What a token leads to is remembered for all texts, not for the text before it."""
    group = DetectorGroup.of(
        [one for one in rules(["iban", "us_ssn", "url", "phone"]) if isinstance(one, DetectorPass)]
    )
    check = Matcher([], others=[group], max_cached=0)
    check.open().feed("The")
    scan = check.open()
    for token in (" quick", " brown", " fox", " quick", " fox", " brown", " fox"):
        scan.feed(token)
    known = len(group.begun)
    scan = check.open()
    for token in ("The", " fox", " brown", " quick", " fox"):
        scan.feed(token)
    assert len(group.begun) == known


def test_it_tells_for_which_rule_text_waits() -> None:
    """The first that has to wait, not one that only flags."""
    some = [Rule("p", name, action, i) for i, (name, action) in enumerate((("f", Action.FLAG), ("r", Action.REWRITE)))]
    passes = [detector_pass(DETECTORS["email"], rule) for rule in some]
    scan = DetectorGroup.of([one for one in passes if isinstance(one, DetectorPass)]).open()
    assert scan.waits() is None
    scan.feed("to bob")
    waits = scan.waits()
    assert waits is not None
    assert (waits.characters, waits.rule.id) == (3, "r")
    scan.feed("by ")
    assert scan.waits() is None
