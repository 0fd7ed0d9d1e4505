"""A cache of what tokens lead to: how matching goes on depends on the state of a scan, not on how it came there.

A model says the same few thousand tokens again and again, and between matches a scan is in one of few states. So most
tokens need one look-up: from this state, after this token, a scan is in that state, and so many characters wait. Only
silent transitions are cached: nothing was found and nothing ended. Everything else is read by the automata.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from proxy.core.check import Progress, Waits, skim, waits_of
from proxy.matching.rules import LONG, PassScan, Verdict

LONGEST = 32
"""Characters of a text that may be cached: tokens are shorter, and longer texts hardly come twice."""

MAX_CACHED = 60_000
"""How many transitions are cached before starting afresh, some 130 bytes each. 54,000 tokens of English need 4,000 to
8,000 with a hundred rules; 30,000 need 22,000 with a list of 100,000 words that they are full of."""

_tuple = tuple.__new__
_NOTHING = ()


class CachedState(dict[str, "CachedTransition"]):
    """A state of a scan, and where the tokens that were read from it lead.

    ends: a text that ends here ends in silence
    waits: what waits in this state, once somebody has asked
    """

    __slots__ = ("ends", "key", "waits", "waits_known")
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(self, key: Hashable) -> None:
        super().__init__()
        self.key = key
        self.ends = False
        self.waits: Waits | None = None
        self.waits_known = False


CachedTransition = tuple[CachedState, int]
"""Where a token leads, and how many characters wait there."""


class TransitionCache:
    """The cache that all scans of a matcher share.

    start: the state of a fresh scan; None when it has no key
    """

    __slots__ = ("_states", "_transitions", "most", "start")

    def __init__(self, start: Hashable | None, most: int = MAX_CACHED) -> None:
        """start: the key of a fresh scan."""
        self.most = most
        self._states: dict[Hashable, CachedState] = {}
        self._transitions = 0
        self.start = None if start is None else CachedState(start)

    def __len__(self) -> int:
        return self._transitions

    def at(self, key: Hashable) -> CachedState:
        """The one state with this key."""
        state = self._states.get(key)
        if state is None:
            self._count()
            state = self._states[key] = CachedState(key)
        return state

    def keep(self, state: CachedState, text: str, transition: CachedTransition) -> None:
        """Keep where a text leads from a state."""
        self._count()
        state[text] = transition

    def _count(self) -> None:
        if self._transitions >= self.most:
            for state in self._states.values():
                state.clear()
            self._states.clear()
            if self.start is not None:
                self.start.clear()
            self._transitions = 0
        self._transitions += 1


class CachingScan:
    """A scan that is made, and brought to where it would be, when the cache does not know how to go on."""

    __slots__ = ("_behind", "_cache", "_open", "_position", "_scan", "_state")

    def __init__(self, open_: Callable[[], PassScan], cache: TransitionCache) -> None:
        self._open = open_
        self._cache = cache
        self._position = 0
        self._behind = False  # the scan is where it was before the latest cached transitions
        self._state = cache.start
        self._scan: PassScan | None = None

    @property
    def verdict(self) -> Verdict | None:
        """Set by the feed that blocked."""
        return None if self._scan is None else self._scan.verdict

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on, as core.check.Scan does."""
        state = self._state
        if state is not None:
            if final and not text and state.ends:
                return _tuple(Progress, (self._position, _NOTHING, ()))
            transition = None if final else state.get(text)
            if transition is not None:
                self._state, waiting = transition
                self._position = position = self._position + len(text)
                self._behind = True
                return _tuple(Progress, (position - waiting, _NOTHING, ()))
        return self._read(text, final, state)

    def skim(self, text: str) -> Progress:
        """Read on, as core.check.Skimming does."""
        if len(text) < LONG:
            return self.feed(text)
        progress = skim(self._caught_up(), text)
        self._position += len(text)
        self._state = None
        return progress

    def _read(self, text: str, final: bool, before: CachedState | None) -> Progress:
        scan = self._caught_up()
        progress = scan.feed(text, final)
        self._position += len(text)
        if final and not text and before is not None:
            before.ends = not progress.findings
        key = None if final or progress.findings else scan.state_key()
        if key is None:
            self._state = None
            return progress
        self._state = after = self._cache.at(key)
        if before is not None and len(text) <= LONGEST:
            self._cache.keep(before, text, (after, self._position - progress.watermark))
        return progress

    def _caught_up(self) -> PassScan:
        """The scan, where it would be if it had read everything."""
        scan = self._scan
        if scan is None:
            scan = self._scan = self._open()
        if self._behind:
            assert self._state is not None
            scan.restore_key(self._state.key, self._position)
            self._behind = False
        return scan

    def waits(self) -> Waits | None:
        """See proxy.core.check.Waiting."""
        state = self._state
        if state is None:
            return waits_of(self._caught_up())
        if not state.waits_known:
            state.waits, state.waits_known = waits_of(self._caught_up()), True
        return state.waits

    def save(self) -> object:
        """The whole state."""
        return self._caught_up().save(), self._position, self._state

    def restore(self, mark: object) -> None:
        """Go back to a saved state."""
        assert isinstance(mark, tuple)
        scan = self._caught_up()
        inner, self._position, self._state = mark
        scan.restore(inner)
