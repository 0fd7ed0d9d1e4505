"""Text of a model made safe to look at: what has no shape, or turns the direction of a line, is named by its number."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

SHOWN = 20  # of a run of such characters so many are named
MARKS = 1000  # of a text that are pieces of their own: a page of a million elements is none


class Part(NamedTuple):
    """A piece of a text. is_mark: it names characters, and stands for them."""

    text: str
    is_mark: bool = False


def parts(text: str) -> Iterator[Part]:
    """The text in pieces. Line feeds and tabs stay as they are; an empty text has none. Behind MARKS names the rest is
    one piece, with names in brackets."""
    marks, rest = 0, list[str]()
    for hidden, run in groupby(text, _is_hidden):
        characters = "".join(run)
        marks += hidden
        if marks > MARKS:
            rest.append(f"[{_named(characters)}]" if hidden else characters)
        else:
            yield Part(_named(characters), True) if hidden else Part(characters)
    if rest:
        yield Part("".join(rest))


def plain(text: str) -> str:
    """The same in one piece, in which names stand in brackets."""
    return "".join(f"[{part.text}]" if part.is_mark else part.text for part in parts(text))


def one_line(text: str) -> str:
    """The same on one line, for a terminal."""
    return plain(text.replace("\n", " ").replace("\t", " "))


def _is_hidden(character: str) -> bool:
    """Controls, formats (bidirectional overrides, zero width), lone surrogates, private and unassigned characters."""
    if character in "\n\t":
        return False
    return unicodedata.category(character)[0] == "C" or character in "\u2028\u2029\u3164\u115f\u1160\u2800"


def _named(characters: str) -> str:
    names = " ".join(f"U+{ord(one):04X}" for one in characters[:SHOWN])
    more = len(characters) - SHOWN
    return f"{names} and {more} more" if more > 0 else names
