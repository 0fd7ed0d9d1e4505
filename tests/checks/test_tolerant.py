"""`on_error: allow`: a check that fails lets the text pass, and says so once."""

from __future__ import annotations

from proxy.checks.tolerant import FAILED_OPEN, Tolerant
from proxy.core.check import Progress
from proxy.core.gate import Gate
from tests.phrases import rewrite


class FailsAfter:
    """A check that holds everything and fails once so many characters have come."""

    hold = None

    def __init__(self, characters: int) -> None:
        self._left = characters

    def open(self) -> FailsAfter:
        """Itself: each test uses it once."""
        return self

    def feed(self, text: str, final: bool = False) -> Progress:
        """Hold, then fail."""
        self._left -= len(text)
        if self._left < 0:
            raise RuntimeError
        return Progress(0)


def test_a_check_that_works_is_left_alone() -> None:
    """Holding and hiding are those of the check itself."""
    check = rewrite("bomb")
    assert Tolerant(check).hold == check.hold
    gate = Gate([Tolerant(check)])
    assert gate.feed("a bo") + "|" + gate.feed("mb c", final=True) == "a |[X] c"


def test_a_check_that_fails_releases_what_it_held_and_is_counted_once() -> None:
    """All text passes, the other checks go on, and one finding tells of the failure."""
    gate = Gate([Tolerant(FailsAfter(4)), rewrite("bomb")])
    out = [gate.feed("abc"), gate.feed("def"), gate.feed(" a bomb "), gate.feed("", final=True)]
    assert out == ["", "abcdef", " a [X] ", ""]
    assert [f.rule.name for f in gate.findings if f.rule is FAILED_OPEN] == ["internal/check_failed_open"]
