"""Sets of characters by name: a script (`Latin`), a general category (`Nd`, or `N` for all of them), a range."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from itertools import chain, groupby

from proxy.checks.characters.scripts import RANGES
from proxy.matching.charsets import CharSet

SHARED = ("Common", "Inherited")
"""What belongs to no script alone: spaces, digits, signs, emoji; accents and other marks (UAX #24)."""
_BY_CLASS = {"L": "ultmo", "M": "nce", "N": "dlo", "P": "cdseifo", "S": "mcko", "Z": "slp", "C": "cfson"}
CATEGORIES = frozenset(major + minor for major, minors in _BY_CLASS.items() for minor in minors)
"""The general categories of Unicode (UAX #44)."""
RANGE = re.compile(r"U\+([0-9A-F]{1,6})(?:-U\+([0-9A-F]{1,6}))?", re.ASCII | re.IGNORECASE)


def named(name: str) -> CharSet:
    """The characters of a name. Raises ValueError with two arguments: what is wrong, and what to write."""
    if match := RANGE.fullmatch(name):
        return _range(name, match[1], match[2])
    if script := _SCRIPTS.get(_plain(name)):
        return _script(script)
    if name in CATEGORIES or name in _BY_CLASS:
        return _category(name)
    near = get_close_matches(_plain(name), _SCRIPTS, 1)
    known = "write a script, a category such as Nd, or U+0400-U+04FF"
    meant = f"did you mean `{_SCRIPTS[near[0]]}`?" if near else known
    raise ValueError(f"there is no script and no general category `{name}`", meant)


def union(names: Iterable[str]) -> CharSet:
    """The characters of all of these. Raises ValueError as `named`."""
    found = CharSet.of(())
    for name in names:
        found |= named(name)
    return found


def refusal_of(char: str) -> str:
    """A sentence that says which character is not allowed, by its number and its name, without showing it."""
    name = unicodedata.name(char, "")
    number = f"U+{ord(char):04X}"
    return f"{number} ({name}) is not allowed here." if name else f"{number} is not allowed here."


def _plain(name: str) -> str:
    return name.lower().replace(" ", "_").replace("-", "_")


_SCRIPTS = {_plain(name): name for name in RANGES}


def _range(name: str, first: str, last: str | None) -> CharSet:
    begin, end = int(first, 16), int(last or first, 16)
    if end > sys.maxunicode:
        raise ValueError(f"`{name}` lies behind the last character of Unicode", "U+10FFFF is the last")
    if begin > end:
        raise ValueError(f"`{name}` ends before it begins", "put the smaller number first")
    return CharSet.of([(begin, end)])


@cache
def _script(name: str) -> CharSet:
    pairs = (part.partition("-") for part in RANGES[name].split())
    return CharSet.of((int(first, 16), int(last or first, 16)) for first, _, last in pairs)


@cache
def _category(name: str) -> CharSet:
    own = [ranges for category, ranges in _ranges_by_category().items() if category.startswith(name)]
    return CharSet.of(chain.from_iterable(own))


@cache
def _ranges_by_category() -> dict[str, list[tuple[int, int]]]:
    """As the running interpreter knows them."""
    found: dict[str, list[tuple[int, int]]] = {}
    for category, codes in groupby(range(sys.maxunicode + 1), lambda code: unicodedata.category(chr(code))):
        run = list(codes)
        found.setdefault(category, []).append((run[0], run[-1]))
    return found
