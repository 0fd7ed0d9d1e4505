"""`on_error: allow`: when a check raises, it stops searching and the text passes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from proxy.checks.failures import EXCEPTION, OTHER, failed_check, failure_reason
from proxy.core.check import Check, Progress, Resumable, Scan, Waits, skim, suspects, waits_of
from proxy.core.failures import Failures
from proxy.core.types import Action, Finding, Rule
from proxy.matching.matcher import Matcher
from proxy.matching.rules import HidingPass, PassScan, Verdict


@dataclass(frozen=True, slots=True, eq=False)
class FailedOpen(Rule):
    """The rule that stands for a check which failed and let text pass.

    check, reason: which check, and why; see proxy.checks.failures
    """

    check: str = OTHER
    reason: str = EXCEPTION


@lru_cache(maxsize=256)
def failed_open(check: str, reason: str) -> FailedOpen:
    """The one such rule for a check and a reason."""
    return FailedOpen("internal", "check_failed_open", Action.FLAG, check=check, reason=reason)


FAILED_OPEN = failed_open(OTHER, EXCEPTION)


class FailOpen:
    """A check whose failure lets text pass, counted under the rule `internal/check_failed_open`."""

    def __init__(self, check: Check) -> None:
        self._check = check

    @property
    def hold(self) -> int | None:
        """The hold of the check."""
        return self._check.hold

    def open(self) -> _FailOpenScan:
        """A fresh scan; it can go back if the check's scan can."""
        scan = self._check.open()
        return _ResumableScan(scan) if isinstance(scan, Resumable) else _FailOpenScan(scan)

    def prepare(self, pause: Callable[[], None]) -> None:
        """See proxy.matching.rules.Preparable."""
        if isinstance(self._check, Matcher):
            self._check.prepare(pause)

    def suspects(self, texts: Sequence[str]) -> Sequence[str]:
        """See proxy.core.check.suspects."""
        return suspects(self._check, texts)

    def for_exchange(self, failures: Failures) -> FailOpen:
        """The same check for the texts of one exchange."""
        check = self._check
        return FailOpen(check.for_exchange(failures)) if isinstance(check, Matcher) else self


class _FailOpenScan:
    __slots__ = ("_read", "_scan")

    def __init__(self, scan: Scan) -> None:
        self._scan: Scan | None = scan
        self._read = 0

    def waits(self) -> Waits | None:
        """See proxy.core.check.Waiting."""
        return waits_of(self._scan)

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on until the check raises."""
        return self._guarded(text, lambda scan: scan.feed(text, final))

    def skim(self, text: str) -> Progress:
        """The same, as core.check.Skimming does."""
        return self._guarded(text, lambda scan: skim(scan, text))

    def _guarded(self, text: str, read: Callable[[Scan], Progress]) -> Progress:
        at = self._read
        self._read += len(text)
        if self._scan is None:
            return Progress(self._read)
        try:
            return read(self._scan)
        except Exception as error:
            self._scan = None
            return Progress(self._read, (_finding(at, self._read, error),))


def _finding(at: int, read: int, error: Exception) -> Finding:
    """What tells of a failure, where it was read on from `at`."""
    return Finding(min(at, max(0, read - 1)), read, failed_open(failed_check(error), failure_reason(error)))


class _ResumableScan(_FailOpenScan):
    __slots__ = ("_first",)

    def __init__(self, scan: Resumable) -> None:
        super().__init__(scan)
        self._first = scan

    def save(self) -> object:
        """The whole state."""
        return self._read, None if self._scan is None else (self._first.save(),)

    def restore(self, mark: object) -> None:
        """Go back to a saved state."""
        assert isinstance(mark, tuple)
        self._read, state = mark
        self._scan = None
        if state is not None:
            self._first.restore(*state)
            self._scan = self._first


class FailOpenScan:
    """A scan of one pass beside others, of which a failure ends this one only."""

    __slots__ = ("_error", "_first", "_read", "_told")

    def __init__(self, searching: HidingPass) -> None:
        self._first: PassScan = searching.open()
        self._error: Exception | None = None  # why it failed
        self._told = False  # that was told
        self._read = 0

    @property
    def verdict(self) -> Verdict | None:
        """Set by the feed that blocked."""
        return None if self._error is not None else self._first.verdict

    def waits(self) -> Waits | None:
        """See proxy.core.check.Waiting."""
        return None if self._error is not None else waits_of(self._first)

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on until the pass fails."""
        at = self._read
        self._read += len(text)
        if self._error is None:
            try:
                return self._first.feed(text, final)
            except Exception as error:
                self._error = error
        if self._told:
            return Progress(self._read)
        self._told = True
        return Progress(self._read, (_finding(at, self._read, self._error),))

    def save(self) -> object:
        """The whole state."""
        state: object = None
        if self._error is None:
            try:
                state = self._first.save()
            except Exception as error:
                self._error = error
        return self._read, self._told, self._error, state

    def restore(self, mark: object) -> None:
        """Go back to a saved state."""
        assert isinstance(mark, tuple)
        self._read, self._told, self._error, state = mark
        if self._error is None:
            try:
                self._first.restore(state)
            except Exception as error:
                self._error = error

    def state_key(self) -> Hashable | None:
        """None: what the pass will do is not known."""
        return None

    def restore_key(self, key: Hashable, position: int) -> int:
        """There is no key to restore."""
        raise AssertionError("a scan without keys")
