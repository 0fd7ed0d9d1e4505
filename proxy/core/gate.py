"""One channel's text, held until every scan has decided it."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from proxy.core.askers import Asked, Askers, Block
from proxy.core.check import NO_TURN, Check, Scan, Turn, asking, longest, waits_of, without_asking
from proxy.core.hidden_span import HiddenSpan
from proxy.core.shifted_scans import Shifted, Unread, shifted
from proxy.core.types import Action, Finding, Rule

MAX_RELEASED = 1024  # last characters of the released text that are kept
MOST_REPORTED = 1000  # findings of a channel that are kept where it is enough to count the others
MAX_CHUNKS = 32  # chunks in which they are kept before they are joined
BEGINNING = 200  # first characters of the text that are kept as they came
NOTHING = Finding(0, 0, Rule("internal", "nothing", Action.FLAG))


class Gate:
    """Text in, text out: what is released, in order, with every hidden span replaced by one label.

    Scans that never hold (hold == 0) are read first. Where one of them blocks, the text is cut before the others see
    more of it. So the result does not depend on how the text was chunked.

    Scans that ask (see askers.py) hold the text from their first open question on. Where an answer blocks, or a block
    is found while questions are open, the text before it goes out as soon as all that may still end it is answered.

    blocked: the finding that has ended the text
    """

    __slots__ = (
        "_askers",
        "_asking",
        "_at",
        "_base",
        "_begins",
        "_checks",
        "_ending",
        "_final",
        "_held",
        "_latest",
        "_mark",
        "_over",
        "_primed",
        "_primed_held",
        "_released",
        "_scans",
        "_segments",
        "_turn",
        "_width",
        "beginning",
        "blocked",
        "more",
        "most_reported",
        "reported",
    )

    direct = True  # text that is shown goes out as it is

    def __init__(self, checks: Iterable[Check], turn: Turn = NO_TURN) -> None:
        """turn: whose text it is; checks that ask want to know."""
        checks = tuple(checks)
        self._turn = turn
        self._asking = asking(checks)
        self._askers: Askers | None = Askers(self._asking, turn) if self._asking else None
        self._ending: Block | None = None  # what a scan that does not ask has found, while questions are open
        self._mark = 0  # everything before it is decided for the scans that do not ask; kept only beside such as do
        self._final = False  # the same: the end of the text has been read
        self._checks = sorted(without_asking(checks), key=_holds)
        self._scans: tuple[Scan, ...] = tuple([check.open() for check in self._checks])
        self._width = 1  # scans of each check
        self._at = 0  # characters of _held that `_sweep` has already taken
        self._held = ""  # text that is neither released nor dropped; it begins at offset _base
        self._base = 0
        self._segments: list[HiddenSpan] = []  # hidden spans not yet labelled, in order, apart from each other
        self._primed = 0  # characters that came from the client (`prime`)
        self._primed_held = 0  # characters at the start of _held that came from the client
        self._released: list[str] = []
        self._over = False
        self._begins = BEGINNING  # characters that `beginning` lacks
        self.beginning = ""  # the first BEGINNING characters as they came, hidden or not: to be looked at, never sent
        self.blocked: Finding | None = None
        self.most_reported = sys.maxsize
        self.reported: list[Finding] = []  # the first findings; a match that grew is one finding with its full length
        self._latest: dict[Rule, tuple[int, Finding]] = {}  # each rule's last finding; its index in `reported`, or -1
        self.more: dict[Rule, int] = {}  # how many findings there were beside those

    @property
    def findings(self) -> list[Finding]:
        """The rules' findings, for metrics and logs."""
        return [f for f in self.reported if not f.extends]

    @property
    def held(self) -> int:
        """Characters that wait for a verdict."""
        return len(self._held)

    @property
    def undecided(self) -> bool:
        """Whether answers are missing: something may still be released, or the text may still be blocked."""
        return self._askers is not None and self._askers.waiting and self.blocked is None

    @property
    def ending(self) -> bool:
        """Whether something will block the text, and only where it ends depends on answers."""
        return self._askers is not None and (self._askers.block or self._ending) is not None

    def take_asks(self) -> list[Asked]:
        """The questions that have arisen since the last call."""
        return self._askers.take_fresh() if self._askers is not None else []

    def take_dropped(self) -> list[int]:
        """The keys of questions that need no answer any more, since the last call."""
        return self._askers.take_dropped() if self._askers is not None else []

    def answer(self, key: int, reply: object) -> str:
        """A question is answered; return the text that is released now."""
        askers = self._askers
        if askers is None or self.blocked is not None:
            return ""
        found = askers.answer(key, reply)
        if found:
            self._note(found, "", 0)
        return self._let_out(askers)

    def give_up(self) -> None:
        """Nothing of the text will be sent any more: no answer is needed."""
        if self._askers is not None:
            self._askers.end(-1)

    def prime(self, text: str, *, goes_on: bool = False) -> None:
        """Read text that the client already has and the model continues. It is judged with what follows, never sent.

        A match that lies wholly in it is ignored: it was judged where it came from. A block is kept.
        What follows is also judged alone: an app may show it alone, and then a word begins at its first letter.
        A check that has `begins_only` looks at the beginning of answers: it reads what follows alone, or nothing.
        goes_on: the text is the model's own, so what follows is no beginning
        """
        self._askers = None  # they begin with what follows
        self._scans = tuple(
            Unread() if _begins_only(check) else scan for check, scan in zip(self._checks, self._scans, strict=True)
        )
        self.feed(text)
        self._primed_held = len(self._held)
        self._primed = self._base + self._primed_held
        unread = (goes_on and _begins_only(check) for check in self._checks)
        alone = (
            Shifted(Unread() if left_out else check.open(), self._primed)
            for check, left_out in zip(self._checks, unread, strict=True)
        )
        self._scans = tuple(scan for pair in zip(self._scans, alone, strict=True) for scan in pair)
        self._width = 2
        self._released.clear()
        self._segments.clear()
        self.reported.clear()
        self._latest.clear()
        self.beginning, self._begins = "", BEGINNING
        self.more.clear()
        if self._asking:
            self._askers = Askers(self._asking, self._turn._replace(before=text), self._primed)

    def settle(self) -> str:
        """Decide all that is held as if nothing followed, and release it. Scans that never hold are told of no end."""
        everything = self._scans
        width = self._width
        holding = [i for i, check in enumerate(self._checks) if check.hold != 0]
        self._scans = tuple(scan for i in holding for scan in everything[i * width : (i + 1) * width])
        out = self.feed("", final=True)
        self._scans = everything
        return out

    def go_on(self, settled: Gate) -> None:
        """This gate reads what follows the text of a settled one. Scans that never hold, such as limits, read on."""
        scans = list(self._scans)
        by = self._primed - settled._base
        for i, check in enumerate(self._checks):
            if check.hold == 0:
                scans[i * self._width] = shifted(settled._scans[i * settled._width], by)
        self._scans = tuple(scans)

    @property
    def released(self) -> str:
        """The end of the released text."""
        return "".join(self._released)[-MAX_RELEASED:]

    @property
    def waits_for(self) -> Rule | None:
        """The rule for which the held text waits; None: for no rule in particular."""
        askers = () if self._askers is None else (self._askers.waits(),)
        waits = longest([*map(waits_of, self._scans), *askers])
        return None if waits is None else waits.rule

    def feed(self, text: str, final: bool = False) -> str:
        """Read on; return the text that is released now. It is the same object if nothing is held or changed."""
        if self._over:
            return ""
        if self._begins:
            self.beginning += text[: self._begins]
            self._begins = BEGINNING - len(self.beginning)
        if self._askers is not None:
            return self._feed_asking(self._askers, text, final)
        end = mark = self._base + len(self._held) + len(text)
        for scan in self._scans:
            watermark, findings, _ = scan.feed(text, final)
            if watermark < mark:
                mark = watermark
            if findings:
                text, end = self._note(findings, text, end)
                if mark > end:
                    mark = end
        if self.blocked is not None:
            return self._cut(text, min(mark, self.blocked.start))
        if not self._segments and not self._primed_held:
            if mark == end and not self._held:
                self._base = end
                if not self.direct:
                    text = self._show(text, 0)
                self._released.append(text)
                if len(self._released) > MAX_CHUNKS:
                    self._released = [self.released]
                return text
            held = self._held + text if self._held else text
            n = mark - self._base
            self._held, self._base = held[n:], mark
            out = held[:n] if self.direct else self._show(held[:n], 0)
        else:
            self._held += text
            out = self._sweep(mark)
        if out:
            self._released.append(out)
            if len(self._released) > MAX_CHUNKS:
                self._released = [self.released]
        return out

    # -- beside scans that ask

    def _feed_asking(self, askers: Askers, text: str, final: bool) -> str:
        """The same beside scans that ask: the others read up to each place at which a question arises, and then on."""
        held = bool(self._held)
        fed = self._base + len(self._held)
        at, ended = 0, False
        for arisen in askers.feed(text, final):
            to, ended = min(arisen.read - fed, len(text)), arisen.read - fed > len(text)
            self._read(askers, text[at:to], ended)
            at = to
            if self._over:
                break
            askers.register(arisen, self._mark)
        if not self._over and not ended:
            self._read(askers, text[at:], final)
        self._final = self._final or final
        out = self._let_out(askers)
        return text if out == text and not held else out

    def _read(self, askers: Askers, text: str, final: bool) -> None:
        """Let the scans that do not ask read on. After a block by one of them nothing more is read."""
        before = self._base + len(self._held)
        end = mark = before + len(text)
        for scan in self._scans:
            watermark, findings, _ = scan.feed(text, final)
            mark = min(mark, watermark)
            if findings:
                askers.note(findings, before + 1)
                text, end = self._note(findings, text, end)
                mark = min(mark, end)
        self._held += text
        self._mark = mark
        if self.blocked is not None:
            finding, self.blocked = self.blocked, None
            self._ending = Block(end, finding.end, finding.rule.order, min(mark, finding.start), finding)

    def _let_out(self, askers: Askers) -> str:
        """Release what is decided. A block counts when no answer can end the text earlier any more."""
        block = askers.block or self._ending
        mark = min(self._mark, askers.mark)
        if block is not None:
            self._over = True
            mark = min(mark, block.cut)
        if block is not None and not askers.waiting:
            return self._end_asking(askers, block, mark)
        out = self._sweep(mark)
        if self._final and block is None and not askers.waiting:
            out += self._rest()
        if out:
            self._released.append(out)
            if len(self._released) > MAX_CHUNKS:
                self._released = [self.released]
        return out

    def _end_asking(self, askers: Askers, block: Block, mark: int) -> str:
        """The text ends at `mark`. What was found behind the block does not count: some other order of the answers, and
        it would not have been read."""
        self.blocked = block.finding
        ending = self._ending.finding if self._ending is not None else None
        late = {ending, *askers.found_after(block.read)}
        self.reported = [one for one in self.reported if one.start < block.end and one not in late]
        self._latest.clear()
        self._report(block.finding)
        return self._cut("", mark)

    def _rest(self) -> str:
        """What comes behind the end of the text."""
        return ""

    # -- findings

    def _note(self, findings: Iterable[Finding], text: str, end: int) -> tuple[str, int]:
        """Store findings; after a block, cut the text at the end of the blocking finding."""
        for finding in findings:
            rule = finding.rule
            self._report(finding)
            if not rule.holds:
                continue
            if rule.action is Action.REWRITE:
                self._hide(finding)
            elif self.blocked is None or (finding.end, rule.order) < (self.blocked.end, self.blocked.rule.order):
                self.blocked = finding.named(self._held + text, finding.start - self._base)
                self._over = True
        if self.blocked is not None and self.blocked.end < end:
            return text[: max(0, len(text) - (end - self.blocked.end))], self.blocked.end
        return text, end

    def _report(self, finding: Finding) -> None:
        rule = finding.rule
        index, known = self._latest.get(rule, (-1, NOTHING))
        if known is not NOTHING:
            if finding.extends and finding.start <= known.end:
                start, end = min(known.start, finding.start), max(known.end, finding.end)
                grown = known._replace(start=start, end=end)
                self._latest[rule] = index, grown
                if index >= 0:
                    self.reported[index] = grown
                return
            if known.start <= finding.start and finding.end <= known.end:
                return  # the same match, found in another view of the text
        kept = len(self.reported) < self.most_reported
        self._latest[rule] = len(self.reported) if kept else -1, finding
        if kept:
            self.reported.append(finding)
        elif not finding.extends:
            self.more[rule] = self.more.get(rule, 0) + 1

    def _hide(self, finding: Finding) -> None:
        """Add a span; spans that share a character become one, spans that only touch stay two."""
        start, end, rule, extends, _ = finding
        if extends and rule.replacement.insert:
            return  # the text is inserted at the start of the match only
        new = HiddenSpan(start, end, None if extends else rule)
        segments = self._segments
        i = len(segments)
        while i and segments[i - 1].end > start:
            i -= 1
        while i < len(segments) and segments[i].start < new.end:
            new = segments.pop(i).merged(new)
        segments.insert(i, new)

    def _sweep(self, mark: int) -> str:
        """Release the text before `mark`, label the spans that end there, drop hidden text as early as possible."""
        out: list[str] = []
        segments = self._segments
        done = 0
        for segment in segments:
            if segment.start > mark:
                break
            out.append(self._show(*self._take(segment.start)))
            if segment.insert:
                if segment.end > mark:
                    break
                out.append(self._with_insert(*self._take(segment.end), segment.insert))
            else:
                segment.swallow(self._drop(*self._take(segment.end)))
                if segment.end > mark:
                    break
                out.append(self._label(segment))
            done += 1
        del segments[:done]
        if not segments or segments[0].start > mark:
            out.append(self._show(*self._take(mark)))
        self._held, self._at = self._held[self._at :], 0
        return "".join(out)

    def _take(self, to: int) -> tuple[str, int]:
        """The held text up to offset `to`, and how many of its first characters came from the client.

        `_sweep` drops it once at its end: each drop copies all the rest.
        """
        n = to - self._base
        if n <= 0:
            return "", 0
        text = self._held[self._at : self._at + n]
        self._at += len(text)
        self._base += len(text)
        known = min(self._primed_held, len(text))
        self._primed_held -= known
        return text, known

    def _show(self, text: str, known: int) -> str:
        """What goes out of text that may be shown."""
        return text[known:] if known else text

    def _drop(self, text: str, known: int) -> str:
        """What a reader would have read in text that is hidden."""
        return text[known:] if known else text

    def _cut(self, text: str, at: int) -> str:
        """A block: release the text before `at` that is decided, drop everything else."""
        self._held += text
        out = self._sweep(at)
        self._released.append(out)
        self._held = ""
        self._segments.clear()
        return out

    def _with_insert(self, text: str, known: int, insert: str) -> str:
        """The text with `insert` after its first character."""
        text = text[known:]
        return text[:1] + insert + text[1:]

    def _label(self, segment: HiddenSpan) -> str:
        """What stands in the place of a hidden span."""
        return segment.label(segment.end - segment.start)


def _holds(check: Check) -> bool:
    return check.hold != 0


def _begins_only(check: Check) -> bool:
    return getattr(check, "begins_only", False)
