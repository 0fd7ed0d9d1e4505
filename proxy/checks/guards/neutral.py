"""A judged text must not be able to end its place in the guard's prompt, or to speak for somebody else there.

A guard's prompt is one string that is tokenised with its control tokens, so a text that holds them would be read as the
prompt's own. They are broken as the check `markers` breaks them, and lines that would begin a turn are quoted.
"""

from __future__ import annotations

import re
from functools import lru_cache

from proxy.checks.guards.format import Format, Marks
from proxy.checks.markers import BREAK, FORM, LISTED

QUOTE = "> "
_LONE = re.compile("[\ud800-\udfff]")
_LINE_START = r"(?:^|(?<=[\r\v\f\x1c-\x1e\x85\u2028\u2029]))"


def neutral(guard: Format, text: str) -> str:
    """The text with nothing in it that means something in the guard's prompt. It reads the same."""
    tokens, lines = _patterns(guard.marks)
    text = sound(text)
    text = tokens.sub(rf"\g<0>{BREAK}", text)
    return lines.sub(QUOTE, text) if lines else text


def sound(text: str) -> str:
    """The text without lone surrogates, which no JSON can hold: as many characters."""
    return text if text.isascii() else _LONE.sub("\ufffd", text)


@lru_cache
def _patterns(marks: Marks) -> tuple[re.Pattern[str], re.Pattern[str] | None]:
    """The first character of each mark, marks that overlap included; and the beginning of each line that is quoted."""
    rests: dict[str, list[str]] = {FORM[0]: [FORM[1:]]}
    for mark in (*sorted(LISTED), *marks.tokens):
        rests.setdefault(mark[0], []).append(_any_blanks(mark[1:]))
    tokens = "|".join(f"(?i:{re.escape(first)})(?=(?i:{'|'.join(known)}))" for first, known in rests.items())
    words = "|".join(map(_any_blanks, marks.lines))
    return re.compile(tokens), re.compile(rf"(?mi){_LINE_START}(?=[^\S\n]*(?:{words}))") if words else None


def _any_blanks(text: str) -> str:
    """Of a mark, with any white space where it has a blank: a guard reads over the difference."""
    return re.sub(r"(?:\\ )+", r"\\s+", re.escape(text))
