"""One pass over one view of the text, as a policy's matcher uses it."""

from __future__ import annotations

from collections.abc import Hashable

from proxy.core.check import Progress
from proxy.matching.program import Program
from proxy.matching.rules import PassScan, Verdict
from proxy.matching.scan import MatchScan, TooLate


class MatchPass(Program):
    """Compiled rules in one pass over one view of the text; shared by all streams."""

    def open(self) -> PassScan:
        """A fresh scan."""
        scan = MatchScan(self)
        return _Rewinding(scan) if self.may_block_late else scan


class _Rewinding:
    """A scan that reads a feed again, up to where a match had been open too long, when that blocks."""

    __slots__ = ("_scan",)

    def __init__(self, scan: MatchScan) -> None:
        self._scan = scan

    @property
    def verdict(self) -> Verdict | None:
        """Set by the feed that blocked."""
        return self._scan.verdict

    def save(self) -> object:
        """The whole state."""
        return self._scan.save()

    def restore(self, mark: object) -> None:
        """Go back to a saved state."""
        self._scan.restore(mark)

    def state_key(self) -> Hashable | None:
        """See PassScan."""
        return self._scan.state_key()

    def restore_key(self, key: Hashable, position: int) -> int:
        """See PassScan."""
        return self._scan.restore_key(key, position)

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on, as core.check.Scan does."""
        mark = self._scan.save()
        try:
            return self._scan.feed(text, final)
        except TooLate as late:
            self._scan.restore(mark)
            return self._scan.feed(text[: late.at - self._scan.position])
