"""A pass over one view of the text, and its automaton at work on one text, character by character."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from operator import attrgetter
from typing import NamedTuple

from proxy.core.check import Progress, Waits, longest
from proxy.core.types import Finding
from proxy.matching.lazy_dfa import Accept, Change, State
from proxy.matching.program import Program
from proxy.matching.report import Report, Spans, in_order
from proxy.matching.rules import LONG, MOST_OPEN, PassScan, Verdict

Blocks = list[tuple[int, int]]  # of blocking matches that end at one place: rule number and start
_progress = Progress._make
_order = attrgetter("order")
_NOTHING: tuple[Finding, ...] = ()
LOOKS_OFF = 15
"""Long texts that are read without a look after one that left out less than a quarter."""
STEP = 32
"""Characters that are read before it is asked again whether the rest has to be."""
MOST_REGISTERS = 8
"""Of a state that has a key."""


class Cursor(NamedTuple):
    """Where a scan stands in its text.

    registers: where the open matches of state.groups began
    """

    position: int
    state: State
    registers: list[int]

    def watermark(self) -> int:
        """Where the earliest open match begins that text has to wait for."""
        position = self.position
        starts = [max(self.registers[register], position - limit) for register, limit in self.state.held]
        return min(starts, default=position)


class _Blocked(Exception):
    """These matches end at `cursor` and block, which was known after `read` characters."""

    def __init__(self, blocks: Blocks, cursor: Cursor, read: int) -> None:
        self.blocks, self.cursor, self.read = blocks, cursor, read


class TooLate(Exception):
    """A match was open too long at offset `at`, which blocks, and more than that was read."""

    def __init__(self, at: int) -> None:
        self.at = at


class MatchScan:
    """One text on its way through a pass."""

    __slots__ = (
        "_announced",
        "_busy",
        "_latest",
        "_looks_off",
        "_owed",
        "_program",
        "_registers",
        "_report",
        "_state",
        "_tail",
        "_text",
        "position",
        "verdict",
    )

    def __init__(self, program: Program) -> None:
        self._program = program
        self.position = 0  # characters read before this feed
        self._state: State = program.dfa.start
        self._registers: list[int] = []
        self._announced = 0  # the latest watermark
        self._latest: Spans = {}  # the latest findings, as long as they may grow
        self._looks_off = 0  # so many more long texts are read without a look: the latest look left nothing out
        self._owed = ""  # text that `skim` was given and has not read; all else stands where it begins
        self._tail = ""  # the end of the text read, as far as a validator may want to see it
        self._text = ""  # what is being fed
        self._report: Report | None = None  # what this feed found
        self._busy = False  # there is something in _latest, _tail or _report
        self.verdict: Verdict | None = None

    def save(self) -> object:
        """The whole state."""
        cursor = (self.position, self._state, tuple(self._registers))
        return *cursor, self._announced, self._latest, self._tail, self._busy, self.verdict, self._owed

    def restore(self, mark: object) -> None:
        """Go back to a saved state."""
        assert isinstance(mark, tuple)
        self.position, self._state, registers, *rest = mark
        self._registers = list(registers)
        self._announced, self._latest, self._tail, self._busy, self.verdict, self._owed = rest
        self._report = None

    def state_key(self) -> Hashable | None:
        """The states, and how far back the open matches began."""
        registers, position = self._registers, self.position
        if self._busy or self._owed or self.verdict is not None:
            return None
        if registers and (len(registers) > MOST_REGISTERS or position - registers[0] > MOST_OPEN):
            return None
        return self._state, tuple([position - start for start in registers])

    def restore_key(self, key: Hashable, position: int) -> int:
        """Go to the state that has this key."""
        assert isinstance(key, tuple)
        self._state, back = key
        self._registers = [position - n for n in back]
        self.position = position
        self._owed = ""
        self._announced = Cursor(position, self._state, self._registers).watermark()
        return self._announced

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on, as core.check.Scan does."""
        if self.verdict is not None:
            return Progress(self._announced)
        self.catch_up()
        return self._read_long(text, final) if self._is_looked_at(text) else self._read(text, final)

    def _is_looked_at(self, text: str) -> bool:
        if len(text) < LONG or self._program.look is None:
            return False
        if self._looks_off:
            self._looks_off -= 1
            return False
        return True

    def skim(self, text: str) -> Progress:
        """Read on as `feed` does, for those who do not need to know what waits: the watermark may be too low."""
        if self.verdict is not None:
            return Progress(self._announced)
        if not self._is_looked_at(self._owed + text):
            self.catch_up()
            return self._read(text, False)
        owed, self._owed = self._owed, ""
        return self._read_long(owed + text, False, behind=not owed, lazily=True)

    def catch_up(self) -> None:
        """Read what was left out because nothing can match in it, if there is any."""
        if self._owed:
            owed, self._owed = self._owed, ""
            self._read(owed, False)

    def _read(self, text: str, final: bool) -> Progress:
        try:
            position, state = self._run(text, self.position, self._state, text)
        except _Blocked as blocked:
            return self._end(blocked)
        return self._stop(text, final, position, state)

    def _run(self, part: str, position: int, state: State, text: str) -> tuple[int, State]:
        """Read a part of the text; where that leads."""
        registers = self._registers
        for char in part:
            following, change = state[char]
            if change is not None:
                cut, begins, event = change
                if event is not None:
                    if event.only is not None:
                        self._one_match(event.only, registers, position)
                    else:
                        self._match(Cursor(position, state, registers), text, change, following)
                if cut is not None:
                    del registers[cut]
                if begins:
                    registers.append(position)
            state = following
            position += 1
        return position, state

    def _stop(self, text: str, final: bool, position: int, state: State) -> Progress:
        """The end of a feed."""
        registers = self._registers
        if final or self._busy or state.special:
            try:
                return self._settle(Cursor(position, state, registers), text, final)
            except _Blocked as blocked:
                return self._end(blocked)
        self.position, self._state = position, state
        mark = position
        for register, limit in state.held:
            start = registers[register]
            if position - start > limit:
                start = position - limit
            if start < mark:
                mark = start
        self._announced = mark
        return _progress((mark, _NOTHING, ()))

    def waits(self) -> Waits | None:
        """See proxy.core.check.Waiting."""
        position, registers = self.position, self._registers
        open_since = [(min(position - registers[register], limit), register) for register, limit in self._state.held]
        groups = self._state.groups
        return longest(
            Waits(waiting, min((item.owner.source.rule for item in groups[register].members), key=_order))
            for waiting, register in open_since
        )

    # -- long texts

    def _read_long(self, text: str, final: bool, behind: bool = True, lazily: bool = False) -> Progress:
        """Read the parts of a text in which something can match.

        behind: what is open may be part of a match; else it is known that nothing is
        lazily: what has to be read only to know what waits is left for later
        """
        look, base = self._program.look, self.position
        assert look is not None
        at, state, left_out = 0, self._state, 0
        last = base - 1 if behind else -1  # no match that began behind it contains anything found so far
        try:
            for hit in (*look.hits(text), None):
                first, final_ = (len(text), len(text) - 1) if hit is None else hit
                target, end = first - look.reach, final_ + 1
                while at < end:
                    if target - at >= STEP and not self._open_since(last):
                        state = self._jump(text, target)
                        left_out += target - at
                        at = target
                        if hit is None and lazily:
                            return self._owe(text, at, state)
                    stop = min(end, at + STEP) if target > at else end
                    _, state = self._run(text[at:stop], base + at, state, text)
                    at = stop
                if hit is not None:
                    last = max(last, base + final_)
        except _Blocked as blocked:
            return self._end(blocked)
        if left_out < len(text) // 4:
            self._looks_off = LOOKS_OFF
        return self._stop(text, final, base + len(text), state)

    def _open_since(self, last: int) -> bool:
        """Whether a match is open that began so early."""
        return bool(self._registers) and self._registers[0] <= last

    def _jump(self, text: str, at: int) -> State:
        """Go on there as if nothing were open: what is open now is no match, and what begins before cannot be one."""
        if self._registers:
            del self._registers[:]
        return self._program.dfa.beginning(text[at - 1])

    def _owe(self, text: str, at: int, state: State) -> Progress:
        self._text = text
        found = self._findings(Cursor(self.position + at, state, self._registers))
        self._latest, self._tail, self._busy, self._text = {}, "", False, ""
        self.position, self._state = self.position + at, state
        self._owed = text[at:]
        self._announced = self.position
        return Progress(self.position, found)

    # -- matches

    def _match(
        self,
        cursor: Cursor,
        text: str,
        change: Change,
        following: State,
    ) -> None:
        """Matches end around the character at `cursor`, which leads to `following`."""
        self._text = text
        if cursor.state.overflow:
            self._overflow_blocks(cursor)
        position, starts = cursor.position, [*cursor.registers, cursor.position]
        event = change.event
        assert event is not None
        blocks = self._accept(event.before, starts, position)
        if blocks:
            raise _Blocked(blocks, cursor, position + 1)
        blocks = self._accept(event.after, starts, position + 1)
        if blocks:
            after = Cursor(position + 1, following, change.applied(cursor.registers, position))
            raise _Blocked(blocks + self._overflow(after), after, position + 1)
        if event.keep is not None:
            cursor.registers[:] = [starts[k] for k in event.keep]

    def _one_match(self, accept: Accept, registers: list[int], position: int) -> None:
        """A match ends after the character at `position`, and that is all: what happens often while one grows."""
        number, (register,) = accept
        start = registers[register] if register < len(registers) else position
        self._found(number, max(start, position + 1 - self._program.classes[number].limit), position + 1)

    def _settle(self, cursor: Cursor, text: str, final: bool) -> Progress:
        """The end of a feed, where there is more to do than to say what is still open."""
        self._text = text
        if cursor.state.overflow:
            self._overflow_blocks(cursor)
        if final:
            self._finish(cursor)
        mark = cursor.position if final else cursor.watermark()
        found = self._findings(cursor)
        self._keep_tail(cursor)
        self.position, self._state, _ = cursor
        self._announced = mark
        self._busy = bool(self._latest or self._tail)
        self._text = ""
        return Progress(mark, found)

    def _finish(self, cursor: Cursor) -> None:
        """The end of the text decides what waited for it."""
        _, change = cursor.state[""]
        blocks: Blocks = []
        if change is not None and change.event is not None:
            blocks = self._accept(change.event.before, [*cursor.registers, cursor.position], cursor.position)
        if blocks:
            raise _Blocked(blocks, cursor, cursor.position + 1)

    def _accept(self, accepts: Iterable[Accept], starts: list[int], end: int) -> Blocks:
        """Report the matches that end at `end`; return those that block."""
        blocks = []
        for number, registers in accepts:
            start = self._longest_valid(number, [starts[k] for k in registers], end)
            if start is None:
                continue
            start = self._covered_from(number, start, end)
            if self._program.blocks[number]:
                blocks.append((number, start))
            else:
                self._found(number, start, end)
        return blocks

    def _longest_valid(self, number: int, starts: list[int], end: int) -> int | None:
        """The earliest start at which the rule's validator agrees."""
        validate = self._program.rules[number].source.validate
        if validate is None:
            return starts[0]
        text, offset = self._tail + self._text, self.position - len(self._tail)
        return next((start for start in starts if validate(text[start - offset : end - offset])), None)

    def _covered_from(self, number: int, start: int, end: int) -> int:
        """Where the part of a match begins that the rule hides."""
        hold_class = self._program.classes[number]
        if hold_class.on_overflow == "cover":
            return max(start, self._announced)  # what lies before it is covered already
        return max(start, end - hold_class.limit)

    def _overflow(self, cursor: Cursor) -> Blocks:
        """Cover what has waited too long; return the matches that block because they have."""
        late: Blocks = []
        block_at = cursor.position
        for register, hold_class in cursor.state.overflow:
            start = cursor.registers[register]
            over = cursor.position - start - hold_class.limit
            if over >= 0 and hold_class.on_overflow == "cover":
                self._reporting().cover(hold_class.number, max(start, self._announced), start + over + 1)
            elif over >= 0:
                late.append((hold_class.number, start))
                block_at = min(block_at, start + hold_class.limit)
        if block_at < cursor.position:
            raise TooLate(block_at)
        return late

    def _overflow_blocks(self, cursor: Cursor) -> None:
        late = self._overflow(cursor)
        if late:
            raise _Blocked(late, cursor, cursor.position)

    # -- results

    def _found(self, number: int, start: int, end: int) -> None:
        report = self._report
        if report is None:
            report = self._reporting()
        report.add(number, start, end)

    def _reporting(self) -> Report:
        if self._report is None:
            self._report = Report(self._latest)
            self._busy = True
        return self._report

    def _end(self, blocked: _Blocked) -> Progress:
        """The last answer: what was found, and one finding for all the matches that block."""
        cursor = blocked.cursor
        start = min(start for _, start in blocked.blocks)
        number = min((number for number, _ in blocked.blocks), key=self._program.rank)
        finding = Finding(start, cursor.position, self._program.rules[number].blocker)
        self._announced = min(start, cursor.watermark())
        self.verdict = Verdict(blocked.read, cursor.position)
        return Progress(self._announced, in_order((*self._findings(cursor), finding)))

    def _findings(self, cursor: Cursor) -> tuple[Finding, ...]:
        """The feed's findings. Keeps in mind those that may still grow."""
        report, self._report = self._report, None
        latest = self._latest if report is None else report.latest()
        oldest = cursor.registers[0] if cursor.registers else cursor.position
        self._latest = {number: span for number, span in latest.items() if span[1] > oldest}
        return _NOTHING if report is None else report.findings(self._program.reported)

    def _keep_tail(self, cursor: Cursor) -> None:
        """Keep the text from the oldest match on that a validator may be asked about."""
        if cursor.state.validated < 0:
            self._tail = ""
            return
        length = cursor.position - cursor.registers[cursor.state.validated]
        self._tail = (self._tail + self._text)[-length:] if length else ""


