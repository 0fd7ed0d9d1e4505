"""Where a word begins and ends: the sets of characters that decide it. After UAX #29 (word boundaries), in spirit.

* A letter, digit or `_` beside a letter, digit or `_` is the same word.
* Marks (accents, vowel signs, tones) and invisible characters (joiners, direction marks) belong to what they follow.
* Scripts that are written without spaces have no word edges, so every letter of theirs is a word of its own. Korean is
  one of them here, because its particles follow a noun without a space.
* Everything else stands alone.

Source of the ranges: Scripts.txt and WordBreakProperty.txt of Unicode 15.0; the classes SA and ID of UAX #14.
"""

from __future__ import annotations

import unicodedata
from functools import cache

from proxy.matching.charsets import CharSet, category

SPACELESS_BLOCKS = CharSet.of(
    [
        (0x0E00, 0x0EFF),  # Thai, Lao
        (0x1000, 0x109F), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F),  # Myanmar
        (0x1780, 0x17FF),  # Khmer
        (0x1950, 0x19DF), (0x1A20, 0x1AAF), (0xAA80, 0xAADF), (0x11700, 0x1174F),  # Tai scripts, Ahom
        (0x1B00, 0x1B7F), (0xA980, 0xA9DF),  # Balinese, Javanese
        (0x3005, 0x3007), (0x3021, 0x3029), (0x3038, 0x303C), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),
        (0x17000, 0x18D8F), (0x1B170, 0x1B2FF), (0x20000, 0x3FFFD),  # Han, Tangut, Nushu
        (0x3031, 0x3035), (0x3041, 0x30FA), (0x30FC, 0x312F), (0x31A0, 0x31BF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F),
        (0x1AFF0, 0x1B16F),  # kana, Bopomofo
        (0xA000, 0xA4CF),  # Yi
        (0x1100, 0x11FF), (0x3131, 0x318E), (0xA960, 0xA97F), (0xAC00, 0xD7FF), (0xFFA0, 0xFFDC),  # Hangul
    ]
)  # fmt: skip
_JAMO_MARKS = CharSet.of([(0x1160, 0x11FF), (0xD7B0, 0xD7FF)])  # vowels and finals: they follow a first consonant
_VOWELS_AFTER = CharSet.chars("\u0e30\u0e32\u0e33\u0e45\u0eb0\u0eb2\u0eb3\u0ebd\uff9e\uff9f")
LEADING_VOWELS = CharSet.chars("เแโใไເແໂໃໄ\u19b5\u19b6\u19b7\u19ba\uaab5\uaab6\uaab9\uaabb\uaabc")
"""Written before the consonant that they belong to: no word begins between the two."""
INVISIBLE = CharSet.of(
    [
        (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x180B, 0x180F), (0x200C, 0x200F), (0x202A, 0x202E),
        (0x2060, 0x206F), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xE0000, 0xE0FFF),
    ]
)  # fmt: skip
"""Joiners, direction marks, variation selectors. Not the zero-width space, which is there to part words."""
MOST_INVISIBLE = 4
"""So many of them before a word do not join it to what stands before them, and so many behind it go with it."""
SPACE = category("s")


def _named(*names: str) -> CharSet:
    """The characters of general categories."""
    return CharSet.of((code, code) for code in range(0x300, 0x20000) if unicodedata.category(chr(code)) in names)


@cache
def marks() -> CharSet:
    """What belongs to the character before it."""
    return (_named("Mn", "Mc", "Me") | _VOWELS_AFTER | _JAMO_MARKS) & ~INVISIBLE


@cache
def spaceless() -> CharSet:
    """Letters of scripts without spaces."""
    return SPACELESS_BLOCKS & category("w") & ~category("d") & ~marks()


@cache
def joining() -> CharSet:
    """Letters, digits and `_` that are one word with their like."""
    return category("w") & ~SPACELESS_BLOCKS & ~marks() | (category("d") & SPACELESS_BLOCKS)


@cache
def before_word() -> CharSet:
    """What may stand before a word of joining letters; marks of scripts without spaces may."""
    return ~(joining() | INVISIBLE | (marks() & ~SPACELESS_BLOCKS))


@cache
def before_spaceless() -> CharSet:
    """What may stand before an entry that begins with a letter of a script without spaces."""
    return ~LEADING_VOWELS


@cache
def after_word() -> CharSet:
    """What may follow a word of joining letters."""
    return ~(joining() | marks() | INVISIBLE)


@cache
def after_invisible() -> CharSet:
    """The same, after as many invisible characters as are looked through."""
    return ~(joining() | marks())


@cache
def after_spaceless() -> CharSet:
    """What may follow an entry that ends with a letter of a script without spaces."""
    return ~marks()
