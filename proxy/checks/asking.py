"""A rule that asks somebody about the text, segment by segment: a service, a model, another process.

Where the segments end, what is asked about one, and what a reply means are its `Questions`: data and pure functions.
Text waits from the first segment without an answer on, unless the rule only looks at what has been let out (`after`).
A question that is not answered goes by the policy's on_error, for its segment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, NamedTuple, Protocol, Self

from proxy.checks.fail_open import failed_open
from proxy.checks.segments import Segment
from proxy.core.check import NO_TURN, Ask, Progress, Turn, Waits
from proxy.core.failures import CheckFailed, Failures, Reason
from proxy.core.guard import CHECK_FAILED
from proxy.core.types import Action, Finding, Rule


class Splitter(Protocol):
    """Finds the ends of segments in one text: `proxy.checks.segments.Segmenter`, or one of those below."""

    def feed(self, text: str, final: bool = False) -> list[Segment]:
        """Read on. Gives the segments whose ends became certain; with `final` all that is left. Joined they are the
        text, and no cut changes one."""

    def save(self) -> object:
        """The whole state."""

    def restore(self, mark: object) -> None:
        """Go back to a saved state."""


class Spot(NamedTuple):
    """What a reply points at. start, end: in the segment. action: None for that of the rule, or a weaker one."""

    start: int
    end: int
    action: Action | None = None


class Questions(Protocol):
    """What a rule asks, and how it reads the answers. Immutable, pure.

    hold: the most characters that wait for the end of a segment; None: there is no bound
    """

    @property
    def hold(self) -> int | None: ...

    def split(self) -> Splitter:
        """For one text."""

    def question(self, turn: Turn, before: str, text: str) -> Hashable | None:
        """What is to be asked about a segment; `before`: the text before it. None: nobody has to be asked about it."""

    def spots(self, text: str, reply: object) -> Iterable[Spot]:
        """What the reply says of the segment. Raises ValueError when it is no answer; its message may hold no text."""


@dataclass(frozen=True, slots=True, eq=False)
class AskingRule:
    """A rule that asks; a check of the gate (`proxy.core.check.Asking`).

    name:       who is asked, for counts and the log
    fails_open: what could not be answered passes
    after:      text is let out before it is judged, and a block ends what is still to come
    parallel:   of a prompt it is asked while the model already reads that
    failures:   of the exchange whose texts it reads; None: they belong to none
    escaped:    the text is JSON source
    weaker:     the rule for findings of a weaker action
    """

    asks: ClassVar[Literal[True]] = True

    rule: Rule
    name: str
    questions: Questions
    fails_open: bool = False
    after: bool = False
    parallel: bool = False
    escaped: bool = False
    failures: Failures | None = None
    weaker: Mapping[Action, Rule] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether text waits for it."""
        return self.rule.holds and not self.after

    @property
    def hold(self) -> int | None:
        """The most characters that wait without a question."""
        hold = self.questions.hold if self.holds else 0
        return hold + LONGEST_ESCAPE if hold and self.escaped else hold

    @property
    def on_error(self) -> str:
        """What its policy says when there is no answer."""
        return "allow" if self.fails_open else "block"

    def enforced(self, enforced: bool) -> Self:
        """The same rule, for a policy that is enforced or one that only watches: that must not block, not even when
        there is no answer."""
        weaker = {action: replace(rule, enforced=enforced) for action, rule in self.weaker.items()}
        rule = replace(self.rule, enforced=enforced)
        return replace(self, rule=rule, weaker=weaker, fails_open=self.fails_open or not enforced)

    def with_actions(self, actions: Iterable[Action | None]) -> Self:
        """The same rule, whose findings may also have these weaker actions."""
        weaker = {a: replace(self.rule, action=a) for a in actions if a is not None and a < self.rule.action}
        return replace(self, weaker=weaker)

    def for_source(self) -> Self:
        """The same rule for JSON source: it is asked about what the source says, with its escapes resolved."""
        return replace(self, escaped=True)

    def for_exchange(self, failures: Failures) -> Self:
        """The same rule for the texts of one exchange, which notes there what is not answered."""
        return replace(self, failures=failures)

    def describe(self) -> str:
        """How long it can hold, in words."""
        if not self.holds:
            return f"asks {self.name}, never holds"
        held = "the whole text" if self.hold is None else f"at most {self.hold} characters and what is being judged"
        return f"asks {self.name}, holds {held}"

    def open(self, turn: Turn = NO_TURN) -> AskingScan:
        """A fresh scan."""
        return AskingScan(self, turn)