class MatchPass(Program):
    """Compiled rules in one pass over one view of the text; shared by all streams."""

    def finds_nothing(self, text: str) -> bool:
        """See proxy.matching.rules.Quick."""
        return self.look is not None and self.look.finds_nothing(text)

    def open(self) -> PassScan:
        """A fresh scan."""
        scan = MatchScan(self)
        return _Rewinding(scan) if self.may_block_late else scan


class _Rewinding:
    """A scan that reads a feed again, up to where a match had been open too long, when that blocks."""

    __slots__ = ("_scan",)

    def __init__(self, scan: MatchScan) -> None:
        self._scan = scan

    @property
    def verdict(self) -> Verdict | None:
        """Set by the feed that blocked."""
        return self._scan.verdict

    def save(self) -> object:
        """The whole state."""
        return self._scan.save()

    def restore(self, mark: object) -> None:
        """Go back to a saved state."""
        self._scan.restore(mark)

    def state_key(self) -> Hashable | None:
        """See PassScan."""
        return self._scan.state_key()

    def restore_key(self, key: Hashable, position: int) -> int:
        """See PassScan."""
        return self._scan.restore_key(key, position)

    def waits(self) -> Waits | None:
        """See proxy.core.check.Waiting."""
        return self._scan.waits()

    def skim(self, text: str) -> Progress:
        """See PassScan."""
        mark = self._scan.save()
        try:
            return self._scan.skim(text)
        except TooLate:
            self._scan.restore(mark)
            return self.feed(text)

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on, as core.check.Scan does."""
        self._scan.catch_up()
        mark = self._scan.save()
        try:
            return self._scan.feed(text, final)
        except TooLate as late:
            self._scan.restore(mark)
            return self._scan.feed(text[: late.at - self._scan.position])
