"""The patterns' automaton and the words' automaton at work on one text, side by side, character by character."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from proxy.core.check import Progress
from proxy.core.types import Finding
from proxy.matching.automaton import Accept, Change, State
from proxy.matching.keywords import End, WordState
from proxy.matching.report import Report, Spans, in_order
from proxy.matching.rules import Verdict

if TYPE_CHECKING:
    from proxy.matching.engine import MatchPass

_IDLE = Change(None, None)


class Place(NamedTuple):
    """Where a scan stands in its text.

    registers: where the open matches of state.groups began
    word:      the state of the words' automaton, None when there are no words
    """

    position: int
    state: State
    registers: list[int]
    word: WordState | None

    def starts(self) -> list[int]:
        """What a transition's register numbers stand for: one past the registers is a match that begins here."""
        return [*self.registers, self.position]

    def watermark(self) -> int:
        """Where the earliest open match begins that text has to wait for."""
        mark = position = self.position
        for register, limit in self.state.held:
            start = self.registers[register]
            if position - start > limit:
                start = position - limit
            if start < mark:
                mark = start
        word = self.word
        if word is not None and position - word.live < mark:
            return position - word.live
        return mark


Blocks = list[tuple[int, int]]  # of blocking matches that end at one place: rule number and start


class _Blocked(Exception):
    """These matches end at `place` and block, which was known after `read` characters."""

    def __init__(self, blocks: Blocks, place: Place, read: int) -> None:
        self.blocks, self.place, self.read = blocks, place, read


class _TooLate(Exception):
    """A match was open too long at offset `at`, which blocks, and more than that was read."""

    def __init__(self, at: int) -> None:
        self.at = at


