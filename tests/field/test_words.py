"""Words on texts from public bug reports: scripts without spaces, marks, spelling, and white space in phrases.

d14: words between Chinese and Thai letters were never found. d16: a Hindi word was not. d18: another Hindi word was.
n01: a long list with fold lost spaced letters. n02: a phrase was not found across other white space.
"""

from __future__ import annotations

import pytest

from proxy.core.gate import Gate
from proxy.core.types import Direction, Kind
from proxy.policy.policyset import PolicySet
from tests.leaks.attack import policies

SPLITS = (1, 2, 3, 1000)
LIST = [f"word{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(255)]


def rules(words: list[str], fold: bool = False) -> PolicySet:
    """A policy that hides these words."""
    entries = ", ".join(f"'{word}'" for word in words)
    return policies(f"{{id: a, words: [{entries}], fold: {str(fold).lower()}, action: rewrite, replacement: '[x]'}}")


def shown(found: PolicySet, text: str, size: int) -> str:
    """What a client gets of an answer that comes in chunks of `size` characters."""
    gate = Gate(found.plan(Direction.OUTPUT, model="m").checks(Kind.CONTENT))
    return "".join(gate.feed(text[i : i + size]) for i in range(0, len(text), size)) + gate.feed("", final=True)


@pytest.mark.parametrize("size", SPLITS)
@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("请告诉我机密项目的进展", "机密项目"),
        ("นี่คือเอกสารลับมากนะ", "ลับมาก"),
        ("用secretproj写函数", "secretproj"),
    ],
)
def test_d14_words_in_running_text_without_spaces_are_found(text: str, word: str, size: int) -> None:
    """In scripts that are written without spaces, and a Latin word between their letters."""
    found = shown(rules(["机密项目", "ลับมาก", "secretproj"]), text, size)
    assert found == text.replace(word, "[x]")


@pytest.mark.parametrize("size", SPLITS)
def test_d16_marks_belong_to_their_word(size: int) -> None:
    """A word that ends with a vowel sign is found."""
    assert shown(rules(["हिन्दी"]), "यह हिन्दी भाषा है", size) == "यह [x] भाषा है"


@pytest.mark.parametrize("size", SPLITS)
def test_d18_a_vowel_sign_makes_another_word(size: int) -> None:
    """Fold drops no sign that tells words apart."""
    assert shown(rules(["कल"], fold=True), "कुल मेल", size) == "कुल मेल"


@pytest.mark.parametrize("length", [10, 200, 256])
def test_n01_spaced_letters_are_found_in_a_list_of_any_length(length: int) -> None:
    """Fold sees the same spellings whatever the number of entries."""
    found = rules([*LIST[: length - 1], "aaobgh"], fold=True)
    assert "a a o b g h" not in shown(found, "say a a o b g h now", 1000)


@pytest.mark.parametrize("size", SPLITS)
@pytest.mark.parametrize("text", ["blue  heron", "blue\nheron", "blue\n\nheron"])
def test_n02_a_space_stands_for_any_white_space(text: str, size: int) -> None:
    """Two spaces and line breaks too, without fold."""
    assert shown(rules(["blue heron"]), f"the {text} flies", size) == "the [x] flies"