class AskingScan:
    """One text on its way."""

    __slots__ = ("_before", "_check", "_ends", "_number", "_open", "_read", "_split", "_turn")

    def __init__(self, check: AskingRule, turn: Turn) -> None:
        self._check = check
        self._turn = turn
        split = check.questions.split()
        self._split: Splitter = WholeEscapes(split) if check.escaped else split
        self._before = turn.before  # what has been asked about, for the context of the next segment
        self._read = 0
        self._number = 0
        self._open: dict[int, Segment] = {}  # what has been asked, in the order of the text
        self._ends = [(0, 0)]  # in the latest feed: from how many characters on all before this place was asked about

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on, as core.check.Scan does."""
        self._ends = [(0, self._ends[-1][1])]
        asks = [ask for read, segment in self._segments(text, final) for ask in self._ask(segment, read)]
        return Progress(self._mark(), (), tuple(asks))

    def answer(self, number: int, reply: object) -> Progress:
        """See core.check.AskingScan."""
        segment = self._open.pop(number)
        found = self._failed(segment, reply) if isinstance(reply, CheckFailed) else self._found(segment, reply)
        return Progress(self._mark(), tuple(found))

    def asked_at(self, read: int) -> int:
        """See core.check.AskingScan."""
        return next(end for since, end in reversed(self._ends) if since <= read)

    def waits(self) -> Waits | None:
        """See proxy.core.check.Waiting."""
        waiting = self._read - self._mark()
        return Waits(waiting, self._check.rule) if waiting > 0 else None

    def _segments(self, text: str, final: bool) -> Iterator[tuple[int, Segment]]:
        """The segments that became certain, each with the number of characters that were read to know."""
        split, start = self._split, self._read
        before = split.save()
        segments = split.feed(text)
        self._read += len(text)
        if segments and len(text) > 1:
            split.restore(before)
            for i, char in enumerate(text, 1):
                yield from ((start + i, segment) for segment in split.feed(char))
        else:
            yield from ((self._read, segment) for segment in segments)
        if final:
            yield from ((self._read + 1, segment) for segment in split.feed("", final=True))

    def _ask(self, segment: Segment, read: int) -> Iterator[Ask]:
        self._ends.append((read, segment.end))
        text = unescaped(segment.text)[0] if self._check.escaped else segment.text
        data = self._check.questions.question(self._turn, self._before, text)
        self._before += segment.text
        if data is not None:
            self._number += 1
            self._open[self._number] = segment
            yield Ask(self._number, segment.start, segment.end, read, data)

    def _mark(self) -> int:
        """Everything before it is decided."""
        if not self._check.holds:
            return self._read
        first = next(iter(self._open.values()), None)
        return self._ends[-1][1] if first is None else first.start

    def _found(self, segment: Segment, reply: object) -> Iterable[Finding]:
        check, text = self._check, segment.text
        places: Sequence[int] = range(len(text) + 1)
        if check.escaped:
            text, places = unescaped(text)
        try:
            spots = tuple(check.questions.spots(text, reply))
        except ValueError as error:
            return self._failed(segment, CheckFailed(check.name, Reason.WRONG_ANSWER, f"gave no answer: {error}"))
        if not all(0 <= start < end <= len(text) for start, end, _ in spots):
            problem = CheckFailed(check.name, Reason.FINDING, "found something outside of the text")
            return self._failed(segment, problem)
        placed = (spot._replace(start=places[spot.start], end=places[spot.end]) for spot in spots)
        return sorted({self._finding(segment.start, spot) for spot in placed}, key=_place)

    def _finding(self, at: int, spot: Spot) -> Finding:
        start, end, action = spot
        rule = self._check.rule
        return Finding(at + start, at + end, rule if action is None else self._check.weaker.get(action, rule))

    def _failed(self, segment: Segment, failed: CheckFailed) -> Iterable[Finding]:
        """There is no answer: the segment passes, or ends the text."""
        check = self._check
        if check.failures is not None:
            check.failures.note(failed, check.on_error)
        rule = failed_open(check.name, failed.reason.value) if check.fails_open else CHECK_FAILED
        return (Finding(segment.start, segment.end, rule),)


def _place(finding: Finding) -> tuple[int, int, Action]:
    return finding.start, finding.end, finding.rule.action


_PAIR = r"\\u([Dd][89ABab][0-9A-Fa-f]{2})\\u([Dd][C-Fc-f][0-9A-Fa-f]{2})"
_ESCAPE = re.compile(rf"{_PAIR}|\\u([0-9A-Fa-f]{{4}})|\\(.)", re.DOTALL)
_SHORT = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def unescaped(source: str) -> tuple[str, Sequence[int]]:
    """What a piece of JSON source says, and where each character of that, and its end, stands in the source. An escape
    that the end of the source cuts stays as it is."""
    text: list[str] = []
    places: list[int] = []
    at = 0
    for escape in _ESCAPE.finditer(source):
        text.append(source[at : escape.start()])
        places += range(at, escape.start() + 1)
        text.append(_said_by(escape))
        at = escape.end()
    text.append(source[at:])
    return "".join(text), [*places, *range(at, len(source) + 1)]


def _said_by(escape: re.Match[str]) -> str:
    high, low, code, short = escape.groups()
    if high:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
    return chr(int(code, 16)) if code else str(_SHORT.get(short, short))


LONGEST_ESCAPE = 11
"""Characters of an escape that has not ended: two halves of a character, less one."""
_CUT_ESCAPE = re.compile(r"(?:\\u[Dd][89ABab][0-9A-Fa-f]{2})?(?:\\(?:u[0-9A-Fa-f]{0,3})?)?\Z")


def _end_of_escapes(source: str) -> int:
    """Where the escape begins that the end of a piece of JSON source cuts, else the end. A half of a character is cut
    where the other half may follow."""
    at = source.find("\\")
    while at >= 0:
        if _CUT_ESCAPE.match(source, at):
            return at
        escape = _ESCAPE.match(source, at)
        at = source.find("\\", escape.end() if escape is not None else at + 1)
    return len(source)


# -- where segments end, beside the ends of sentences


class WholeEscapes:
    """The segments of another splitter in JSON source. An escape that one of their ends cuts goes to the next: what a
    half says nobody could judge."""

    def __init__(self, split: Splitter) -> None:
        self._inner = split
        self._start, self._cut = 0, ""

    def feed(self, text: str, final: bool = False) -> list[Segment]:
        """See Splitter."""
        pieces = [segment.text for segment in self._inner.feed(text, final)]
        if final and self._cut and not pieces:
            pieces = [""]
        whole = (self._take(piece, final and i == len(pieces)) for i, piece in enumerate(pieces, 1))
        return [segment for segment in whole if segment.text]

    def save(self) -> object:
        """See Splitter."""
        return self._inner.save(), self._start, self._cut

    def restore(self, mark: object) -> None:
        """See Splitter."""
        assert isinstance(mark, tuple)
        inner, self._start, self._cut = mark
        self._inner.restore(inner)

    def _take(self, piece: str, is_last: bool) -> Segment:
        source, start = self._cut + piece, self._start
        end = len(source) if is_last else _end_of_escapes(source)
        self._cut = source[end:]
        self._start += end
        return Segment(start, source[:end])


class Whole:
    """The whole text is one segment."""

    def __init__(self) -> None:
        self._parts: tuple[str, ...] = ()

    def feed(self, text: str, final: bool = False) -> list[Segment]:
        """See Splitter."""
        self._parts = (*self._parts, text) if len(self._parts) < MOST_PARTS else ("".join((*self._parts, text)),)
        whole = "".join(self._parts) if final else ""
        return [Segment(0, whole)] if whole else []

    def save(self) -> object:
        """See Splitter."""
        return self._parts

    def restore(self, mark: object) -> None:
        """See Splitter."""
        assert isinstance(mark, tuple)
        self._parts = mark


MOST_PARTS = 64  # strings in which a text is kept before they are joined


class Pieces:
    """Segments of so many characters."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._start, self._text = 0, ""

    def feed(self, text: str, final: bool = False) -> list[Segment]:
        """See Splitter."""
        size, whole = self._size, self._text + text
        upto = len(whole) if final else len(whole) - len(whole) % size
        segments = [Segment(self._start + at, whole[at : min(at + size, upto)]) for at in range(0, upto, size)]
        self._start, self._text = self._start + upto, whole[upto:]
        return segments

    def save(self) -> object:
        """See Splitter."""
        return self._start, self._text

    def restore(self, mark: object) -> None:
        """See Splitter."""
        assert isinstance(mark, tuple)
        self._start, self._text = mark


Split = Callable[[], Splitter]
