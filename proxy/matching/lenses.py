"""Lenses: what a view is made with. Raw text in, view text out, and the map from one to the other.

Escapes come first: ways to write one character as several, in JSON strings and in HTML.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from html import unescape
from html.entities import html5
from typing import Any, NamedTuple, Protocol

from proxy.matching.folding import BREVE, BREVE_LETTERS, CACHE_LIMIT, FOLDS
from proxy.matching.writing import ascii_and_others

JSON_LONGEST = 12  # \ud83d\ude00


class Escape(NamedTuple):
    """What stands at the place of a backslash or ampersand.

    end:  where it ends
    text: the characters it stands for; "" when it is no escape and means what it says
    read: how much of the text had to be read to know; more than there is when only what follows decides
    """

    end: int
    text: str
    read: int


_JSON_SHORT = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_ONE_JSON = re.compile(r'\\(?:["\\/bfnrt]|u(?![dD][89abAB])[0-9a-fA-F]{4})')
"""An escape that stands for a character by itself, whatever follows."""
_HEX4 = re.compile(r"\\u([0-9a-fA-F]{4})")
_LOW = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_HEX4_BEGUN = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?")
_LOW_BEGUN = re.compile(r"(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?")


def json_escape(text: str, at: int) -> Escape:
    """The escape at a backslash in JSON source (RFC 8259, section 7). A lone surrogate stands for itself."""
    short = _JSON_SHORT.get(text[at + 1 : at + 2])
    if short:
        return Escape(at + 2, short, at + 2)
    found = _HEX4.match(text, at)
    if found is None:
        return _no_escape(_HEX4_BEGUN, text, at)
    code, end = int(found[1], 16), found.end()
    if not 0xD800 <= code < 0xDC00:
        return Escape(end, chr(code), end)
    low = _LOW.match(text, end)
    if low is None:
        return Escape(end, chr(code), _no_escape(_LOW_BEGUN, text, end).read)
    return Escape(low.end(), chr(0x10000 + (code - 0xD800 << 10) + int(low[1], 16) - 0xDC00), low.end())


_NO_REFERENCES = re.compile(r"(?:&(?=[^a-zA-Z#]))+")
_NAMES = sorted(name for name in html5 if name.endswith(";"))
HTML_LONGEST = max(map(len, _NAMES)) + 1
_NUMERIC = re.compile(r"&#(?:[0-9]{1,8}|[xX][0-9a-fA-F]{1,7});")
_NUMERIC_BEGUN = re.compile(r"&(?:#(?:[xX][0-9a-fA-F]{0,7}|[0-9]{0,8}))?")
_NAME = re.compile(rf"&([a-zA-Z][a-zA-Z0-9]{{0,{HTML_LONGEST}}};?)")


def html_reference(text: str, at: int) -> Escape:
    """The character reference at an ampersand (HTML, section 13.5), numeric or named, with its semicolon."""
    named = _NAME.match(text, at)
    if named:
        return _named(named[1], at)
    number = _NUMERIC.match(text, at)
    if number is None:
        return _no_escape(_NUMERIC_BEGUN, text, at)
    return Escape(number.end(), unescape(number[0]) or "\ufffd", number.end())


def _named(name: str, at: int) -> Escape:
    """Of a name as far as it was read: the reference, or how much of it was enough to see that there is none."""
    if name in html5 and name[-1] == ";":
        return Escape(at + 1 + len(name), html5[name], at + 1 + len(name))
    known = len(name)
    while not _is_begun(name[:known]):
        known -= 1
    return Escape(at + 1 + known, "", at + 2 + known)


def _is_begun(name: str) -> bool:
    at = bisect_left(_NAMES, name)
    return at < len(_NAMES) and _NAMES[at].startswith(name)


def _no_escape(begun: re.Pattern[str], text: str, at: int) -> Escape:
    """Text that began like an escape; the character after it, or the end of the text, shows that it is none."""
    found = begun.match(text, at)
    assert found is not None
    return Escape(found.end(), "", found.end() + 1)


UNSEEN_LIMIT = 512
"""The most characters in a row that a folded view leaves out. More are seen as what they are, so that a flood of them
cannot make a few view characters stand for an unbounded raw text."""

Piece = tuple[int, int, int, int]
"""Part of the map from the view to the raw text: (seen, raw, width, late).

width 0: from view offset `seen` to the next piece, view characters are raw characters, from raw offset `raw` on, and to
         know each of them, `late` more raw characters had to be read
width n: the view characters up to the next piece are one unit of n raw characters, and to know that, `late` more raw
         characters had to be read
