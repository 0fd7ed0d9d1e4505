"""Blocks of one kind that a model server begins before the one before has ended. No known one does.

Some clients show text in the order in which it arrives, others block by block. While blocks of a kind follow each
other that is the same text. So the events of a block wait until the one before it has ended.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from proxy.dialects.wire import sse
from proxy.errors import UpstreamBroken

Event = dict[str, Any]
Waiting = tuple[Event, sse.Event | None]

MOST: Final = 65_536
"""Events that may wait."""


class OverlappingBlocks:
    """The events that wait, by the index of their block, in the order in which the blocks began."""

    def __init__(self) -> None:
        self._kinds: dict[int, str] = {}
        self._events: dict[int, list[Waiting]] = {}
        self._size = 0

    @property
    def any(self) -> bool:
        """Whether a block waits."""
        return bool(self._events)

    def begin(self, index: int, kind: str, value: Event, event: sse.Event | None) -> None:
        """A block begins that has to wait."""
        self._kinds[index], self._events[index] = kind, []
        self._add(index, value, event)

    def waits(self, value: Event, event: sse.Event | None) -> bool:
        """Whether this event belongs to a block that waits; then it does too. Without an index the last one is meant.

        Raises UpstreamBroken where too much would wait.
        """
        if not self._events:
            return False
        index = value.get("index")
        if type(index) is not int:
            index = next(reversed(self._events))
        if index not in self._events:
            return False
        self._add(index, value, event)
        return True

    def next(self, open_kinds: Collection[str]) -> list[Waiting]:
        """The events of the block that has waited longest, of those of whose kind none is open; none: all wait on."""
        for index, kind in self._kinds.items():
            if kind not in open_kinds:
                del self._kinds[index]
                events = self._events.pop(index)
                self._size -= len(events)
                return events
        return []

    def _add(self, index: int, value: Event, event: sse.Event | None) -> None:
        self._size += 1
        if self._size > MOST:
            raise UpstreamBroken("the model server's blocks overlap without end", "protocol")
        self._events[index].append((value, event))
