"""Allow-lists: what becomes of each part of a request. A dialect's lists are its table.

    MESSAGE = Object({"role": STRING, "content": any_of(STRING, NULL, list_of(PART))})
    clean = MESSAGE(value, "messages[2]", report)

An entry of a table says one of four things:

    judged and passed  judged(), judged_text(), words(), role(); or a STRING that the dialect puts among its texts
    passed             PASSED, SWITCH, COUNT, NUMBER, form(): there is nothing in it that a rule could find; or a STRING
                       that no template shows to the model
    left out           left_out(reason), and what `lenient`, `kinds` or `allowed` does not take: named in Report.dropped
    refused            refused(reason, code), and a wrong type where no reader could mean another: BadRequest

What stands in no table is left out and named. Only a key that differs in case alone from a known one is refused: a Go
server would read it as that one. What is left out is gone before anything is judged: `Report.texts` has only texts of
parts that are sent.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.dialects.common.request_texts import MOST_TEXTS as MOST_TEXTS
from proxy.dialects.common.request_texts import LeftOut as LeftOut
from proxy.dialects.common.request_texts import Report as Report
from proxy.dialects.common.request_texts import Take as Take
from proxy.dialects.common.request_texts import too_many_texts as too_many_texts
from proxy.dialects.wire.json_body import type_name
from proxy.errors import BadRequest

# -- judged and passed


def judged(role: str = "system") -> Take:
    """Any JSON, every text and key in it judged as a text of `role`."""

    def take(value: Any, path: str, report: Report) -> Any:
        report.judge(value, role, path)
        return value

    return take


def judged_text(role: str = "system") -> Take:
    """A string, judged as a text of `role`; anything else is left out."""

    def take(value: Any, path: str, report: Report) -> Any:
        if not isinstance(value, str):
            raise LeftOut
        report.judge(value, role, path)
        return value

    return take


def words(*known: str) -> Take:
    """A word that a template may show: a known one passes, another of the same form is judged as system text."""

    def take(value: Any, path: str, report: Report) -> Any:
        if isinstance(value, dict | list) or (isinstance(value, str) and not _is_word(value)):
            raise LeftOut
        if value not in known:
            report.judge(value, "system", path)
        return value

    return take


_is_word = re.compile(r"[A-Za-z0-9_.\-]{0,64}").fullmatch


def role(*known: str) -> Take:
    """Who speaks, in lower case, as Ollama reads it. A template may print it: an unknown one is judged as system text.

    What is no plain word is refused: it could forge a turn, and its message cannot be left out unseen.
    """

    def take(value: Any, path: str, report: Report) -> str:
        word = str(STRING(value, path, report)).lower()
        if word not in known:
            if not _is_role(word):
                raise BadRequest(
                    f"{path} {word[:40]!a} is not a role; use one of {', '.join(known)}", path, "invalid_role"
                )
            report.judge(word, "system", path)
        return word

    return take


_is_role = re.compile(r"[a-z][a-z0-9_\-]{0,31}").fullmatch


# -- passed


def form(pattern: str) -> Take:
    """A string that has this form as a whole; it bounds the length, and leaves no room for words."""
    matches = re.compile(pattern, re.ASCII).fullmatch

    def take(value: Any, path: str, report: Report) -> Any:
        if not isinstance(value, str) or not matches(value):
            raise LeftOut
        return value

    return take


_spells_scalar = re.compile(
    r"[+\-]?\d{0,20}\.?\d{0,20}(?:[eE][+\-]?\d{1,4})?|true|false|null|", re.IGNORECASE
).fullmatch
_TRUE, _FALSE = ("true", "1", "1.0", "yes", "on"), ("false", "0", "0.0", "no", "off", "")


def PASSED(value: Any, path: str, report: Report) -> Any:  # noqa: N802  (an entry, as NUMBER is)
    """A number, a boolean, null, or a string that spells one: the model server says what it makes of it."""
    if value is None or type(value) in (bool, int, float) or (isinstance(value, str) and _spells_scalar(value)):
        return value
    raise LeftOut


def SWITCH(value: Any, path: str, report: Report) -> bool | None:  # noqa: N802
    """A boolean that the proxy reads too, so it is sent as one: 1, "true" and the like are true."""
    if value is None or isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else json.dumps(value)
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise LeftOut


MAX_COUNT = 2**53  # of a float: up to here it is exact


def COUNT(value: Any, path: str, report: Report) -> int | None:  # noqa: N802
    """A whole number that the proxy reads too, so it is sent as one: 2.0 and "2" are 2."""
    if value is None or type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < MAX_COUNT:
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,18}", value.strip(), re.ASCII):
        return int(value)
    raise LeftOut


def scalar(what: str, *types: type) -> Take:
    """A value of one of `types`, called `what` in errors."""

    def take(value: Any, path: str, report: Report) -> Any:
        if type(value) not in types:
            raise BadRequest(f"{path} must be {what}, not {type_name(value)}", path, "invalid_type")
        return value

    return take


STRING = scalar("a string", str)
NUMBER = scalar("a number", int, float)
INTEGER = scalar("an integer", int)
BOOLEAN = scalar("a boolean", bool)
NULL = scalar("null", type(None))
OPTIONAL_STRING = scalar("a string or null", str, type(None))
OPTIONAL_NUMBER = scalar("a number or null", int, float, type(None))
OPTIONAL_INTEGER = scalar("an integer or null", int, type(None))
OPTIONAL_BOOLEAN = scalar("a boolean or null", bool, type(None))


def anything(value: Any, path: str, report: Report) -> Any:
    """Any JSON: a schema, arguments. The texts in it are judged by whoever knows what it is."""
    return value


def one_of(*allowed: str) -> Take:
    """A string out of a closed set."""

    def take(value: Any, path: str, report: Report) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise BadRequest(f"{path} must be one of {', '.join(allowed)}", path, "invalid_value")
        return value

    return take


# -- left out


@dataclass(frozen=True, slots=True)
class Dropped:
    """An entry that leaves its part out always, and says why."""

    reason: str

    def __call__(self, value: Any, path: str, report: Report) -> Any:
        """Raises LeftOut."""
        raise LeftOut


def left_out(reason: str) -> Dropped:
    """A known part that is none of a local model server's business, or that nobody here can judge. `reason` is for
    people who read the table."""
    return Dropped(reason)


def lenient(take_part: Take) -> Take:
    """A part without which the rest still makes sense: what does not fit is left out instead of refused."""

    def take(value: Any, path: str, report: Report) -> Any:
        try:
            return take_part(value, path, report)
        except BadRequest as error:
            if error.code in _MISFITS:
                raise LeftOut from None
            raise

    return take


_MISFITS = ("invalid_type", "invalid_value", "missing_field", "unsupported_value")


def allowed(option: str, take_part: Take) -> Take:
    """A part that is left out unless the operator has allowed it. `option` is the name of one of Options."""

    def take(value: Any, path: str, report: Report) -> Any:
        if not getattr(report.options, option):
            raise LeftOut
        return take_part(value, path, report)

    return take


def kinds(tag: str, variants: Mapping[str, Take], default: str = "", others: Take | None = None) -> Take:
    """An object whose key `tag` says which of `variants` it is; an unknown kind is left out.

    default: the kind of an object that does not say it; "": it is unknown
    others:  the entry for unknown kinds, if they are not left out
    """

    def take(value: Any, path: str, report: Report) -> Any:
        if not isinstance(value, dict):
            raise BadRequest(f"{path} must be an object, not {type_name(value)}", path, "invalid_type")
        kind = default if value.get(tag) is None else value[tag]
        variant = variants.get(kind, others) if isinstance(kind, str) else others
        if variant is None:
            if tag not in value:
                _refuse_hidden(tag, value, path)
            raise LeftOut
        return variant(value, path, report)

    return take


# -- refused


def refused(reason: str, code: str) -> Take:
    """A part that would make the server act on or read something unguarded, and without which the rest would mean
    something else. `reason` follows the part's path in the error, and says what to do."""

    def take(value: Any, path: str, report: Report) -> Any:
        raise BadRequest(f"{path} {reason}", path, code)

    return take


