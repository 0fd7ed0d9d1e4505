"""Streams made from a right one: with other JSON inside an event, with fewer events, after accidents."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from tests.dialects.wires import OWN, Wire


def frames_with_json(body: bytes, wire: Wire) -> Iterator[tuple[int, bytes, Any]]:
    """The place and the JSON of each event of a stream, with what stands before it."""
    for i, frame in enumerate(body.split(wire.gap)):
        at = frame.rfind(wire.lead) + len(wire.lead) if wire.lead else 0
        if frame[at : at + 1] == b"{":
            yield i, frame[:at], json.loads(frame[at:])


def replaced(body: bytes, wire: Wire, place: int, head: bytes, value: Any) -> bytes:
    """The stream with another JSON in one event."""
    frames = body.split(wire.gap)
    frames[place] = head + json.dumps(value).encode()
    return wire.gap.join(frames)


def typical(body: bytes, wire: Wire, most: int = 2) -> Iterator[tuple[int, bytes, Any]]:
    """The same without the many events that differ from `most` others in their strings and numbers only."""
    seen: dict[str, int] = {}
    for place, head, value in frames_with_json(body, wire):
        shape = re.sub(r'": ("(?:[^"\\\\]|\\\\.)*"|[0-9.e-]+|\[[0-9, ]*\])', '": 0', json.dumps(value))
        seen[shape] = seen.get(shape, 0) + 1
        if seen[shape] <= most:
            yield place, head, value


def shortened(body: bytes, wire: Wire) -> bytes:
    """The stream with four of the events that are alike, where what is left is a right answer; else the whole."""
    kept = {place for place, _, _ in typical(body, wire, 4)}
    left_out = {place for place, _, _ in frames_with_json(body, wire)} - kept
    short = wire.gap.join(frame for i, frame in enumerate(body.split(wire.gap)) if i not in left_out)
    try:
        told, everything = wire.read(short), wire.read(body)
    except (AssertionError, ValueError):
        return body
    same = (told.finish, told.failed, told.texts.keys()) == (everything.finish, False, everything.texts.keys())
    return short if same and all(told.of(name) == everything.of(name) for name in wire.whole) else body


def planted(value: Any, word: str) -> Iterator[Any]:
    """Copies of a JSON value, each with `word` in the place of one string or as the name of one key.

    The items of a long list are alike: its first and its last stand for all.
    """
    if isinstance(value, str):
        yield word
    elif isinstance(value, dict):
        for key, item in value.items():
            for changed in planted(item, word):
                yield {**value, key: changed}
        yield {**value, word: 1}
    elif isinstance(value, list):
        for i in sorted({0, len(value) - 1}) if value else ():
            for changed in planted(value[i], word):
                yield [*value[:i], changed, *value[i + 1 :]]
        yield [*value, word]


def mistyped(value: Any, odd: Iterator[Any]) -> Iterator[Any]:
    """Copies of a JSON value, each with the next of `odd` in the place of one value inside it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        for changed in chain((next(odd),), mistyped(item, odd)):
            if isinstance(value, dict):
                yield {**value, key: changed}
            else:
                yield [*value[:key], changed, *value[key + 1 :]]


def overgrown(value: Any, word: str) -> Any:
    """A JSON value with an unknown key that holds `word` in each of its objects, but for a tool's own."""
    if isinstance(value, dict):
        return {**{k: v if k in OWN else overgrown(v, word) for k, v in value.items()}, "x_unknown": word}
    if isinstance(value, list):
        return [overgrown(item, word) for item in value]
    return value


def overgrow(body: bytes, wire: Wire, word: str) -> bytes:
    """The same for every event of a stream."""
    for place, head, value in list(frames_with_json(body, wire)):
        body = replaced(body, wire, place, head, overgrown(value, word))
    return body


def scramble(streams: Sequence[Sequence[bytes]], generator: random.Random) -> list[bytes]:
    """The frames of one of the streams after a few accidents."""
    frames = list(generator.choice(streams))
    for _ in range(generator.randrange(1, 6)):
        place, other = generator.randrange(len(frames)), generator.randrange(len(frames))
        accident = generator.randrange(4)
        if accident == 0:
            frames[place], frames[other] = frames[other], frames[place]
        elif accident == 1:
            frames.insert(place, frames[other])
        elif accident == 2:
            frames.insert(place, generator.choice(generator.choice(streams)))
        elif len(frames) > 1:
            del frames[place]
    return frames
