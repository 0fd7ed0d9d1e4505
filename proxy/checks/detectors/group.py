"""Detectors that read one text together, so that a token in which nothing begins costs one look-up for all of them.

Most tokens begin no candidate, and most of those that do lead where they led before. What a token leads to depends, for
a detector that waits for nothing, on the character before it alone, and for one that waits on what it waits with. Both
are remembered for each detector by itself: so a text that nobody has seen is read as quickly as one that is known,
as soon as its tokens are.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from proxy.checks.detectors.patterns import Before
from proxy.checks.detectors.scan import DetectorPass, DetectorScan, Recognition
from proxy.core.check import Progress, Waits, longest
from proxy.core.types import Finding, Rule
from proxy.matching.rules import APART, Verdict

LONGEST = 32
"""Characters of a text that is remembered: tokens are shorter."""
MOST_KEPT = 60_000
"""Transitions that are remembered before starting afresh."""

_NOTHING: tuple[Finding, ...] = ()
_progress = Progress._make


class Open(NamedTuple):
    """A detector that waits: the key of its state, and how many characters wait for it."""

    key: Hashable
    waiting: int


State = dict[int, Open]
"""The detectors that wait, by their numbers; the others have read everything and begun nothing."""


class Begun(NamedTuple):
    """Where a text leads that begins in no candidate: the character that it ends with, and what it begins."""

    before: str
    opened: tuple[tuple[int, Open], ...]


@dataclass(frozen=True, slots=True)
class Member:
    """What is looked for, and for which rules."""

    recognition: Recognition
    rules: tuple[Rule, ...]
    holds: bool

    def open(self) -> DetectorScan:
        """A fresh scan."""
        return DetectorScan(self.recognition, self.rules)

    def begin(self, before: str, text: str) -> Open | None:
        """What waits after a text, behind a character and when nothing has waited; _UNKNOWN: that has to be read."""
        search = self.recognition.search
        if search.first_char.search(text) is None:
            return None
        held, at = before + text, len(before)
        begun = search.begun(held, at)
        limit = len(held) if begun is None else begun
        candidate = search.find.search(held, at)
        if candidate is not None and candidate.start() < limit:
            scan = self.open()
            scan.begin(before, 0)
            return _after(scan, text)
        if begun is None:
            return None
        kept = max(0, limit - 1)
        key = *self.recognition.key(held[kept:], limit - kept), 0
        return Open(key, len(held) - limit if self.holds else 0)


@dataclass(frozen=True, slots=True, eq=False)
class DetectorGroup:
    """A pass of the matcher for rules that end no text (see proxy.matching.rules.Pass).

    before: which character stands for another one before a candidate
    begun:  where texts lead that begin in no candidate
    steps:  where texts lead a member that waits; None: it waits no longer
    closed: whether a member that waits begins anew with a character, so that it is as if it had not waited
    prefixes: what finds a beginning of any narrow member's candidates, once it is made
    """

    members: tuple[Member, ...]
    before: Before
    begun: dict[tuple[str, str], Begun] = field(default_factory=dict)
    steps: dict[tuple[int, Hashable, str], Open | None] = field(default_factory=dict)
    closed: dict[tuple[int, Hashable, str], bool] = field(default_factory=dict)
    prefixes: list[re.Pattern[str]] = field(default_factory=list)

    @staticmethod
    def of(passes: Iterable[DetectorPass]) -> DetectorGroup:
        """Rules that look for the same do so together."""
        rules: dict[Recognition, list[Rule]] = {}
        for one in passes:
            rules.setdefault(one.recognition, []).append(one.rule)
        members = tuple(Member(which, tuple(own), any(rule.holds for rule in own)) for which, own in rules.items())
        return DetectorGroup(members, Before(chars for which in rules for chars in which.search.lookbehind))

    @property
    def hides(self) -> bool:
        """Whether text has to wait for it."""
        return any(member.holds for member in self.members)

    @property
    def may_block(self) -> bool:
        """Never: see `groupable`."""
        return False

    @property
    def hold(self) -> int:
        """A whole candidate waits for the character behind it."""
        holding = (member for member in self.members if member.holds)
        return max((member.recognition.search.longest for member in holding), default=0)

    def finds_nothing(self, text: str) -> bool:
        """See proxy.matching.rules.Quick."""
        return all(member.recognition.finds_nothing(text) for member in self.members)

    def selected(self, texts: Sequence[str]) -> Iterator[str]:
        """See proxy.matching.rules.Selecting."""
        together = APART.join(texts)
        unsure = [one.recognition for one in self.members if not one.recognition.finds_nothing(together)]
        return (text for text in texts if any(one.finds(text) for one in unsure))

    def open(self) -> GroupScan:
        """A fresh scan."""
        return GroupScan(self)

    def may_begin(self, held: str, at: int) -> Iterable[tuple[int, Member]]:
        """The members of which a candidate may begin from an offset of a text on; perhaps more."""
        if not self.prefixes:
            sources = [member.recognition.search.prefix for member in self.members]
            self.prefixes.append(re.compile("|".join(filter(None, sources)) or r"(?!)"))
        if self.prefixes[0].search(held, at) is not None:
            return enumerate(self.members)
        return ((i, member) for i, member in enumerate(self.members) if member.recognition.search.prefix is None)

    def keep_begun(self, before: str, text: str, begun: Begun) -> None:
        """Remember where a text leads from a character."""
        if len(self.begun) >= MOST_KEPT:
            self.begun.clear()
        self.begun[before, text] = begun

    def keep_step(self, number: int, key: Hashable, text: str, opened: Open | None) -> None:
        """Remember where a text leads from the state of one member."""
        if len(self.steps) >= MOST_KEPT:
            self.steps.clear()
        self.steps[number, key, text] = opened


def groupable(one: DetectorPass) -> bool:
    """Whether a pass can be part of a group: it ends no text, and does not count its finds."""
    return not one.may_block and one.recognition.nth == 1


class GroupScan:
    """One text on its way: which members wait, and with what. A member's own scan is made when it is needed."""

    __slots__ = ("_before", "_group", "_live", "_open", "_position", "verdict")

    def __init__(self, group: DetectorGroup) -> None:
        self._group = group
        self._position = 0
        self._before = ""  # stands for the last character
        self._open: State = {}
        self._live: dict[int, DetectorScan] = {}  # those whose state has no key
        self.verdict: Verdict | None = None

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on, as core.check.Scan does."""
        if final or self._live or not 0 < len(text) <= LONGEST:
            return self._read(text, final)
        begun = self._group.begun.get((self._before, text)) or self._learn(text)
        if begun is None:
            return self._read(text, final)
        following = self._following(text, begun) if self._open or begun.opened else self._open
        if following is None:
            return self._read(text, final)
        self._open, self._before = following, begun.before
        self._position += len(text)
        return _progress((self._mark(), _NOTHING, ()))

    def waits(self) -> Waits | None:
        """See proxy.core.check.Waiting."""
        members = self._group.members
        waiting = [
            Waits(opened.waiting, rule)
            for number, opened in self._open.items()
            for rule in members[number].rules
            if rule.holds
        ]
        return longest([*waiting, *(scan.waits() for scan in self._live.values())])

    def _following(self, text: str, begun: Begun) -> State | None:
        """Who waits after a text; None when something is found in it, or a member then has no key."""
        group, first = self._group, text[0]
        steps, closed = group.steps, group.closed
        waiting_on = []
        following = {}
        for number, opened in self._open.items():
            anew = closed.get((number, opened.key, first))
            if anew is None:
                anew = self._learn_closed(number, opened, first)
            if anew:
                continue
            waiting_on.append(number)
            after = steps.get((number, opened.key, text), _UNKNOWN)
            if after is _UNKNOWN:
                after = self._learn_step(number, opened, text)
            if after is _UNKNOWN:
                return None
            if after is not None:
                following[number] = after
        for number, opened in begun.opened:
            if number not in waiting_on:
                following[number] = opened  # noqa: PERF403
        return following

    def _mark(self) -> int:
        waiting = self._open.values()
        return self._position - max([opened.waiting for opened in waiting]) if waiting else self._position

    def _learn(self, text: str) -> Begun | None:
        """Where a text leads the members that wait for nothing; None when that has to be read each time."""
        opened: list[tuple[int, Open]] = []
        for number, member in self._group.may_begin(self._before + text, len(self._before)):
            after = member.begin(self._before, text)
            if after is _UNKNOWN:
                return None
            if after is not None:
                opened.append((number, after))
        begun = Begun(self._group.before[text[-1]], tuple(opened))
        self._group.keep_begun(self._before, text, begun)
        return begun

    def _learn_closed(self, number: int, opened: Open, char: str) -> bool:
        """Whether a member that waits is, behind this character, where it would be if it had not waited."""
        group = self._group
        scan = group.members[number].open()
        scan.restore_key(opened.key, self._position)
        anew = _after(scan, char)
        closed = anew is not _UNKNOWN and anew == group.members[number].begin(self._before, char)
        if len(group.closed) >= MOST_KEPT:
            group.closed.clear()
        group.closed[number, opened.key, char] = closed
        return closed

    def _learn_step(self, number: int, opened: Open, text: str) -> Open | None:
        """Where a text leads a member that waits; _UNKNOWN when that has to be read each time."""
        scan = self._group.members[number].open()
        scan.restore_key(opened.key, self._position)
        after = _after(scan, text)
        if after is not _UNKNOWN:
            self._group.keep_step(number, opened.key, text, after)
        return after

    def _read(self, text: str, final: bool) -> Progress:
        """Let every member read."""
        scans = [self._live.get(number) or self._scan(number) for number in range(len(self._group.members))]
        answers = [scan.feed(text, final) for scan in scans]
        self._position += len(text)
        if text:
            self._before = self._group.before[text[-1]]
        self._open, self._live = {}, {}
        for number, scan in enumerate(scans):
            self._keep(number, scan)
        mark = min([progress.watermark for progress in answers])
        found = [finding for progress in answers for finding in progress.findings]
        found.sort(key=_start)
        return _progress((mark, tuple(found), ()))

    def _scan(self, number: int) -> DetectorScan:
        """A member's scan, where it stands."""
        scan = self._group.members[number].open()
        opened = self._open.get(number)
        if opened is None:
            scan.begin(self._before, self._position)
        else:
            scan.restore_key(opened.key, self._position)
        return scan

    def _keep(self, number: int, scan: DetectorScan) -> None:
        """Where a member stands after a feed: by its key, or by its scan."""
        opened = _standing(scan)
        if opened is _UNKNOWN:
            self._live[number] = scan
        elif opened is not None:
            self._open[number] = opened

    def save(self) -> object:
        """The whole state."""
        live = {number: scan.save() for number, scan in self._live.items()}
        return self._position, self._before, self._open, live

    def restore(self, mark: object) -> None:
        """Go back to a saved state."""
        assert isinstance(mark, tuple)
        self._position, self._before, self._open, live = mark
        self._live = {number: self._restored(number, its) for number, its in live.items()}

    def _restored(self, number: int, mark: object) -> DetectorScan:
        scan = self._group.members[number].open()
        scan.restore(mark)
        return scan

    def state_key(self) -> Hashable | None:
        """What waits, and the character before."""
        if self._live:
            return None
        return self._before, tuple(sorted(self._open.items())) if len(self._open) > 1 else tuple(self._open.items())

    def restore_key(self, key: Hashable, position: int) -> int:
        """Go to the state that has this key."""
        assert isinstance(key, tuple)
        self._before, waiting = key
        self._open, self._live = dict(waiting), {}
        self._position = position
        return self._mark()


_UNKNOWN = Open(None, -1)


def _standing(scan: DetectorScan) -> Open | None:
    """What a scan waits with; None: nothing; _UNKNOWN: it has no key."""
    if not scan.waiting:
        return None
    key = scan.state_key()
    return _UNKNOWN if key is None else Open(key, scan.waiting if scan.holds else 0)


def _after(scan: DetectorScan, text: str) -> Open | None:
    """What a scan waits with after a text; _UNKNOWN when it finds something."""
    return _UNKNOWN if scan.feed(text).findings else _standing(scan)


def _start(finding: Finding) -> int:
    return finding.start
