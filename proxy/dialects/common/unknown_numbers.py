"""Numbers, booleans and nulls of an answer under keys that nobody here knows: what model servers have added since.

They pass, since a client gets what it gets direct. The model cannot choose them, but an odd server could tell its text
by them, a character's code in each event. So they are few in an answer, and judged as they are shown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Container, Iterable
from typing import Any, Final

import orjson

from proxy.dialects.common.counts import COUNTS

MOST = 64
"""Values in one answer; one that is the same as the last under its key counts once."""
MOST_A_KEY = 4
"""Values under one key. The end of an answer may bring one more: there the totals stand."""
DEEPEST = 3
"""Objects inside objects."""

_in_form = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]{0,39}").fullmatch
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_SPELLING = frozenset(
    ("id", "ids", "token", "char", "chars", "character", "code", "codes", "codepoint", "byte", "rune", "letter", "ord")
)
"""Last words of keys under which a whole number may stand for a piece of text."""
_MEANT = frozenset(
    (
        *("index", "id", "object", "type", "event", "name", "role", "error", "message", "choices", "delta", "text"),
        *("content", "response", "thinking", "reasoning", "reasoning_content", "refusal", "tool_calls", "tool_call"),
        *("function_call", "function", "arguments", "input", "output", "done", "done_reason", "finish_reason"),
        *("stop_reason", "stop_sequence", "logprobs", "context", "model", "created", "created_at", "usage", "status"),
        *(
            "embedding",
            "embeddings",
            "signature",
            "content_block",
            "sequence_number",
            "item",
            "part",
            "result",
            "stats",
            "data",
        ),
    )
)
"""Keys that mean something to a client, in lower case: Go's encoding/json takes them in any."""
_NOTHING: Final = object()


class UnknownNumbers:
    """Those of one answer. `admits` says whether no rule minds a short text.

    ending: the event that is read ends the answer, or a choice
    steady: each key has had one value so far, so that events may be read by their form alone
    """

    __slots__ = ("_admits", "_left", "_told", "ending", "steady")

    def __init__(self, admits: Callable[[str], bool]) -> None:
        self._admits = admits
        self._told: dict[str, tuple[str, int]] = {}  # by place: the last value, and how many there were
        self._left = MOST
        self.ending = False
        self.steady = True

    def beside(self, value: dict[str, Any], clean: dict[str, Any], place: str = "") -> dict[str, Any]:
        """`clean`, and what `value` has beside it under unknown keys. An object passes as a whole or not at all."""
        unknown = value.keys() - clean.keys()
        if not unknown:
            return clean
        meant = _MEANT.union(map(str.lower, clean))
        keys = (key for key in value if key in unknown and key.lower() not in meant)
        return {**clean, **self._passing(value, keys, place)}

    def statistics(self, value: Any, place: str, known: Container[str] = COUNTS) -> Any:
        """Usage and timings: known keys and unknown ones with numbers, at any depth; what is none is left out."""
        if not isinstance(value, dict):
            return value if isinstance(value, int | float) else None
        counts = {
            key: self.statistics(part, f"{place}.{key}", known) if isinstance(part, dict) else part
            for key, part in value.items()
            if key in known and _may_count(part)
        }
        return {**counts, **self._passing(value, (key for key in value if key not in known), place, whole=False)}

    def _passing(self, value: dict[str, Any], keys: Iterable[str], place: str, *, whole: bool = True) -> dict[str, Any]:
        parts = {key: self._part(value[key], f"{place}.{key}", key, whole) for key in keys if _in_form(key)}
        return {key: part for key, part in parts.items() if part is not _NOTHING}

    def _part(self, value: Any, place: str, key: str, whole: bool) -> Any:
        if isinstance(value, dict):
            return self._object(value, place, whole)
        return value if _is_plain(key, value) and self._may_be_told(place, key, value) else _NOTHING

    def _object(self, value: dict[str, Any], place: str, whole: bool) -> Any:
        if not value or place.count(".") > DEEPEST:
            return _NOTHING
        if whole and not _all_plain(value):
            return _NOTHING
        parts = self._passing(value, value, place, whole=whole)
        return parts if parts and (len(parts) == len(value) or not whole) else _NOTHING

    def _may_be_told(self, place: str, key: str, value: Any) -> bool:
        """Whether a value is the last once more, or a new one that may still come and that no rule minds.

        After one that may not, there is none until the end: that a value comes, or does not, would tell something too.
        """
        shown = orjson.dumps(value).decode()
        last, times = self._told.get(place, ("", 0))
        if shown == last:
            return True
        self.steady &= not times
        if not self._left or times >= MOST_A_KEY + self.ending:
            self.steady = False
            if times:
                self._told[place] = ("", times)
            return False
        self._left -= 1
        passes = self._admits(f"{key}: {shown}")
        self._told[place] = (shown, times + 1) if passes else ("", MOST_A_KEY)
        return passes


def _may_count(value: Any) -> bool:
    return value is None or isinstance(value, int | float | dict)


def _is_plain(key: str, value: Any) -> bool:
    """Whether a value is a number, a boolean or null that stands for no piece of text."""
    if value is None or isinstance(value, bool):
        return True
    if not isinstance(value, int | float) or not math.isfinite(value):
        return False
    words = _WORD.findall(key)
    spells = bool(words) and words[-1].lower() in _SPELLING
    return not spells or not float(value).is_integer()


def _all_plain(value: dict[str, Any]) -> bool:
    """Whether an object holds nothing that is left out by its form, at any depth."""
    return all(
        _in_form(key) and (_all_plain(part) if isinstance(part, dict) and part else _is_plain(key, part))
        for key, part in value.items()
    )
