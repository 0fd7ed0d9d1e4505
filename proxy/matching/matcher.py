"""A policy's pattern and word rules as one check."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterable, Sequence
from functools import cached_property
from typing import Self

from proxy.core.check import Progress, Waits, longest, skim, waits_of
from proxy.core.failures import Failures
from proxy.core.types import Action, Finding
from proxy.matching.compiled import CompiledRule, compile_rule
from proxy.matching.lazy_dfa import MAX_TRANSITIONS
from proxy.matching.pauses import Pause, no_pause
from proxy.matching.report import in_order
from proxy.matching.rules import (
    APART,
    HidingPass,
    OutsidePass,
    PassScan,
    Preparable,
    Quick,
    Selecting,
    TakenBack,
    Verdict,
)
from proxy.matching.scan import MatchPass
from proxy.matching.transition_cache import MAX_CACHED, CachingScan, TransitionCache
from proxy.matching.views import Composition, FoldView, JsonUnescapeView

__all__ = ["CompiledRule", "Matcher", "compile_rule"]

View = FoldView | JsonUnescapeView | Composition


class Matcher:
    """Compiled rules, each reading its view of the text. Immutable but for its caches; shared by all streams."""

    def __init__(
        self,
        rules: Iterable[CompiledRule],
        escaped: bool = False,
        max_transitions: int = MAX_TRANSITIONS,
        others: Iterable[HidingPass] = (),
        max_cached: int = MAX_CACHED,
        beside: Iterable[OutsidePass] = (),
    ) -> None:
        """`escaped`: the text is JSON source, which rules read with its escapes resolved.

        others: passes that look for something in their own way, beside those of the rules
        max_cached: how many tokens' transitions to cache, all in all, before starting afresh; 0: none
        beside: passes whose states have no keys, so that the cache can tell nothing of them
        """
        self._passes: list[tuple[View | None, HidingPass]] = [(_view(False, escaped), other) for other in others]
        rules = tuple(rules)
        for fold in (False, True):
            some = [rule for rule in rules if rule.source.fold is fold]
            if some:
                inner = MatchPass(some, max_transitions)
                self._passes += [
                    (_view(fold, as_source), inner) for as_source in ((True, False) if escaped else (False,))
                ]
        self._beside = tuple(beside)
        self._beside_view = _view(False, escaped)
        self._may_block = [inner.may_block for _, inner in self._passes]
        self.cache = TransitionCache(self._open().state_key(), max_cached)

    def prepare(self, pause: Pause = no_pause) -> None:
        """Make the quick looks for long texts; takes up to seconds. Until then every text is read."""
        for _, inner in self._passes:
            if isinstance(inner, Preparable):
                inner.prepare(pause)

    def suspects(self, texts: Sequence[str]) -> Sequence[str]:
        """See proxy.core.check.suspects."""
        if self._beside:
            return texts
        together = APART.join(texts)
        found: list[str] = []
        for view, inner in self._passes:
            if not _finds_nothing(view, inner, together):
                found += _selected(view, inner, texts)
        return found

    @cached_property
    def hold(self) -> int | None:
        """The most characters that may be kept waiting; 0 when no rule can hide anything, None when there is no end."""
        passes = [*self._passes, *((self._beside_view, one) for one in self._beside)]
        holds = [inner.hold if view is None or not inner.hold else view.hold(inner.hold) for view, inner in passes]
        bounds = [hold for hold in holds if hold is not None]
        return max(bounds, default=0) if len(bounds) == len(holds) else None

    def open(self) -> TakenBack:
        """A fresh scan for one channel."""
        if not self._beside:
            return self._cached()
        view = self._beside_view
        beside = [one.open() if view is None else view.open(one, one.hides) for one in self._beside]
        if not self._passes:
            return beside[0] if len(beside) == 1 else Lockstep(beside, [one.may_block for one in self._beside])
        may_block = [*(one.may_block for one in self._beside), any(self._may_block)]
        return Lockstep([*beside, self._cached()], may_block)  # the cache last: it is seldom asked to go back there

    def for_exchange(self, failures: Failures) -> Self:
        """The same matcher for the texts of one exchange: passes beside note there what goes wrong."""
        if not self._beside:
            return self
        bound = copy.copy(self)
        bound._beside = tuple(one.for_exchange(failures) for one in self._beside)
        return bound

    def _cached(self) -> CachingScan | PassScan:
        return CachingScan(self._open, self.cache) if self.cache.most else self._open()

    def _open(self) -> PassScan:
        scans = [i.open() if view is None else view.open(i, i.hides) for view, i in self._passes]
        return scans[0] if len(scans) == 1 else _KeyedLockstep(scans, self._may_block)


def _finds_nothing(view: View | None, inner: HidingPass, text: str) -> bool:
    if view is None:
        return isinstance(inner, Quick) and inner.finds_nothing(text)
    return isinstance(view, FoldView) and view.finds_nothing(inner, text)


def _selected(view: View | None, inner: HidingPass, texts: Sequence[str]) -> Iterable[str]:
    """The texts in which a pass finds something; one that fails in a text does so again when it is read."""
    if view is None and isinstance(inner, Selecting):
        return inner.selected(texts)
    return [text for text in texts if _finds_in(view, inner, text)]


def _finds_in(view: View | None, inner: HidingPass, text: str) -> bool:
    scan = inner.open() if view is None else view.open(inner, inner.hides)
    try:
        return bool(scan.feed(text, True).findings)
    except Exception:
        return True


def _view(fold: bool, escaped: bool) -> View | None:
    if fold:
        return Composition(JsonUnescapeView(), FoldView()) if escaped else FoldView()
    return JsonUnescapeView() if escaped else None


class Lockstep:
    """Several passes over one text. Where one blocks, the others are taken back, so that none has read more."""

    __slots__ = ("_position", "_scans", "_taken_back", "_watermark", "verdict")

    def __init__(self, scans: Sequence[TakenBack], may_block: Sequence[bool]) -> None:
        """may_block: for each scan, whether it can end the text."""
        self._scans = scans
        self._taken_back = [any(may_block[i + 1 :]) for i in range(len(scans))]  # by a later scan, perhaps
        self._position = 0
        self._watermark = 0
        self.verdict: Verdict | None = None

    def save(self) -> object:
        """The whole state."""
        return [scan.save() for scan in self._scans], self._position, self._watermark, self.verdict

    def restore(self, mark: object) -> None:
        """Go back to a saved state."""
        assert isinstance(mark, tuple)
        marks, self._position, self._watermark, self.verdict = mark
        for scan, its in zip(self._scans, marks, strict=True):
            scan.restore(its)

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on, as core.check.Scan does."""
        if self.verdict is not None:
            return Progress(self._watermark)
        marks: list[object] = []
        answers: list[Progress] = []
        for scan, may_be in zip(self._scans, self._taken_back, strict=True):
            marks.append(scan.save() if may_be or self.verdict is not None else None)
            if self.verdict is None:
                answers.append(scan.feed(text, final))
            else:
                answers.append(self._read_until(scan, marks[-1], text, final, self.verdict))
            if scan.verdict is not None and scan.verdict != self.verdict:
                self.verdict = scan.verdict
                self._take_back(marks, answers, text)
        self._position += len(text)
        return self._answer(answers)

    def skim(self, text: str) -> Progress:
        """Read on, as core.check.Skimming does."""
        if self.verdict is not None:
            return Progress(self._watermark)
        marks = [scan.save() for scan in self._scans]
        answers = [skim(scan, text) for scan in self._scans]
        if any(scan.verdict is not None for scan in self._scans):
            for scan, mark in zip(self._scans, marks, strict=True):
                scan.restore(mark)
            return self.feed(text)
        self._position += len(text)
        return self._answer(answers)

    def _answer(self, answers: Sequence[Progress]) -> Progress:
        self._watermark = min(mark for mark, _, _ in answers)
        found = [finding for _, findings, _ in answers for finding in findings]
        if not found:
            return Progress(self._watermark)
        return Progress(self._watermark, in_order(found if self.verdict is None else _one_block(found)))

    def waits(self) -> Waits | None:
        """See proxy.core.check.Waiting."""
        return longest([waits_of(scan) for scan in self._scans])

    def _known(self, text: str, verdict: Verdict) -> str:
        """The part of a text that was there to read before the verdict fell."""
        return text[: max(verdict.end, verdict.read - 1) - self._position]

    def _read_until(self, scan: TakenBack, mark: object, text: str, final: bool, verdict: Verdict) -> Progress:
        """Another scan has blocked: this one may do the same, at the same place or before, or it reads no further."""
        reach = verdict.read - self._position
        progress = scan.feed(text[:reach], final and reach > len(text))
        if scan.verdict is not None and scan.verdict <= verdict:
            return progress
        scan.restore(mark)
        return scan.feed(self._known(text, verdict))

    def _take_back(self, marks: list[object], answers: list[Progress], text: str) -> None:
        """Let the scans before the one that blocked read only what was there to read before its verdict."""
        assert self.verdict is not None
        known = self._known(text, self.verdict)
        for i, mark in enumerate(marks[:-1]):
            self._scans[i].restore(mark)
            answers[i] = self._scans[i].feed(known)


