"""Allow-lists: which keys of a request are understood, what type they have, and everything else left behind.

    MESSAGE = Object({"role": STRING, "content": any_of(STRING, NULL, list_of(PART))})
    clean = MESSAGE.take(value, "messages[2]", report)

A key that only differs in case from a known one is refused: a Go server would read it as that one.
An unknown key is left out and reported. A value of the wrong type is refused, with its path.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.dialects.wire.json_body import type_name
from proxy.errors import BadRequest

Take = Callable[[Any, str, "Report"], Any]
MOST_TEXTS = 100_000
"""Of one request, where each name and value in tools, schemas and arguments counts. Five hundred tools with large
schemas have about thirty thousand."""


@dataclass(slots=True)
class Report:
    """Keys that were left out."""

    dropped: list[str] = field(default_factory=list)


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


def list_of(item: Take) -> Take:
    """An array of `item`."""

    def take(value: Any, path: str, report: Report) -> list[Any]:
        if not isinstance(value, list):
            raise BadRequest(f"{path} must be an array, not {type_name(value)}", path, "invalid_type")
        return [item(v, f"{path}[{i}]", report) for i, v in enumerate(value)]

    return take


def map_of(item: Take) -> Take:
    """An object with free keys, whose values are all `item`."""

    def take(value: Any, path: str, report: Report) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise BadRequest(f"{path} must be an object, not {type_name(value)}", path, "invalid_type")
        return {k: item(v, f"{path}.{k}", report) for k, v in value.items()}

    return take


def by_type(what: str, **choices: Take) -> Take:
    """The first of `choices` that fits the value's JSON type: string, array, object, null, boolean or number."""

    def take(value: Any, path: str, report: Report) -> Any:
        chosen = choices.get(type_name(value).removeprefix("a ").removeprefix("an "))
        if chosen is None:
            raise BadRequest(f"{path} must be {what}, not {type_name(value)}", path, "invalid_type")
        return chosen(value, path, report)

    return take


def one_of(*allowed: str) -> Take:
    """A string out of a closed set."""

    def take(value: Any, path: str, report: Report) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise BadRequest(f"{path} must be one of {', '.join(allowed)}", path, "invalid_value")
        return value

    return take


class Object:
    """An object with known keys."""

    def __init__(self, keys: Mapping[str, Take], required: Sequence[str] = ()) -> None:
        self._keys = dict(keys)
        self._required = required
        self._folded = {_fold(k): k for k in keys}

    def __call__(self, value: Any, path: str, report: Report) -> dict[str, Any]:
        """The known part of `value`. Raises BadRequest."""
        if not isinstance(value, dict):
            raise BadRequest(f"{path or 'The body'} must be an object, not {type_name(value)}", path, "invalid_type")
        clean = {}
        for key, item in value.items():
            take = self._keys.get(key)
            where = f"{path}.{key}" if path else key
            if take is not None:
                clean[key] = take(item, where, report)
            else:
                self._leave(key, where, report)
        for key in self._required:
            if key not in clean:
                where = f"{path}.{key}" if path else key
                raise BadRequest(f"{where} is missing", where, "missing_field")
        return clean

    def _leave(self, key: str, where: str, report: Report) -> None:
        known = self._folded.get(_fold(key))
        if known is not None:
            raise BadRequest(
                f"Unknown key {where!a}: did you mean {known!a}? Keys are case-sensitive", where, "unknown_key"
            )
        report.dropped.append(where)


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


def too_many_texts(path: str) -> BadRequest:
    """The refusal of a request with more than MOST_TEXTS."""
    return BadRequest(
        f"{path}: up to here the request holds more than {MOST_TEXTS} texts (names and values count); send fewer",
        path,
        "too_many_texts",
    )
