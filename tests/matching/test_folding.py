"""The fold of single characters."""

from __future__ import annotations

import string
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.matching import folding
from proxy.matching.confusables import LOOKS_LIKE
from proxy.matching.folding import FOLDS, cases, fold, fold_text


@given(st.text(), st.text())
def test_folding_is_done_character_by_character(left: str, right: str) -> None:
    """The fold of a text is that of its parts, wherever it is cut."""
    assert fold_text(left + right) == fold_text(left) + fold_text(right) == "".join(map(fold, left + right))


def test_folding_again_changes_nothing() -> None:
    """For every code point: what is folded is folded to the end."""
    open_ended = [c for c in map(chr, range(sys.maxunicode + 1)) if fold_text(fold(c)) != fold(c)]
    assert open_ended == []


def test_ascii_keeps_everything_but_case() -> None:
    """Digits, punctuation and control characters are no letters: 1 is not l, 0 is not o."""
    assert [c for c in map(chr, range(128)) if fold(c) != c.lower()] == []


@pytest.mark.parametrize(
    "disguise",
    [
        "BOMB",
        "ｂｏｍｂ",
        "𝐛𝐨𝐦𝐛",
        "𝕓𝕠𝕞𝕓",
        "𝖇𝖔𝖒𝖇",
        "𝒷ℴ𝓂𝒷",
        "ⓑⓞⓜⓑ",
        "⒝⒪⒨⒝",
        "🄱🄾🄼🄱",
        "🅑🅞🅜🅑",
        "🅱🅾🅼🅱",
        "🇧🇴🇲🇧",
        "ᴮᴼᴹᴮ",
        "ʙᴏᴍʙ",
        "ᗷOᗰᗷ",
        "bоmb",
        "bοmb",
        "Βомв",
        "bօmb",
        "ᏴᎾᎷᏴ",
        "b\u200bo\u00adm\u2060b",
        "b\u034fo\ufe0fm\U000e0062b",
        "\u202eb\u2066omb\u2069",
        "b\u115fo\u3164m\uffa0b",
        "b\u0301o\u0308m\u0336b\u20dd",
        "ḃömḅ",
        "ƀømɓ",
        "b\x81omb",
    ],
)
def test_what_reads_as_a_word_folds_to_it(disguise: str) -> None:
    """Look-alikes, ornaments, accents and invisible characters make no difference."""
    assert fold_text(disguise) == "bomb"


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("ﬁ ĳ ß œ ㎏", "fi ij ss oe kg"),
        ("Ⅷ ⅳ", "viii iv"),
        ("① ⑴ ⒈ ❶ １ ¹ ١ १ ๑", "1 1 1 1 1 1 1 1 1"),
        ("‐ ‑ – − ’ ‘ ∕ ․ ＠", "- - - - ' ' / . @"),
        ("İ ı", "i i"),
        ("Acme™", "acme™"),
        ("I l | 1 ! 0 O", "i l | 1 ! 0 o"),
        ("ノ丶一日本語 ไทย", "ノ丶一日本語 ไทย"),
        ("£ € ¥ $", "£ € ¥ $"),
    ],
)
def test_what_a_character_folds_to(text: str, folded: str) -> None:
    """Ligatures give several letters, digits their value; letters never become punctuation nor signs letters."""
    assert fold_text(text) == folded


def test_composed_and_decomposed_text_fold_alike() -> None:
    """Accents and Hangul syllables read the same in either form."""
    for text in ("Ångström", "é", "한글", "Łódź"):
        assert fold_text(unicodedata.normalize("NFD", text)) == fold_text(unicodedata.normalize("NFC", text))


def test_a_letter_that_looks_different_in_capitals_has_both_readings() -> None:
    """Capital Nu looks like n and small nu like v, so a Greek word in any case needs both."""
    assert cases("ν") == cases("Ν") == {"n", "v"}
    assert cases("a") == cases("A") == {"a"}


def test_every_look_alike_stands_for_printable_lower_case_ascii() -> None:
    """The table maps single characters outside ASCII, and letters to letters or digits only."""
    for char, target in LOOKS_LIKE.items():
        assert not char.isascii()
        assert target.isascii()
        assert target.isprintable()
        assert target == target.lower()
        assert target.isalnum() or not char.isalpha()
    assert set(string.ascii_lowercase) <= set(LOOKS_LIKE.values())


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folding many different characters forgets the first ones and still answers."""
    monkeypatch.setattr(folding, "CACHE_LIMIT", 16)
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 100)))
    assert fold_text(text) == text
    assert len(FOLDS) <= 17
