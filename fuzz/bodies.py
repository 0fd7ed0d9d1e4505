"""JSON from outside, and encoded bodies."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from fuzz.mutations import Mutation, mutate, mutations
from proxy.dialects.wire.json_body import MAX_DEPTH, parse_request, parse_upstream, says_more
from proxy.errors import ClientError, UpstreamBroken
from proxy.server.http.body import decode

SEEDS = (
    *(
        b'{"a":1}',
        b'{"a":[{"b":"\\u00e9"}]}',
        b'{"a":{"a":{"a":null}}}',
        b'{"a":1,"b":2.5e3,"c":"x\\\\"}',
        b"[1]",
        b"{}",
    ),
    *(b'{"a":' * 99 + b"1" + b"}" * 99, b'{"a":' * 101 + b"1" + b"}" * 101, b'{"a":"\xc3\xa9\xf0\x9f\x92\xa9"}'),
)
TOKENS = (
    *(b'"a"', b'"A"', b'"\\u0061"', b":", b",", b"{", b"}", b"[", b"]"),
    *(b"1", b"-0", b"1e5", b"true", b"null", b" ", b"NaN"),
)
bodies = st.one_of(st.sampled_from(SEEDS).map(lambda seed: [seed]), st.lists(st.sampled_from(TOKENS), max_size=20))


class Twice(ValueError):
    """A key that stands twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise Twice
    return dict(pairs)


def strictly(data: bytes) -> Any:
    """The value, read by Python's own reader. ValueError when it is not JSON, Twice when a key stands twice."""
    return json.loads(data.decode("utf-8"), object_pairs_hook=_once)


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0) if isinstance(value, dict | list) else 0


@given(bodies, mutations)
def check_request_json(parts: Sequence[bytes], applied: Sequence[Mutation]) -> None:
    """What is taken says the same to a strict reader, has no key twice and is not too deep; all else is refused."""
    data = mutate(parts, TOKENS, applied)
    try:
        value = parse_request(data)
    except ClientError:
        return
    assert _same(value, strictly(data))
    assert _depth(value) <= MAX_DEPTH


@given(bodies, mutations)
def check_upstream_json(parts: Sequence[bytes], applied: Sequence[Mutation]) -> None:
    """An event is an object that a strict reader reads too, and what its bytes say more is noticed."""
    data = mutate(parts, TOKENS, applied)
    try:
        value = parse_upstream(data)
    except UpstreamBroken:
        return
    try:
        expected = strictly(data)
    except Twice:
        assert says_more(data, value)
    else:
        assert says_more(data, value) == _has_odd_numbers(data)
        assert _same(value, expected)


def _has_odd_numbers(data: bytes) -> bool:
    """Whether a number is not written as its value would be."""
    literals: list[str] = []
    json.JSONDecoder(parse_int=literals.append, parse_float=literals.append).decode(data.decode())
    return any(orjson.dumps(orjson.loads(literal)).decode() != literal for literal in literals)


def _same(a: Any, b: Any) -> bool:
    """Whether two readers have read the same; large integers may have become floats."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, float) and isinstance(b, int | float):
        return math.isclose(a, b)
    return bool(a == b) and type(a) is type(b)


ENCODERS: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"gzip", gzip.compress),
    (b"deflate", zlib.compress),
    (b"deflate", lambda data: zlib.compress(data)[2:-4]),
    (b"zstd", zstandard.ZstdCompressor().compress),
    (b"identity", bytes),
)
LIMIT = 4096
bodies_of_any_size = st.one_of(st.binary(max_size=200), st.integers(0, 3 * LIMIT).map(lambda size: b"a" * size))


@given(bodies_of_any_size, st.sampled_from(ENCODERS), mutations)
def check_content_encoding(
    data: bytes, encoder: tuple[bytes, Callable[[bytes], bytes]], applied: Sequence[Mutation]
) -> None:
    """A good body comes back whole, a larger one than allowed or a damaged one is refused, and nothing else happens."""
    name, encode = encoder
    sent = encode(data)
    harmed = mutate([sent], (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", sent), applied)
    try:
        got = decode(harmed, name, LIMIT)
    except ClientError:
        assert harmed != sent or len(data) > LIMIT
        return
    assert name == b"identity" or len(got) <= LIMIT
    assert harmed != sent or got == data


CHECKS: dict[str, Callable[[], None]] = {
    "jsonbody: requests": check_request_json,
    "jsonbody: events": check_upstream_json,
    "body: content encodings": check_content_encoding,
}
