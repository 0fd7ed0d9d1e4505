"""How a detector's pattern writes a set of characters: as short as can be, and exactly that set."""

from __future__ import annotations

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.detectors.patterns import search_for
from proxy.matching.syntax import parse
from proxy.matching.tree import Chars

EVERY = "".join(map(chr, (*range(0x4000), *range(0xD7F0, 0xE010), *range(0x1F000, 0x20010), sys.maxunicode)))
SIGNS = st.sampled_from(
    ["\\w", "\\W", "\\d", "\\D", "\\s", "\\S", "a-f", "_", "\u3040-\u30ff", "\\x00", "\U0010ffff", "\\-"]
)


def found(pattern: str, text: str = EVERY) -> list[str]:
    """The characters that may begin a match."""
    return search_for(pattern).first_char.findall(text)


@pytest.mark.parametrize(
    "chars", [".", r"[^\w.]", r"[^\W_]", r"[\W\d]", r"[^\s<>]", "[a]", "[^a]", r"[\x00-\U0010ffff]"]
)
def test_a_set_is_that_set(chars: str) -> None:
    """All characters of it and no others."""
    assert found(chars) == re.findall(f"(?s:{chars})" if chars != "." else ".", EVERY)


@given(st.lists(SIGNS, min_size=1, max_size=3), st.booleans(), st.text(max_size=20))
def test_any_set_is_that_set(signs: list[str], negated: bool, text: str) -> None:
    """Whichever way is shorter: its members, or those that it has not."""
    chars = f"[{'^' if negated else ''}{''.join(signs)}]"
    root = parse(chars).root
    assert isinstance(root, Chars)
    text += "aZ_9- \n\x00\u3041\U0010ffff\u00e9"
    assert found(chars, text) == [char for char in text if char in root.set]


def test_what_is_not_of_a_word_is_short() -> None:
    """A set that leaves little out is written as what it leaves out."""
    assert len(search_for(r"[^\w.\-]").first_char.pattern) < 20
