"""Ways to write a character as several: escapes of JSON strings, and references of HTML."""

from __future__ import annotations

import re
from bisect import bisect_left
from html import unescape
from html.entities import html5
from typing import NamedTuple

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
