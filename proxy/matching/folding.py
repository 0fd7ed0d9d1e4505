"""The fold: what a character looks like to a reader, in lower case and without marks.

A map of single characters, fold(xy) == fold(x) + fold(y), so cutting the text cannot change it (a normalisation such as
NFC is no such map). Repeated until nothing changes:

1. NFKD (UAX #15): full-width, mathematical and circled letters, ligatures, accents
2. marks and what Unicode calls default ignorable (DerivedCoreProperties.txt) are dropped
3. look-alikes become the ASCII letter that they look like, everything else is case-folded

ASCII stays as it is but for case: `1` is not `l`, `0` is not `o`. Spelling with digits is a matter of the rule's words
(variants.py), else no pattern of digits could be folded.
"""

from __future__ import annotations

import re
from unicodedata import category, digit, normalize

from proxy.matching.confusables import LOOKS_LIKE

CACHE_LIMIT = 1 << 16

_DROPPED = ("Mn", "Me", "Cf")
_IGNORABLE = re.compile(  # default ignorable, and of another category than the dropped ones; C1 controls but NEL
    "[\x80-\x84\x86-\x9f\u115f\u1160\u2065\u3164\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
_BRACKETED = re.compile(r"[(〔](.+)[)〕]")  # parenthesised letters and numbers
_SIGNS = frozenset("™℠")  # set after a word, they are no letters of it


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
    """`fold` of every character."""
    return text.lower() if text.isascii() else text.translate(FOLDS)


def cases(char: str) -> frozenset[str]:
    """What the character looks like in any case.

    More than one in a few Greek and Cyrillic letters: capital Nu looks like `n`, small nu like `v`. A word in any case
    has to allow for each.
    """
    return frozenset(map(fold_text, (char, char.lower(), char.upper())))


def _fold(char: str) -> str:
    if char in _SIGNS:
        return char
    while (folded := "".join(map(_step, normalize("NFKD", _undressed(char))))) != char:
        char = folded
    return folded


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
    if category(char) in _DROPPED or _IGNORABLE.match(char):
        return ""
    return LOOKS_LIKE.get(char) or char.casefold()
