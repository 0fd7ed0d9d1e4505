"""Patterns made ready for folded text."""

from __future__ import annotations

import pytest

from proxy.matching.charsets import CharSet
from proxy.matching.errors import PatternError
from proxy.matching.foldtree import fold_tree
from proxy.matching.nfa import build
from proxy.matching.syntax import parse
from proxy.matching.tree import Chars, Choice, Node, Sequence


def texts(node: Node) -> set[str]:
    """All texts that a tree without repeats and look-around matches."""
    if isinstance(node, Chars):
        return {chr(code) for first, last in node.set.ranges for code in range(first, last + 1)}
    if isinstance(node, Choice):
        return set().union(*map(texts, node.branches))
    assert isinstance(node, Sequence)
    found = {""}
    for part in node.parts:
        found = {head + tail for head in found for tail in texts(part)}
    return found


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("Zorblax", {"zorblax"}),
        ("Straße", {"strasse"}),
        ("[A-C]É", {"ae", "be", "ce"}),
        ("(?:ＡＢ|ﬁ)", {"ab", "fi"}),
        ("[ßx]", {"ss", "x"}),
        ("a\u200bb", {"ab"}),
        ("(?i)ν", {"n", "v"}),
    ],
)
def test_what_a_pattern_names_is_folded(pattern: str, matched: set[str]) -> None:
    """Capitals, accents and ligatures in a pattern find the text that they fold to."""
    assert texts(fold_tree(parse(pattern).root)) == matched


def single(pattern: str) -> CharSet:
    """The one set that a pattern comes to."""
    node = fold_tree(parse(pattern).root)
    while isinstance(node, Sequence | Choice):
        (node,) = node.parts if isinstance(node, Sequence) else node.branches
    assert not hasattr(node, "body")
    return getattr(node, "set")  # type: ignore[no-any-return]  # noqa: B009


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("[^A-Z]", "1 é", "az"),
        (r"\w", "a1ж_", " -"),
        (".", "a\r", "\n"),
        ("(?=É)", "e", "éf"),
        ("(?<!Q)", "ab", "q"),
        ("(?<=ﬁ)", "i", "f"),
        ("(?=ﬁ)", "f", "i"),
    ],
)
def test_sets_and_look_around_see_folded_characters(pattern: str, inside: str, outside: str) -> None:
    """A set that excludes capitals excludes small letters; large sets mean what they say."""
    chars = single(pattern)
    assert [c for c in inside if c not in chars] == []
    assert [c for c in outside if c in chars] == []


def test_a_pattern_of_folded_text_stays_as_it_is() -> None:
    """Folding is done to the end: a second time it changes nothing."""
    for pattern in ("Straße", "[^A-Z]x{2,3}", r"(?<!\w)b[4@]d(?!\w)"):
        once = fold_tree(parse(pattern).root)
        assert fold_tree(once) == once


def test_the_engine_takes_what_comes_out() -> None:
    """Lengths are those on folded text, and a pattern of characters that are never seen is refused."""
    assert build(fold_tree(parse("Straß(?:É|x)").root)).longest == 7
    with pytest.raises(PatternError, match="empty"):
        build(fold_tree(parse("\u200b").root))
