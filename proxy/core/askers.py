"""The scans of a gate that ask: what they wait for, and which block counts when answers come in any order.

What is let out must depend on the text and the answers alone, not on when an answer came. So each question belongs to
the place at which it arose: the gate lets all scans read up to there, and no farther, before it is asked. A block by
its answer ends the text as if it had been known there; what arose later is then not asked, and does not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from proxy.core.check import Ask, Asking, AskingScan, Progress, Turn, Waits, longest, waits_of
from proxy.core.types import Action, Finding


class Asked(NamedTuple):
    """A question of a gate. key: tells it from the gate's others."""

    key: int
    ask: Ask


class Arisen(NamedTuple):
    """Questions that arose at one place of the text, each with the scan that asks."""

    read: int
    asks: tuple[tuple[int, Ask], ...]


class _Open(NamedTuple):
    """An open question. limit: where the text ends at the latest if its answer blocks."""

    scan: int
    ask: Ask
    limit: int


class Block(NamedTuple):
    """A block, and when it was known; of several the least counts.

    read, end, order: how much had to be read, where the finding ends, the rule's place
    cut:              where the text ends
    """

    read: int
    end: int
    order: int
    cut: int
    finding: Finding


class Askers:
    """Reads the text beside the other scans of a gate. Offsets are those of the gate's text, in which it begins at
    `start`.

    fresh:   questions that nobody has taken yet
    dropped: questions that need no answer any more, which nobody has taken note of yet
    block:   what ends the text, as far as the answers say
    """

    def __init__(self, checks: Sequence[Asking], turn: Turn, start: int = 0) -> None:
        self._scans: tuple[AskingScan, ...] = tuple([check.open(turn) for check in checks])
        self._holds = [check.hold != 0 for check in checks]
        self._start = start
        self._marks = [start] * len(self._scans)
        self._open: dict[int, _Open] = {}
        self._asked = 0
        self._told: list[tuple[int, Finding]] = []  # what was found while questions were open
        self.fresh: list[Asked] = []
        self.dropped: list[int] = []
        self.block: Block | None = None

    @property
    def mark(self) -> int:
        """Everything before it is decided for these scans, and no open question may end the text before it."""
        return min([*self._marks, *[asked.limit for asked in self._open.values() if self._holds[asked.scan]]])

    @property
    def waiting(self) -> bool:
        """Whether an answer is missing."""
        return bool(self._open)

    def waits(self) -> Waits | None:
        """See proxy.core.check.Waiting."""
        return longest([waits_of(scan) for scan in self._scans])

    def feed(self, text: str, final: bool) -> Iterator[Arisen]:
        """Read on. The questions that arise, place by place: `register` each place when the others have read so far."""
        asks: list[tuple[int, Ask]] = []
        for i, scan in enumerate(self._scans):
            asks += [(i, ask) for ask in self._take(i, scan.feed(text, final)).asks]
        asks.sort(key=_read)
        for read, together in groupby(asks, key=_read):
            yield Arisen(read, tuple(together))

    def register(self, arisen: Arisen, mark: int) -> None:
        """All other scans have read as far, and everything before `mark` is decided for them."""
        read = arisen.read - self._start
        holding = (scan for scan, holds in zip(self._scans, self._holds, strict=True) if holds)
        limit = min([mark, *[self._start + scan.asked_at(read) for scan in holding]])
        for i, ask in arisen.asks:
            self._add(i, ask, limit)

    def answer(self, key: int, reply: object) -> list[Finding]:
        """A reply has come. What it says, but for a block: that is in `block`."""
        asked = self._open.pop(key, None)
        if asked is None:
            return []
        i, ask, limit = asked
        progress = self._take(i, self._scans[i].answer(ask.number, reply))
        for more in progress.asks:
            self._add(i, more, limit)
        for finding in progress.findings:
            if _blocks(finding):
                self._blocked(ask.read, limit, finding)
        found = [finding for finding in progress.findings if not _blocks(finding)]
        self.note(found, ask.read)
        return found

    def note(self, found: Iterable[Finding], read: int) -> None:
        """Something was found for which so much had to be read. It counts unless an answer ends the text before."""
        if self._open:
            self._told += [(read, finding) for finding in found]
        elif self.block is None:
            self._told.clear()

    def found_after(self, read: int) -> set[Finding]:
        """What was found for which more had to be read."""
        return {finding for at, finding in self._told if at > read}

    def end(self, read: int) -> None:
        """The text ends: nothing that arises later is asked, and no answer to what arose later is needed."""
        late = [key for key, (_, ask, _) in self._open.items() if ask.read > read]
        for key in late:
            del self._open[key]
        known = {asked.key for asked in self.fresh}
        self.dropped += [key for key in late if key not in known]
        self.fresh = [asked for asked in self.fresh if asked.key in self._open]

    def take_fresh(self) -> list[Asked]:
        """The questions that nobody has taken yet."""
        fresh, self.fresh = self.fresh, []
        return fresh

    def take_dropped(self) -> list[int]:
        """The questions that have been taken, and need no answer any more."""
        dropped, self.dropped = self.dropped, []
        return dropped

    def _add(self, scan: int, ask: Ask, limit: int) -> None:
        key = self._asked
        self._asked += 1
        self._open[key] = _Open(scan, ask, limit)
        self.fresh.append(Asked(key, ask))

    def _blocked(self, read: int, limit: int, finding: Finding) -> None:
        new = Block(read, finding.end, finding.rule.order, min(finding.start, limit), finding)
        old = self.block
        if old is None or new.read < old.read:
            self.block = new
        elif new.read == old.read:  # both count
            self.block = min(old, new, key=_when)._replace(cut=min(old.cut, new.cut))
        self.end(read if old is None else min(read, old.read))

    def _take(self, i: int, progress: Progress) -> Progress:
        """What a scan says, in offsets of the gate's text."""
        by = self._start
        self._marks[i] = progress.watermark + by
        if not by:
            return progress
        findings = [one._replace(start=one.start + by, end=one.end + by) for one in progress.findings]
        asks = [one._replace(start=one.start + by, end=one.end + by, read=one.read + by) for one in progress.asks]
        return Progress(self._marks[i], tuple(findings), tuple(asks))


def _read(asked: tuple[int, Ask]) -> int:
    return asked[1].read


def _blocks(finding: Finding) -> bool:
    return finding.rule.holds and finding.rule.action is Action.BLOCK


def _when(block: Block) -> tuple[int, int, int, int]:
    return block[:4]
