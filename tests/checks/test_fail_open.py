"""`on_error: allow`: a check that fails lets the text pass, and says so once."""

from __future__ import annotations

import pytest

from proxy.checks.fail_open import FAILED_OPEN, FailOpen
from proxy.core.check import Progress, Resumable
from proxy.core.gate import Gate
from tests.literals import Literal, LiteralScan
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
    assert FailOpen(check).hold == check.hold
    gate = Gate([FailOpen(check)])
    assert gate.feed("a bo") + "|" + gate.feed("mb c", final=True) == "a |[X] c"


def test_a_check_that_fails_releases_what_it_held_and_is_counted_once() -> None:
    """All text passes, the other checks go on, and one finding tells of the failure."""
    gate = Gate([FailOpen(FailsAfter(4)), rewrite("bomb")])
    out = [gate.feed("abc"), gate.feed("def"), gate.feed(" a bomb "), gate.feed("", final=True)]
    assert out == ["", "abcdef", " a [X] ", ""]
    assert [f.rule.name for f in gate.findings if f.rule is FAILED_OPEN] == ["internal/check_failed_open"]


def test_it_goes_back_as_far_as_the_check_can() -> None:
    """Also over its own failure: then the check looks again."""
    check = Literal("bomb", rewrite("bomb").rule)
    scan = FailOpen(check).open()
    assert isinstance(scan, Resumable)
    scan.feed("a bo")
    mark = scan.save()
    assert len(scan.feed("mb").findings) == 1
    scan.restore(mark)
    assert len(scan.feed("mb").findings) == 1
    scan.restore(mark)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LiteralScan, "feed", None)
        assert [f.rule for f in scan.feed("mb").findings] == [FAILED_OPEN]
        failed = scan.save()
    scan.restore(mark)
    assert len(scan.feed("mb").findings) == 1
    scan.restore(failed)
    assert scan.feed(" a bomb") == Progress(13)


def test_a_check_that_cannot_go_back_does_not_say_that_it_can() -> None:
    """Who would go back reads from the beginning instead."""
    assert not isinstance(FailOpen(FailsAfter(4)).open(), Resumable)
