"""The prompt: the texts that the model will read, checked before the request is sent upstream."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from proxy.core.check import Check, Progress, Resumable, Scan
from proxy.core.gate import Gate
from proxy.core.json_gate import JsonGate
from proxy.core.types import Action, Finding, Rule

SLICE = 8192  # code points judged before other streams may run
MIN_STRIDE = 64  # code points between two marks after a block; the stride doubles while no other block comes
MAX_MARKS = 1024  # saved states to go back to; with no mark nearby, more text is read again
BATCH = 1024  # findings applied before other streams may run


_SharesBySlice = dict[int, list[Finding]]
"""A part's findings, by the slice in which they begin."""


class Located(NamedTuple):
    """A finding in one of a document's parts; offsets are those of the part."""

    part: int
    finding: Finding


class Judged(NamedTuple):
    """A document after its checks.

    parts:   the texts to send; an unchanged part is the same object as before
    found:   all findings, each in the part in which it starts
    blocked: the finding that blocks, if there is one; then `parts` are the unchanged texts
    """

    parts: tuple[str, ...]
    found: tuple[Located, ...]
    blocked: Located | None


def judge(parts: Sequence[str], joiner: str, checks: Iterable[Check], escaped: bool = False) -> Iterator[Judged | None]:
    """Check texts as the model will read them, joined by `joiner`. So a phrase that is split over two texts is found.

    Yields None after each slice, so that the caller can let other streams run, and the result last.
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
    """A scan of texts as the model will read them. Where a rule blocks, the text can be replaced and the scan goes on.

    The checks then go back to before the replaced text and read on, as if the new text had always been there. So most
    text is read once only, however many texts are replaced. Checks that cannot go back start again.

    parts:   the texts with replacements and rewrites; all others are the same objects as before
    earlier: how many parts, at the beginning, are from earlier turns; `run_earlier` tells what blocks them alone
    """

    def __init__(
        self, parts: Sequence[str], joiner: str, checks: Iterable[Check], escaped: bool = False, earlier: int = 0
    ) -> None:
        self.parts = list(parts)
        self._earlier = earlier
        self._earlier_end: _Mark | None = None  # after the last earlier part, with no joiner behind it
        self._joiner = joiner
        self._escaped = escaped
        self._scans = _Scans(checks)
        self._starts = [0]  # offsets of the parts that have been read, and of the next part
        self._stride = SLICE  # code points between two marks
        self._marks: list[tuple[int, _Mark]] = []  # each with the part that begins there
        self._told = 0  # how many of the findings `new_findings` has returned

    @property
    def blocked(self) -> Located | None:
        """The finding that blocks, if there is one yet."""
        finding = self._scans.blocked
        return None if finding is None else self._locate(finding)

    @property
    def blocked_parts(self) -> range:
        """The parts that the blocking finding covers."""
        finding = self._scans.blocked
        if finding is None:
            return range(0)
        first = self._locate(finding).part
        return range(first, max(first, _part_at(finding.end - 1, self._starts)) + 1)

    @property
    def past_earlier(self) -> bool:
        """Whether a part was read that is not from an earlier turn."""
        return len(self._starts) - 1 > self._earlier

    def run(self) -> Iterator[int]:
        """Read on until everything is read or a rule blocks. Yields the length of each slice after it is read."""
        scans = self._scans
        while len(self._starts) <= len(self.parts):
            self._set_mark()
            text = self._next_text()
            for at in range(0, len(text), SLICE):
                chunk = text[at : at + SLICE]
                scans.feed(chunk)
                if scans.blocked is not None:
                    return
                yield len(chunk)
            self._stride = min(2 * self._stride, SLICE)
        scans.feed("", final=True)

    def run_earlier(self) -> Iterator[int]:
        """Read the earlier parts as if nothing followed them: then `blocked` is what blocks them alone.

        For a block that was found in them after they had been read. Afterwards only `replace` goes on with the scan.
        """
        scans = self._scans
        if self._earlier_end is not None:
            scans.restore(self._earlier_end)
        else:  # the checks cannot go back
            scans.open()
            text = self._joiner.join(self.parts[: self._earlier])
            for at in range(0, len(text), SLICE):
                if scans.blocked is None:
                    scans.feed(text[at : at + SLICE])
                    yield SLICE
        if scans.blocked is None:
            scans.feed("", final=True)
        self._told = min(self._told, len(scans.reported))

    def new_findings(self) -> list[Located]:
        """The findings since the last call."""
        reported, told = self._scans.reported, self._told
        self._told = len(reported)
        return [self._locate(finding) for finding in reported[told:] if not finding.extends]

    def replace(self, part: int, text: str) -> None:
        """Replace the text of a part and go back to before it. `run` reads on from there."""
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
        self._stride = MIN_STRIDE

    def apply_rewrites(self) -> Iterator[int]:
        """Apply the rewrites after everything is read. Yields the length of each slice after it is written.

        A span over several parts gets its label in the first of them.
        """
        reported = self._scans.reported
        shares: dict[int, _SharesBySlice] = {}
        for at in range(0, len(reported), BATCH):
            for finding in reported[at : at + BATCH]:
                if finding.rule.holds:
                    self._share(finding, shares)
            yield SLICE
        for i, part_shares in shares.items():
            fixed = [_FixedFindings(part_shares)]
            gate = JsonGate(fixed) if self._escaped else Gate(fixed)
            text, out = self.parts[i], list[str]()
            for at in range(0, len(text), SLICE):
                out.append(gate.feed(text[at : at + SLICE]))
                yield SLICE
            rewritten = "".join((*out, gate.feed("", final=True)))
            self.parts[i] = text if rewritten == text else rewritten  # of JSON, structure cannot be hidden

    def _next_text(self) -> str:
        """The next parts, as many as fit in one stride; a longer part comes alone.

        The joiner after the last earlier part comes with the part that follows it.
        """
        parts, starts, joiner = self.parts, self._starts, self._joiner
        first = at = len(starts) - 1
        begin = starts[-1]
        end = self._earlier if first < self._earlier else len(parts)
        while at < end and (at == first or starts[-1] + len(parts[at]) - begin <= self._stride):
            starts.append(starts[-1] + len(parts[at]) + len(joiner))
            at += 1
        before = joiner if first and first == self._earlier else ""
        behind = "" if at in (self._earlier, len(parts)) else joiner
        return before + joiner.join(parts[first:at]) + behind

    def _set_mark(self) -> None:
        """Save the state of the scans here; when there are too many marks, every second one is dropped."""
        first = len(self._starts) - 1
        if not first and self._stride == SLICE:
            return  # a mark at the beginning would save nothing
        mark = self._scans.save()
        if first == self._earlier:
            self._earlier_end = mark
        if mark is not None:
            self._marks.append((first, mark))
            if len(self._marks) > MAX_MARKS:
                del self._marks[1::2]

    def _locate(self, finding: Finding) -> Located:
        """A finding in the part in which it begins; one that begins in a joiner belongs to the part after it."""
        parts, starts = self.parts, self._starts
        last = len(parts) - 1
        i = min(_part_at(finding.start, starts), last)
        while i < last and finding.start >= starts[i] + len(parts[i]):
            i += 1
        first = max(finding.start - starts[i], 0)
        return Located(i, finding._replace(start=first, end=max(first, min(finding.end - starts[i], len(parts[i])))))

    def _share(self, finding: Finding, shares: dict[int, _SharesBySlice]) -> None:
        """Store each part's share of a hidden span; a share of a span that began in an earlier part gets no label."""
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
    """A place in a text, and the state of the scans there."""

    scans: tuple[object, ...]
    position: int
    reported: int
    latest: dict[Rule, tuple[int, Finding]]


