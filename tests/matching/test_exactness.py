"""Stream == whole == definition, for random rules, texts and cuts; and no character waits that need not."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given

from proxy.core.gate import Gate
from proxy.matching.matcher import Matcher
from tests import laws, oracle
from tests.matching import strategies as some
from tests.matching.strategies import BLOCK, CACHES, CASES, CUTS, HIDE, LETTERS, MORE, Made


def released(check: Matcher, chunks: Sequence[str], final_with_text: bool) -> str:
    """All that a gate lets out."""
    gate = Gate([check])
    out = [gate.feed(chunk, final_with_text and i == len(chunks) - 1) for i, chunk in enumerate(chunks)]
    return "".join([*out, "" if final_with_text else gate.feed("", final=True)])


def expect(made: list[Made], text: str, cuts: int, kept: int, block: oracle.Block | None, alphabet: str = "") -> None:
    """Laws and oracle, for a text and its cuts: what is shown, where it is blocked, what only flags."""
    rules = [rule for rule, _ in made]
    check = Matcher([compiled for _, compiled in made], max_transitions=kept)
    answers = laws.check_laws(check, text, cuts)
    found = laws.findings(answers)
    blocks = [(f.start, f.end, f.rule.id) for f in found if laws.blocking(f)]
    upto = None
    if block is None:
        assert not blocks
        for rule in rules:
            if not rule.rule.holds:
                assert laws.covered(found, rule.rule) == oracle.characters(oracle.matches(rule, text))
    else:
        verdict, start, rule = block
        assert blocks == [(start, verdict.end, rule.rule.id)]
        upto = answers[-1].watermark
        assert upto <= start
    shown = oracle.shown(rules, text, upto, alphabet, MORE)
    for chunks, final in laws.readings(text, cuts):
        assert released(check, chunks, final) == shown


@some.examples(6000)
@given(some.rules(some.mixed, HIDE), some.texts(CASES, 12), CUTS, CACHES)
def test_what_is_shown_is_what_the_definition_says(made: list[Made], text: str, cuts: int, kept: int) -> None:
    """Patterns, words, validators, shortest, max_hold and flags together: the stream, however cut, is the oracle's."""
    expect(made, text, cuts, kept, None)


@some.examples(4000)
@given(some.rules(some.mixed, HIDE, fold=True), some.texts(LETTERS, 12), CUTS, CACHES)
def test_two_views_are_as_exact_as_one(made: list[Made], text: str, cuts: int, kept: int) -> None:
    """On text that folding leaves alone, rules with and without `fold` together do what the oracle says."""
    expect(made, text, cuts, kept, None)


@some.examples(4000)
@given(some.rules(some.mixed, BLOCK), some.texts(CASES, 12), CUTS, CACHES)
def test_a_block_falls_at_the_earliest_end(made: list[Made], text: str, cuts: int, kept: int) -> None:
    """It falls exactly where the definition says, ties and all, is named as it says, and nothing of it is out."""
    expect(made, text, cuts, kept, oracle.block([rule for rule, _ in made], text, CASES))


@some.examples(3000)
@given(some.rules(some.mixed, BLOCK, fold=True), some.texts(LETTERS, 12), CUTS, CACHES)
def test_a_block_falls_in_two_views_at_once(made: list[Made], text: str, cuts: int, kept: int) -> None:
    """When one view blocks, the other has not read more than that, however the text was cut."""
    expect(made, text, cuts, kept, oracle.block([rule for rule, _ in made], text, CASES))


@some.examples(3000)
@given(some.rules(some.late, BLOCK, fold=True), some.texts(LETTERS, 10), CUTS, CACHES)
def test_what_waits_too_long_is_released_covered_or_blocks(made: list[Made], text: str, cuts: int, kept: int) -> None:
    """The three kinds of on_overflow, together, to the character and independent of the cut."""
    block = oracle.block([rule for rule, _ in made], text, LETTERS, MORE)
    expect(made, text, cuts, kept, block, LETTERS)


@some.examples(1000)
@given(some.rules(some.soon, HIDE[:1], most=2), some.texts(LETTERS, 8))
def test_every_character_that_waits_could_still_be_hidden(made: list[Made], text: str) -> None:
    """The watermark is the earliest place from which some continuation completes a match: nothing waits in vain."""
    scan = Matcher([compiled for _, compiled in made]).open()
    holding = [rule for rule, _ in made if rule.rule.holds]
    for read, char in enumerate(text, 1):
        starts = [max(some.opened(rule, text[:read]), read - rule.max_hold) for rule in holding]
        assert scan.feed(char).watermark == min(starts, default=read)
