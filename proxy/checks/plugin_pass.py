"""A check that somebody else wrote, as a pass of the matcher: beside the others it is cut where they are cut.

The check only points: the scan here says what a block or a flag makes of that. Its answers are held against the laws of
`core.check` after each feed, and its time against a budget. A check that fails is not asked again for that text.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Self

from proxy.checks.fail_open import FailOpenScan
from proxy.checks.outside import OutsideCode, searching_rule
from proxy.checks.rule_pass import Folded, RulePass
from proxy.core.check import Check, Progress, Resumable, Scan, Waits
from proxy.core.failures import CheckFailed, Failures, Reason
from proxy.core.types import Action, Finding, Rule
from proxy.matching.rules import HidingPass, PassScan, Verdict

SLICE = 8192  # characters that the budget is for
MOST_TEXTS = 1024  # texts that are kept apart: a string of its own takes more room than its characters
WALL = 20  # so many times the budget may pass on the clock on the wall: a check that sleeps uses no processor


def no_clock() -> tuple[float, float]:
    """Time stands still."""
    return 0.0, 0.0


@dataclass(frozen=True, slots=True)
class Budget:
    """The time that a plug-in's check may take for a feed.

    seconds: of the processor, for up to SLICE undecided characters; 0: any number
    clock: the thread's time on the processor, and the time on the wall
    """

    seconds: float = 0.05
    clock: Callable[[], tuple[float, float]] = no_clock


@dataclass(frozen=True, slots=True)
class PluginRule(RulePass):
    """A rule whose check a plug-in made.

    name:       of the check's kind
    check:      made for any rule: what it finds is told for this one
    waits:      the most characters that it may hold; None: the whole text
    fails_open: when the check fails, the text passes
    fold:       it reads the folded text
    outside:    code is left alone
    failures:   of the exchange whose texts it reads; None: they belong to none
    """

    name: str
    check: Check
    waits: int | None
    budget: Budget = Budget()
    fails_open: bool = False
    fold: bool = False
    outside: bool = False
    failures: Failures | None = None

    @property
    def hold(self) -> int | None:
        """The most characters that may wait for it; None: it may need the whole text."""
        return self._searching().hold

    @property
    def on_error(self) -> str:
        """What its policy says when it fails."""
        return "allow" if self.fails_open else "block"

    def enforced(self, enforced: bool) -> Self:
        """The same rule, for a policy that is enforced or one that only watches: that must not block, not even when
        the check fails."""
        rule = replace(self.rule, enforced=enforced)
        return replace(self, rule=rule, fails_open=self.fails_open or not enforced)

    def for_exchange(self, failures: Failures) -> PluginRule:
        """The same rule for the texts of one exchange."""
        return replace(self, failures=failures)

    def describe(self) -> str:
        """How long it can hold, in words."""
        if not self.rule.holds:
            return f"check {self.name}, never holds"
        most = self.hold
        held = "the whole text" if most is None else f"at most {most} characters"
        return f"check {self.name}, holds {held}"

    def open(self) -> PassScan:
        """A fresh scan."""
        searching = self._searching()
        return FailOpenScan(searching) if self.fails_open else searching.open()

    def _searching(self) -> HidingPass:
        rule = searching_rule(self.rule) if self.outside else self.rule
        searching: HidingPass = _WatchedPass(rule, self)
        if self.fold:
            searching = Folded(searching)
        return OutsideCode(self.rule, searching) if self.outside else searching


@dataclass(frozen=True, slots=True)
class _WatchedPass(RulePass):
    plugin: PluginRule

    @property
    def hold(self) -> int | None:
        return self.plugin.waits if self.rule.holds else 0

    def open(self) -> WatchedScan:
        return WatchedScan(self.rule, self.plugin)


class WatchedScan:
    """A plug-in's scan at work on one text. Raises CheckFailed.

    A scan that cannot go back (Resumable) begins anew with what was read so far, which is kept for that.
    """

    __slots__ = ("_goes_back", "_mark", "_plugin", "_position", "_rule", "_scan", "_texts", "verdict")

    def __init__(self, rule: Rule, plugin: PluginRule) -> None:
        self._rule = rule
        self._plugin = plugin
        self._position = 0  # how much has been read
        self._mark = 0  # the check's watermark
        self._scan: Scan | None = None  # None: not opened yet
        self._goes_back: Resumable | None = None  # the scan, if it can go back
        self._texts: list[str] = []  # what was read, for a scan that cannot go back
        self.verdict: Verdict | None = None

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on, as core.check.Scan does."""
        if self.verdict is not None:
            return Progress(self._position)
        blocks = self._rule.holds and self._rule.action is Action.BLOCK
        before = self.save() if blocks else None
        progress = self._read(text, final)
        if blocks and progress.findings:
            return self._stop(before, text, final, progress.findings[0])
        return progress

    def waits(self) -> Waits | None:
        """See proxy.core.check.Waiting."""
        waiting = self._position - self._mark
        return Waits(waiting, self._rule) if self._rule.holds and waiting > 0 else None

    def save(self) -> object:
        """The whole state."""
        self._opened()
        state = None if self._goes_back is None else self._asked(self._goes_back.save)
        return state, self._position, self._mark, self.verdict

    def restore(self, mark: object) -> None:
        """Go back to a saved state."""
        assert isinstance(mark, tuple)
        state, self._position, self._mark, self.verdict = mark
        self._opened()
        if self._goes_back is not None:
            self._asked(partial(self._goes_back.restore, state))
            return
        read = "".join(self._texts)[: self._position]
        self._texts = [read]
        self._scan = None
        if read:
            self._asked(partial(self._opened().feed, read), len(read))

    def state_key(self) -> Hashable | None:
        """None: only the plug-in knows."""
        return None

    def restore_key(self, key: Hashable, position: int) -> int:
        """There is no key to restore."""
        raise AssertionError("a scan without keys")

    def _opened(self) -> Scan:
        if self._scan is None:
            plugin = self._plugin
            stopped = plugin.failures.stopped(plugin.name) if plugin.failures is not None else None
            if stopped is not None:
                raise CheckFailed(stopped.check, stopped.reason, stopped.detail)
            scan = self._asked(plugin.check.open)
            if not isinstance(scan, Scan):
                raise self._failed(Reason.WRONG_ANSWER, "opens something that is no scan")
            self._scan = scan
            self._goes_back = scan if isinstance(scan, Resumable) else None
        return self._scan

    def _read(self, text: str, final: bool) -> Progress:
        scan = self._scan or self._opened()
        before = self._position
        self._position = fed = before + len(text)
        if self._goes_back is None and text:
            self._keep(text)
        budget = self._plugin.budget
        began = budget.clock()
        try:
            progress = scan.feed(text, final)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise self._raised(error) from None
        ended = budget.clock()
        if self._plugin.failures is not None:
            self._plugin.failures.took(self._plugin.name, ended[0] - began[0])
        if ended[0] - began[0] > budget.seconds or ended[1] - began[1] > budget.seconds:
            self._check_time(began, ended, fed - self._mark)
        self._check(progress, fed, final)
        self._mark, found = progress[:2]
        told = self._mark if self._rule.holds else fed
        return Progress(told, tuple([f._replace(rule=self._rule) for f in found])) if found else Progress(told)

    def _keep(self, text: str) -> None:
        self._texts.append(text)
        if len(self._texts) > MOST_TEXTS:
            self._texts = ["".join(self._texts)]

    def _stop(self, before: object, text: str, final: bool, finding: Finding) -> Progress:
        """A block. What had to be read to know must not depend on how the text was cut: so it is read again."""
        self.restore(before)
        known = next((found for char in text if (found := self._read(char, False).findings)), ())
        found = known or (self._read("", True).findings if final else ())
        if not found:
            raise self._failed(Reason.WRONG_ANSWER, "does not find again what it has found")
        finding = found[0]
        self.verdict = Verdict(self._position if known else self._position + 1, finding.end)
        self._position = finding.start
        return Progress(finding.start, (finding,))

    def _asked(self, call: Callable[[], object], characters: int = 0) -> object:
        """What the plug-in's code answers, in the time that it has for so many characters."""
        clock = self._plugin.budget.clock
        began = clock()
        try:
            answer = call()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also one that would end the proxy: SystemExit
            raise self._raised(error) from None
        self._check_time(began, clock(), characters)
        return answer

    def _raised(self, error: BaseException) -> CheckFailed:
        return self._failed(Reason.RAISED, f"raised {type(error).__name__}{_place(error)}")

    def _check_time(self, began: tuple[float, float], ended: tuple[float, float], characters: int) -> None:
        allowed = self._plugin.budget.seconds * (1 + characters // SLICE)
        taken, passed = ended[0] - began[0], ended[1] - began[1]
        if taken > allowed > 0:
            raise self._failed(Reason.TIME, f"took {taken * 1000:.0f} ms; it has {allowed * 1000:.0f} ms for a feed")
        if passed > allowed * WALL > 0:
            raise self._failed(Reason.TIME, f"kept a feed waiting for {passed * 1000:.0f} ms")

    def _check(self, progress: object, fed: int, final: bool) -> None:
        """Raise for an answer that breaks a law."""
        if not isinstance(progress, tuple) or len(progress) not in (2, 3):
            raise self._failed(Reason.WRONG_ANSWER, "answers a feed with something else than a Progress")
        mark, found = progress[:2]
        if progress[2:] not in ((), ((),)):
            raise self._failed(Reason.WRONG_ANSWER, "asks, which only checks of the proxy can")
        if not isinstance(mark, int) or not self._mark <= mark <= fed:
            raise self._failed(Reason.WATERMARK, "has a watermark that goes back, or past what was fed")
        if found != ():
            self._check_findings(found, fed)
        if final and mark != fed:
            raise self._failed(Reason.UNDECIDED, "has not decided everything at the end of a text")
        hold = self._plugin.waits
        if hold is not None and fed - mark > hold:
            raise self._failed(Reason.HOLD, f"keeps {fed - mark} characters waiting; its hold is {hold}")

    def _check_findings(self, found: object, fed: int) -> None:
        if not isinstance(found, tuple) or not all(isinstance(one, Finding) for one in found):
            raise self._failed(Reason.WRONG_ANSWER, "has findings that are no tuple of Finding")
        if not all(isinstance(at, int) for one in found for at in one[:2]):
            raise self._failed(Reason.WRONG_ANSWER, "has a finding whose place is no number")
        if any(one.start < self._mark for one in found):
            raise self._failed(Reason.FINDING, "finds something below its watermark")
        if not all(one.start < one.end <= fed for one in found):
            raise self._failed(Reason.FINDING, "finds something that was not fed")
        if any(one.start > other.start for one, other in pairwise(found)):
            raise self._failed(Reason.FINDING, "does not tell its findings in order")

    def _failed(self, reason: Reason, detail: str) -> CheckFailed:
        plugin = self._plugin
        failed = CheckFailed(plugin.name, reason, detail)
        if plugin.failures is not None:
            plugin.failures.note(failed, plugin.on_error)
        return failed


def _place(error: BaseException) -> str:
    """The line that raised, without the error's message, which may hold text."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return "" if step is None else f" in {step.tb_frame.f_globals.get('__name__')}:{step.tb_lineno}"
