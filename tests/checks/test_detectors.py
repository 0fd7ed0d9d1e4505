"""Every detector finds what it says it finds, lets the rest be, and is exact in a stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.detectors import DETECTORS, Detector, address, luhn, mod97, ssn
from proxy.core.gate import Gate
from proxy.core.types import Action, Rule
from proxy.matching.matcher import Matcher, compile_rule
from proxy.matching.rules import MatchRule
from tests.laws import check_laws

RULES = {
    name: Matcher([compile_rule(MatchRule(Rule("p", name, Action.REWRITE), d.pattern, validate=d.validate))])
    for name, d in DETECTORS.items()
}
HITS = [(d, text) for d in DETECTORS.values() for text in d.hits]
MISSES = [(d, text) for d in DETECTORS.values() for text in d.misses]


def shown(detector: Detector, text: str) -> str:
    """What is let out of the text."""
    return Gate([RULES[detector.name]]).feed(text, final=True)


def name_of(value: object) -> str:
    """Short ids for tests."""
    return value.name if isinstance(value, Detector) else str(value)[:20]


@pytest.mark.parametrize(("detector", "text"), HITS, ids=name_of)
def test_it_finds_its_hits_and_only_in_them(detector: Detector, text: str) -> None:
    """Each hit is one match; what stands around it stays."""
    out = shown(detector, f"({text})")
    assert out.count("[removed]") == 1
    assert out.startswith("(")
    assert out.endswith(")")


@pytest.mark.parametrize(("detector", "text"), MISSES, ids=name_of)
def test_it_lets_its_misses_be(detector: Detector, text: str) -> None:
    """What only looks like it stays."""
    assert shown(detector, text) == text


@pytest.mark.parametrize("detector", DETECTORS.values(), ids=name_of)
@given(data=st.data())
def test_it_obeys_the_laws(detector: Detector, data: st.DataObject) -> None:
    """Pieces of its own examples in any order, cut anywhere."""
    pieces = [text[i : i + 5] for text in (*detector.hits, *detector.misses) for i in range(0, len(text), 5)]
    whole = st.sampled_from([*detector.hits, *detector.misses, *pieces, " ", ", "])
    text = "".join(data.draw(st.lists(whole, max_size=6)))
    check_laws(RULES[detector.name], text, data.draw(st.integers(0, 2 ** len(text) - 1)))


@pytest.mark.parametrize(
    ("validate", "good", "bad"),
    [
        (luhn, "4111-1111-1111-1111", "4111-1111-1111-1112"),
        (luhn, "4222222222222", "422222222222"),
        (mod97, "GB82 WEST 1234 5698 7654 32", "GB82 WEST 1234 5698 7654 33"),
        (ssn, "078-05-1120", "078-00-1120"),
        (address, "::ffff:1", "::"),
        (address, "10.0.0.1", "10.0.0.256"),
    ],
)
def test_validators_tell_right_from_wrong(validate: object, good: str, bad: str) -> None:
    """One digit decides."""
    assert callable(validate)
    assert (validate(good), validate(bad)) == (True, False)


@pytest.mark.parametrize("detector", DETECTORS.values(), ids=name_of)
def test_every_detector_is_described_and_tested(detector: Detector) -> None:
    """A line for the docs, hits and misses."""
    assert detector.about
    assert detector.hits
    assert detector.misses
