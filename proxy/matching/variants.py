"""The spellings of a word that a reader still reads as the word, as a pattern over the folded view.

The word is expanded, not the text: nothing happens to digits or punctuation elsewhere. What is seen, for `bomb`:

* whole             bomb, and everything that folds to it; _bomb_, __bomb__
* leet              b0mb, 8omb; inside a word also with !, |, +, $ and @
* s p a c e d       b o m b, b-o-m-b, b.o.m.b: a separator between all letters, with no letter or digit beside them
* interrupted       **b**omb, b*o*mb, `b`omb, [b]omb, b\\omb, <b>b</b>omb: markup between any two letters

and, for entries of several words, any one to five blanks or punctuation characters between two words.

What keeps ordinary text out:

* A substitute needs letters around it: a number is no word (1337), nor is a number with its unit (80mb), an identifier
  with a number (node5), or a sign before or after a word (tax!, C+). So the first letter may be a substitute only when
  the second is none, and the last only together with the one before it, after two letters.
* Separated letters stand alone: `this hit` holds no `s hit`. Lists (D, E, A, D) are no separated words.
* Words of three letters: one substitute in the middle, single separators. Shorter ones: no variants at all.

Not seen: single breaks (bo mb, bo-mb), letters left out, doubled or starred (b*mb), and i for l, which makes words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from proxy.matching.folding import cases, fold_text

FULL_LIST = 200
"""Lists with more entries than this are not expanded: they see look-alikes, not spellings."""

_LEET = {
    "a": "4@", "b": "8", "c": "¢", "e": "3€", "g": "9", "i": "1!|",
    "l": "1|£", "o": "0", "s": "5$", "t": "7+", "y": "¥",
}  # fmt: skip
_LEET_FIRST = {letter: re.sub(r"[!|+]", "", substitutes) for letter, substitutes in _LEET.items()}
_LEET_LAST = {letter: re.sub(r"[^\d$@€]", "", substitutes) for letter, substitutes in _LEET.items()}

_TAG = "<[/a-z]+>"
_MARKUP = rf"(?:[*~`\\\[\]\x00-\x08\x0e-\x1f\x7f]|{_TAG})*"
_SEPARATOR = r"(?:[^\w,;]{1,3}|[,;_])"
_SEPARATOR_SHORT = r"[ .\-_*/|~+]"
_BETWEEN_WORDS = rf"(?:{_TAG})?[\W_]{{1,5}}(?:{_TAG})?"
_INSIDE_WORD = r"[\W_]{1,2}"
_SPACELESS_JOINT = r"[\s*_~`./|\\-]{0,2}"
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u11ff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]"
)
_VOWEL_JAMO = re.compile("[\u1161-\u11a7]")
_NO_FINAL_JAMO = "(?![\u11a8-\u11ff])"


class Plan(NamedTuple):
    """What to match for a list of words on the folded view.

    patterns: one for each word, in `re` syntax
    keywords: whole words, folded already
    """

    patterns: tuple[str, ...]
    keywords: tuple[str, ...]


class _Letter(NamedTuple):
    """One letter or digit of a word, folded.

    either: what it may look like, depending on case; nearly always one
    joint:  what has to stand before it: a gap between words, or "" when the letter before it is its neighbour
    """

    either: tuple[str, ...]
    joint: str

    @property
    def plain(self) -> str:
        return _set("".join(self.either)) if self.is_single else f"(?:{'|'.join(map(re.escape, self.either))})"

    @property
    def is_single(self) -> bool:
        return all(len(text) == 1 for text in self.either)

    def or_leet(self, substitutes: dict[str, str] = _LEET) -> str:
        return _set("".join(self.either) + self.leet(substitutes)) if self.is_single else self.plain

    def leet(self, substitutes: dict[str, str] = _LEET) -> str:
        return "".join(substitutes.get(text, "") for text in self.either)


def expand(word: str) -> str:
    """The pattern for one word or phrase, over the folded view. ValueError when nothing of it can be seen."""
    word = word.strip()
    folded = fold_text(word)
    if not folded.strip():
        raise ValueError(f"no character of {word!r} can be seen")
    letters = _letters(word)
    if not letters or not folded[0].isalnum() or not folded[-1].isalnum():
        return _literal(word, folded)
    if any(_SPACELESS.match(text) for letter in letters for text in letter.either):
        return _spaceless(letters)
    alphabetic = sum(text.isalpha() for letter in letters for text in letter.either[:1])
    if len(letters) < 3 or alphabetic < 3:
        return rf"(?<!\w)(?:{_join(letters, [letter.plain for letter in letters])})(?!\w)"
    branches = _short(letters) if len(letters) == 3 else _long(letters)
    return rf"(?<!\w)(?:{'|'.join(dict.fromkeys(branches))})(?!\w)"


def plan(words: Sequence[str]) -> Plan:
    """What to match for a list: every spelling of a short list's words, only the folded words of a long one."""
    if len(words) <= FULL_LIST:
        return Plan(tuple(dict.fromkeys(map(expand, words))), ())
    keywords = [word for word in words if _is_keyword(word)]
    others = [word for word in words if not _is_keyword(word)]
    return Plan(
        tuple(dict.fromkeys(map(expand, others))), tuple(dict.fromkeys(fold_text(word.strip()) for word in keywords))
    )


