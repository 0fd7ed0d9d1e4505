"""The input side: texts judged as the model will read them."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.check import Check
from proxy.core.prompt import SLICE, Judged, judge
from proxy.core.types import Action, Replacement, Rule
from tests.phrases import Phrase, block, flag, rewrite


def verdict(parts: Sequence[str], *checks: Check, joiner: str = "\n\n") -> Judged:
    """The result of judging these texts."""
    *_, last = judge(parts, joiner, checks)
    assert last is not None
    return last


def test_a_phrase_split_over_two_texts_is_found() -> None:
    """Neighbouring texts are judged as the backend joins them; the finding stands where it begins."""
    found = verdict(["FOR", "BIDDEN"], block("FOR\n\nBIDDEN"))
    assert found.blocked is not None
    assert (found.blocked.part, found.blocked.finding.start, found.blocked.finding.end) == (0, 0, 3)


def test_a_rewrite_over_two_texts_hides_both_shares_under_one_label() -> None:
    """Each text loses its share, the label stands in the first."""
    assert verdict(["my FOR", "BIDDEN word"], rewrite("FOR\n\nBIDDEN")).parts == ("my [X]", " word")


def test_a_text_without_a_match_is_the_same_object() -> None:
    """What no rule minds is not even copied."""
    parts = ["hello", "a bomb"]
    judged = verdict(parts, rewrite("bomb"))
    assert judged.parts[0] is parts[0]
    assert judged.parts[1] == "a [X]"


def test_flags_are_reported_in_the_text_they_stand_in() -> None:
    """Offsets are those of the text."""
    judged = verdict(["x", "a bomb", "bomb"], flag("bomb"))
    assert [(f.part, f.finding.start) for f in judged.found] == [(1, 2), (2, 0)]


def test_a_long_prompt_is_judged_in_slices() -> None:
    """Between slices others may run, and a match across a slice's edge is found."""
    text = "x" * (SLICE - 2) + "bomb" + "y" * SLICE
    steps = list(judge([text], "", [rewrite("bomb")]))
    assert len(steps) > 3
    assert set(steps[:-1]) == {None}
    assert steps[-1] is not None
    assert steps[-1].parts == (text.replace("bomb", "[X]"),)


def test_an_insertion_breaks_a_match_up_and_hides_nothing() -> None:
    """One character is put inside each match; what is hidden in part is broken up by that."""
    marker = Phrase("<|x|>", Rule("test", "marker", Action.REWRITE, replacement=Replacement(insert="_")))
    assert verdict(["a <|x|>", "<|x|><|x|> bomb"], marker, rewrite("bomb")).parts == ("a <_|x|>", "<_|x|><_|x|> [X]")
    assert verdict(["bomb<|x|>"], marker, rewrite("b<", "#")).parts == ("bom#|x|>",)


def test_an_insertion_into_json_source_stands_behind_the_first_escape() -> None:
    """What is sent is still JSON, and says the same but for what was put in."""
    marker = Phrase(r"\u003c|x|>", Rule("test", "marker", Action.REWRITE, replacement=Replacement(insert="_")))
    *_, judged = judge([r'{"a":"\u003c|x|>"}'], "", [marker], escaped=True)
    assert judged is not None
    assert judged.parts == (r'{"a":"\u003c_|x|>"}',)


def test_a_match_over_two_texts_is_broken_up_once() -> None:
    """The insertion stands in the text in which the match begins; the other is left as it is."""
    marker = Phrase("<|x|>", Rule("test", "marker", Action.REWRITE, replacement=Replacement(insert="_")))
    assert verdict(["a <|", "x|> b"], marker, joiner="").parts == ("a <_|", "x|> b")


@given(st.lists(st.text("abc", max_size=6), min_size=1, max_size=4), st.sampled_from(["ab", "b|c", "c|"]))
def test_what_is_sent_holds_no_match(parts: list[str], phrase: str) -> None:
    """Nothing that a rule hides is left in any of the texts."""
    judged = verdict(parts, rewrite(phrase, "#"), joiner="|")
    whole = "|".join(parts)
    covered = {i for s in range(len(whole)) if whole.startswith(phrase, s) for i in range(s, s + len(phrase))}
    at = 0
    for before, after in zip(parts, judged.parts, strict=True):
        kept = "".join(c for i, c in enumerate(before, at) if i not in covered)
        assert after.replace("#", "") == kept
        at += len(before) + 1
