"""Skeletons of events: a quick way to read those that differ in their text only.

The events of one stream differ only in their text, so most of them need no JSON tree: what has the same bytes around
one JSON string as an event that was understood means the same. The text alone is decoded, and since it decodes as one
JSON string it cannot end early and bring keys of its own.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod

import orjson

from proxy.core.events import Frame, TextDelta
from proxy.core.types import Channel
from proxy.dialects.wire.slots import saying

_PLAIN = re.compile(rb"[\w.:-]{0,200}")  # the inside of a JSON string that needs no decoding
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_DIGITS = re.compile(rb"[1-9][0-9]{0,18}")


class Skeleton:
    """The bytes around the one text of an event.

    silent: nothing else in an event of this form could say something
    """

    silent = True
    value = b""
    __slots__ = ("_around", "_first", "_last", "channel", "prefix", "suffix")

    def __init__(self, prefix: bytes, suffix: bytes, channel: Channel) -> None:
        self.prefix, self.suffix, self.channel = prefix, suffix, channel
        self._first, self._last = len(prefix), -len(suffix)
        self._around = len(prefix) + len(suffix)

    @classmethod
    def of(cls, frame: Frame, key: str) -> Skeleton | None:
        """The skeleton of a frame whose one text stands under `key`; None when it is not that simple."""
        if not frame.is_one_delta:
            return None
        slot = find_string(frame.raw, key)
        if slot is None:
            return None
        return cls(frame.raw[: slot[0]], frame.raw[slot[1] :], frame.deltas[0].channel)

    def text(self, raw: bytes) -> str | None:
        """The text of an event of this form; None for any other event."""
        if not raw.startswith(self.prefix) or not raw.endswith(self.suffix) or len(raw) < self._around:
            return None
        try:
            text: str = orjson.loads(b'"%b"' % raw[self._first : self._last])
        except orjson.JSONDecodeError:
            return None
        return text

    def saying(self, raw: bytes, text: str) -> bytes:
        """An event of this form with another text; b"" for none."""
        return saying(raw, (self._first, len(raw) + self._last), text)

    def frame(self, raw: bytes) -> Frame | None:
        """The event as a frame whose text may be exchanged; None for any other event."""
        text = self.text(raw)
        if text is None:
            return None
        return Frame(raw, (TextDelta(self.channel, text),), slot=(self._first, len(raw) + self._last))


class TwoPartSkeleton(ABC):
    """A form of events that differ in two places, of which one is the text.

    value: what stood in the other place of the event that was read last
    """

    __slots__ = ("_slot", "channel", "value")

    def __init__(self, channel: Channel) -> None:
        self.channel, self.value = channel, b""
        self._slot = (0, 0)  # where the text stands in the event that was read last

    @abstractmethod
    def text(self, raw: bytes) -> str | None:
        """The text of an event of this form, with `value` set; None for any other event."""

    def saying(self, raw: bytes, text: str) -> bytes:
        """The event that was read last with another text; b"" for none."""
        return saying(raw, self._slot, text)

    def frame(self, raw: bytes) -> Frame | None:
        """The event as a frame whose text may be exchanged, with `value` set; None for any other event."""
        text = self.text(raw)
        return None if text is None else Frame(raw, (TextDelta(self.channel, text),), slot=self._slot)


class VaryingSkeleton(TwoPartSkeleton):
    """The bytes around the text and one more value that is new in each event: a time, a fingerprint.

    silent: it is a number, else a string
    """

    __slots__ = ("_middle", "_prefix", "_suffix", "_text_first", "silent")

    def __init__(
        self, prefix: bytes, middle: bytes, suffix: bytes, text_first: bool, channel: Channel, silent: bool
    ) -> None:
        super().__init__(channel)
        self._prefix, self._middle, self._suffix = prefix, middle, suffix
        self._text_first = text_first
        self.silent = silent

    @classmethod
    def of(cls, frame: Frame, text_key: str, varying: str, number: bool = False) -> VaryingSkeleton | None:
        """The skeleton of a frame with one text, and a string or a number under the key `varying`."""
        if not frame.is_one_delta:
            return None
        raw = frame.raw
        text = find_string(raw, text_key)
        value = find_number(raw, varying) if number else find_string(raw, varying)
        if text is None or value is None:
            return None
        (a, b), (c, d) = sorted((text, value))
        return cls(raw[:a], raw[b:c], raw[d:], text < value, frame.deltas[0].channel, number)

    def text(self, raw: bytes) -> str | None:
        """The text of an event of this form, with `value` set; None for any other event."""
        if not raw.startswith(self._prefix) or not raw.endswith(self._suffix):
            return None
        first, last = len(self._prefix), len(raw) - len(self._suffix)
        cut = raw.find(self._middle, first, last)
        if cut < 0:
            return None
        spans = ((first, cut), (cut + len(self._middle), last))
        slot, (start, end) = spans if self._text_first else (spans[1], spans[0])
        if (_DIGITS if self.silent else _PLAIN).fullmatch(raw, start, end) is None:
            return None
        text = inside(raw[slot[0] : slot[1]])
        if text is not None:
            self.value, self._slot = raw[start:end], slot
        return text


def inside(source: bytes) -> str | None:
    """What the inside of a JSON string says; None when it is not the inside of one."""
    try:
        text: str = orjson.loads(b'"%b"' % source)
    except orjson.JSONDecodeError:
        return None
    return text


def find_string(raw: bytes, key: str) -> tuple[int, int] | None:
    """Where the inside of the JSON string under `key` stands; None unless the key stands there once.

    Inside a string a quote has a backslash before it, so these bytes cannot be part of a text.
    """
    mark = b'"%b":' % key.encode()
    if raw.count(mark) != 1:
        return None
    start = raw.index(mark) + len(mark)
    start += raw[start : start + 1] == b" "
    end = _string_end(raw, start)
    return None if end is None else (start + 1, end)


def find_number(raw: bytes, key: str) -> tuple[int, int] | None:
    """Where the whole number under `key` stands; None unless the key stands there once."""
    mark = b'"%b":' % key.encode()
    if raw.count(mark) != 1:
        return None
    start = raw.index(mark) + len(mark)
    start += raw[start : start + 1] == b" "
    number = _DIGITS.match(raw, start)
    return None if number is None or raw[number.end() : number.end() + 1] not in (b",", b"}") else number.span()


def _string_end(raw: bytes, start: int) -> int | None:
    """Where the JSON string that begins at `start` has its closing quote."""
    string = _STRING.match(raw, start)
    return None if string is None else string.end() - 1