class MatchScan:
    """One text on its way through a pass."""

    __slots__ = ("_announced", "_latest", "_pass", "_place", "_report", "_tail", "_text", "verdict")

    def __init__(self, match_pass: MatchPass) -> None:
        words = match_pass.keywords
        self._pass = match_pass
        self._place = Place(0, match_pass.automaton.start, [], words.start if words else None)
        self._announced = 0  # the latest watermark
        self._latest: Spans = {}  # per rule number the latest finding, as long as it may grow
        self._tail = ""  # the end of the text read, as far as a validator may want to see it
        self.verdict: Verdict | None = None
        self._text = ""  # during a feed: the tail and what is fed
        self._report: Report | None = None  # during a feed: what it found

    def save(self) -> object:
        """The whole state, a tuple of references."""
        return self._place, self._announced, self._latest, self._tail, self.verdict

    def restore(self, mark: object) -> None:
        """Go back to a saved state."""
        assert isinstance(mark, tuple)
        self._place, self._announced, self._latest, self._tail, self.verdict = mark

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on, as core.check.Scan does."""
        if self.verdict is not None:
            return Progress(self._announced)
        mark = self.save() if self._pass.may_block_late else None
        self._report = None
        self._text = self._tail + text if self._tail else text
        try:
            return self._feed(text, final)
        except _Blocked as blocked:
            return self._end(blocked)
        except _TooLate as late:
            self.restore(mark)
            return self.feed(text[: late.at - self._place.position])

    def _feed(self, text: str, final: bool) -> Progress:
        place = self._read_patterns(text) if self._place.word is None else self._read_both(text)
        if place.state.overflow:
            self._overflow_blocks(place)
        if final:
            self._finish(place)
        mark = place.position if final else place.watermark()
        found = self._findings(place) if self._report is not None or self._latest else ()
        if self._tail or place.state.validated >= 0:
            self._keep_tail(place)
        self._place, self._announced = place, mark
        return Progress(mark, found)

    # -- reading

    def _read_patterns(self, text: str) -> Place:
        start, state, registers, _ = self._place
        for position, char in enumerate(text, start):
            following, change = state[char]
            if change is not None:
                keep, accepts = change
                if accepts is not None:
                    registers = self._match(Place(position, state, registers, None), following, change, None, None)
                elif keep is not None:
                    old = len(registers)
                    registers = [registers[k] if k < old else position for k in keep]
            state = following
        return Place(start + len(text), state, registers, None)

    def _read_both(self, text: str) -> Place:
        start, state, registers, word = self._place
        assert word is not None
        for position, char in enumerate(text, start):
            following, change = state[char]
            next_word, ends = word[char]
            if change is not None or ends is not None:
                keep, accepts = change or _IDLE
                if accepts is not None or ends is not None:
                    at = Place(position, state, registers, word)
                    registers = self._match(at, following, change, next_word, ends)
                elif keep is not None:
                    old = len(registers)
                    registers = [registers[k] if k < old else position for k in keep]
            state, word = following, next_word
        return Place(start + len(text), state, registers, word)

    # -- matches

    def _match(
        self, at: Place, state: State, change: Change | None, word: WordState | None, ends: Iterable[End] | None
    ) -> list[int]:
        """Matches end around the character at `at`, which leads to `state` and `word`; the registers after it."""
        if at.state.overflow:
            self._overflow_blocks(at)
        keep, accepts = change or _IDLE
        starts = at.starts()
        blocks = self._words_end(ends, at.position) if ends is not None else []
        if accepts is not None and accepts.before:
            blocks += self._accept(accepts.before, starts, at.position)
        if blocks:
            raise _Blocked(blocks, at, at.position + 1)
        registers = at.registers if keep is None else [starts[k] for k in keep]
        blocks = self._accept(accepts.after, starts, at.position + 1) if accepts is not None and accepts.after else []
        if blocks:
            after = Place(at.position + 1, state, registers, word)
            raise _Blocked(blocks + self._overflow(after), after, after.position)
        return registers

    def _finish(self, place: Place) -> None:
        """The end of the text decides what waited for it."""
        _, change = place.state[""]
        ends = place.word[""][1] if place.word is not None else None
        blocks = self._words_end(ends, place.position) if ends is not None else []
        if change is not None and change.accepts is not None:
            blocks += self._accept(change.accepts.before, place.starts(), place.position)
        if blocks:
            raise _Blocked(blocks, place, place.position + 1)

    def _words_end(self, ends: Iterable[End], position: int) -> Blocks:
        """Report the entries that end at `position`; return those that block."""
        blocks = []
        for number, length in ends:
            if self._pass.blocks[number]:
                blocks.append((number, position - length))
            else:
                self._found(number, position - length, position)
        return blocks

    def _accept(self, accepts: Iterable[Accept], starts: list[int], end: int) -> Blocks:
        """Report the matches that end at `end`; return those that block."""
        blocks = []
        for number, registers in accepts:
            start = self._longest_valid(number, [starts[k] for k in registers], end)
            if start is None:
                continue
            hold_class = self._pass.classes[number]
            if hold_class.on_overflow == "cover":
                start = max(start, self._announced)  # what lies before it is covered already
            elif hold_class.holds:
                start = max(start, end - hold_class.limit)
            if self._pass.blocks[number]:
                blocks.append((number, start))
            else:
                self._found(number, start, end)
        return blocks

    def _longest_valid(self, number: int, starts: list[int], end: int) -> int | None:
        """The earliest start at which the rule's validator agrees."""
        validate = self._pass.rules[number].source.validate
        if validate is None:
            return starts[0]
        offset = self._place.position - len(self._tail)
        return next((s for s in starts if validate(self._text[s - offset : end - offset])), None)

    def _overflow(self, place: Place) -> Blocks:
        """Cover what has waited too long; return the matches that block because they have."""
        late: Blocks = []
        block_at = place.position
        for register, hold_class in place.state.overflow:
            start = place.registers[register]
            over = place.position - start - hold_class.limit
            if over >= 0 and hold_class.on_overflow == "cover":
                self._found(hold_class.number, max(start, self._announced), start + over + 1)
            elif over >= 0:
                late.append((hold_class.number, start))
                block_at = min(block_at, start + hold_class.limit)
        if block_at < place.position:
            raise _TooLate(block_at)
        return late

    def _overflow_blocks(self, place: Place) -> None:
        late = self._overflow(place)
        if late:
            raise _Blocked(late, place, place.position)

    # -- results

    def _found(self, number: int, start: int, end: int) -> None:
        if self._report is None:
            self._report = Report(self._latest)
        self._report.add(number, start, end)

    def _end(self, blocked: _Blocked) -> Progress:
        """The last answer: what was found, and one finding for all the matches that block."""
        place = blocked.place
        start = min(start for _, start in blocked.blocks)
        number = min((number for number, _ in blocked.blocks), key=self._pass.rank)
        finding = Finding(start, place.position, self._pass.rules[number].blocker)
        self._announced = min(start, place.watermark())
        self.verdict = Verdict(blocked.read, place.position)
        return Progress(self._announced, in_order((*self._findings(place), finding)))

    def _findings(self, place: Place) -> tuple[Finding, ...]:
        """The feed's findings. Keeps in mind those that may still grow."""
        latest = self._latest if self._report is None else self._report.latest()
        oldest = place.position - self._pass.longest_entry
        if place.registers:
            oldest = min(oldest, place.registers[0])
        self._latest = {number: span for number, span in latest.items() if span[1] > oldest}
        return () if self._report is None else self._report.findings(self._pass.reported)

    def _keep_tail(self, place: Place) -> None:
        """Keep the text from the oldest match on that a validator may be asked about."""
        oldest = place.registers[place.state.validated] if place.state.validated >= 0 else place.position
        self._tail = self._text[len(self._text) - (place.position - oldest) :] if oldest < place.position else ""