"""


class Lens(Protocol):
    """Reads raw text as view text."""

    @property
    def pending(self) -> int:
        """How many raw characters at the end are not seen yet."""

    @property
    def quiet(self) -> bool:
        """Whether it is as if nothing had been read yet."""

    @property
    def remembers(self) -> bool:
        """Whether it ever keeps something in mind of a text when it is quiet."""

    @property
    def memory(self) -> bool:
        """Whether it does now."""

    @memory.setter
    def memory(self, value: bool) -> None: ...

    def plain(self, text: str) -> str | None:
        """The view of a text whose view characters are its characters one by one, where that is quickly seen."""

    def read(self, text: str, final: bool, seen: int, raw: int) -> tuple[str, list[Piece]]:
        """The view of any text and its map, from the view offset `seen` and the raw offset `raw` of `text` on."""

    def save(self) -> Any:
        """The state."""

    def restore(self, state: Any) -> None:
        """Go back to a saved state."""


class _Written(dict[str, str]):
    """Escapes of JSON that stand for a character by themselves, and what they say."""

    def __missing__(self, escape: str) -> str:
        said = self[escape] = json_escape(escape, 0).text
        return said


class Syntax(NamedTuple):
    """A way to write one character as several.

    sign:   what an escape begins with
    escape: reads one, or what only begins like one
    frequent: finds at a sign what need not be read by `escape`
    said:   what an escape that `frequent` finds says; None where it finds no escapes, but signs that mean what they
            say, each of which is known by the character behind it
    """

    sign: str
    escape: Callable[[str, int], Escape]
    frequent: re.Pattern[str]
    said: dict[str, str] | None


JSON_ESCAPES = Syntax("\\", json_escape, _ONE_JSON, _Written())
HTML_REFERENCES = Syntax("&", html_reference, _NO_REFERENCES, None)


class EscapeLens:
    """Escapes resolved."""

    remembers = False
    __slots__ = ("_begun", "_sign", "_syntax", "memory")

    def __init__(self, syntax: Syntax) -> None:
        self._syntax, self._sign = syntax, syntax.sign
        self.memory = False
        self._begun = ""  # what may be the beginning of an escape, at the end of what was read

    @property
    def pending(self) -> int:
        return len(self._begun)

    @property
    def quiet(self) -> bool:
        return not self._begun

    def plain(self, text: str) -> str | None:
        return None if self._begun or self._sign in text else text

    def read(self, text: str, final: bool, seen: int, raw: int) -> tuple[str, list[Piece]]:
        raw -= len(self._begun)
        text = self._begun + text
        parts: list[str] = []
        pieces: list[Piece] = []
        done = 0
        sign, escape_at, frequent, said = self._syntax
        while (at := text.find(sign, done)) >= 0:
            known = frequent.match(text, at)
            escape = None if known else escape_at(text, at)
            if escape is not None and escape.read > len(text) and not final:
                break
            if at > done:
                parts.append(text[done:at])
                pieces.append((seen, raw + done, 0, 0))
                seen += at - done
            if known is None:
                assert escape is not None
                part, more = _unit(text, at, escape, seen, raw)
                pieces.extend(more)
                done = escape.end
            elif said is None:
                part, done = known[0], known.end()
                pieces.append((seen, raw + at, 0, 1))
            else:
                part, done = said[known[0]], known.end()
                pieces.append((seen, raw + at, done - at, 0))
            parts.append(part)
            seen += len(part)
        end = len(text) if at < 0 else at
        if end > done:
            parts.append(text[done:end])
            pieces.append((seen, raw + done, 0, 0))
        self._begun = text[end:]
        return "".join(parts), pieces

    def save(self) -> str:
        return self._begun

    def restore(self, state: str) -> None:
        self._begun = state


def _unit(text: str, at: int, escape: Escape, seen: int, raw: int) -> tuple[str, list[Piece]]:
    """An escape as one unit; what turned out to be none, character by character."""
    if escape.text:
        return escape.text, [(seen, raw + at, escape.end - at, escape.read - escape.end)]
    pieces = [(seen + i - at, raw + i, 1, escape.read - i - 1) for i in range(at, escape.end)]
    return text[at : escape.end], pieces


class FloodError(ValueError):
    """A text that hides something behind more invisible characters than any script needs."""


class FoldLens:
    """References resolved, then every unit folded."""

    remembers = True
    __slots__ = ("_letter", "_references", "_strict", "_unseen")

    def __init__(self, strict: bool = False) -> None:
        """strict: a flood of characters that nobody sees is an error, since what it hides cannot be held for ever."""
        self._strict = strict
        self._references = EscapeLens(HTML_REFERENCES)
        self._unseen = 0  # how many characters in a row were left out
        self._letter = False  # the last character that is seen is one of BREVE_LETTERS

    @property
    def pending(self) -> int:
        return self._references.pending

    @property
    def quiet(self) -> bool:
        return not self._unseen and self._references.quiet

    def plain(self, text: str) -> str | None:
        if "&" in text or self._references.pending:
            return None
        if not text.isascii():
            parts = [_REGULAR[run] for run in ascii_and_others(text)]
            if None in parts:
                return None
            view = "".join(part for part in parts if part is not None)
            self._letter = text[-1] in BREVE_LETTERS
        else:
            view = text.lower()
            if text:
                self._letter = False
        if self._unseen and view:
            self._unseen = 0
        return view

    def read(self, text: str, final: bool, seen: int, raw: int) -> tuple[str, list[Piece]]:
        resolved, map_ = self._references.read(text, final, 0, raw)
        parts: list[str] = []
        pieces: list[Piece] = []
        for unit, width, late, chars in _units(map_, resolved):
            if width:
                part = "".join(map(self._seen, chars))
                straight = len(part) == width == 1 and not late
            else:
                part, straight = self._run(chars), not late
            if straight and not (pieces and continues(pieces[-1], seen, unit)):
                pieces.append((seen, unit, 0, 0))
            elif part and not straight:
                pieces.append((seen, unit, width, late))
            seen += len(part)
            parts.append(part)
        return "".join(parts), pieces

    def _run(self, chars: str) -> str:
        """Characters that are one character of the view each."""
        part = _REGULAR[chars]
        assert part is not None
        self._letter = chars[-1] in BREVE_LETTERS
        self._unseen = 0
        return part

    def _seen(self, char: str) -> str:
        """How a character is seen, after those before it.

        A breve is seen after a letter that it makes another one. Too many characters left out in a row are an error,
        or, where nothing waits, the others are seen.
        """
        part = BREVE if char == BREVE and self._letter else FOLDS[ord(char)]
        if part:
            self._letter = char in BREVE_LETTERS
        self._unseen = 0 if part else self._unseen + 1
        if self._unseen > UNSEEN_LIMIT and self._strict:
            raise FloodError(f"more than {UNSEEN_LIMIT} characters in a row that nobody sees")
        return char if self._unseen > UNSEEN_LIMIT else part

    @property
    def memory(self) -> bool:
        return self._letter

    @memory.setter
    def memory(self, value: bool) -> None:
        self._letter = value

    def save(self) -> tuple[int, bool, str]:
        return self._unseen, self._letter, self._references.save()

    def restore(self, state: tuple[int, bool, str]) -> None:
        self._unseen, self._letter, begun = state
        self._references.restore(begun)


class _Regular(dict[str, "str | None"]):
    """Runs of characters as they are seen, if each is one character then; else None. A breve never is by itself."""

    def __missing__(self, run: str) -> str | None:
        if run.isascii():
            return run.lower()
        parts = [FOLDS[ord(char)] for char in run]
        seen = "".join(parts) if set(map(len, parts)) == {1} and BREVE not in run else None
        if len(run) <= LONGEST_KEPT:
            if len(self) >= CACHE_LIMIT:
                self.clear()
            self[run] = seen
        return seen


_REGULAR = _Regular()
LONGEST_KEPT = 64


def _units(pieces: Sequence[Piece], text: str) -> Iterator[tuple[int, int, int, str]]:
    """(raw offset, width, late, characters) of every unit of a map from offset 0 on; width 0: each is seen as one.

    Signs that mean what they say are ASCII: they are seen as they are.
    """
    ends = [*(piece[0] for piece in pieces), len(text)][1:]
    for (start, raw, width, late), end in zip(pieces, ends, strict=True):
        if width or late:
            yield raw, width, late, text[start:end]
        else:
            yield from _straight(text[start:end], raw)


def _straight(text: str, raw: int) -> Iterator[tuple[int, int, int, str]]:
    """The units of characters that stand as they are in the raw text."""
    for run in ascii_and_others(text):
        if run and _REGULAR[run] is not None:
            yield raw, 0, 0, run
        else:
            yield from ((raw + i, 1, 0, char) for i, char in enumerate(run))
        raw += len(run)


def continues(piece: Piece, seen: int, raw: int) -> bool:
    """Would a raw character that is its own view character be part of the straight piece before it?"""
    return not piece[2] and not piece[3] and raw - seen == piece[1] - piece[0]
