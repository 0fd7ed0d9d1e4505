"""Text of strangers for a page: what cannot be seen is shown by its number, and what is long is cut.

Escaping is the templates' work. Here are characters that change how their neighbours look (Unicode Standard Annex #9,
bidirectional controls), that look like nothing, or that no page can hold.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})  # categories of Unicode
BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # letters and marks that look like nothing
ODD = re.compile(r"[^\x20-\x7e\n]")
SHORT = 80  # characters of a name
LONG = 4_000  # characters of a text


class Piece(NamedTuple):
    """A part of a text. kind: `plain`, `unseen` (text is its number), or `found` (rules is which found it)."""

    kind: str
    text: str
    rules: str = ""


class Span(NamedTuple):
    """A part that rules have found."""

    start: int
    end: int
    rules: str


class Shown(NamedTuple):
    """A text as a page shows it. more: characters that are left out."""

    pieces: list[Piece]
    more: int


def shown(text: object, most: int | None = LONG, spans: Sequence[Span] = ()) -> Shown:
    """The beginning of a text. `most`: characters; None: all of it."""
    whole = "" if text is None else str(text)
    end = len(whole) if most is None else min(len(whole), most)
    pieces: list[Piece] = []
    at = 0
    for span in joined(spans):
        start, stop = min(span.start, end), min(span.end, end)
        if start < stop:
            pieces += _pieces(whole[at:start], "plain", "")
            pieces += _pieces(whole[start:stop], "found", span.rules)
            at = stop
    return Shown([*pieces, *_pieces(whole[at:end], "plain", "")], len(whole) - end)


def plain(text: object, most: int = SHORT) -> str:
    """The same where there can be no tags: in an option, or an attribute."""
    found = shown(text, most)
    return "".join(piece.text for piece in found.pieces) + ("…" if found.more else "")


def joined(spans: Sequence[Span]) -> Iterator[Span]:
    """Spans without a common character, in their order."""
    known: Span | None = None
    for span in sorted(spans):
        if known is not None and span.start < known.end:
            names = dict.fromkeys([*known.rules.split(", "), *span.rules.split(", ")])
            known = Span(known.start, max(known.end, span.end), ", ".join(names))
        else:
            if known is not None:
                yield known
            known = span
    if known is not None:
        yield known


def labels(text: str, names: Sequence[str]) -> list[Span]:
    """Where a masked text has the label of a rule in the place of what it found."""
    if not names:
        return []
    pattern = "|".join(re.escape(name) for name in sorted(set(names), key=len, reverse=True))
    return [Span(*found.span(), found[1]) for found in re.finditer(rf"\[({pattern})\]", text)]


def _pieces(text: str, kind: str, rules: str) -> Iterator[Piece]:
    at = 0
    for found in ODD.finditer(text):
        char = found[0]
        if unicodedata.category(char) in UNSEEN or char in BLANK:
            if at < found.start():
                yield Piece(kind, text[at : found.start()], rules)
            yield Piece("unseen", f"U+{ord(char):04X}", rules)
            at = found.end()
    if at < len(text):
        yield Piece(kind, text[at:], rules)
