"""What entries of folded lists are written in, and what a character of text may stand for."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import islice, product
from typing import NamedTuple

from proxy.matching import edges
from proxy.matching.errors import PatternError
from proxy.matching.folding import cases, fold_text, parts
from proxy.matching.pauses import Pause, no_pause
from proxy.matching.words import edge_class, last_class

_SLICE = 500
MOST_FORMS = 64
"""Ways to read one entry, where capital letters have more letters than small ones (a Greek iota below a letter)."""
BETWEEN = "\x01"
"""The symbol for what parts two words of an entry,"""
INSIDE = "\x02"
"""and for punctuation within one."""

_EITHER = tuple(frozenset(pair) for pair in ("mw", "uv", "5s", "hn", "nv", "uy", "6b"))
_EITHER_SYMBOL = {forms: chr(0xFDD0 + n) for n, forms in enumerate(_EITHER)}
"""Letters that look different in capitals (capital Nu looks like n, small nu like v): one symbol for both."""
FORMS = {symbol: forms for forms, symbol in _EITHER_SYMBOL.items()}

LEET = {
    "a": "4@", "b": "8", "c": "¢", "e": "3€", "g": "9", "i": "1!|",
    "l": "1|£", "o": "0", "s": "5$", "t": "7+", "y": "¥",
}  # fmt: skip
NEVER_FIRST = frozenset("!|+")
EVER_LAST = frozenset(string.digits + "$@€")


def class_of(symbol: str) -> str:
    return "W" if symbol in FORMS else edge_class(symbol)


def letter_of(symbol: str) -> str:
    """A letter that a symbol stands for."""
    return max(FORMS[symbol]) if symbol in FORMS else symbol


def symbols_class(text: str) -> str:
    return "W" if text[-1] in FORMS else last_class(text)


class Reading(NamedTuple):
    """What a character of text may stand for.

    symbols: one letter, or a letter and its mark
    leet:    it is a substitute; `first` and `last`: also at the beginning, at the end of a word
    """

    symbols: str
    leet: bool = False
    first: bool = True
    last: bool = True


@lru_cache(maxsize=1 << 16)
def readings(char: str) -> tuple[Reading, ...]:
    """All that a character of the folded view may stand for."""
    found = [] if char in (BETWEEN, INSIDE) or char in FORMS else [Reading(parts(char))]
    found += [Reading(symbol) for symbol, forms in FORMS.items() if char in forms]
    leet = [letter for letter, substitutes in LEET.items() if char in substitutes]
    leet += [symbol for symbol, forms in FORMS.items() if not forms.isdisjoint(leet)]
    found += [Reading(letter, True, char not in NEVER_FIRST, char in EVER_LAST) for letter in leet]
    return tuple(found)


@lru_cache(maxsize=1 << 12)
def symbol_forms(char: str) -> tuple[str, ...]:
    """How a character of an entry is written in symbols; nearly always in one way."""
    forms = cases(char)
    if len(forms) == 1:
        (form,) = forms
        return ("".join(map(parts, form)),)
    symbol = _EITHER_SYMBOL.get(forms)
    if symbol is not None:
        return (symbol,)
    return tuple(sorted({"".join(map(parts, form)) for form in forms}))


class _Symbols(dict[int, str]):
    """For `str.translate`: entries whose characters have one form each."""

    def __missing__(self, code: int) -> str:
        forms = symbol_forms(chr(code))
        if len(forms) > 1 or 0xFDD0 <= code <= 0xFDEF or 0 < code < 3:
            raise _Unusual
        self[code] = forms[0]
        return forms[0]


class _Unusual(Exception):
    """A character with several forms, or one that symbols are made of."""


_SYMBOLS = _Symbols()


@cache
def _gaps() -> re.Pattern[str]:
    r"""What parts letters: no letter, digit or mark, nor a symbol that stands for letters, nor a line break."""
    code = "".join(f"{chr(a)}-{chr(b)}" for a, b in edges.marks().ranges)
    return re.compile(rf"(?:(?![\n\ufdd0-\ufdef{code}])[\W_])+")


def symbols(words: Iterable[str], pause: Pause = no_pause) -> Iterator[list[str]]:
    """The entries in symbols, in parts that are sorted.

    PatternError for an entry of which nothing can be seen, or that has too many forms.
    """
    rest = iter(words)
    while some := list(islice(rest, _SLICE)):
        yield sorted(_quickly(some) or [form for word in some for form in _slowly(word)])
        pause()


def _quickly(words: Sequence[str]) -> list[str]:
    """All of them at once, if none has anything unusual."""
    if any("\n" in word or "\u0306" in word for word in words):
        return []
    text = "\n".join(map(str.strip, words))
    if BETWEEN in text or INSIDE in text:
        return []
    try:
        text = text.lower() if text.isascii() else text.translate(_SYMBOLS)
    except _Unusual:
        return []
    entries = _gaps().sub(_gap, text).split("\n")
    if len(entries) != len(words):
        return []
    lasts = {entry[-1:] for entry in entries} | {entry[:1] for entry in entries}
    return [] if not lasts.isdisjoint((BETWEEN, INSIDE, "")) else entries


def _gap(found: re.Match[str]) -> str:
    return BETWEEN if any(map(str.isspace, found[0])) else INSIDE


def _slowly(word: str) -> list[str]:
    """One word in every form."""
    if any("\ufdd0" <= char <= "\ufdef" for char in word) or BETWEEN in word or INSIDE in word:
        raise PatternError(
            f"the word {word!r} has a code point that is no character (U+FDD0 to U+FDEF, U+0001, U+0002)"
        )
    spelled = _with_breves(" ".join(word.split()))
    forms = [symbol_forms(char) if char != "\u0306" else (char,) for char in spelled]
    count = 1
    for form in forms:
        count *= len(form)
    if count > MOST_FORMS:
        hint = "write the entry without the iotas below its letters"
        raise PatternError(
            f"the word {word!r} can be read in {count} ways, at most {MOST_FORMS} are possible", hint=hint
        )
    found = {"".join(form) for form in product(*forms)}
    return [_with_gaps(form.strip(), word) for form in found]


def _with_breves(word: str) -> str:
    """Without breves that are decoration."""
    return "".join(c for i, c in enumerate(word) if c != "\u0306" or fold_text(word[: i + 1])[-1:] == c)


def _with_gaps(form: str, word: str) -> str:
    """A word with a sign at one of its ends is read as it is, but for white space."""
    if not form:
        raise PatternError(f"no character of the word {word!r} can be seen", hint="leave it out")
    bare = _gaps().sub(_gap, form)
    if bare[0] in (BETWEEN, INSIDE) or bare[-1] in (BETWEEN, INSIDE):
        return re.sub(r"\s+", BETWEEN, form)
    return bare
