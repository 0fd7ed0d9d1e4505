"""What a word stands for, as a pattern for Python's `re`: slow, and written apart from the matcher.

`plain` is for the text as it is, `expand` for the folded text. Characters are sorted by their names and categories.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from proxy.matching.folding import cases, fold_text, parts

NO_SPACES = (
    "THAI ", "LAO ", "MYANMAR ", "KHMER ", "TAI ", "NEW TAI ", "AHOM ", "BALINESE ", "JAVANESE ", "CJK ", "TANGUT",
    "NUSHU ", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "HENTAIGANA", "BOPOMOFO ", "YI ", "HANGUL ", "IDEOGRAPHIC ",
    "HALFWIDTH HANGUL", "VERTICAL KANA", "MASU ", "HANGZHOU ", "VERTICAL IDEOGRAPHIC",
)  # fmt: skip
VOWELS = "\u0e30\u0e32\u0e33\u0e45\u0eb0\u0eb2\u0eb3\u0ebd\uff9e\uff9f"
LEADING = "เแโใไເແໂໃໄ\u19b5\u19b6\u19b7\u19ba\uaab5\uaab6\uaab9\uaabb\uaabc"
_HIDDEN = (
    "\u00ad\u034f\u061c\u180b-\u180f\u200c-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff"
)
_INVISIBLE = re.compile(f"[{_HIDDEN}]")
INVISIBLE = "\ue000I\ue001"


def kind(char: str) -> str:
    """W: joins with its like. S: of a script without spaces. M: a mark. I: invisible. O: anything else."""
    if _INVISIBLE.match(char):
        return "I"
    jamo = "\u1160" <= char <= "\u11ff" or "\ud7b0" <= char <= "\ud7ff"
    if unicodedata.category(char)[0] == "M" or char in VOWELS or jamo:
        return "M"
    if not char.isalnum() and char != "_":
        return "O"
    own = unicodedata.name(char, "").startswith(NO_SPACES) and not re.match(r"\d", char)
    return "S" if own else "W"


SAMPLE = sorted(
    {*map(chr, range(0x180)), *"\u017f\u212aιΙ\u0345ςσνΝ\u0661\u2003ß\u1e9e\u0301\u0306\u200c\u200d\ufe0f\u2060"}
    | {
        *"яйиуўёЙ",
        *"हिन्दीकलुरे\u093c\u094d",
        *"ไทยลับมากกำเ\u0e31",
        *"机密项目パンタダハア\u3099\u309aーｶﾞﾟ",
        *"가각\u1100\u1161\u11a8",
    }
    | {*"كتب\u064e\u0640", *"שלום\u05b8", *"ກໄ\u0eb1", *"កា\u17d2", *"မြ\u103a", *"🍆❤", *"Α\u200f炸弹"}
)
"""The characters that texts of the tests are made of."""
FEW = frozenset("ab1 kKs\u017f\u212a\u00e9\n_Z\u00e7\u0661\u2003.\u0301\u2060")
"""Those of most tests: a class of few characters is compiled sooner."""
_CLASS = re.compile("\ue000(.)(.?)\ue001")


def of_kinds(kinds: str, no_spaces: bool | None = None) -> str:
    """A stand-in for the inside of a class of `re`: characters of a kind; of marks perhaps only of some scripts."""
    return f"\ue000{kinds}{'' if no_spaces is None else int(no_spaces)}\ue001"


def filled(pattern: str, few: bool) -> str:
    """The pattern with the classes for the characters that occur."""
    return _CLASS.sub(lambda found: _members(found[1], found[2], few), pattern)


@cache
def _members(kinds: str, some: str, few: bool) -> str:
    no_spaces = bool(int(some)) if some else None
    wide = (*NO_SPACES[:9], "HANGUL", "HALFWIDTH KATA")
    out: list[list[int]] = []
    for char in sorted(FEW) if few else SAMPLE:
        code, own = ord(char), kind(char)
        if own not in kinds:
            continue
        if own == "M" and no_spaces is not None:
            name = unicodedata.name(char, "")
            of_wide = name.startswith(wide) or "KATAKANA-HIRAGANA" in name
            if of_wide is not no_spaces:
                continue
        if out and out[-1][1] == code - 1:
            out[-1][1] = code
        else:
            out.append([code, code])
    return "".join(f"\\U{a:08x}-\\U{b:08x}" for a, b in out) or "\\uffff"


def _first(char: str, invisible: bool) -> str:
    if kind(char) == "W":
        joined = f"[{of_kinds('W')}{of_kinds('M', False)}{INVISIBLE}]"
        runs = [f"[{INVISIBLE}]" * n for n in range(5 if invisible else 1)]  # of one length each, as `re` wants it
        return "(?:" + "|".join(f"(?<!{joined}{run}){f'(?<={run})' if run else ''}" for run in runs) + ")"
    return f"(?<![{LEADING}])" if kind(char) == "S" else ""


def _last(text: str, invisible: bool) -> str:
    own = next((kind(c) for c in reversed(text) if kind(c) not in "MI"), "O")
    joins, marks = of_kinds("W"), of_kinds("M")
    if own == "W" and invisible:
        none = f"(?![{joins}{marks}{INVISIBLE}])"
        return f"(?:{none}|[{INVISIBLE}]{{1,3}}{none}|[{INVISIBLE}]{{4}}(?![{joins}{marks}]))"
    return {"W": f"(?![{joins}{marks}{INVISIBLE}])", "S": f"(?![{marks}])"}.get(own, "")


def plain(word: str, few: bool = False) -> str:
    """The pattern for a word without `fold`; `few`: for texts of the characters in FEW."""
    return filled(_plain(word), few)


def expand(word: str, few: bool = False) -> str:
    """The pattern for one word or phrase, over the folded text."""
    return filled(_expand(word), few)


@cache
def _plain(word: str) -> str:
    word = " ".join(word.split())
    inner = "".join(_any_case(char) for char in word)
    return f"{_first(word[0], True)}{inner}{_last(word, True)}"


def _any_case(char: str) -> str:
    if char == " ":
        return r"\s{1,8}"
    if kind(char) == "W":
        return rf"(?!\u0345)(?i:{re.escape(char)})"
    return re.escape(char) if char == "\u0345" else f"(?i:{re.escape(char)})"


_LEET = {
    "a": "4@", "b": "8", "c": "¢", "e": "3€", "g": "9", "i": "1!|",
    "l": "1|£", "o": "0", "s": "5$", "t": "7+", "y": "¥",
}  # fmt: skip
_LEET_FIRST = {letter: re.sub(r"[!|+]", "", substitutes) for letter, substitutes in _LEET.items()}
_LEET_LAST = {letter: re.sub(r"[^\d$@€]", "", substitutes) for letter, substitutes in _LEET.items()}

_TAG = "<[/a-z]+>"
_MARKUP = rf"(?:[*~`\\\[\]\x00-\x08\x0e-\x1f\x7f]|{_TAG})*"
_SEPARATOR_SHORT = r"[ .\-_*/|~+]"
_SPACELESS_JOINT = r"[\s*_~`./|\\-]{0,2}"


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


@cache
def _expand(word: str) -> str:
    word = " ".join(word.split())
    folded = fold_text(word)
    letters = _letters(word)
    first, last = folded[0], folded[-1]
    if not letters or kind(first) == "O" or kind(last) == "O":
        return _literal(word, folded)
    start, end = _first(first, False), _last(folded, False)
    if any(kind(c) == "S" for letter in letters for text in letter.either for c in text):
        return start + _spaceless(letters) + end
    bases = [letter for letter in letters if kind(letter.either[0]) != "M"]
    alphabetic = sum(text.isalpha() for letter in letters for text in letter.either[-1:])
    if len(bases) < 3 or alphabetic < 3:
        return rf"{start}(?:{_join(letters, [letter.plain for letter in letters])}){end}"
    branches = _short(letters) if len(bases) == 3 else _long(letters)
    return rf"{start}(?:{'|'.join(dict.fromkeys(branches))}){end}"


def _letters(word: str) -> list[_Letter]:
    """The letters, digits and marks, each with the gap before it."""
    letters: list[_Letter] = []
    gap = ""
    for i, char in enumerate(word):
        forms = tuple(sorted(filter(None, cases(char))))
        if char == "\u0306":
            forms = (char,) if fold_text(word[: i + 1])[-1:] == char else ()
        if all(form[0].isalnum() or kind(form) == "M" for form in forms):
            marked = parts(forms[0]) if len(forms) == 1 and len(forms[0]) == 1 else ""
            if len(marked) > 1:
                letters.append(_Letter((marked[0],), _joint(gap) if letters else ""))
                letters += [_Letter((mark,), "") for mark in marked[1:]]
                gap = ""
            elif forms:
                letters.append(_Letter(forms, _joint(gap) if letters else ""))
                gap = ""
        else:
            gap += forms[0]
    return letters


def _joint(gap: str) -> str:
    if not gap:
        return ""
    sign = rf"(?:(?![{of_kinds('M')}])[\W_])"
    if any(map(str.isspace, gap)):
        return rf"(?:{_TAG})?(?:{sign}{{1,5}}|\s{{1,8}})(?:{_TAG})?"
    return rf"{sign}{{1,2}}"


def _long(letters: Sequence[_Letter]) -> Iterable[str]:
    """Branches for four letters and more."""
    separator = rf"(?:(?:(?![{of_kinds('M')}])[^\w,;]){{1,3}}|[,;_])"
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
    yield _join(letters, [plain[0], *inner, plain[-1]], separator)
    yield rf"_{{1,3}}{_join(letters, [plain[0], *inner, plain[-1]])}_{{1,3}}"


def _short(letters: Sequence[_Letter]) -> Iterable[str]:
    """Branches for three letters."""
    plain = [letter.plain for letter in letters]
    middle = [letter for letter in letters if kind(letter.either[0]) != "M"][1]
    yield _join(letters, [x.or_leet() if x is middle else x.plain for x in letters], _MARKUP)
    yield _join(letters, plain, _SEPARATOR_SHORT)
    yield rf"_{{1,3}}{_join(letters, plain)}_{{1,3}}"


def _join(letters: Sequence[_Letter], parts: Sequence[str], inside: str = "") -> str:
    """The parts with what may or has to stand between them; `inside` is for letters of one word."""
    between = ["" if kind(letter.either[0]) == "M" else letter.joint or inside for letter in letters[1:]]
    return parts[0] + "".join(joint + part for joint, part in zip(between, parts[1:], strict=True))


def _spaceless(letters: Sequence[_Letter]) -> str:
    """A word with letters of a script without spaces: signs may stand beside each of these."""
    out = letters[0].plain
    for before, letter in pairwise(letters):
        own, other = letter.either[0], before.either[0]
        joint = letter.joint
        if kind(own[0]) == "M":
            joint = ""
        elif not joint and "S" in (kind(own[0]), kind(other[-1])):
            joint = _SPACELESS_JOINT
        out += joint + letter.plain
    return out


def _literal(word: str, folded: str) -> str:
    """An entry that begins or ends with a sign (.onion, c++), or has signs only: as it is, in any case."""
    gap = _joint(" ")
    inner = "".join(gap if c == " " else _any_of(sorted(cases(c))) for c in word)
    return _first(folded[0], False) + inner + _last(folded, False)


def _any_of(forms: Sequence[str]) -> str:
    return re.escape(forms[0]) if len(forms) == 1 else f"(?:{'|'.join(map(re.escape, forms))})"


def _set(chars: str) -> str:
    return re.escape(chars) if len(chars) == 1 else f"[{re.escape(''.join(dict.fromkeys(chars)))}]"
