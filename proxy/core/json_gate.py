"""A gate for JSON source: what goes out is JSON again, whatever was hidden in it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable

from proxy.core.check import Check
from proxy.core.gate import Gate, _Segment
from proxy.core.json_values import JsonValues
from proxy.core.json_writer import JsonWriter
from proxy.core.types import Finding, Rule

Checks = Callable[[bool], Iterable[Check]]
"""The checks for a kind of text; True: for JSON source, which they read as it is written and with escapes resolved."""


def json_checks(checks: Checks) -> tuple[Check, ...]:
    """All checks of a JSON source: of the source, as apps may show it, and of every key, text and number in it."""
    values = JsonValues(checks(False))
    return (*checks(True), *((values,) if values.checks else ()))


class JsonGate(Gate):
    """Spans are those of the source; how they are hidden there: see json_writer.

    A span that a rule finds in the source and in a value is one finding.
    """

    __slots__ = ("_hidden", "_known_spans", "_priming", "_sent", "_writer")
    direct = False

    def __init__(self, checks: Iterable[Check]) -> None:
        super().__init__(checks)
        self._writer = JsonWriter()
        self._sent = True  # text from the client is the beginning of the source
        self._priming = False
        self._hidden = 0  # characters of the span that is being hidden
        self._known_spans: dict[Rule, list[tuple[int, int]]] = {}  # start, index in `reported`; in order

    @property
    def held(self) -> int:
        """Characters that wait for a verdict, or for the end of a number or an escape."""
        return len(self._held) + self._writer.waiting

    @property
    def closing(self) -> str:
        """What makes whole what was released, where the text ends here; "" where nothing was, or no JSON."""
        return self._writer.closing

    def prime(self, text: str, begins: bool = True) -> None:
        """As in Gate. `begins`: the source begins with it; else it only stands before the source where people read."""
        self._sent, self._priming = begins, True
        super().prime(text)
        self._priming = False
        self._known_spans.clear()

    def feed(self, text: str, final: bool = False) -> str:
        """Read on; return what is released now."""
        out = super().feed(text, final)
        rest = self._writer.finish() if final and not self._over else ""
        if rest:
            self._released.append(rest)
        return out + rest if rest else out

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

    def _label(self, segment: _Segment) -> str:
        torn = self._writer.torn
        segment.swallow(torn)
        length, self._hidden = self._hidden or len(torn), 0
        return self._writer.label(segment.label(length))

    def _cut(self, text: str, at: int) -> str:
        out = super()._cut(text, at)
        self._writer.cut()
        return out

    def _report(self, finding: Finding) -> None:
        if finding.extends:
            super()._report(finding)
            return
        spans = self._known_spans.setdefault(finding.rule, [])
        at = bisect_left(spans, (finding.start, 0))
        for start, index in spans[max(0, at - 1) : at + 1]:
            known = self.reported[index]
            if _within(known, finding) or _within(finding, known):
                first, last = min(start, finding.start), max(known.end, finding.end)
                self.reported[index] = known._replace(start=first, end=last)
                return
        spans.insert(at, (finding.start, len(self.reported)))
        self._latest[finding.rule] = len(self.reported)
        self.reported.append(finding)


def _within(inner: Finding, outer: Finding) -> bool:
    return outer.start <= inner.start and inner.end <= outer.end
