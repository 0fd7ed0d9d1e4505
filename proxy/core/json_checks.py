"""All checks of a JSON source as one: of the source itself, as apps may show it, and of each of its values, decoded."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

from proxy.core.check import Check, Progress, Scan, asking, skim, without_asking
from proxy.core.json_values import JsonValues
from proxy.core.types import Action, Finding, Rule

Checks = Callable[[bool], Iterable[Check]]
"""The checks for a kind of text; True: for JSON source, which they read as it is written and with escapes resolved."""


def json_checks(checks: Checks) -> tuple[Check, ...]:
    """The check of a JSON source, none if there is nothing to look for; and those that ask, which read the source."""
    values, every = without_asking(checks(False)), tuple(checks(True))
    source = without_asking(every)
    own: tuple[Check, ...] = (JsonSource(source, values),) if source or values else ()
    return (*own, *asking(every))


class JsonSource:
    """What a rule finds in the source and in a value is one finding; what goes over several values is found too."""

    hold = None  # a number and an escape wait for their end

    def __init__(self, source: Iterable[Check], values: Iterable[Check]) -> None:
        self._checks: list[Check] = sorted(source, key=lambda check: check.hold != 0)  # see Gate
        self._checks.append(JsonValues(values))

    def open(self) -> _SourceScan:
        """A fresh scan."""
        return _SourceScan([check.open() for check in self._checks])


class _SourceScan:
    def __init__(self, scans: list[Scan]) -> None:
        self._scans = scans
        self._read = 0
        self._mark = 0
        self._over = False
        self._known: dict[Rule, list[tuple[int, int]]] = {}  # spans that were told, in order of their starts

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on, as core.check.Scan does."""
        found = self._feed(text, _read) if text or not final else []
        if final:  # apart, so that it does not matter with which text the end comes
            found = [*found, *self._feed("", _finish)]
        return Progress(self._mark, tuple(found)) if found else Progress(self._mark)

    def skim(self, text: str) -> Progress:
        """Read on, as core.check.Skimming does."""
        found = self._feed(text, skim)
        return Progress(self._mark, tuple(found))

    def _feed(self, text: str, read: Callable[[Scan, str], Progress]) -> list[Finding]:
        if self._over:
            return []
        mark = end = self._read + len(text)
        found: list[Finding] = []
        block: Finding | None = None
        for scan in self._scans:
            watermark, findings, _ = read(scan, text)
            if watermark < mark:
                mark = watermark
            if findings:
                block = _first_block(block, findings)
                found += findings
                if block is not None and block.end < end:
                    text, end = text[: max(0, len(text) - (end - block.end))], block.end
        self._read = end
        self._mark = min(mark, end)
        if not found:
            return found
        if block is not None:
            self._over = True
            found = [*(finding for finding in found if finding.start < end and not _blocks(finding)), block]
        found.sort(key=_start)
        return list(self._new(found))

    def _new(self, found: Iterable[Finding]) -> Iterator[Finding]:
        """What has not been told: of a match that is found again what it has more, as a part of the one before."""
        for finding in found:
            if finding.extends or _blocks(finding):
                yield finding
                continue
            spans = self._known.setdefault(finding.rule, [])
            span = (finding.start, finding.end)
            at = bisect_left(spans, span)
            again = next((i for i in (at, at - 1) if 0 <= i < len(spans) and _nested(spans[i], span)), None)
            if again is None:
                spans.insert(at, span)
                yield finding
            elif spans[again] != span:
                known, spans[again] = spans[again], _joined(spans[again], span)
                if spans[again] != known:
                    yield finding._replace(extends=True)


def _read(scan: Scan, text: str) -> Progress:
    return scan.feed(text)


def _finish(scan: Scan, text: str) -> Progress:
    return scan.feed(text, True)


def _first_block(known: Finding | None, found: Iterable[Finding]) -> Finding | None:
    """The block that ends first, of one that is known and what was found."""
    blocks = [finding for finding in found if _blocks(finding)]
    return min(blocks if known is None else [known, *blocks], key=_order, default=None)


def _order(finding: Finding) -> tuple[int, int]:
    return finding.end, finding.rule.order


def _blocks(finding: Finding) -> bool:
    return finding.rule.holds and finding.rule.action is Action.BLOCK


def _nested(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether one of two spans is all in the other."""
    return _joined(one, other) in (one, other)


def _joined(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return min(one[0], other[0]), max(one[1], other[1])


def _start(finding: Finding) -> int:
    return finding.start
