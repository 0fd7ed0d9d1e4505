"""Compiling in parts, with pauses in between, is compiling."""

from __future__ import annotations

import pytest

from proxy.core.types import Action, Rule
from proxy.matching.compiled import compile_rule
from proxy.matching.pauses import pausing
from proxy.matching.rules import MatchRule

RULE = Rule("p", "r", Action.REWRITE)


def words(count: int) -> tuple[str, ...]:
    """Different words, some of them in two spellings that fold to one, some no whole words."""
    return tuple(("Straße{}", "strasse{}", "c{}++", "été {}")[n % 4].format(n // 2) for n in range(count))


@pytest.mark.parametrize("count", [1, 499, 500, 501, 2000, 5001])
@pytest.mark.parametrize("fold", [False, True])
def test_a_list_is_looked_at_in_parts_as_if_it_were_one(count: int, fold: bool) -> None:
    """Every entry stands in the list once, wherever it was cut."""
    compiled = compile_rule(MatchRule(RULE, words=words(count), fold=fold))
    assert compiled.words is not None
    alone = [compile_rule(MatchRule(RULE, words=(word,), fold=fold)).words for word in words(count)]
    assert list(compiled.words.entries) == sorted({entry for one in alone if one is not None for entry in one.entries})


@pytest.mark.parametrize("fold", [False, True])
def test_a_long_list_has_many_pauses(fold: bool) -> None:
    """Others never have to wait for all of it."""
    pauses: list[None] = []
    compile_rule(MatchRule(RULE, words=words(9_000), fold=fold), lambda: pauses.append(None))
    assert len(pauses) >= 16


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 11])
def test_pauses_change_no_value(count: int) -> None:
    """All values, in order, with a pause behind every five, and behind the rest."""
    seen: list[int] = []
    pauses: list[int] = []
    seen.extend(pausing(range(count), lambda: pauses.append(1), 5))
    assert seen == list(range(count))
    assert len(pauses) == -(-count // 5)


def test_a_rule_at_another_place_is_the_same_rule() -> None:
    """What it looks for is shared; what is reported is the new one, also when a match that waited too long blocks."""
    first = compile_rule(MatchRule(RULE, "ab+", on_overflow="block"))
    moved = first.placed(MatchRule(Rule("p", "r", Action.REWRITE, order=7), "ab+", on_overflow="block"))
    assert moved == first
    assert hash(moved) == hash(first)
    assert moved.roots is first.roots
    assert (moved.source.rule.order, moved.blocker.order, moved.blocker.action) == (7, 7, Action.BLOCK)
    assert (first.source.rule.order, first.blocker.order) == (0, 0)
    assert compile_rule(first.source) != first
