"""`on_error: allow`: when a check raises, it stops searching and the text passes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from proxy.checks.failures import EXCEPTION, OTHER, failed_check, failure_reason
from proxy.core.check import Check, Progress, Resumable, Scan, Waits, waits_of
from proxy.core.types import Action, Finding, Rule


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
        at = self._read
        self._read += len(text)
        if self._scan is None:
            return Progress(self._read)
        try:
            return self._scan.feed(text, final)
        except Exception as error:
            self._scan = None
            rule = failed_open(failed_check(error), failure_reason(error))
            return Progress(self._read, (Finding(min(at, max(0, self._read - 1)), self._read, rule),))


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