def _is_keyword(word: str) -> bool:
    """Is the word whole between word boundaries, and the same in any case?"""
    folded = fold_text(word.strip())
    edges = folded[:1].isalnum() and folded[-1:].isalnum()
    return edges and not _SPACELESS.search(folded) and all(len(cases(char)) == 1 for char in word)


def _letters(word: str) -> list[_Letter]:
    """The letters and digits, each with the gap before it."""
    letters: list[_Letter] = []
    gap = ""
    for char in word:
        forms = tuple(sorted(filter(None, cases(char))))
        if all(form.isalnum() for form in forms):
            if forms:
                letters.append(_Letter(forms, _joint(gap) if letters else ""))
                gap = ""
        else:
            gap += forms[0]
    return letters


def _joint(gap: str) -> str:
    if not gap:
        return ""
    return _BETWEEN_WORDS if any(map(str.isspace, gap)) else _INSIDE_WORD


def _long(letters: Sequence[_Letter]) -> Iterable[str]:
    """Branches for four letters and more."""
    plain = [letter.plain for letter in letters]
    inner = [letter.or_leet() for letter in letters[1:-1]]
    head = _join(letters[:2], [plain[0], inner[0]], _MARKUP)
    first = letters[0].leet(_LEET_FIRST)
    if first:
        head = f"(?:{head}|{_join(letters[:2], [_set(first), plain[1]], _MARKUP)})"
    yield _join(letters[1:], [head, *inner[1:], plain[-1]], _MARKUP)
    last = [letter.leet(_LEET_LAST) for letter in letters[-2:]]
    if all(last):
        yield _join(letters, [*plain[:2], *inner[1:-1], *map(_set, last)])
    yield _join(letters, [plain[0], *inner, plain[-1]], _SEPARATOR)
    yield rf"_{{1,3}}{_join(letters, [plain[0], *inner, plain[-1]])}_{{1,3}}"


def _short(letters: Sequence[_Letter]) -> Iterable[str]:
    """Branches for three letters."""
    plain = [letter.plain for letter in letters]
    yield _join(letters, [plain[0], letters[1].or_leet(), plain[2]], _MARKUP)
    yield _join(letters, plain, _SEPARATOR_SHORT)
    yield rf"_{{1,3}}{_join(letters, plain)}_{{1,3}}"


def _join(letters: Sequence[_Letter], parts: Sequence[str], inside: str = "") -> str:
    """The parts with what may or has to stand between them; `inside` is for letters of one word."""
    return parts[0] + "".join(
        (letter.joint or inside) + part for letter, part in zip(letters[1:], parts[1:], strict=True)
    )


def _spaceless(letters: Sequence[_Letter]) -> str:
    """A word of a script that does without spaces: found anywhere, markup or separators between its characters."""
    end = _NO_FINAL_JAMO if _VOWEL_JAMO.match(letters[-1].either[0][-1]) else ""
    joint = _SPACELESS_JOINT if len(letters) > 1 else ""
    return _join(letters, [letter.plain for letter in letters], joint) + end


def _literal(word: str, folded: str) -> str:
    """An entry that begins or ends with a sign (.onion, c++), or has signs only: as it is, in any case."""
    start, end = r"(?<!\w)" * folded[0].isalnum(), r"(?!\w)" * folded[-1].isalnum()
    return start + "".join(_any_of(sorted(cases(char))) for char in word) + end


def _any_of(forms: Sequence[str]) -> str:
    return re.escape(forms[0]) if len(forms) == 1 else f"(?:{'|'.join(map(re.escape, forms))})"


def _set(chars: str) -> str:
    return re.escape(chars) if len(chars) == 1 else f"[{re.escape(''.join(dict.fromkeys(chars)))}]"
