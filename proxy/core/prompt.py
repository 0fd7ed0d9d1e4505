"""The prompt: the texts that the model will read, checked before the request is sent upstream."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import NamedTuple

from proxy.core.check import Check, Progress
from proxy.core.gate import Gate
from proxy.core.json_gate import JsonGate
from proxy.core.prompt_chain import PIECE, Chain, Known
from proxy.core.prompt_memory import Recall, Result
from proxy.core.prompt_scans import Mark, Scans
from proxy.core.types import Finding

SLICE = 8192  # code points judged before other streams may run
MIN_STRIDE = 64  # code points between two marks after a block; the stride doubles while no other block comes
MAX_MARKS = 1024  # saved states to go back to; with no mark nearby, more text is read again
BATCH = 1024  # findings applied before other streams may run
SHARED = 8  # to apply a finding takes as long as so many characters
MOST_LOOKS = 8  # times that one scan looks into the memory: each time it hashes what has changed
SPACED = 16  # code points for each finding that is remembered, so that copying the findings takes no time that shows


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

    With a memory it begins where the longest known beginning ends, and leaves there what it has found: the result is
    the same.

    parts:   the texts with replacements and rewrites; all others are the same objects as before
    earlier: how many parts, at the beginning, are from earlier turns; `run_earlier` tells what blocks them alone
    """

    def __init__(
        self,
        parts: Sequence[str],
        joiner: str,
        checks: Iterable[Check],
        escaped: bool = False,
        earlier: int = 0,
        recall: Recall | None = None,
    ) -> None:
        self.parts = list(parts)
        self._earlier = earlier
        self._earlier_end: Mark | None = None  # after the last earlier part, with no joiner behind it
        self._joiner = joiner
        self._escaped = escaped
        self._scans = Scans(checks)
        self._starts = [0]  # offsets of the parts that have been read, and of the next part
        self._begun = 0  # parts of which something has been read
        self._stride = SLICE  # code points between two marks
        self._marks: list[tuple[int, Mark]] = []  # each with the part that begins there
        self._recall = recall
        self._chain = None if recall is None else Chain(recall, joiner, self.parts)
        self._looks = 0
        self._kept = 0  # up to where the scans' state was remembered
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
        """Whether anything was read that is not from an earlier turn."""
        return self._begun > self._earlier

    def run(self) -> Iterator[int]:
        """Read on until everything is read or a rule blocks. Yields the length of each slice after it is read."""
        if self._chain is not None and self._looks < MOST_LOOKS:
            self._looks += 1
            yield from self._chain.read()
            if (yield from self._resume(self._chain)):
                return
        scans = self._scans
        while len(self._starts) <= len(self.parts):
            self._set_mark()
            text = self._next_text()
            for at in range(0, len(text), SLICE):
                chunk = text[at : at + SLICE]
                scans.feed(chunk)
                if scans.blocked is not None:
                    self._keep_block()
                    return
                yield len(chunk)
            self._stride = min(2 * self._stride, SLICE)
            self._keep_state()
        scans.feed("", final=True)
        if self._chain is not None and not scans.failed:
            self._chain.keep_whole(scans.result)

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

    def note(self, findings: Iterable[Finding]) -> None:
        """What others have found in the texts, which have been read: offsets of the text as the model reads it."""
        self._scans.note(findings)

    def replace(self, part: int, text: str) -> None:
        """Replace the text of a part and go back to before it. `run` reads on from there."""
        self.parts[part] = text
        self._earlier_end = None
        if self._chain is not None:
            self._chain.cut(part)
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
        self._begun = first
        self._kept = min(self._kept, self._scans.position)
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
            yield SHARED * min(BATCH, len(reported) - at)
        for i, part_shares in shares.items():
            fixed = [_FixedFindings(part_shares)]
            gate = JsonGate(fixed) if self._escaped else Gate(fixed)
            text, out = self.parts[i], list[str]()
            for at in range(0, len(text), SLICE):
                slice_ = text[at : at + SLICE]
                out.append(gate.feed(slice_))
                yield len(slice_)
            rewritten = "".join((*out, gate.feed("", final=True)))
            self.parts[i] = text if rewritten == text else rewritten  # of JSON, structure cannot be hidden

    # -- reading

    def _next_text(self) -> str:
        """The next parts, as many as fit in one stride, or the next piece of a long one.

        The joiner comes with the part behind it.
        """
        parts, starts, joiner = self.parts, self._starts, self._joiner
        first = at = len(starts) - 1
        begin = starts[-1]
        inside = self._scans.position - begin
        before = joiner if inside < 0 else ""
        inside = max(inside, 0)
        if len(parts[first]) - inside > PIECE:
            self._begun = first + 1
            return before + parts[first][inside : inside + PIECE]
        end = first + 1 if inside else self._earlier if first < self._earlier else len(parts)
        while at < end and (at == first or starts[-1] + len(parts[at]) - begin <= self._stride):
            starts.append(starts[-1] + len(parts[at]) + len(joiner))
            at += 1
        self._begun = at
        return before + (parts[first][inside:] if inside else joiner.join(parts[first:at]))

    def _set_mark(self) -> None:
        """Save the state of the scans here; when there are too many marks, every second one is dropped."""
        first = len(self._starts) - 1
        if self._scans.position > self._starts[-1]:
            return  # it is in the middle of a part, which may be replaced
        if not first and self._stride == SLICE:
            return  # a mark at the beginning would save nothing
        mark = self._scans.save()
        if first == self._earlier:
            self._earlier_end = mark
        if mark is not None:
            self._marks.append((first, mark))
            if len(self._marks) > MAX_MARKS:
                del self._marks[1::2]

    # -- the memory

    def _resume(self, chain: Chain) -> Generator[int, None, bool]:
        """Go to where the longest known beginning ends. Whether that is the end, or a block."""
        counts = chain.memory
        result = chain.whole()
        known = None if result is None else Known(len(self.parts), 0, result)
        if known is None:
            known = yield from chain.longest(len(self._starts) - 1)
        counts.whole += result is not None
        counts.begun += result is None and known is not None
        counts.unknown += known is None
        if known is None:
            return False
        self._go_to(known)
        return isinstance(known.value, Result)

    def _go_to(self, known: Known) -> None:
        """As if all before it had been read."""
        starts, parts, joiner = self._starts, self.parts, len(self._joiner)
        while len(starts) <= known.part:
            starts.append(starts[-1] + len(parts[len(starts) - 1]) + joiner)
        self._begun = known.part
        self._marks.clear()  # their findings stand in another order
        self._earlier_end = None
        self._stride = SLICE
        self._told = 0
        if isinstance(known.value, Result):
            self._scans.show(known.value)
        else:
            self._scans.resume(known.value)
            self._kept = self._scans.position

    def _keep_state(self) -> None:
        """Remember how the scans stand, now and then, and where more may be said: behind all of several texts."""
        chain, scans = self._chain, self._scans
        if chain is None or scans.failed:
            return
        part = len(self._starts) - 1
        at_end = part == len(self.parts) > 1
        if at_end or scans.position - self._kept >= max(PIECE, SPACED * len(scans.reported)):
            state = scans.state()
            if state is not None:
                chain.keep(part, max(0, scans.position - self._starts[-1]), state)
                self._kept = scans.position

    def _keep_block(self) -> None:
        """Remember what was found up to a block."""
        chain, scans = self._chain, self._scans
        part = len(self._starts) - 1
        if chain is not None and not scans.failed and self._begun == part:  # not in the middle of a long part
            chain.keep(part, 0, scans.result)

    # -- findings

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
