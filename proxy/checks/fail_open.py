"""`on_error: allow`: when a check raises, it stops searching and the text passes."""

from __future__ import annotations

from collections.abc import Hashable

from proxy.core.check import Check, Progress, Resumable, Scan
from proxy.core.failures import Failures
from proxy.core.types import Action, Finding, Rule
from proxy.matching.matcher import Matcher
from proxy.matching.rules import HidingPass, PassScan, Verdict

FAILED_OPEN = Rule("internal", "check_failed_open", Action.FLAG)


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

    def for_exchange(self, failures: Failures) -> FailOpen:
        """The same check for the texts of one exchange."""
        check = self._check
        return FailOpen(check.for_exchange(failures)) if isinstance(check, Matcher) else self


class _FailOpenScan:
    __slots__ = ("_read", "_scan")

    def __init__(self, scan: Scan) -> None:
        self._scan: Scan | None = scan
        self._read = 0

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on until the check raises."""
        at = self._read
        self._read += len(text)
        if self._scan is None:
            return Progress(self._read)
        try:
            return self._scan.feed(text, final)
        except Exception:
            self._scan = None
            return Progress(self._read, (_failed(at, self._read),))


def _failed(at: int, read: int) -> Finding:
    """What tells of a failure, where it was read on from `at`."""
    return Finding(min(at, max(0, read - 1)), read, FAILED_OPEN)


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

    __slots__ = ("_first", "_read", "_scan", "_told")

    def __init__(self, searching: HidingPass) -> None:
        self._first = searching.open()
        self._scan: PassScan | None = self._first  # None: it has failed
        self._told = False  # the failure was told
        self._read = 0

    @property
    def verdict(self) -> Verdict | None:
        """Set by the feed that blocked."""
        return None if self._scan is None else self._scan.verdict

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on until the pass fails."""
        at = self._read
        self._read += len(text)
        if self._scan is not None:
            try:
                return self._scan.feed(text, final)
            except Exception:
                self._scan = None
        if self._told:
            return Progress(self._read)
        self._told = True
        return Progress(self._read, (_failed(at, self._read),))

    def save(self) -> object:
        """The whole state."""
        state = None
        if self._scan is not None:
            try:
                state = (self._scan.save(),)
            except Exception:
                self._scan = None
        return self._read, self._told, state

    def restore(self, mark: object) -> None:
        """Go back to a saved state."""
        assert isinstance(mark, tuple)
        self._read, self._told, state = mark
        self._scan = None
        if state is not None:
            try:
                self._first.restore(*state)
            except Exception:
                return
            self._scan = self._first

    def state_key(self) -> Hashable | None:
        """None: what the pass will do is not known."""
        return None

    def restore_key(self, key: Hashable, position: int) -> int:
        """There is none."""
        raise NotImplementedError
