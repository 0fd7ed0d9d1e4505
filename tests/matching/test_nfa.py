"""A pattern's automaton: what it can still match, and how long a match can be open."""

from __future__ import annotations

import pytest

from proxy.matching.errors import PatternError
from proxy.matching.nfa import MAX_NODES, Fragment, build
from proxy.matching.syntax import parse


def fragment(pattern: str) -> Fragment:
    """The pattern's automaton."""
    return build(parse(pattern).root)


@pytest.mark.parametrize(
    ("pattern", "longest", "holds"),
    [
        ("abc", 3, 2),
        (r"abc\b", 3, 3),
        ("abc(?!d)", 3, 3),
        ("a|bcd", 3, 2),
        ("a{2,5}b?", 6, 5),
        ("a+", None, None),
        ("(?:ab)*c", None, None),
        (r"a(?:b|c\Z)", 2, 2),
        ("x", 1, 0),
    ],
)
def test_the_longest_match_and_the_longest_wait_are_known(pattern: str, longest: int | None, holds: int | None) -> None:
    """A match stays open to its last character, and beyond it only when what follows decides."""
    built = fragment(pattern)
    assert (built.longest, built.holds) == (longest, holds)


@pytest.mark.parametrize("pattern", [r"a\Bb\b|c", "abc|abd", "a(?=b)b"])
def test_every_item_can_still_lead_to_a_match(pattern: str) -> None:
    """Items from which no match can be completed are gone, so that nothing is held for them."""
    built = fragment(pattern)
    assert built.items
    for item in built.items:
        assert item.completes() or item.followers()
        assert set(item.followers()) <= set(built.items)


@pytest.mark.parametrize("pattern", [r"aa\ba", r"a\b\w", r"a(?=b)c", r"[^\s\S]", r"\Ba\b1", r"a\Ab"])
def test_what_contradicts_itself_has_no_items(pattern: str) -> None:
    """A pattern that can never match waits for nothing."""
    assert fragment(pattern).items == ()
    assert fragment(pattern).roots == ()


def test_a_hopeless_branch_is_pruned_and_the_other_stays() -> None:
    """Only the branch that can match is left: two items, not four."""
    assert len(fragment(r"xy|x\by").items) == 2


def test_a_condition_that_always_holds_is_none() -> None:
    """Between a letter and a blank there is always a word boundary: no edge depends on the character read."""
    assert not any(item.edges for item in fragment(r"a\b c").items)
    assert any(item.edges for item in fragment(r"[a-z.]\b c").items)


def test_an_automaton_has_a_greatest_size() -> None:
    """One node more than allowed is refused, with the column of the repeat that makes it so large."""
    fragment(f"(?:ab){{{MAX_NODES // 2 - 2}}}")
    with pytest.raises(PatternError) as caught:
        fragment(f"x(?:ab){{{MAX_NODES // 2}}}")
    assert caught.value.column == 8


def test_empty_moves_are_counted_too() -> None:
    """Many optional parts in a row make a quadratic number of edges, which is refused before it takes long."""
    with pytest.raises(PatternError, match="too many states"):
        fragment("(?:a?){1200}b")
