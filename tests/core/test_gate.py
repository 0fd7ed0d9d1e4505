"""One channel's gate: what leaves, when, and what stands in the place of what does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.check import Check, Progress
from proxy.core.gate import MAX_CHUNKS, MAX_RELEASED, Gate
from proxy.core.types import Action, Finding, Replacement, Rule
from tests.phrases import Phrase, block, flag, rewrite

TEXT = st.text("abc", max_size=24)


def released(checks: Sequence[Check], chunks: Sequence[str]) -> list[str]:
    """What a gate lets out after each chunk, and at the end."""
    gate = Gate(checks)
    return [*(gate.feed(chunk) for chunk in chunks), gate.feed("", final=True)]


def cut(text: str, at: Sequence[int]) -> list[str]:
    """The text cut at these places."""
    places = sorted({0, len(text), *(min(i, len(text)) for i in at)})
    return [text[a:b] for a, b in pairwise(places)]


def test_text_that_no_rule_minds_is_handed_back_as_the_same_object() -> None:
    """Text that cannot begin a match goes on untouched, as the very object that came."""
    text = "nothing to see".replace("x", "y")
    assert Gate([block("bomb")]).feed(text) is text


def test_a_phrase_that_spans_chunks_is_replaced_whole() -> None:
    """Text waits only while it may still become part of a match."""
    assert released([rewrite("bomb")], ["a bo", "m", "b now"]) == ["a ", "", "[X] now", ""]


def test_a_held_prefix_that_comes_to_nothing_is_released() -> None:
    """What turns out harmless leaves in order and unchanged."""
    assert released([rewrite("bomb")], ["a bo", "at"]) == ["a ", "boat", ""]


def test_a_block_lets_out_exactly_what_stands_before_it() -> None:
    """At a block the text ends before the match and nothing follows, whatever comes."""
    gate = Gate([block("bomb")])
    assert [gate.feed("a bo"), gate.feed("mb now"), gate.feed("more"), gate.feed("", final=True)] == ["a ", "", "", ""]
    assert gate.blocked is not None
    assert gate.blocked.rule.id == "block.bomb"


def test_flags_change_and_hold_nothing() -> None:
    """A rule that only flags reports and is otherwise as if it were not there."""
    gate = Gate([flag("bomb")])
    assert [gate.feed("a bo"), gate.feed("mb")] == ["a bo", "mb"]
    assert [f.rule.action for f in gate.findings] == [Action.FLAG]


def test_rules_of_a_policy_that_only_watches_change_nothing() -> None:
    """An unenforced block is reported and not applied."""
    watching = Phrase("bomb", Rule("test", "watch", Action.BLOCK, enforced=False))
    gate = Gate([watching])
    assert gate.feed("a bomb here", final=True) == "a bomb here"
    assert gate.blocked is None
    assert len(gate.findings) == 1


def test_overlapping_matches_are_one_label_of_the_first_rule_in_the_file() -> None:
    """Spans that share a character merge, and the rule that stands first names the whole."""
    assert "".join(released([rewrite("cde", "[2]", 2), rewrite("abc", "[9]", 9)], ["xab", "cdef"])) == "x[2]f"
    assert "".join(released([rewrite("cde", "[2]", 2), rewrite("abc", "[1]", 1)], ["abcdef"])) == "[1]f"


def test_touching_matches_are_two_labels() -> None:
    """Spans that only touch stay apart."""
    assert "".join(released([rewrite("ab")], ["abab"])) == "[X][X]"


def test_a_mask_keeps_the_length() -> None:
    """A mask writes one character for each hidden code point."""
    rule = Rule("test", "mask", Action.REWRITE, replacement=Replacement(mask="*"))
    assert "".join(released([Phrase("bomb", rule)], ["a bo", "mb"])) == "a ****"


def test_a_hash_gives_equal_tags_for_equal_values_and_keys() -> None:
    """Equal values get equal tags at any chunking; another value or another key gets another."""

    def tag(text: str, key: bytes, *chunks: str) -> str:
        rule = Rule("test", "hash", Action.REWRITE, replacement=Replacement("word", hash_key=key))
        return "".join(released([Phrase(text, rule)], chunks or [text]))

    assert tag("bomb", b"k1") == tag("bomb", b"k1", "b", "om", "b")
    assert tag("bomb", b"k1").startswith("[word:")
    assert len({tag("bomb", b"k1"), tag("bomb", b"k2"), tag("tomb", b"k1")}) == 3


def test_a_prefill_is_judged_and_never_sent_again() -> None:
    """Text that the client gave as the beginning of the answer counts for matches and does not come back."""
    gate = Gate([rewrite("bomb")])
    gate.prime("Sure: bo")
    assert gate.released == ""
    assert gate.feed("mb it is", final=True) == "[X] it is"
    harmless = Gate([rewrite("bomb")])
    harmless.prime("Sure: bo")
    assert harmless.feed("at", final=True) == "at"


@dataclass
class AtStart:
    """A check that rewrites "bomb" at the beginning of a text, as a rule for whole words does."""

    hold: int | None = None

    def __init__(self) -> None:
        self._size = 0

    def open(self) -> AtStart:
        """A fresh scan."""
        return AtStart()

    def feed(self, text: str, final: bool = False) -> Progress:
        """One finding, or none; tests give it the word at once."""
        begins = self._size == 0 and text.startswith("bomb")
        self._size += len(text)
        return Progress(self._size, (Finding(0, 4, Rule("test", "start", Action.REWRITE)),) if begins else ())


def test_what_follows_a_prefill_is_judged_by_itself_as_well() -> None:
    """A word that begins where the prefill ended is one for an app that shows only what the model said."""
    gate = Gate([AtStart()])
    gate.prime("hi")
    assert gate.feed("bomb it is", final=True) == "[removed] it is"


@dataclass
class Scripted:
    """A check that says what the test wants."""

    progress: list[Progress]
    hold: int | None = None

    def open(self) -> Scripted:
        """Itself."""
        return self

    def feed(self, text: str, final: bool = False) -> Progress:
        """The next answer."""
        return self.progress.pop(0)


def test_hidden_text_is_dropped_while_its_match_still_grows() -> None:
    """A match of ten million characters costs no ten million characters, and one label."""
    rule = Rule("test", "long", Action.REWRITE)
    grown = [Progress(0, (Finding(0, n * 1000, rule, extends=n > 1),)) for n in range(1, 101)]
    gate = Gate([Scripted([*grown, Progress(100_000)])])
    assert all(gate.feed("x" * 1000) == "" and gate.held == 0 for _ in grown)
    assert gate.feed("", final=True) == "[removed]"
    assert [(f.start, f.end) for f in gate.findings] == [(0, 100_000)]


def test_a_block_never_lets_its_own_match_out() -> None:
    """Where a check says no more than where the match begins, the text ends there."""
    gate = Gate([Scripted([Progress(4, (Finding(1, 4, Rule("test", "b", Action.BLOCK)),))])])
    assert gate.feed("abcd") == "a"


def test_a_match_that_grows_at_both_ends_is_reported_once() -> None:
    """It stands as long as it got."""
    rule = Rule("test", "r", Action.REWRITE)
    says = [Progress(0, (Finding(2, 4, rule),)), Progress(5, (Finding(1, 5, rule, extends=True),))]
    gate = Gate([Scripted(says)])
    assert gate.feed("abcd") + gate.feed("e", final=True) == "a[removed]"
    assert [(f.start, f.end) for f in gate.findings] == [(1, 5)]


def test_a_mark_after_a_hidden_letter_goes_with_it() -> None:
    """A finding that extends another hides its characters without a label of its own."""
    rule = Rule("test", "r", Action.REWRITE, replacement=Replacement("[X]"))
    says = [Progress(4, (Finding(0, 4, rule),)), Progress(6, (Finding(4, 5, rule, extends=True),))]
    gate = Gate([Scripted(says)])
    assert [gate.feed("bomb"), gate.feed("\u0301!", final=True)] == ["[X]", "!"]


def test_a_block_of_a_check_that_holds_nothing_cuts_what_later_checks_see() -> None:
    """Where a limit ends the text, the others judge only what stands before it, at any chunking."""
    limit = Finding(3, 3, Rule("test", "limit", Action.BLOCK))
    coarse = Gate([rewrite("abc"), Scripted([Progress(3, (limit,))], hold=0)])
    fine = Gate([rewrite("abc"), Scripted([Progress(n, (limit,) if n == 3 else ()) for n in (1, 2, 3)], hold=0)])
    assert coarse.feed("xabc") == "".join(fine.feed(c) for c in "xab") == "x"


@given(TEXT, st.lists(st.integers(0, 24), max_size=6), st.sampled_from(["ab", "aba", "bcb", "c"]), st.booleans())
def test_cutting_the_text_differently_changes_nothing(text: str, at: list[int], phrase: str, stop: bool) -> None:
    """Any chunking gives the same output, and it is what the rule says of the whole text."""
    checks = [block(phrase)] if stop else [rewrite(phrase), rewrite("ca", "[Y]", 1)]
    whole = "".join(released(checks, [text]))
    assert "".join(released(checks, cut(text, at))) == whole
    assert "".join(released(checks, list(text))) == whole
    if stop:
        assert whole == text.partition(phrase)[0]


@given(TEXT, st.sampled_from(["ab", "aba", "bcb"]))
def test_no_hidden_character_is_ever_out(text: str, phrase: str) -> None:
    """At no moment has a character of a match been released."""
    gate, out = Gate([rewrite(phrase, "#")]), ""
    covered = {i for s in range(len(text)) if text.startswith(phrase, s) for i in range(s, s + len(phrase))}
    for char in text:
        out += gate.feed(char)
    out += gate.feed("", final=True)
    assert out.replace("#", "") == "".join(c for i, c in enumerate(text) if i not in covered)


@pytest.mark.parametrize("size", [1, 7, 5000])
def test_the_end_of_what_was_said_is_kept_and_nothing_more(size: int) -> None:
    """However it came, the last 1024 characters are there for a channel that goes on, in few pieces."""
    gate = Gate(())
    text = "".join(chr(97 + i % 26) for i in range(6000))
    for at in range(0, len(text), size):
        gate.feed(text[at : at + size])
        assert gate.released == text[: at + size][-MAX_RELEASED:]
        assert sum(map(len, gate._released)) <= MAX_RELEASED + (MAX_CHUNKS + 1) * size
