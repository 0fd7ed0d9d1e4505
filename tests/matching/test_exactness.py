"""Stream == whole == definition, for random rules, texts and cuts; and no character waits that need not."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.core.gate import Gate
from proxy.core.types import Action
from proxy.matching.errors import PatternError
from proxy.matching.matcher import Matcher, compile_rule
from proxy.matching.rules import MatchRule
from tests import laws, oracle
from tests.matching import strategies as some


def matcher(rules: list[MatchRule], remembered: int) -> Matcher:
    """The rules compiled; an example with a rule that is refused does not count."""
    try:
        return Matcher([compile_rule(rule) for rule in rules], max_transitions=remembered)
    except PatternError:
        assume(False)
        raise


def released(check: Matcher, chunks: list[str], final_with_text: bool) -> str:
    """All that a gate lets out."""
    gate = Gate([check])
    out = [gate.feed(chunk, final_with_text and i == len(chunks) - 1) for i, chunk in enumerate(chunks)]
    return "".join([*out, "" if final_with_text else gate.feed("", final=True)])


@some.examples(9000)
@given(st.data(), st.booleans(), some.CUTS, some.CACHES)
def test_what_is_shown_is_what_the_definition_says(data: st.DataObject, folded: bool, cuts: int, kept: int) -> None:
    """Patterns, words, validators, shortest, max_hold and flags together: the stream, however cut, is the oracle's."""
    rules = some.numbered(data.draw(st.lists(some.rules(folded=folded), min_size=1, max_size=3)))
    text = data.draw(some.texts(folded))
    check = matcher(rules, kept)
    answers = laws.check_laws(check, text, cuts)
    expected = oracle.shown(rules, text)
    for chunks, final in laws.readings(text, cuts):
        assert released(check, chunks, final) == expected
    found = laws.findings(answers)
    for rule in rules:
        if rule.rule.holds:
            continue
        covered = {i for start, end in oracle.matches(rule, text) for i in range(start, end)}
        assert {i for f in found if f.rule is rule.rule for i in range(f.start, f.end)} == covered


BLOCKS = st.sampled_from([Action.REWRITE, Action.FLAG, Action.BLOCK, Action.BLOCK])


@some.examples(6000)
@given(st.data(), st.booleans(), some.CUTS, some.CACHES)
def test_a_block_falls_at_the_earliest_end(data: st.DataObject, folded: bool, cuts: int, kept: int) -> None:
    """It falls exactly where the definition says, is named as it says, and nothing of it is out."""
    rules = some.numbered(data.draw(st.lists(some.rules(BLOCKS, folded), min_size=1, max_size=3)))
    text = data.draw(some.texts(folded))
    check = matcher(rules, kept)
    expect_block(rules, text, check, cuts, oracle.block(rules, text, some.CASES))


def expect_block(
    rules: list[MatchRule], text: str, check: Matcher, cuts: int, expected: oracle.Block | None, more: int = 0
) -> None:
    """The block, if there is one, is the expected one; what is shown is what lies before the mark."""
    answers = laws.check_laws(check, text, cuts)
    blocks = [f for f in laws.findings(answers) if laws.blocking(f)]
    if expected is None:
        assert not blocks
        upto = None
    else:
        verdict, start, rule = expected
        assert [(f.start, f.end, f.rule.id) for f in blocks] == [(start, verdict.end, rule.rule.id)]
        upto = answers[-1].watermark
        assert upto <= start
    shown = oracle.shown(rules, text, upto, some.ALPHABET, more)
    for chunks, final in laws.readings(text, cuts):
        assert released(check, chunks, final) == shown


@some.examples(4000)
@given(st.data(), some.CUTS, some.CACHES)
def test_what_waits_too_long_is_released_covered_or_blocks(data: st.DataObject, cuts: int, kept: int) -> None:
    """The three kinds of on_overflow, together, to the character and independent of the cut."""
    rules = some.numbered(data.draw(st.lists(some.late_rules(), min_size=1, max_size=3)))
    text = data.draw(st.text(some.ALPHABET, max_size=10))
    check = matcher(rules, kept)
    expected = oracle.block(rules, text, some.ALPHABET, some.MORE)
    expect_block(rules, text, check, cuts, expected, some.MORE)


@some.examples(1500)
@given(st.data())
def test_every_character_that_waits_could_still_be_hidden(data: st.DataObject) -> None:
    """The first character held always has a continuation that makes it part of a match: nothing is held in vain."""
    rules = some.numbered(data.draw(st.lists(some.open_rules(), min_size=1, max_size=2)))
    text = data.draw(st.text(some.ALPHABET, max_size=8))
    scan = matcher(rules, 200_000).open()
    for read, char in enumerate(text, 1):
        mark = scan.feed(char).watermark
        starts = [some.opened(rule, text[:read]) for rule in rules]
        assert mark == min(max(s, read - oracle.waits(r)) for s, r in zip(starts, rules, strict=True))
