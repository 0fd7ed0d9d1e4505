"""Server-sent events as bytes (WHATWG HTML, section 9.2.6): framed on CR, LF and CRLF only, never decoded as a whole.

httpx's line iterator would also split at U+2028 and U+0085, which stand in ordinary text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from proxy.errors import UpstreamBroken

BOM = b"\xef\xbb\xbf"
MAX_EVENT = 4 * 1024 * 1024
"""Bytes; a longer event ends the answer. One is read as JSON in one go, while everybody waits, and real ones have far
less than a megabyte, also the last one of the Responses API, which says the whole answer once more."""
LONGEST_BLANK = 4  # bytes of CRLF CRLF
_LINE = re.compile(rb"\r\n|\n|\r")
_BLANK = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?!\n))")


class Event(NamedTuple):
    """One event. `raw` has its blank line, `data` joins data lines with LF; a comment has neither name nor data.

    plain: it is a single `data:` line, so that `raw` can be forwarded without a second look
    """

    raw: bytes
    data: bytes | None
    name: bytes = b""
    plain: bool = False


class Parser:
    """Bytes in at any chunking, complete events out.

    parts: of the event that is not complete yet
    """

    __slots__ = ("_size", "_started", "parts")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._size = 0
        self._started = False

    def feed(self, data: bytes) -> list[Event]:
        """The events that are complete now. Raises UpstreamBroken when one grows beyond MAX_EVENT."""
        if self.parts or not self._started:
            if not self._ends_event(data):
                self._keep(data)
                return []
            data = self._rest() + data
        if not self._started:
            self._started = True
            data = data.removeprefix(BOM)
        if b"\r" in data:
            return self._feed_any(data)
        parts = data.split(b"\n\n")
        self._keep(parts.pop())
        return [_plain_or_not(part + b"\n\n") for part in parts if part]

    def finish(self) -> list[Event]:
        """What stands after the last blank line: some servers end without one."""
        rest = self._rest() if self._started else self._rest().removeprefix(BOM)
        events, start = _split(rest, len(rest))
        return [*events, parse(rest[start:])] if rest[start:].strip() else events

    def _ends_event(self, data: bytes) -> bool:
        """Whether a blank line may end with these bytes: else what was kept need not be looked through once more."""
        return _BLANK.search(b"".join(self.parts[-LONGEST_BLANK:])[-LONGEST_BLANK:] + data) is not None

    def _feed_any(self, data: bytes) -> list[Event]:
        """The same for streams with a CR in them; a CR at the very end may be half of a CRLF."""
        events, start = _split(data, len(data) - data.endswith(b"\r"))
        self._keep(data[start:])
        return events

    def _keep(self, rest: bytes) -> None:
        if rest:
            self.parts.append(rest)
            self._size += len(rest)
        if self._size > MAX_EVENT:
            raise UpstreamBroken(f"the model server sent an event of more than {MAX_EVENT} bytes", "protocol")

    def _rest(self) -> bytes:
        """What was kept, no longer kept."""
        rest = b"".join(self.parts)
        self.parts.clear()
        self._size = 0
        return rest


def _split(data: bytes, limit: int) -> tuple[list[Event], int]:
    """The events that end within `limit`, and where the rest begins."""
    events, start = [], 0
    for blank in _BLANK.finditer(data, 0, limit):
        if blank.start() > start:
            events.append(parse(data[start : blank.end()]))
        start = blank.end()
    return events, start


def _plain_or_not(raw: bytes) -> Event:
    if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2:
        return Event(raw, raw[6:-2], b"", True)
    return parse(raw)


def parse(raw: bytes) -> Event:
    """One event's lines. Fields other than `event` and `data` are left out."""
    data: list[bytes] = []
    name = b""
    for line in _LINE.split(raw):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return Event(raw, b"\n".join(data) if data else None, name)


def encode(data: bytes, name: str = "") -> bytes:
    """An event of one data line; JSON holds no line break."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data) if name else b"data: %b\n\n" % data


def events(body: bytes) -> Iterator[Event]:
    """All events of a complete body."""
    parser = Parser()
    yield from parser.feed(body)
    yield from parser.finish()