class _Scans:
    """The scans of one text, side by side as in a gate. They release nothing, but they can go back.

    reported:  all findings; a match that grew is one finding with its full length
    blocked:   the finding that ends the text
    """

    def __init__(self, checks: Iterable[Check]) -> None:
        self._checks = sorted(checks, key=lambda check: check.hold != 0)  # see Gate
        self.open()

    def open(self) -> None:
        """Start again."""
        self._scans: list[Scan] = [check.open() for check in self._checks]
        self._resumable: list[Resumable] | None = None
        self._position = 0
        self.blocked: Finding | None = None
        self.reported: list[Finding] = []
        self._latest: dict[Rule, tuple[int, Finding]] = {}  # each rule's last finding, and its index in `reported`

    def feed(self, text: str, final: bool = False) -> None:
        """Read on; after a block, the other scans read only up to the end of the blocking finding."""
        end = self._position + len(text)
        for scan in self._scans:
            for finding in scan.feed(text, final).findings:
                self._report(finding)
            if self.blocked is not None and self.blocked.end < end:
                text = text[: max(0, len(text) - (end - self.blocked.end))]
                end = self.blocked.end
        self._position = end

    def save(self) -> _Mark | None:
        """The state of all scans; None when one of them cannot go back."""
        if self._resumable is None:
            self._resumable = [scan for scan in self._scans if isinstance(scan, Resumable)]
        if len(self._resumable) < len(self._scans):
            return None
        states = tuple(scan.save() for scan in self._resumable)
        return _Mark(states, self._position, len(self.reported), dict(self._latest))

    def restore(self, mark: _Mark) -> None:
        """Go back to a saved state."""
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
            return  # the same match, found in another view of the text
        else:
            at, known = len(self.reported), finding
            self.reported.append(finding)
        self._latest[finding.rule] = at, known


class _FixedFindings:
    """A check whose findings are given beforehand, for a text that is fed slice by slice."""

    hold = 0

    def __init__(self, findings: _SharesBySlice) -> None:
        self._findings = findings
        self._read = 0

    def open(self) -> _FixedFindings:
        """This object: it is used once."""
        return self

    def feed(self, text: str, final: bool = False) -> Progress:
        """The findings that begin in the slice."""
        found = self._findings.pop(self._read // SLICE, [])
        self._read += len(text)
        return Progress(self._read, tuple(found))


def _blocks(finding: Finding) -> bool:
    """Whether a finding ends the text."""
    return finding.rule.holds and finding.rule.action is Action.BLOCK
