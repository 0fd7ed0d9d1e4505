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
    finding of an earlier feed gets another with `extends`. So the number of findings without `extends` does not depend
    on how the text is cut, and what all of a rule's findings cover is the same to the character.
    """

    __slots__ = ("_found", "_latest", "_open")

    def __init__(self, latest: Spans) -> None:
        """latest: the latest findings of earlier feeds; per rule number that of a match, per ~number of a cover."""
        self._latest = latest
        self._open: dict[int, list[int]] = {}  # the same for this feed: [start, end, extends]
        self._found: list[tuple[int, list[int]]] = []

    def add(self, number: int, start: int, end: int) -> None:
        """A match of a rule. It also goes with what the rule has covered because it waited too long."""
        span = self._open.get(number)
        if span is not None and start < span[1]:
            if start < span[0]:
                span[0] = start
            if end > span[1]:
                span[1] = end
            return
        self._new(number, start, end, self._end(number) > start or self._end(~number) > start)

    def cover(self, number: int, start: int, end: int) -> None:
        """What a rule covers because it waited too long."""
        span = self._open.get(~number)
        if span is not None and start < span[1]:
            span[1] = end
        else:
            self._new(~number, start, end, self._end(~number) > start)

    def _end(self, key: int) -> int:
        span = self._open.get(key) or self._latest.get(key)
        return -1 if span is None else span[1]

    def _new(self, key: int, start: int, end: int, extends: bool) -> None:
        span = self._open[key] = [start, end, extends]
        self._found.append((max(key, ~key), span))

    def findings(self, rules: Sequence[Rule]) -> tuple[Finding, ...]:
        """All of them, by where they start."""
        return in_order(
            Finding(start, end, rules[number], bool(extends)) for number, (start, end, extends) in self._found
        )

    def latest(self) -> Spans:
        """The latest findings, earlier feeds included."""
        return self._latest | {key: (span[0], span[1]) for key, span in self._open.items()}
