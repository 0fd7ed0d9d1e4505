"""A gate for JSON source: what goes out is JSON again, whatever was hidden in it."""

from __future__ import annotations

from collections.abc import Iterable

from proxy.core.check import NO_TURN, Check, Turn
from proxy.core.gate import Gate
from proxy.core.hidden_span import HiddenSpan
from proxy.core.json_writer import JsonWriter


class JsonGate(Gate):
    """Spans are those of the source; how they are hidden there: see json_writer."""

    __slots__ = ("_hidden", "_priming", "_sent", "_writer")
    direct = False

    def __init__(self, checks: Iterable[Check], turn: Turn = NO_TURN) -> None:
        super().__init__(checks, turn)
        self._writer = JsonWriter()
        self._sent = True  # text from the client is the beginning of the source
        self._priming = False
        self._hidden = 0  # characters of the span that is being hidden

    @property
    def held(self) -> int:
        """Characters that wait for a verdict, or for the end of a number or an escape."""
        return len(self._held) + self._writer.waiting

    @property
    def closing(self) -> str:
        """What makes whole what was released, where the text ends here; "" where nothing was, or no JSON."""
        return self._writer.closing

    def prime(self, text: str, *, begins: bool = True, goes_on: bool = False) -> None:
        """As in Gate. `begins`: the source begins with it; else it only stands before the source where people read."""
        self._sent, self._priming = begins, True
        super().prime(text, goes_on=goes_on)
        self._priming = False

    def feed(self, text: str, final: bool = False) -> str:
        """Read on; return what is released now."""
        out = super().feed(text, final)
        rest = self._writer.finish() if final and not self._over and self._askers is None else ""
        if rest:
            self._released.append(rest)
        return out + rest if rest else out

    def _rest(self) -> str:
        return self._writer.finish()

    def _show(self, text: str, known: int) -> str:
        known = len(text) if self._priming else known
        if known and not self._sent:
            text, known = text[known:], 0
        return self._writer.shown(text, known) if text else ""

    def _drop(self, text: str, known: int) -> str:
        if known and not self._sent:
            text, known = text[known:], 0
        hidden = self._writer.hidden(text, known) if text else ""
        self._hidden += len(hidden)
        return hidden

    def _with_insert(self, text: str, known: int, insert: str) -> str:
        return self._writer.inserted(text, insert)

    def _label(self, segment: HiddenSpan) -> str:
        torn = self._writer.torn
        segment.swallow(torn)
        length, self._hidden = self._hidden or len(torn), 0
        return self._writer.label(segment.label(length))

    def _cut(self, text: str, at: int) -> str:
        out = super()._cut(text, at)
        number = self._writer.cut()
        self._released.append(number)
        return out + number
