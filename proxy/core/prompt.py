"""The input side: what the model will read, checked before anything goes upstream."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from proxy.core.check import Check, Progress
from proxy.core.gate import Gate
from proxy.core.types import Action, Finding

SLICE = 8192  # code points judged between two chances for other streams to run


class Located(NamedTuple):
    """A finding in one of a document's parts; offsets are those of the part."""

    part: int
    finding: Finding


class Judged(NamedTuple):
    """A document after its checks.

    parts:   the texts to send; a part that nothing hid is the same object as before
    found:   everything reported, in the part in which it starts
    blocked: the finding that blocks, if one does; then `parts` are the texts as they came
    """

    parts: tuple[str, ...]
    found: tuple[Located, ...]
    blocked: Located | None


def judge(parts: Sequence[str], joiner: str, checks: Iterable[Check], escaped: bool = False) -> Iterator[Judged | None]:
    """Check texts as the model will read them: joined by `joiner`, so that a phrase split over two of them is found.

    Yields None after each slice, so that a caller may let others run, and the result last.
    `escaped`: the texts are JSON source, so labels are written as part of a JSON string.
    """
    whole = joiner.join(parts)
    gate = Gate(checks, escaped)
    for at in range(0, len(whole), SLICE):
        gate.feed(whole[at : at + SLICE])
        if gate.blocked is not None:
            break
        yield None
    if gate.blocked is None:
        gate.feed("", final=True)
    starts = _starts(parts, joiner)
    found = tuple(_locate(f, parts, starts) for f in gate.findings)
    if gate.blocked is not None:
        yield Judged(tuple(parts), found, _locate(gate.blocked, parts, starts))
        return
    yield Judged(_painted(parts, starts, [f for f in gate.reported if f.rule.holds], escaped), found, None)


def _starts(parts: Sequence[str], joiner: str) -> list[int]:
    starts, at = [], 0
    for part in parts:
        starts.append(at)
        at += len(part) + len(joiner)
    return starts


def _locate(finding: Finding, parts: Sequence[str], starts: Sequence[int]) -> Located:
    """The part in which a finding shows first; one that begins in a joiner belongs to the part after it."""
    i = _part_at(finding.start, starts)
    while i < len(parts) - 1 and finding.start >= starts[i] + len(parts[i]):
        i += 1
    first = max(finding.start - starts[i], 0)
    return Located(i, finding._replace(start=first, end=max(first, min(finding.end - starts[i], len(parts[i])))))


def _part_at(offset: int, starts: Sequence[int]) -> int:
    """The last part that begins at or before an offset; those before it that begin there too are empty."""
    return max(bisect_right(starts, offset) - 1, 0)


def _painted(parts: Sequence[str], starts: Sequence[int], hiding: Iterable[Finding], escaped: bool) -> tuple[str, ...]:
    """The parts with their shares of the hidden spans; a span that began in an earlier part has its label there."""
    own: dict[int, list[Finding]] = {}
    for f in hiding:
        for i in range(_part_at(f.start, starts), len(parts)):
            start = starts[i]
            if start >= f.end:
                break
            first, last = max(f.start - start, 0), min(f.end - start, len(parts[i]))
            if first < last:
                share = f._replace(start=first, end=last, extends=f.extends or f.start < start)
                own.setdefault(i, []).append(share)
    painted = list(parts)
    for i, findings in own.items():
        painted[i] = Gate([_Known(tuple(findings))], escaped).feed(parts[i], final=True)
    return tuple(painted)


class _Known:
    """A check that knows its findings beforehand."""

    hold = 0

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        self._findings = findings

    def open(self) -> _Known:
        """Itself: it is used once."""
        return self

    def feed(self, text: str, final: bool = False) -> Progress:
        """All findings at once."""
        return Progress(len(text), self._findings if final else ())


def blocks(finding: Finding) -> bool:
    """Whether a finding stops what it was found in."""
    return finding.rule.enforced and finding.rule.action is Action.BLOCK
