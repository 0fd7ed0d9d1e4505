"""Sets of characters mean what they mean to Python's `re`, over all of Unicode."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.matching.charsets import (
    ANY,
    EDGE,
    EVERYTHING,
    LAST,
    NEWLINE,
    CharSet,
    any_case,
    case_classes,
    category,
    same_case,
)
from proxy.matching.syntax import parse
from proxy.matching.tree import Chars

ALL = "".join(map(chr, range(LAST + 1)))
RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)).map(lambda r: (r[0], r[0] + r[1])), max_size=5)
SETS = st.builds(CharSet.of, RANGES, st.booleans())


def members(chars: CharSet) -> set[int]:
    """The code points below 100, and the edge as -1."""
    return {code for code in range(100) if chars.has(code)} | ({-1} if chars.edge else set())


@pytest.mark.parametrize("letter", "dswDSW")
@pytest.mark.parametrize("flag", ["", "(?a)"])
def test_categories_are_those_of_re(letter: str, flag: str) -> None:
    """\\d, \\s, \\w and their opposites hold exactly the characters that `re` finds, with and without (?a)."""
    found = re.finditer(rf"{flag}\{letter}+", ALL)
    assert category(letter, bool(flag)) is CharSet.of((m.start(), m.end() - 1) for m in found)


def test_case_classes_are_those_of_re() -> None:
    """For every character that has another case, (?i) finds exactly its class; all others only find themselves."""
    classes = case_classes()
    cased = "".join(map(chr, sorted(classes)))
    for code, same in classes.items():
        found = re.findall("(?i:" + re.escape(chr(code)) + ")", cased)
        assert tuple(sorted(map(ord, found))) == same
    others = re.compile("(?i:[" + "".join(map(re.escape, cased)) + "])")
    assert {ord(c) for c in others.findall(ALL)} == set(classes)


@pytest.mark.parametrize(
    ("one", "other"), [("k", "\u212a"), ("s", "\u017f"), ("i", "\u0130"), ("i", "\u0131"), ("ß", "ẞ"), ("µ", "μ")]
)
def test_the_famous_pairs_are_one_class(one: str, other: str) -> None:
    """Kelvin sign, long s, the Turkish i with and without dot, sharp s, micro sign."""
    assert same_case(one) == same_case(other)
    assert other in any_case(CharSet.chars(one))


def test_ignoring_case_in_ascii_keeps_to_ascii() -> None:
    """(?ia) takes k for K, not for the Kelvin sign; the Kelvin sign is only itself."""
    assert any_case(CharSet.chars("k"), ascii_only=True) is CharSet.chars("kK")
    assert any_case(CharSet.chars("\u212a"), ascii_only=True) is CharSet.chars("\u212a")


@pytest.mark.parametrize("source", ["[a-m]", "[^k]", r"[\W]", "[é-ö]", "[\u0430-\u0440]", r"[^\d]", "[K-\u212a]"])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_a_class_in_any_case_is_that_of_re(source: str, ascii_only: bool) -> None:
    """Ranges, categories and negations read in any case hold what `re` finds with (?i)."""
    flags = "ia" if ascii_only else "i"
    root = parse(f"(?{flags}:{source})").root
    assert isinstance(root, Chars)
    found = re.finditer(f"(?{flags}:{source})+", ALL)
    assert root.set is CharSet.of(span for m in found for span in [(m.start(), m.end() - 1)])


@given(SETS, SETS)
def test_operations_are_those_of_sets(a: CharSet, b: CharSet) -> None:
    """Union, intersection and complement agree with Python's sets, the edge of the text being one more member."""
    assert members(a | b) == members(a) | members(b)
    assert members(a & b) == members(a) & members(b)
    assert members(~a) == set(range(-1, 100)) - members(a)
    assert members(a.inside()) == members(a) - {-1}
    assert bool(a) == bool(members(a))
    assert len(a) == len(members(a) - {-1})


@given(SETS)
def test_equal_sets_are_one_object(a: CharSet) -> None:
    """However a set was made, it is the same object: identity is equality."""
    assert ~~a is a
    assert CharSet.of(reversed(a.ranges), a.edge) is a
    assert (a | a) is a
    assert (a & EVERYTHING) is a


def test_the_edge_is_asked_for_with_an_empty_text() -> None:
    """`"" in set` asks for the edge of the text, which no character is."""
    assert "" in EDGE
    assert "" in EVERYTHING
    assert "" not in ANY
    assert "\n" in NEWLINE
    assert repr(CharSet.chars("ab") | EDGE) == "<61-62 edge>"
