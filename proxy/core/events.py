"""What passes between a dialect and the guard: frames of the upstream's stream, and what may go out of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from proxy.core.types import Channel


class TextDelta(NamedTuple):
    """Model text in a frame, or held text that is now released."""

    channel: Channel
    text: str


@dataclass(slots=True)
class Frame:
    """One event of the upstream's stream, as far as the guard has to know it.

    raw:      its bytes with their terminator; forwarded as they are when nothing had to be done
    pieces:   all model text in it, in the order in which a client reads it
    closes:   channels that end with this frame
    finishes: choices that end with this frame; -1: all of them
    body:     the dialect's own parsed form
    slot:     where in `raw` the inside of its one text's JSON string stands, if another may simply be put there
    events:   how many events it stands for
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
        """Whether it says something in one channel, and does nothing else."""
        return len(self.deltas) == 1 and bool(self.deltas[0].text) and not (self.finishes or self.closes)

    @classmethod
    def merged(cls, raw: bytes, deltas: Sequence[TextDelta]) -> Frame:
        """As many events as pieces, with slots in one channel, of an answer that is put together: their bytes are not
        sent, so those of one, `raw`, do for all."""
        return cls(raw, tuple(deltas), slot=(0, 0), events=len(deltas))


class Release(NamedTuple):
    """What may go out of a frame that could not pass as it is.

    texts: for each of the frame's pieces what may be shown now
    tails: held text of channels that end with this frame, to be sent before the frame's end
    cuts:  choices that a rule ended in this frame
    """

    texts: tuple[str, ...]
    flushed: tuple[TextDelta, ...] = ()
    blocked_choices: tuple[int, ...] = ()
