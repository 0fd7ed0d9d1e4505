"""What a dialect and the guard exchange: frames of the upstream's stream, and the release for each frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from proxy.core.types import Channel


class TextDelta(NamedTuple):
    """Model text in a frame, or held text that is flushed."""

    channel: Channel
    text: str


@dataclass(slots=True)
class Frame:
    """One event of the upstream's stream, as far as the guard has to know it.

    raw:      its bytes with their terminator; forwarded as they are if nothing has to be changed
    deltas:   all model text in it, in the order in which a client reads it
    closes:   channels that end with this frame
    finishes: choices that end with this frame; -1: all of them
    body:     the dialect's own parsed form
    slot:     start and end in `raw` of its one text, inside the quotes, if another text may simply be written there
    events:   how many of the upstream's events it contains
    """

    raw: bytes
    deltas: tuple[TextDelta, ...] = ()
    closes: tuple[Channel, ...] = ()
    finishes: tuple[int, ...] = ()
    body: Any = None
    slot: tuple[int, int] | None = None
    events: int = 1

    @property
    def is_one_delta(self) -> bool:
        """Whether it has one text delta and nothing else."""
        ends_something = bool(self.finishes or self.closes)
        return len(self.deltas) == 1 and bool(self.deltas[0].text) and not ends_something

    @classmethod
    def merged(cls, raw: bytes, deltas: Sequence[TextDelta]) -> Frame:
        """Several events of one channel as one frame, one delta for each event. For an answer that is not streamed: its
        bytes are not sent, so `raw` may be those of one event."""
        return cls(raw, tuple(deltas), slot=(0, 0), events=len(deltas))


PAUSE = Frame(b"")
"""No frame: much has been done, and more comes, so that others should run in between."""

LARGE = 256 * 1024
"""Bytes of an event that is read in a step of its own."""


class Release(NamedTuple):
    """What is sent for a frame that cannot pass unchanged.

    texts:           for each of the frame's deltas the text that is released now
    flushed:         held text of channels that end with this frame, to be sent before the frame's end
    blocked_choices: choices that a rule blocked in this frame
    earlier:         held text of another kind, to be sent before the frame: thinking ends before the answer begins
    unchanged:       after what is `earlier` the frame itself may be sent
    """

    texts: tuple[str, ...]
    flushed: tuple[TextDelta, ...] = ()
    blocked_choices: tuple[int, ...] = ()
    earlier: tuple[TextDelta, ...] = ()
    unchanged: bool = False
