"""Mutations of frames, of JSON and of single bytes, drawn as small numbers.

A case is a handful of numbers, cheap to draw and easy to shrink. Every number means something for every input.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any, NamedTuple

from hypothesis import strategies as st

BIG = 10**6
ODD_BYTES = (
    *(b"\xff", b"\xc3", b"\x00", b"\r", b"\n", b"\n\n", b"\r\n", b'"', b"\\", b"{", b"}", b"[", b"]", b":", b","),
    *(b"data: ", b"event: ", b"data", b"[DONE]", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\\ud800", b"null", b"1e999"),
)
ODD_VALUES: Sequence[Any] = (
    *(None, True, 0, -1, 1e300, 10**30, "", "odd", [], {}, [[]]),
    *(["a", {}], {"type": {}}, {"a": None}),
)


class Mutation(NamedTuple):
    """Which mutation, and where. The numbers are taken modulo what there is."""

    kind: int
    a: int
    b: int


numbers = st.integers(0, BIG)
mutations = st.lists(st.builds(Mutation, st.integers(0, 99), numbers, numbers), max_size=6)
cuts = st.lists(numbers, max_size=8)


def split(data: bytes, at: Sequence[int]) -> list[bytes]:
    """The data in pieces."""
    places = sorted({0, len(data), *(n % (len(data) + 1) for n in at)})
    return [data[a:b] for a, b in pairwise(places)]


def mutate(frames: Sequence[bytes], others: Sequence[bytes], applied: Sequence[Mutation]) -> bytes:
    """The frames after mutations of frames, then of bytes. `others`: frames that may be inserted."""
    left = list(frames) or [b""]
    for mutation in applied:
        if mutation.kind < 60:
            _FRAMES[mutation.kind % len(_FRAMES)](left, others, mutation)
    data = b"".join(left)
    for mutation in applied:
        if mutation.kind >= 60:
            data = _BYTES[mutation.kind % len(_BYTES)](data, mutation)
    return data


def _swap(frames: list[bytes], others: Sequence[bytes], a: Mutation) -> None:
    i, j = a.a % len(frames), a.b % len(frames)
    frames[i], frames[j] = frames[j], frames[i]


def _double(frames: list[bytes], others: Sequence[bytes], a: Mutation) -> None:
    frames.insert(a.a % (len(frames) + 1), frames[a.b % len(frames)])


def _lose(frames: list[bytes], others: Sequence[bytes], a: Mutation) -> None:
    if len(frames) > 1:
        del frames[a.a % len(frames)]


def _insert(frames: list[bytes], others: Sequence[bytes], a: Mutation) -> None:
    if others:
        frames.insert(a.a % (len(frames) + 1), others[a.b % len(others)])


def _mistype(frames: list[bytes], others: Sequence[bytes], a: Mutation) -> None:
    """Replace a value inside a frame's JSON."""
    i = a.a % len(frames)
    start, end = frames[i].find(b"{"), frames[i].rfind(b"}") + 1
    try:
        value = json.loads(frames[i][start:end])
    except ValueError:
        return
    changed = json.dumps(with_odd_value(value, a.b)).encode()
    frames[i] = frames[i][:start] + changed + frames[i][end:]


_FRAMES: tuple[Callable[[list[bytes], Sequence[bytes], Mutation], None], ...] = (
    *(_swap, _double, _lose, _insert),
    *(_mistype, _mistype),
)


def with_odd_value(value: Any, number: int) -> Any:
    """A copy of a JSON value with an odd value, or an odd key, at one place."""
    value, odd = deepcopy((value, ODD_VALUES[number // 7 % len(ODD_VALUES)]))
    places = list(_places(value))
    holder, key = places[number % len(places)] if places else (None, None)
    if holder is None:
        return odd
    if number % 3 == 0 and isinstance(holder, dict):
        holder[("odd", str(key).upper(), "error", "type", "index", "done")[number % 6]] = odd
    else:
        holder[key] = odd
    return value


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    stack = [value]
    while stack:
        node = stack.pop()
        members = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, item in list(members):
            found.append((node, key))
            stack.append(item)
    return found


def _change(data: bytes, a: Mutation) -> bytes:
    at = a.a % (len(data) + 1)
    return data[:at] + bytes([a.b % 256]) + data[at + 1 :]


def _put(data: bytes, a: Mutation) -> bytes:
    at = a.a % (len(data) + 1)
    return data[:at] + ODD_BYTES[a.b % len(ODD_BYTES)] + data[at:]


def _drop(data: bytes, a: Mutation) -> bytes:
    at = a.a % (len(data) + 1)
    return data[:at] + data[at + a.b % 40 :]


def _ends(data: bytes, a: Mutation) -> bytes:
    return data.replace(b"\n", (b"\r\n", b"\r")[a.b % 2])


_BYTES: tuple[Callable[[bytes, Mutation], bytes], ...] = (_change, _put, _drop, _put, _change, _ends)
