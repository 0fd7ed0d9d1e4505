"""What one feed found: matches of a rule that overlap become one finding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter

from proxy.core.types import Finding, Rule

Spans = dict[int, tuple[int, int]]


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sorted by where they start, then by where they end."""
    return tuple(sorted(findings, key=itemgetter(0, 1)))


class Report:
    """Collects matches in the order in which they end.

    A match that overlaps the latest one of its rule makes that longer: within one feed the finding itself grows; a
    finding of an earlier feed gets another with `extends`. So findings without `extends` are the same, however the
    text is cut, but for their extent; and what all of a rule's findings cover is the same to the character.
    """

    __slots__ = ("_found", "_latest", "_open")

    def __init__(self, latest: Spans) -> None:
        """latest: per rule number the latest finding of earlier feeds."""
        self._latest = latest
        self._open: dict[int, list[int]] = {}  # per rule number [start, end, extends] of this feed's latest finding
        self._found: list[tuple[int, list[int]]] = []

    def add(self, number: int, start: int, end: int) -> None:
        """A match of a rule."""
        span = self._open.get(number)
        if span is not None and start < span[1]:
            if start < span[0]:
                span[0] = start
            if end > span[1]:
                span[1] = end
            return
        before = self._latest.get(number) if span is None else None
        span = self._open[number] = [start, end, before is not None and start < before[1]]
        self._found.append((number, span))

    def findings(self, rules: Sequence[Rule]) -> tuple[Finding, ...]:
        """All of them, by where they start."""
        return in_order(
            Finding(start, end, rules[number], bool(extends)) for number, (start, end, extends) in self._found
        )

    def latest(self) -> Spans:
        """Per rule number the latest finding, earlier feeds included."""
        return self._latest | {number: (span[0], span[1]) for number, span in self._open.items()}