# -- what holds parts


def list_of(item: Take) -> Take:
    """An array of `item`; items that are left out close up."""

    def take(value: Any, path: str, report: Report) -> list[Any]:
        if not isinstance(value, list):
            raise BadRequest(f"{path} must be an array, not {type_name(value)}", path, "invalid_type")
        clean: list[Any] = []
        for i, part in enumerate(value):
            try:
                clean.append(report.read(item, part, f"{path}[{i}]", clean, len(clean)))
            except LeftOut:
                continue
        return clean

    return take


def one_or_more(item: Take) -> Take:
    """An array of `item`, or one that stands alone in its place: it is sent as an array of one."""
    several = list_of(item)

    def take(value: Any, path: str, report: Report) -> list[Any]:
        return list(several(value if isinstance(value, list) else [value], path, report))

    return take


def map_of(item: Take, named: str = "(?s:.*)", without: Container[str] = ()) -> Take:
    """An object with free keys, whose values are all `item`.

    named:   the form of the keys; what stands under another one is left out
    without: keys that are left out
    """
    is_name = re.compile(named, re.ASCII).fullmatch

    def take(value: Any, path: str, report: Report) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise BadRequest(f"{path} must be an object, not {type_name(value)}", path, "invalid_type")
        clean: dict[str, Any] = {}
        for key, part in value.items():
            where = f"{path}.{key}"
            if key in without or not is_name(key):
                report.dropped.append(where)
                continue
            try:
                clean[key] = report.read(item, part, where, clean, key)
            except LeftOut:
                continue
        return clean

    return take


