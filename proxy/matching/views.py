"""Views: a rule reads the text as a reader does, and what it finds is told in offsets of the raw text.

A view turns units of raw text (one character, or one escape) into view characters, each on its own and in order. So
cutting the text cannot change the view, a finding always covers whole units, and units that are not seen (accents,
zero-width characters) go with the hidden text they follow: no mark is left to dangle on a label.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple, Protocol

from proxy.core.check import Progress, Waits, skim, waits_of
from proxy.core.types import Action, Finding, Rule
from proxy.matching.lenses import (
    HTML_LONGEST,
    JSON_ESCAPES,
    JSON_LONGEST,
    UNSEEN_LIMIT,
    EscapeLens,
    FloodError,
    FoldLens,
    Lens,
    Piece,
    continues,
)
from proxy.matching.rules import MOST_OPEN, Pass, PassScan, Quick, Verdict

HISTORY = 8
"""How many irregular pieces back from its end a finding that only flags is located to the character."""

_START: tuple[Piece, ...] = ((0, 0, 0, 0),)


class FoldView:
    """What is read on a screen: HTML character references resolved, then every character folded (folding.py)."""

    def hold(self, inner: int | None) -> int | None:
        """The most raw characters that wait when the rules keep at most `inner` view characters waiting."""
        return None if inner is None else (inner * (1 + UNSEEN_LIMIT) + 1) * HTML_LONGEST

    def finds_nothing(self, inner: object, text: str) -> bool:
        """See proxy.matching.rules.Quick."""
        if not isinstance(inner, Quick):
            return False
        lens = FoldLens(strict=True)
        try:
            view = lens.plain(text)
            return inner.finds_nothing(lens.read(text, True, 0, 0)[0] if view is None else view)
        except FloodError:
            return False

    def open(self, inner: Pass, waits: bool = True) -> PassScan:
        """`waits`: False when no rule of the pass can hide anything; then half a reference is not held back."""
        return _Scan(inner.open(), FoldLens(strict=waits), waits)


class JsonUnescapeView:
    """What JSON source says: escapes resolved, all else as it is. Invalid escapes mean what they say."""

    def hold(self, inner: int | None) -> int | None:
        """The most raw characters that wait when the rules keep at most `inner` view characters waiting."""
        return None if inner is None else (inner + 1) * JSON_LONGEST

    def open(self, inner: Pass, waits: bool = True) -> PassScan:
        """`waits`: False when no rule of the pass can hide anything; then half an escape is not held back."""
        return _Scan(inner.open(), EscapeLens(JSON_ESCAPES), waits)


class _AnyView(Protocol):
    def hold(self, inner: int | None) -> int | None: ...
    def open(self, inner: Pass, waits: bool = True) -> PassScan: ...


class _Through(NamedTuple):
    """A pass seen through a view is a pass over what the view reads."""

    view: _AnyView
    inner: Pass
    waits: bool

    @property
    def hold(self) -> int | None:
        return self.view.hold(self.inner.hold)

    def open(self) -> PassScan:
        return self.view.open(self.inner, self.waits)


class Composition(NamedTuple):
    """A view of a view: `outer` reads the raw text, `inner` what `outer` makes of it."""

    outer: _AnyView
    inner: _AnyView

    def hold(self, inner: int | None) -> int | None:
        """The most raw characters that wait when the rules keep at most `inner` view characters waiting."""
        return self.outer.hold(self.inner.hold(inner))

    def open(self, inner: Pass, waits: bool = True) -> PassScan:
        """`waits`: False when no rule of the pass can hide anything."""
        return self.outer.open(_Through(self.inner, inner, waits), waits)


class _Remembering(NamedTuple):
    """The key of a state in which the lens keeps something in mind."""

    key: Hashable


class _Scan:
    """A pass scan over the view, in offsets of the raw text."""

    __slots__ = (
        "_delta", "_fed", "_feed_inner", "_inner", "_last", "_lens", "_map", "_mark", "_plain", "_seen", "_skimmed",
        "_tail", "_waits", "verdict",
    )  # fmt: skip

    def __init__(self, inner: PassScan, lens: Lens, waits: bool) -> None:
        self._inner, self._lens, self._waits = inner, lens, waits
        self._feed_inner, self._plain = inner.feed, lens.plain
        self._fed = self._seen = 0  # raw and view characters so far; _fed lags behind while _delta is known
        self._mark = 0  # the pass's watermark, a view offset
        self._skimmed = False  # it may be too low
        self._map = _START
        self._last = 0  # view offset of the last piece
        self._delta: int | None = 0  # raw minus view offset in the last piece, when the next character continues it
        self._tail: tuple[Rule, ...] = ()  # rules that hide the last view character, and unseen ones that follow it
        self.verdict: Verdict | None = None

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on, as core.check.Scan does."""
        if self._skimmed:
            self._mark, self._skimmed = self._feed_inner("").watermark, False
        view = self._plain(text)
        if view is None or self._delta is None:
            return self._feed_irregular(text, view, final)
        return self._read(text, view, self._feed_inner(view, final))

    def skim(self, text: str) -> Progress:
        """Read on, as core.check.Skimming does."""
        self._skimmed = True
        view = self._plain(text)
        if view is None or self._delta is None:
            return self._feed_irregular(text, view, False, skims=True)
        return self._read(text, view, skim(self._inner, view))

    def _read(self, text: str, view: str, progress: Progress) -> Progress:
        """The answer to a text whose view characters are its characters, once the pass has read the view."""
        assert self._delta is not None
        self._seen += len(view)
        self._mark, findings, _ = progress
        if self._tail and text:
            self._tail = ()
        if findings or self._mark < self._last:
            self._count()
            return self._located(findings, [])
        return Progress(self._mark + self._delta) if self._delta else progress

    def waits(self) -> Waits | None:
        """See proxy.core.check.Waiting."""
        return waits_of(self._inner)

    def save(self) -> object:
        """The whole state, a tuple of references."""
        return (
            self._inner.save(), self._lens.save(), self._fed, self._seen, self._mark,
            self._map, self._last, self._delta, self._tail,
        )  # fmt: skip

    def restore(self, mark: object) -> None:
        """Go back to a saved state."""
        assert isinstance(mark, tuple)
        inner, lens, self._fed, self._seen, self._mark, self._map, self._last, self._delta, self._tail = mark
        self._inner.restore(inner)
        self._lens.restore(lens)
        self._skimmed = True
        self.verdict = None

    def state_key(self) -> Hashable | None:
        """The key of the inner scan, when all that is open has begun in the map's last piece: then the rest of the
        map does not matter. It also means that the map has not changed in what was read last.
        """
        if self._delta is None or self._tail or self.verdict is not None or not self._lens.quiet:
            return None
        if self._last and self._seen - self._last < MOST_OPEN:
            return None
        key = self._inner.state_key()
        return key if key is None or not self._lens.memory else _Remembering(key)

    def restore_key(self, key: Hashable, position: int) -> int:
        """Go to the state that has this key."""
        assert self._delta is not None
        if self._lens.remembers:
            self._lens.memory = isinstance(key, _Remembering)
            key = key.key if isinstance(key, _Remembering) else key
        self._seen = position - self._delta
        self._mark = self._inner.restore_key(key, self._seen)
        return self._mark + self._delta

    def _count(self) -> None:
        if self._delta is not None:
            self._fed = self._seen + self._delta + self._lens.pending

    def _feed_irregular(self, text: str, view: str | None, final: bool, skims: bool = False) -> Progress:
        if self.verdict is not None:
            return Progress(self._raw_mark())
        self._count()
        start, raw = self._seen, self._fed - self._lens.pending
        if view is None:
            view, pieces = self._lens.read(text, final, start, self._fed)
        else:
            pieces = [(start, raw, 0, 0)] if view else []
        self._fed += len(text)
        self._seen += len(view)
        self._extend_map(pieces)
        after = self._go_with_tail(start, raw)
        if not view and not final:
            return Progress(self._raw_mark(), tuple(after))
        self._mark, findings, _ = skim(self._inner, view) if skims else self._inner.feed(view, final)
        return self._located(findings, after)

    def _extend_map(self, pieces: list[Piece]) -> None:
        """Add to the map; a piece of characters as they are that continues the last one is part of it."""
        if pieces:
            seen, raw, width, late = pieces[0]
            last_seen, last_raw, last_width, last_late = self._map[-1]
            if not (width or last_width) and late == last_late and raw - seen == last_raw - last_seen:
                del pieces[0]
            self._map += tuple(pieces)
        self._last = self._map[-1][0]
        end = self._fed - self._lens.pending
        self._delta = end - self._seen if continues(self._map[-1], self._seen, end) else None

    def _go_with_tail(self, start: int, raw: int) -> list[Finding]:
        """Unseen characters from `raw` on that follow a hidden one of the feed before."""
        end = self._raw_start(start)
        found = [Finding(raw, end, rule, extends=True) for rule in self._tail if end > raw]
        if self._seen > start:
            self._tail = ()
        return found

    def _located(self, findings: Sequence[Finding], found: list[Finding]) -> Progress:
        """The answer to a feed, in raw offsets."""
        for finding in findings:
            found.extend(self._locate(finding))
        if findings and self._inner.verdict is not None:
            self.verdict = self._raw_verdict(self._inner.verdict)
            self._delta = None
        mark = self._raw_mark()
        self._trim_map()
        if len(found) > 1:
            found.sort(key=_start)
        return Progress(mark, tuple(found))

    def _locate(self, finding: Finding) -> Iterator[Finding]:
        start, end, rule, extends, _ = finding
        first, last = self._piece(start), self._piece(end - 1)
        far = first < last - HISTORY and not rule.holds
        begin = self._map[last - HISTORY][1] if far else self._raw_start(start)
        stop = self._raw_end(end)
        yield Finding(begin, stop, rule, extends)
        if rule.action is Action.REWRITE and rule.holds:
            if self._map[last][2]:  # to the end of the unit, though the match may end inside
                end = self._map[last + 1][0] if last + 1 < len(self._map) else self._seen
            after = self._raw_start(end)
            if after > stop:
                yield Finding(stop, after, rule, extends=True)
            if end == self._seen and rule not in self._tail:
                self._tail += (rule,)

    def _raw_verdict(self, verdict: Verdict) -> Verdict:
        read, end = verdict
        if read > self._seen:
            return Verdict(self._fed + 1, self._raw_end(end))
        return Verdict(self._raw_end(read) + self._map[self._piece(read - 1)][3], self._raw_end(end))

    def _raw_mark(self) -> int:
        return self._raw_start(self._mark) if self._waits else self._fed

    def _raw_start(self, seen: int) -> int:
        """Where the unit of a view character starts; at the end of the view, where the next one will."""
        if seen >= self._seen:
            return self._fed - self._lens.pending
        first, raw, width, _ = self._map[max(0, self._piece(seen))]
        return raw if width else raw + max(0, seen - first)

    def _raw_end(self, seen: int) -> int:
        """Where the unit of the view character before an offset ends."""
        first, raw, width, _ = self._map[self._piece(seen - 1)]
        return raw + (width or seen - first)

    def _piece(self, seen: int) -> int:
        return bisect_right(self._map, seen, key=_start) - 1

    def _trim_map(self) -> None:
        """Forget what lies before the watermark, but for what flag-only findings need."""
        if len(self._map) > HISTORY + 1:
            kept = min(self._piece(self._mark), len(self._map) - HISTORY - 1)
            if kept > 0:
                self._map = self._map[kept:]


def _start(item: Piece | Finding) -> int:
    return item[0]
