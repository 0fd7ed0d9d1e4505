"""A rule of kind `refusal`: what it finds, what it holds, and what stands in a refusal's place."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.refusals.cues import LANGUAGES
from proxy.checks.refusals.detector import HEAD, language
from proxy.checks.refusals.language import RefusalKind
from proxy.checks.refusals.rule import RefusalPass
from proxy.core.gate import Gate
from proxy.core.types import Action, Direction, Kind, Replacement, Rule
from proxy.errors import PolicyError
from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from tests.laws import check_laws

OURS = "Please ask the help desk."
REWRITE = RefusalPass(Rule("p", "r", Action.REWRITE, replacement=Replacement(OURS)))
FLAG = RefusalPass(Rule("p", "r", Action.FLAG))
NO = "I'm sorry, but I can't help with that."
PLAIN = "The river rises in the hills and runs through three old towns before it meets the sea. "
TEXTS = [text for code in LANGUAGES for text in (*(hit.text for hit in language(code).hits), *language(code).misses)]

texts = st.builds(
    lambda text, rest: text + rest,
    st.sampled_from(TEXTS),
    st.sampled_from(["", " " + PLAIN, PLAIN * 4, " However, I can"]),
)


def through(check: RefusalPass, *chunks: str) -> tuple[str, list[tuple[int, int]]]:
    """What a gate lets out, and what was found."""
    gate = Gate([check])
    out = "".join([gate.feed(chunk) for chunk in chunks]) + gate.feed("", final=True)
    return out, [(f.start, f.end) for f in gate.findings]


@given(texts, st.integers(0, 2**300), st.sampled_from([REWRITE, FLAG, REWRITE.for_field()]))
def test_it_obeys_the_laws(text: str, places: int, check: RefusalPass) -> None:
    """The laws of every check: the cut does not matter, nothing is taken back, and the hold is kept."""
    check_laws(check, text, places)


@given(texts, st.lists(st.integers(0, 600), max_size=20))
def test_a_refusal_is_rewritten_whole_at_any_cut(text: str, cuts: list[int]) -> None:
    """Not one character of a refusal is shown, however it comes; everything else passes as it is."""
    edges = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    out, found = through(REWRITE, *(text[a:b] for a, b in pairwise(edges)))
    whole, found_whole = through(REWRITE, text)
    assert (out, found) == (whole, found_whole)
    assert out == (OURS if found else text)


@pytest.mark.parametrize("rest", ["", " " + PLAIN, PLAIN * 10])
def test_what_follows_a_refusal_goes_with_it(rest: str) -> None:
    """The operator's text stands alone: the model's reasons are a part of its refusal."""
    assert through(REWRITE, NO, rest) == (OURS, [(0, len(NO + rest))])


def test_a_rule_that_flags_holds_nothing() -> None:
    """Each character goes out at once."""
    gate = Gate([FLAG])
    assert FLAG.hold == 0
    for char in NO:
        assert gate.feed(char) == char
    gate.feed("", final=True)
    assert [finding.start for finding in gate.findings] == [0]


def test_an_answer_waits_no_longer_than_its_beginning() -> None:
    """A rule that rewrites holds at most HEAD characters; then an answer that is no refusal streams."""
    gate = Gate([REWRITE])
    text = PLAIN * 5
    for i, char in enumerate(text, start=1):
        gate.feed(char)
        assert gate.held == (i if i < HEAD else 0)
    assert REWRITE.hold == HEAD


def test_help_is_not_taken_away() -> None:
    """A partial refusal is left alone, unless the rule says so."""
    helpful = "While I can't give legal advice, the usual steps are these: first, write to the landlord."
    assert through(REWRITE, helpful) == (helpful, [])
    every = RefusalPass(REWRITE.rule, frozenset(RefusalKind))
    assert through(every, helpful)[0] == OURS


def test_what_goes_on_is_not_a_beginning() -> None:
    """Behind text that a person has already before them nothing is rewritten."""
    gate = Gate([REWRITE])
    gate.prime("Here is the first half. ", goes_on=True)
    assert gate.feed(NO) + gate.feed("", final=True) == NO
    assert gate.findings == []


def test_behind_text_of_the_client_an_answer_begins() -> None:
    """A prompt to be completed, or the beginning that the client gave, is not the model's."""
    gate = Gate([REWRITE])
    gate.prime("The clerk's reply: ")
    assert gate.feed(NO) + gate.feed("", final=True) == OURS


def test_all_that_stands_in_a_refusal_field_is_one() -> None:
    """There the model says it by the place; only its kind is told by the words."""
    assert through(REWRITE.for_field(), "No.") == (OURS, [(0, 3)])
    assert through(REWRITE.for_field(), "") == ("", [])


POLICY = """
version: 1
policy: house
rules:
  - id: refused
    check: refusal
    action: {action}
    {more}
    examples:
      hits: ["I cannot help with that."]
      misses: ["I can't believe it!"]
"""


def compiled(action: str, more: str = "") -> object:
    """The policy, with an action."""
    return compile_policies([Source("p.yaml", POLICY.format(action=action, more=more).encode())], hash_key=b"k")


def test_a_policy_names_it() -> None:
    """It reads answers alone, what they say and their refusal field, and the replacement may be a refusal itself."""
    own = "replacement: 'I am sorry, but I cannot help with that here.'"
    policies = compile_policies([Source("p.yaml", POLICY.format(action="rewrite", more=own).encode())], hash_key=b"k")
    reads = {kind for kind in Kind if policies.plan(Direction.OUTPUT, model="m").checks(kind)}
    assert reads == {Kind.CONTENT, Kind.REFUSAL}
    assert not any(policies.plan(Direction.INPUT, model="m", role="user").checks(kind) for kind in Kind)
    assert {place[1:] for place in policies.places} == {(Direction.OUTPUT, kind) for kind in reads}


def test_it_cannot_block() -> None:
    """The error names the place, the reason and the fix."""
    with pytest.raises(PolicyError, match=r"cannot block.*rewrite"):
        compiled("block")


def test_a_kind_that_is_none_is_an_error() -> None:
    """With what there is."""
    with pytest.raises(PolicyError, match="rude"):
        compiled("flag", "options: {kinds: [rude]}")
