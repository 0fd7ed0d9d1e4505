"""proxy.testing: what it lets pass, and what it finds in the checks of authors."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proxy.checks.kinds import CheckKind, DetectorKind
from proxy.checks.registry import RegistryError
from proxy.core.check import Progress
from proxy.core.types import Finding, Rule
from proxy.testing import RULE, check_laws, made, painted, spans
from tests.checks.plugin_checks import Odd, Scripted, Word
from tests.waiting import PATIENCE

ROOT = Path(__file__).parent.parent
TEXTS = ["", "a bomb", "bomb", "bombbomb bo", "bo mb", "no such word in here"]


def test_a_good_check_passes() -> None:
    """One that finds a word, one that a pattern makes, and one that needs the whole text."""
    check_laws(Word(RULE), TEXTS)
    check_laws(
        made(DetectorKind("badge", "badges", r"\bHR-[0-9]{2,4}\b", ("HR-12",), ("HR",))), ["HR-12 HR-123", "HR-"]
    )
    check_laws(Odd(at_the_end), TEXTS)


def at_the_end(scan: Scripted, text: str, final: bool) -> Progress:
    """The whole text is found when it has ended."""
    if not final:
        return Progress(0)
    return Progress(scan.read, (Finding(0, scan.read, RULE),) if scan.read else ())


@dataclass
class InChunks:
    """Finds the word only where it lies in one chunk."""

    late: bool = False
    hold: int | None = 8
    read: int = 0

    def open(self) -> InChunks:
        """A fresh scan."""
        return InChunks(self.late)

    def feed(self, text: str, final: bool = False) -> Progress:
        """As many authors would write it first."""
        at, before = text.find("bomb"), self.read
        self.read += len(text)
        found = (Finding(before + at, before + at + 4, RULE),) if at >= 0 else ()
        return Progress(self.read, found)


class Late(Word):
    """Tells what it has found one feed later."""

    def open(self) -> Any:
        """A scan that remembers."""
        scan, waiting = super().open(), []

        def feed(own: Scripted, text: str, final: bool) -> Progress:
            progress = scan.feed(text, final)
            waiting.append(progress)
            if final:
                told = tuple(f for p in waiting for f in p.findings)
                waiting.clear()
                return Progress(own.read, told)
            told = waiting[-2].findings if len(waiting) > 1 else ()
            if len(waiting) > 1:
                del waiting[-2]
            held = min((f.start for f in progress.findings), default=progress.watermark)
            return Progress(min(held, progress.watermark), told)

        return Scripted(feed)

    @property
    def hold(self) -> Any:
        """No bound."""
        return None


class Shared(Word):
    """Gives the same scan to everybody."""

    def open(self) -> Any:
        """One for all."""
        if not hasattr(self, "_scan"):
            self._scan = Odd(lambda scan, text, final: Progress(scan.read)).open()
        self._scan.read = 0
        return self._scan


BAD = {
    "only in one chunk": (InChunks(), "the cut matters"),
    "holds too much": (Odd(lambda scan, text, final: Progress(scan.read if final else 0), hold=3), "more is held"),
    "undecided": (Odd(lambda scan, text, final: Progress(0)), "something is still undecided at the end"),
    "past the text": (Odd(lambda scan, text, final: Progress(scan.read + 1)), "the watermark goes back, or past what"),
    "told late": (Late(RULE), "the cut matters|something is found"),
    "one scan for all": (Shared(RULE), "`open` gives one scan twice"),
}


@pytest.mark.parametrize(("check", "says"), BAD.values(), ids=list(BAD))
def test_a_bad_check_is_found(check: Any, says: str) -> None:
    """And the message says which law it breaks."""
    with pytest.raises(AssertionError, match=says):
        check_laws(check, TEXTS)


def test_a_check_that_depends_on_more_than_the_text_is_found() -> None:
    """What is found must not depend on what was read before."""
    times: list[int] = []

    def every_other(scan: Scripted, text: str, final: bool) -> Progress:
        times.append(1)
        found = (Finding(scan.read - 1, scan.read, RULE),) if text and len(times) % 2 else ()
        return Progress(scan.read, found)

    with pytest.raises(AssertionError):
        check_laws(Odd(every_other), TEXTS)


def test_made_makes_it_as_the_proxy_does() -> None:
    """With options, and with the same refusals."""
    kind = CheckKind("bomb", "a word", lambda rule, _: Word(rule))
    assert spans(made(kind), "a bomb, bombbomb") == ["bomb", "bomb", "bomb"]
    with pytest.raises(RegistryError):
        made(CheckKind("words", "a word", lambda rule, _: Word(rule)))


def test_spans_that_touch_are_two_and_those_that_share_a_character_one() -> None:
    """As a gate has it."""
    rule: Rule = RULE
    found = [Finding(0, 2, rule), Finding(2, 4, rule), Finding(3, 5, rule), Finding(5, 6, rule, extends=True)]
    assert painted("abcdefg", found) == "[found][found]g"


def test_it_needs_neither_pytest_nor_hypothesis() -> None:
    """An author may use another test runner; the proxy itself has neither."""
    code = "import sys, proxy.testing, proxy.plugins; print({'pytest', 'hypothesis', 'starlette'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert done.stdout.strip() == "set()"
