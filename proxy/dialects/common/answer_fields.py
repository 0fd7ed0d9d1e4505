"""What may be shown of a model server's own data: known keys, with numbers, or short texts of a known form.

Names of models are people's own words: those that are more than a word are judged before they are shown, see
`proxy.dialects.common.catalogue`.

    MODEL = record({"name": NAME, "size": NUMBER}, needed=("name",))
    MODEL({"name": "tiny:latest", "size": 3, "system": "You are"})   ->   {"name": "tiny:latest", "size": 3}

The counterpart of `request_fields`: nobody is to blame for what does not fit, so it is left out instead of refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

Shape = Callable[[Any], Any]
"""The part of a value that may be shown; LEFT_OUT when nothing of it may."""

LEFT_OUT: Final = object()


def text(pattern: str) -> Shape:
    """A text that matches as a whole; the pattern bounds its length."""
    form = re.compile(pattern, re.ASCII)
    return lambda value: value if isinstance(value, str) and form.fullmatch(value) else LEFT_OUT


def number(value: Any) -> Any:
    """A number or a boolean."""
    return value if isinstance(value, int | float) else LEFT_OUT


def null(value: Any) -> Any:
    """Nothing."""
    return None if value is None else LEFT_OUT


def either(*shapes: Shape) -> Shape:
    """The first that shows anything."""

    def allowed(value: Any) -> Any:
        return next((part for part in (shape(value) for shape in shapes) if part is not LEFT_OUT), LEFT_OUT)

    return allowed


def array(item: Shape) -> Shape:
    """A list of those items that may be shown."""

    def allowed(value: Any) -> Any:
        if not isinstance(value, list):
            return LEFT_OUT
        return [part for part in map(item, value) if part is not LEFT_OUT]

    return allowed


def record(keys: Mapping[str, Shape], needed: Sequence[str] = ()) -> Shape:
    """An object's known keys. Without one that is needed it is not shown at all."""

    def allowed(value: Any) -> Any:
        if not isinstance(value, dict):
            return LEFT_OUT
        parts = {key: shape(value[key]) for key, shape in keys.items() if key in value}
        kept = {key: part for key, part in parts.items() if part is not LEFT_OUT}
        return kept if all(key in kept for key in needed) else LEFT_OUT

    return allowed


def table(item: Shape, named: str = r"[A-Za-z0-9_.\-]{1,96}") -> Shape:
    """An object with any keys that match `named`, whose values are all `item`."""
    form = re.compile(named, re.ASCII)

    def allowed(value: Any) -> Any:
        if not isinstance(value, dict):
            return LEFT_OUT
        parts = {key: item(part) for key, part in value.items() if form.fullmatch(key)}
        return {key: part for key, part in parts.items() if part is not LEFT_OUT}

    return allowed


class WordsOfName(str):
    """A name that may say something: it has spaces, or another script. It is shown if no rule minds it."""

    __slots__ = ()


MAX_NAME = 256  # characters
JOINERS = "\u200c\u200d"  # format characters that Persian and the scripts of India spell with
PLAIN_NAME = text(r"[\w./:@+\-~\\#=]{1,256}|(?:/|~|[A-Za-z]:\\)[\w./:@+\-~\\()\[\],#= ]{1,256}\.gguf")


def NAME(value: Any) -> Any:  # noqa: N802  (a shape, as WORD is)
    """A model's name, or the path of its file. One that is no plain word is marked, so that it is judged.

    No control, format or bidirectional characters, and no line breaks: they would show as something else.
    """
    if PLAIN_NAME(value) is not LEFT_OUT or not isinstance(value, str):
        return PLAIN_NAME(value)
    has_form = 0 < len(value) <= MAX_NAME and not value.isspace() and all(map(_may_stand_in_name, value))
    return WordsOfName(value) if has_form else LEFT_OUT


def _may_stand_in_name(character: str) -> bool:
    return character.isprintable() or character in JOINERS or unicodedata.category(character) == "Zs"


WORD = text(r"[\w.+\-]{0,64}")
LABEL = text(r"[\w.+\-/:()]{1,48}(?: [\w.+\-/:()]{1,48}){0,5}")
"""A few words: a licence, an organisation."""
TITLE = either(LABEL, NAME)
"""A publisher, a name to display."""
DIGEST = text(r"(?:sha256:)?[0-9a-f]{0,64}")
TIME = text(r"(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+\-]\d\d:\d\d))?")
HOST = text(r"https?://[A-Za-z0-9.\-]{1,100}(?::\d{1,5})?/?")