def by_type(what: str, **choices: Take) -> Take:
    """The first of `choices` that fits the value's JSON type: string, array, object, null, boolean or number."""

    def take(value: Any, path: str, report: Report) -> Any:
        chosen = choices.get(type_name(value).removeprefix("a ").removeprefix("an "))
        if chosen is None:
            raise BadRequest(f"{path} must be {what}, not {type_name(value)}", path, "invalid_type")
        return chosen(value, path, report)

    return take


class Object:
    """An object with known keys. One of which a required key is left out is left out itself."""

    def __init__(self, keys: Mapping[str, Take], required: Sequence[str] = ()) -> None:
        self._keys = dict(keys)
        self._required = required
        self._folded = {_fold(k): k for k, take in keys.items() if not isinstance(take, Dropped)}

    def __call__(self, value: Any, path: str, report: Report) -> dict[str, Any]:
        """The known part of `value`. Raises BadRequest, LeftOut."""
        if not isinstance(value, dict):
            raise BadRequest(f"{path or 'The body'} must be an object, not {type_name(value)}", path, "invalid_type")
        clean: dict[str, Any] = {}
        for key, item in value.items():
            take = self._keys.get(key)
            where = f"{path}.{key}" if path else key
            if take is None:
                self._leave(key, where, report)
                continue
            try:
                clean[key] = report.read(take, item, where, clean, key)
            except LeftOut:
                if path and key in self._required:
                    raise
        for key in self._required:
            if key not in clean:
                where = f"{path}.{key}" if path else key
                raise BadRequest(f"{where} is missing", where, "missing_field")
        return clean

    def always_left_out(self) -> dict[str, str]:
        """Its own keys that are known and never sent, with the reasons."""
        return {key: take.reason for key, take in self._keys.items() if isinstance(take, Dropped)}

    def _leave(self, key: str, where: str, report: Report) -> None:
        known = self._folded.get(_fold(key))
        if known is not None:
            raise _unknown_key(where, known)
        report.dropped.append(where)


def _refuse_hidden(known: str, value: dict[str, Any], path: str) -> None:
    """Refuse an object in which a key stands that a lenient reader takes for `known`."""
    folded = _fold(known)
    for key in value:
        if _fold(key) == folded:
            raise _unknown_key(f"{path}.{key}", known)


def _unknown_key(where: str, known: str) -> BadRequest:
    return BadRequest(f"Unknown key {where!a}: did you mean {known!a}? Keys are case-sensitive", where, "unknown_key")


def _fold(key: str) -> str:
    """How the most lenient reader compares keys (Go folds U+017F to s and U+212A to k)."""
    return unicodedata.normalize("NFKC", key).casefold()


TAGGED_UNKNOWN = "has a type that is not supported"


def tagged(tag: str, variants: Mapping[str, Object]) -> Take:
    """An object whose key `tag` says which of `variants` it is; any other is refused."""

    def take(value: Any, path: str, report: Report) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise BadRequest(f"{path} must be an object, not {type_name(value)}", path, "invalid_type")
        kind = value.get(tag)
        variant = variants.get(kind) if isinstance(kind, str) else None
        if variant is None:
            known = ", ".join(variants)
            raise BadRequest(f"{path}.{tag} {TAGGED_UNKNOWN}; supported: {known}", f"{path}.{tag}", "unsupported_value")
        return variant(value, path, report)

    return take
