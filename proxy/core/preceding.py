"""What an answer's channels have said so far: apps show some of them as one text, which the next one goes on with.

An answer may have thousands of channels, so nothing here looks at all of them.
"""

from __future__ import annotations

from bisect import insort

from proxy.core.gate import Gate
from proxy.core.types import Channel, Kind

MAX_PRECEDING = 1024  # characters of the text before a channel that its checks read first
NO_DIGITS = dict.fromkeys(map(ord, "0123456789."))
ShownAs = tuple[int, Kind, str]


def shown_as(channel: Channel) -> ShownAs:
    """Equal for channels that apps show as one text: they differ only in the number of a block or an item."""
    return channel.choice, channel.kind, channel.name.translate(NO_DIGITS)


class Preceding:
    """The gates of an answer that have released text, in the order in which they were opened."""

    def __init__(self) -> None:
        self._count = 0
        self._known: set[ShownAs] = set()
        self._latest: dict[Channel, Gate] = {}  # the gate of a channel that was opened last
        self._silent: dict[
            Gate, tuple[int, ShownAs]
        ] = {}  # of which nothing was seen: its number, and as what it is shown
        self._fed: dict[Gate, None] = {}  # silent ones that were fed since somebody asked
        self._spoken: dict[ShownAs, list[tuple[int, Gate]]] = {}

    def open(self, channel: Channel, gate: Gate) -> None:
        """A channel has a new gate."""
        shown = shown_as(channel)
        self._known.add(shown)
        self._latest[channel] = gate
        self._silent[gate] = self._count, shown
        self._count += 1

    def feed(self, gate: Gate) -> None:
        """The gate is fed, settled or ends: it may have released something when somebody asks."""
        if gate in self._silent:
            self._fed[gate] = None

    def goes_on(self, channel: Channel) -> bool:
        """Whether apps have already shown text of the model as one with this channel's."""
        return shown_as(channel) in self._known

    def gate_before(self, channel: Channel) -> Gate | None:
        """The gate of the channel itself that was opened last."""
        return self._latest.get(channel)

    def text(self, channel: Channel, begun: str) -> str:
        """The text that a client shows directly before this channel's. begun: what stands before the model's first."""
        self._look()
        parts: list[str] = []
        missing = MAX_PRECEDING
        for _, gate in reversed(self._spoken.get(shown_as(channel), ())):
            parts.append(gate.released)
            missing -= len(parts[-1])
            if missing <= 0:
                break
        else:
            parts.append(begun)
        return "".join(reversed(parts))[-MAX_PRECEDING:]

    def _look(self) -> None:
        """Which of those that were fed have released text."""
        for gate in [gate for gate in self._fed if gate.released]:
            number, shown = self._silent.pop(gate)
            insort(self._spoken.setdefault(shown, []), (number, gate))
        self._fed.clear()
