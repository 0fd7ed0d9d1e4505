"""JSON from outside, read so that all read the same: no duplicate keys, NaN or lone surrogates, and a bounded depth.

Go's encoding/json takes keys in any case and the last of duplicates; nlohmann/json the last; some readers the first.
So what is read here is allow-listed and written anew, and what could be read in two ways is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import orjson

from proxy.errors import BadRequest, UpstreamBroken

MAX_DEPTH = 100


def parse_request(body: bytes) -> dict[str, Any]:
    """A client's body as an object. Raises BadRequest that says what is wrong and where."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not valid JSON: {error}", code="invalid_json") from None
    if not isinstance(value, dict):
        raise BadRequest(f"The body must be a JSON object, not {type_name(value)}", code="invalid_json")
    _check_shape(body, value)
    return value


def _check_shape(body: bytes, value: Any) -> None:
    """Refuse duplicate keys and deep nesting. `value` is how orjson read the body."""
    if _depth(body, value) > MAX_DEPTH:
        raise BadRequest(f"The body is nested deeper than {MAX_DEPTH} levels", code="too_deep")
    if orjson.dumps(value) == body:
        return  # most clients write it like this; a key that stood twice would be missing once
    try:
        _READER.decode(body.decode())
    except _DuplicateError as error:
        raise BadRequest(
            f"The key {_quoted(error.key)} is in one object twice; send it once", error.key, "duplicate_key"
        ) from None


def _depth(body: bytes, value: Any) -> int:
    """How deep the body nests, up to one more than is allowed; 0 when it has too few brackets to matter. `value` is how
    orjson read it."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return 0
    level, depth = [value], 1
    while level and depth <= MAX_DEPTH:
        depth += 1
        level = [inner for outer in level for inner in _inside(outer) if type(inner) in (dict, list) and inner]
    return depth


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if type(value) is dict else value


class _DuplicateError(ValueError):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) > 1:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateError(key)
            seen.add(key)


def _zero(_: str) -> int:
    return 0


_READER = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_zero, parse_float=_zero)
"""Raises _DuplicateError; what it returns is nothing."""


class _OddNumberError(ValueError):
    pass


def _as_written(literal: str) -> int:
    if literal != orjson.dumps(orjson.loads(literal)).decode():
        raise _OddNumberError(literal)
    return 0


_CLOSE_READER = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_as_written, parse_float=_as_written)
"""Raises _OddNumberError too, for a number that is not written as its value would be."""


def says_more(data: bytes, value: Any) -> bool:
    """Whether `data` says more than orjson read of it as `value`: a key twice, or digits that the number has not."""
    if orjson.dumps(value) == data:
        return False
    try:
        _CLOSE_READER.decode(data.decode())
    except (ValueError, RecursionError):
        return True
    return False


def parse_upstream(data: bytes) -> dict[str, Any]:
    """One event of the upstream as an object. Raises UpstreamBroken: what cannot be read cannot be guarded."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise UpstreamBroken("the model server sent something that is not JSON", "protocol") from None
    if not isinstance(value, dict):
        raise UpstreamBroken(f"the model server sent {type_name(value)} where an object belongs", "protocol")
    if _depth(data, value) > MAX_DEPTH:
        raise UpstreamBroken(f"the model server sent JSON nested deeper than {MAX_DEPTH} levels", "protocol")
    return value


def type_name(value: Any) -> str:
    """What JSON calls it."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _quoted(text: str) -> str:
    return json.dumps(text[:60])
