"""Scans that stand in a gate for others: of a text that begins later, and of one that is not read."""

from __future__ import annotations

from proxy.core.check import Progress, Scan, Waits, waits_of


class Unread:
    """Stands for a scan of a text that its check does not read."""

    __slots__ = ("_position",)

    def __init__(self) -> None:
        self._position = 0

    def feed(self, text: str, final: bool = False) -> Progress:
        """Nothing is found, and nothing waits."""
        self._position += len(text)
        return Progress(self._position)


class Shifted:
    """A scan of a text that begins at an offset of the gate's text."""

    __slots__ = ("_by", "_scan")

    def __init__(self, scan: Scan, by: int) -> None:
        self._scan, self._by = scan, by

    def feed(self, text: str, final: bool = False) -> Progress:
        """The same progress, in the gate's offsets."""
        watermark, findings, _ = self._scan.feed(text, final)
        by = self._by
        return Progress(watermark + by, tuple(f._replace(start=f.start + by, end=f.end + by) for f in findings))

    def waits(self) -> Waits | None:
        """Those of the scan."""
        return waits_of(self._scan)


def shifted(scan: Scan, by: int) -> Shifted:
    """A scan whose text begins so much later."""
    return Shifted(scan._scan, scan._by + by) if isinstance(scan, Shifted) else Shifted(scan, by)
