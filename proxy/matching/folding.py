"""The fold: what a character looks like to a reader, in lower case and without decoration.

A map of single characters, fold(xy) == fold(x) + fold(y), so cutting the text cannot change it (a normalisation such as
NFC is no such map). One mark needs to know the letter before it, see `BREVE`. Repeated until nothing changes:

1. NFKD (UAX #15): full-width, mathematical and circled letters, ligatures, accents
2. marks that are decoration in their script, and what Unicode calls default ignorable (DerivedCoreProperties.txt), are
   dropped. Marks that make another letter are kept: Indic, Thai and other vowel signs, nuktas, the voicing of kana
3. look-alikes become the ASCII letter that they look like, everything else is case-folded
4. a letter and the mark that was kept are one character again, where there is one (NFC)

ASCII stays as it is but for case: `1` is not `l`, `0` is not `o`. Spelling with digits is a matter of the rule's words
(spellings.py), else no pattern of digits could be folded.
"""

from __future__ import annotations

import re
from functools import cache
from unicodedata import category, digit, normalize

from proxy.matching.charsets import CharSet
from proxy.matching.confusables import LOOKS_LIKE

CACHE_LIMIT = 1 << 16
BREVE = "\u0306"
"""Decoration on a Latin or Greek letter. After a Cyrillic i or u it makes another letter, so there it is kept."""
BREVE_LETTERS = frozenset("\u0438\u0418\u0443\u0423")

_DECORATION = CharSet.of(
    [
        (0x0300, 0x036F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE20, 0xFE2F),  # any script
        (0x0483, 0x0489), (0x2DE0, 0x2DFF), (0xA66F, 0xA67D), (0xA69E, 0xA69F),  # Cyrillic
        (0x0591, 0x05C7),  # Hebrew
        (0x0610, 0x061A), (0x064B, 0x065F), (0x0670, 0x0670), (0x06D6, 0x06ED), (0x0898, 0x08FF),  # Arabic
        (0x0711, 0x0711), (0x0730, 0x074A),  # Syriac
        (0x17B4, 0x17B5), (0x180B, 0x180F), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF),  # invisible
        (0x2CEF, 0x2CF1), (0x302A, 0x302D), (0x1D165, 0x1D244),  # Coptic, Han, music
    ]
)  # fmt: skip
_IGNORABLE = (
    re.compile(  # default ignorable, and of another category than the dropped ones; C1 controls but NEL; kashida
        "[\x80-\x84\x86-\x9f\u0640\u115f\u1160\u2065\u3164\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
    )
)
_BRACKETED = re.compile(r"[(〔](.+)[)〕]")  # parenthesised letters and numbers
_SIGNS = frozenset("™℠")  # set after a word, they are no letters of it
_JAMO = re.compile("[\u1100-\u11ff\ua960-\ua97f\ud7b0-\ud7ff]")
_CAPITALS = {"\u0419": "\u0439", "\u040e": "\u045e"}
_PARTS = {"\u0439": "\u0438\u0306", "\u045e": "y\u0306", "\u0e33": "\u0e4d\u0e32", "\u0eb3": "\u0ecd\u0eb2"}
"""Letters that are kept as the one character that they are mostly written as, though NFKD takes them apart."""


class _Folds(dict[int, str]):
    """Code point -> folded text, worked out when first asked for. The form that `str.translate` takes."""

    def __missing__(self, code: int) -> str:
        if len(self) >= CACHE_LIMIT:
            self.clear()
        folded = self[code] = _fold(chr(code))
        return folded


FOLDS: dict[int, str] = _Folds()


def fold(char: str) -> str:
    """What one character looks like: none, one or several characters (`ﬁ`). Folding those again changes nothing."""
    return FOLDS[ord(char)]


def fold_text(text: str) -> str:
    """`fold` of every character; what a breve is depends on the letter before it."""
    if text.isascii():
        return text.lower()
    if BREVE not in text:
        return text.translate(FOLDS)
    out = []
    letter = ""
    for char in text:
        part = FOLDS[ord(char)]
        if char == BREVE and letter in BREVE_LETTERS:
            part = BREVE
        if part:
            letter = char
        out.append(part)
    return "".join(out)


def cases(char: str) -> frozenset[str]:
    """What the character looks like in any case.

    More than one in a few Greek and Cyrillic letters: capital Nu looks like `n`, small nu like `v`. A word in any case
    has to allow for each.
    """
    return frozenset(map(fold_text, (char, char.lower(), char.upper())))


@cache
def parts(char: str) -> str:
    """A folded character as letter and mark, where it can be written as two; else itself."""
    if char in _PARTS:
        return _PARTS[char]
    return char if char.isascii() or "\uac00" <= char <= "\ud7a3" else normalize("NFD", char)


def _fold(char: str) -> str:
    if char in _SIGNS or char in _PARTS:
        return char
    if char in _CAPITALS:
        return _CAPITALS[char]
    while (folded := "".join(map(_step, normalize("NFKD", _undressed(char))))) != char:
        char = folded
    return char if _JAMO.search(char) else normalize("NFC", char)


def _undressed(text: str) -> str:
    """Numbers in circles, brackets or with a full stop as the number; letters in brackets as the letter."""
    if len(text) != 1 or text.isascii():
        return text
    value = digit(text, None)
    if value is not None:
        return str(value)
    bracketed = _BRACKETED.fullmatch(normalize("NFKD", text))
    return bracketed[1] if bracketed else text


def _step(char: str) -> str:
    if _is_dropped(char):
        return ""
    return LOOKS_LIKE.get(char) or char.casefold()


def _is_dropped(char: str) -> bool:
    kind = category(char)
    if kind in ("Mn", "Me"):
        return char in _DECORATION
    return kind == "Cf" or _IGNORABLE.match(char) is not None
