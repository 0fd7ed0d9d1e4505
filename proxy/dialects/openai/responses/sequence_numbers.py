"""sequence_number: Ollama counts its events, llama.cpp does not. A client gets numbers without gaps, or none."""

from __future__ import annotations

from typing import Any

from proxy.core.events import Frame
from proxy.dialects.wire.skeleton import Skeleton

KEY = "sequence_number"


class Numbers:
    """The numbers of one stream.

    on:       the upstream gives numbers
    upstream: the number of the upstream's event that is being read
    last:     the number that the client has seen last
    shift:    how much further the client's numbers are
    """

    __slots__ = ("_given", "last", "on", "shift", "upstream")

    def __init__(self) -> None:
        self.on = False
        self.upstream = self.last = -1
        self.shift = 0
        self._given = False

    def take(self, value: dict[str, Any]) -> None:
        """An event of the upstream is read."""
        number = value.get(KEY)
        if type(number) is int:
            if not self.on:
                self.on, self.last = True, number - 1
            self.upstream = number
        self._given = type(number) is int

    def stamp(self, clean: dict[str, Any]) -> dict[str, Any]:
        """The event with the number that it has for the client, if it passes."""
        if not self.on:
            return clean
        if not self._given:
            self.shift += 1
        self.last = self.upstream + self.shift
        return {**clean, KEY: self.last}

    def tick(self) -> None:
        """An event passed as it was, with the next number."""
        if self.on:
            self.upstream += 1
            self.last += 1

    def back(self) -> None:
        """The event does not pass after all."""
        if self.on:
            self.last -= 1

    def next(self, event: dict[str, Any]) -> dict[str, Any]:
        """An event of our own."""
        if not self.on:
            return event
        self.last += 1
        return {**event, KEY: self.last}

    def settle(self) -> None:
        """Whatever went out in the place of the upstream's event has gone out."""
        self.shift = self.last - self.upstream


class NumberedSkeleton(Skeleton):
    """Events that differ only in their text and in their number, which goes up by one."""

    __slots__ = ("_after", "_before", "_number")

    def __init__(self, plain: Skeleton, before: bytes, number: int, after: bytes) -> None:
        super().__init__(plain.prefix, plain.suffix, plain.channel)
        self._before, self._number, self._after = before, number, after

    @classmethod
    def following(cls, frame: Frame, key: str, number: int) -> NumberedSkeleton | None:
        """For the events after one with that number."""
        plain = Skeleton.of(frame, key)
        if plain is None:
            return None
        key_and_colon = b'"%b":' % KEY.encode()
        before, mark, after = plain.suffix.partition(b"%b%d" % (key_and_colon, number))
        if not mark or after[:1] not in (b",", b"}"):
            return None
        return cls(plain, before + key_and_colon, number, after)

    def text(self, raw: bytes) -> str | None:
        """The text of the next event; None for any other."""
        self.suffix = b"%b%d%b" % (self._before, self._number + 1, self._after)
        text = super().text(raw)
        if text is not None:
            self._number += 1
        return text
