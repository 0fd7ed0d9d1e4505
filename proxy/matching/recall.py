"""What a token leads to, remembered: how matching goes on depends on where a scan stands, not on how it came there.

A model says the same few thousand tokens again and again, and between matches a scan stands in one of few places. So
most tokens need one look-up: from this place, after this token, a scan stands there, and so many characters wait.
Only what is silent is remembered, a token after which nothing was found and nothing ended; everything else is read.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from proxy.core.check import Progress
from proxy.matching.rules import PassScan, Verdict

LONGEST = 32
"""Characters of a text that may be remembered: tokens are shorter, and longer texts hardly come twice."""

MAX_LEAPS = 60_000
"""How much is remembered before starting afresh, some 130 bytes each. 54,000 tokens of English need 4,000 to 8,000 with
a hundred rules; 30,000 need 22,000 with a list of 100,000 words that they are full of."""

_tuple = tuple.__new__
_NOTHING = ()


class Standing(dict[str, "Leap"]):
    """A place of a scan, and where the tokens that were read from it lead.

    ends: a text that ends here ends in silence
    """

    __slots__ = ("ends", "place")
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(self, place: Hashable) -> None:
        super().__init__()
        self.place = place
        self.ends = False


Leap = tuple[Standing, int]
"""Where a token leads, and how many characters wait there."""


class Recall:
    """The memory that all scans of a matcher share.

    start: where a text begins; None when it must be read from there
    """

    __slots__ = ("_leaps", "_places", "most", "start")

    def __init__(self, start: Hashable | None, most: int = MAX_LEAPS) -> None:
        """start: the place of a fresh scan."""
        self.most = most
        self._places: dict[Hashable, Standing] = {}
        self._leaps = 0
        self.start = None if start is None else Standing(start)

    def __len__(self) -> int:
        return self._leaps

    def at(self, place: Hashable) -> Standing:
        """The one standing at a place."""
        standing = self._places.get(place)
        if standing is None:
            self._count()
            standing = self._places[place] = Standing(place)
        return standing

    def keep(self, standing: Standing, text: str, leap: Leap) -> None:
        """Remember where a text leads from a standing."""
        self._count()
        standing[text] = leap

    def _count(self) -> None:
        if self._leaps >= self.most:
            for standing in self._places.values():
                standing.clear()
            self._places.clear()
            if self.start is not None:
                self.start.clear()
            self._leaps = 0
        self._leaps += 1


class RecallingScan:
    """A scan that is made, and brought to where it would be, when the memory does not know how to go on."""

    __slots__ = ("_behind", "_memory", "_open", "_position", "_scan", "_standing")

    def __init__(self, open_: Callable[[], PassScan], memory: Recall) -> None:
        self._open = open_
        self._memory = memory
        self._position = 0
        self._behind = False  # the scan stands where it was before the latest leaps
        self._standing = memory.start
        self._scan: PassScan | None = None

    @property
    def verdict(self) -> Verdict | None:
        """Set by the feed that blocked."""
        return None if self._scan is None else self._scan.verdict

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on, as core.check.Scan does."""
        standing = self._standing
        if standing is not None:
            if final and not text and standing.ends:
                return _tuple(Progress, (self._position, _NOTHING))
            leap = None if final else standing.get(text)
            if leap is not None:
                self._standing, waiting = leap
                self._position = position = self._position + len(text)
                self._behind = True
                return _tuple(Progress, (position - waiting, _NOTHING))
        return self._read(text, final, standing)

    def _read(self, text: str, final: bool, before: Standing | None) -> Progress:
        scan = self._caught_up()
        progress = scan.feed(text, final)
        self._position += len(text)
        if final and not text and before is not None:
            before.ends = not progress.findings
        place = None if final or progress.findings else scan.place()
        if place is None:
            self._standing = None
            return progress
        self._standing = after = self._memory.at(place)
        if before is not None and len(text) <= LONGEST:
            self._memory.keep(before, text, (after, self._position - progress.watermark))
        return progress

    def _caught_up(self) -> PassScan:
        """The scan, where it would be if it had read everything."""
        scan = self._scan
        if scan is None:
            scan = self._scan = self._open()
        if self._behind:
            assert self._standing is not None
            scan.resume(self._standing.place, self._position)
            self._behind = False
        return scan

    def save(self) -> object:
        """The whole state."""
        return self._caught_up().save(), self._position, self._standing

    def restore(self, mark: object) -> None:
        """Go back to a saved state."""
        assert isinstance(mark, tuple)
        scan = self._caught_up()
        state, self._position, self._standing = mark
        scan.restore(state)
