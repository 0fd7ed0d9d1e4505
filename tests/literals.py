"""A check for one literal phrase that reads on without looking back, can go back, and counts its work."""

from __future__ import annotations

from proxy.core.check import Progress
from proxy.core.types import Action, Finding, Rule


class Literal:
    """A check for `phrase`.

    opened: how many scans were opened
    read:   how many characters all of them have read
    most:   the most that one of them has read at once
    feeds:  how often any of them has been fed
    """

    def __init__(self, phrase: str, rule: Rule) -> None:
        self.phrase, self.rule = phrase, rule
        self.opened = self.read = self.most = self.feeds = 0

    @property
    def hold(self) -> int:
        """One character less than the phrase."""
        return len(self.phrase) - 1 if self.rule.holds else 0

    def open(self) -> LiteralScan:
        """A fresh scan."""
        self.opened += 1
        return LiteralScan(self)


class LiteralScan:
    """Keeps the end of the text, in which a match may have begun."""

    def __init__(self, check: Literal) -> None:
        self._check = check
        self.position = 0
        self._tail = ""

    def feed(self, text: str, final: bool = False) -> Progress:
        """All occurrences; the first ends a blocking scan."""
        check = self._check
        check.feeds += 1
        check.read += len(text)
        check.most = max(check.most, len(text))
        whole = self._tail + text
        first = self.position - len(self._tail)
        self.position += len(text)
        phrase, rule = check.phrase, check.rule
        found = []
        at = whole.find(phrase)
        while at >= 0:
            found.append(Finding(first + at, first + at + len(phrase), rule))
            at = whole.find(phrase, at + 1)
        if found and rule.holds and rule.action is Action.BLOCK:
            return Progress(found[0].start, (found[0],))
        kept = min(len(phrase) - 1, len(whole))
        self._tail = whole[len(whole) - kept :]
        return Progress(self.position - (0 if final or not rule.holds else kept), tuple(found))

    def save(self) -> object:
        """The whole state."""
        return self.position, self._tail

    def restore(self, mark: object) -> None:
        """Go back to a saved state."""
        assert isinstance(mark, tuple)
        self.position, self._tail = mark