class _KeyedLockstep(Lockstep):
    """Passes whose states have keys, so that the cache can know where tokens lead."""

    __slots__ = ("_keyed",)

    def __init__(self, scans: Sequence[PassScan], may_block: Sequence[bool]) -> None:
        super().__init__(scans, may_block)
        self._keyed = scans

    def state_key(self) -> Hashable | None:
        """Those of all."""
        if self.verdict is not None:
            return None
        keys = []
        for scan in self._keyed:
            key = scan.state_key()
            if key is None:
                return None
            keys.append(key)
        return tuple(keys)

    def restore_key(self, key: Hashable, position: int) -> int:
        """Go to the state that has this key."""
        assert isinstance(key, tuple)
        self._position = position
        marks = [scan.restore_key(its, position) for scan, its in zip(self._keyed, key, strict=True)]
        self._watermark = min(marks)
        return self._watermark


def _one_block(found: list[Finding]) -> list[Finding]:
    """Several passes that block at one place speak with one voice."""
    blocks = [f for f in found if f.rule.holds and f.rule.action is Action.BLOCK]
    rule = min((f.rule for f in blocks), key=lambda rule: rule.order)
    block = Finding(min(f.start for f in blocks), max(f.end for f in blocks), rule)
    return [*(f for f in found if f not in blocks), block]
