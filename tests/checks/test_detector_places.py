"""Text without anything to find does not wait, and the places of a scan are few."""

from __future__ import annotations

import pytest

from proxy.checks.detectors import DETECTORS, Options, detector_pass
from proxy.core.types import Action, Rule
from proxy.matching.matcher import Matcher

PROSE = "The quick brown fox really jumps over Many lazy dogs, and returns Tokens to Devices. "
AT_ONCE = ("secrets", "api_key", "credit_card", "iban", "us_ssn", "ip_address", "crypto_address", "url", "phone")


@pytest.mark.parametrize("name", AT_ONCE)
def test_prose_waits_for_a_few_characters_at_most(name: str) -> None:
    """A word waits only while it may still begin a find; only addresses of people begin like any word."""
    kinds = frozenset(DETECTORS[name].kinds) - {"named_value"}
    check = Matcher([], others=[detector_pass(DETECTORS[name], Rule("p", "r", Action.REWRITE), Options(kinds))])
    scan = check.open()
    waiting = [fed - scan.feed(char).watermark for fed, char in enumerate(PROSE * 2, 1)]
    assert max(waiting) <= 5


def test_words_before_an_address_lead_to_the_same_place() -> None:
    """What is remembered for one word serves every other one of its length."""
    check = Matcher([], others=[detector_pass(DETECTORS["email"], Rule("p", "r", Action.REWRITE))])
    for word in ("quick", "brown", "lemon"):
        check.open().feed(f"the {word}")
    known = len(check.cache)
    check.open().feed("the grape")
    assert len(check.cache) <= known + 1


def test_what_is_remembered_of_a_word_does_not_change_what_is_found() -> None:
    """An address whose beginning was skipped is found, and judged by its own letters."""
    check = Matcher([], others=[detector_pass(DETECTORS["email"], Rule("p", "r", Action.REWRITE))])
    for text, spans in ((("see ", "robert", "@example.com "), [(4, 22)]), (("see ", "git", "@example.com:x "), [])):
        for _ in range(3):
            scan = check.open()
            found = [f for piece in text for f in scan.feed(piece).findings]
            assert [(f.start, f.end) for f in found] == spans
