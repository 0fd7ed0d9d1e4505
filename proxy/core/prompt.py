"""The input side: what the model will read, checked before anything goes upstream."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from proxy.core.check import Check, Progress, Resumable, Scan
from proxy.core.gate import Gate
from proxy.core.types import Action, Finding, Rule

SLICE = 8192  # code points judged between two chances for other streams to run
SHORTEST = 64  # code points read at once after a block: what is read in vain is paid for by what was read without one
MOST_MARKS = 1024  # places to which one can go back; where there is none near, more is read again
BATCH = 1024  # findings written between two chances for other streams to run


_Shares = dict[int, list[Finding]]
"""A part's findings, by the slice in which they begin."""


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
    scan = PromptScan(parts, joiner, checks, escaped)
    found: list[Located] = []
    for _ in scan.run():
        found += scan.new_findings()
        yield None
    found += scan.new_findings()
    blocked = scan.blocked
    if blocked is None:
        for _ in scan.apply_rewrites():
            yield None
    yield Judged(tuple(scan.parts), tuple(found), blocked)


class PromptScan:
    """One way through texts as the model will read them. Where a rule blocks, a text can be exchanged on the way.

    After that the checks go on from before the exchanged text, as if the new one had always stood there: all is read
    but once, however many are exchanged. Checks that cannot go back begin anew.

    parts: the texts, with what was exchanged and painted; all others are the same objects as before
    """

    def __init__(self, parts: Sequence[str], joiner: str, checks: Iterable[Check], escaped: bool = False) -> None:
        self.parts = list(parts)
        self._joiner = joiner
        self._escaped = escaped
        self._scans = _Scans(checks)
        self._starts = [0]  # of the parts that have been read, and of the next one
        self._stride = SLICE  # how much is read between two marks
        self._marks: list[tuple[int, _Mark]] = []  # with the part that begins there
        self._told = 0  # how much of what was reported

    @property
    def blocked(self) -> Located | None:
        """The finding that blocks, once one does."""
        finding = self._scans.blocked
        return None if finding is None else self._locate(finding)

    def run(self) -> Iterator[int]:
        """Read on until everything is read or a rule blocks; yields after each slice how long it was."""
        scans = self._scans
        while len(self._starts) <= len(self.parts):
            self._set_mark()
            text = self._next_text()
            for at in range(0, len(text), SLICE):
                piece = text[at : at + SLICE]
                scans.feed(piece)
                if scans.blocked is not None:
                    return
                yield len(piece)
            self._stride = min(2 * self._stride, SLICE)
        scans.feed("", final=True)

    def new_findings(self) -> list[Located]:
        """What has been found since the last call."""
        reported, told = self._scans.reported, self._told
        self._told = len(reported)
        return [self._locate(finding) for finding in reported[told:] if not finding.extends]

    def replace(self, part: int, text: str) -> None:
        """Put another text in a part's place, and go back to before it: `run` reads on from there."""
        self.parts[part] = text
        marks = self._marks
        while marks and marks[-1][0] > part:
            marks.pop()
        first = 0
        if marks:
            first, mark = marks.pop()
            self._scans.restore(mark)
        else:
            self._scans.open()
        del self._starts[first + 1 :]
        self._told = min(self._told, len(self._scans.reported))
        self._stride = SHORTEST

    def apply_rewrites(self) -> Iterator[int]:
        """Hide what rewriting rules found, once all is read; yields after each slice how long it was.

        A span over several parts has its label in the first of them.
        """
        reported = self._scans.reported
        shares: dict[int, _Shares] = {}
        for at in range(0, len(reported), BATCH):
            for finding in reported[at : at + BATCH]:
                if finding.rule.holds:
                    self._share(finding, shares)
            yield SLICE
        for i, own in shares.items():
            gate, text, out = Gate([_Known(own)], self._escaped), self.parts[i], list[str]()
            for at in range(0, len(text), SLICE):
                out.append(gate.feed(text[at : at + SLICE]))
                yield SLICE
            self.parts[i] = "".join((*out, gate.feed("", final=True)))

    def _next_text(self) -> str:
        """The next parts, as many as lie in one stride; what is longer than that stands alone."""
        parts, starts, joiner = self.parts, self._starts, self._joiner
        first = at = len(starts) - 1
        begin = starts[-1]
        while at < len(parts) and (at == first or starts[-1] + len(parts[at]) - begin <= self._stride):
            starts.append(starts[-1] + len(parts[at]) + len(joiner))
            at += 1
        text = joiner.join(parts[first:at])
        return text if at == len(parts) else text + joiner

    def _set_mark(self) -> None:
        """Remember how the scans stand here; of many marks only each second is kept."""
        first = len(self._starts) - 1
        if not first and self._stride == SLICE:
            return  # most texts need no mark, and it is as well to begin anew
        mark = self._scans.save()
        if mark is not None:
            self._marks.append((first, mark))
            if len(self._marks) > MOST_MARKS:
                del self._marks[1::2]

    def _locate(self, finding: Finding) -> Located:
        """The part in which a finding shows first; one that begins in a joiner belongs to the part after it."""
        parts, starts = self.parts, self._starts
        last = len(parts) - 1
        i = min(_part_at(finding.start, starts), last)
        while i < last and finding.start >= starts[i] + len(parts[i]):
            i += 1
        first = max(finding.start - starts[i], 0)
        return Located(i, finding._replace(start=first, end=max(first, min(finding.end - starts[i], len(parts[i])))))

    def _share(self, finding: Finding, shares: dict[int, _Shares]) -> None:
        """Each part's share of a hidden span; of one that began in an earlier part, without a label."""
        starts = self._starts
        for i in range(_part_at(finding.start, starts), len(self.parts)):
            start = starts[i]
            if start >= finding.end:
                break
            first, last = max(finding.start - start, 0), min(finding.end - start, len(self.parts[i]))
            if first < last:
                share = finding._replace(start=first, end=last, extends=finding.extends or finding.start < start)
                shares.setdefault(i, {}).setdefault(first // SLICE, []).append(share)


def _part_at(offset: int, starts: Sequence[int]) -> int:
    """The last part that begins at or before an offset; those before it that begin there too are empty."""
    return max(bisect_right(starts, offset) - 1, 0)


class _Mark(NamedTuple):
    """A place in a text, and how scans stood there."""

    scans: tuple[object, ...]
    position: int
    reported: int
    latest: dict[Rule, tuple[int, Finding]]


class _Scans:
    """Checks at work on one text, side by side as in a gate, which lets nothing out but can go back.

    reported:  what they said; a match that grew stands once, as long as it got
    blocked:   what ends the text
    """

    def __init__(self, checks: Iterable[Check]) -> None:
        self._checks = sorted(checks, key=lambda check: check.hold != 0)  # see Gate
        self.open()

    def open(self) -> None:
        """Begin anew."""
        self._scans: list[Scan] = [check.open() for check in self._checks]
        self._resumable: list[Resumable] | None = None
        self._position = 0
        self.blocked: Finding | None = None
        self.reported: list[Finding] = []
        self._latest: dict[Rule, tuple[int, Finding]] = {}  # a rule's last finding, and where it stands

    def feed(self, text: str, final: bool = False) -> None:
        """Read on; after a block, the others read only up to where the verdict fell."""
        end = self._position + len(text)
        for scan in self._scans:
            for finding in scan.feed(text, final).findings:
                self._report(finding)
            if self.blocked is not None and self.blocked.end < end:
                text = text[: max(0, len(text) - (end - self.blocked.end))]
                end = self.blocked.end
        self._position = end

    def save(self) -> _Mark | None:
        """How they stand; None when one of them cannot go back."""
        if self._resumable is None:
            self._resumable = [scan for scan in self._scans if isinstance(scan, Resumable)]
        if len(self._resumable) < len(self._scans):
            return None
        states = tuple(scan.save() for scan in self._resumable)
        return _Mark(states, self._position, len(self.reported), dict(self._latest))

    def restore(self, mark: _Mark) -> None:
        """Go back to where they stood."""
        for scan, state in zip(self._resumable or (), mark.scans, strict=True):
            scan.restore(state)
        self._position = mark.position
        self.blocked = None
        self._latest = dict(mark.latest)
        del self.reported[mark.reported :]
        for at, finding in self._latest.values():
            self.reported[at] = finding

    def _report(self, finding: Finding) -> None:
        if _blocks(finding):
            chosen = self.blocked
            if chosen is None or (finding.end, finding.rule.order) < (chosen.end, chosen.rule.order):
                self.blocked = finding
        at, known = self._latest.get(finding.rule, (-1, None))
        if known is not None and finding.extends and finding.start <= known.end:
            start, end = min(known.start, finding.start), max(known.end, finding.end)
            self.reported[at] = known = known._replace(start=start, end=end)
        elif known is not None and known.start <= finding.start and finding.end <= known.end:
            return  # the same, seen in another view of the text
        else:
            at, known = len(self.reported), finding
            self.reported.append(finding)
        self._latest[finding.rule] = at, known


class _Known:
    """A check that knows its findings beforehand, for a text that is fed slice by slice."""

    hold = 0

    def __init__(self, findings: _Shares) -> None:
        self._findings = findings
        self._read = 0

    def open(self) -> _Known:
        """Itself: it is used once."""
        return self

    def feed(self, text: str, final: bool = False) -> Progress:
        """Those that begin in the slice."""
        found = self._findings.pop(self._read // SLICE, [])
        self._read += len(text)
        return Progress(self._read, tuple(found))


def _blocks(finding: Finding) -> bool:
    """Whether a finding ends what it was found in."""
    return finding.rule.holds and finding.rule.action is Action.BLOCK
