"""The scans of a prompt's checks, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from proxy.core.check import Check, Resumable, Scan, skim
from proxy.core.prompt_memory import Result, State
from proxy.core.types import Action, Finding, Rule

INTERNAL = "internal"  # the policy of the proxy's own rules: CHECK_FAILED and the like


class Mark(NamedTuple):
    """A place in a text, and the state of the scans there."""

    scans: tuple[object, ...]
    position: int
    reported: int
    latest: dict[Rule, tuple[int, Finding]]


class Scans:
    """The scans of one text, side by side as in a gate. They release nothing, but they can go back.

    position: code points read so far; after a block, where it ends
    reported: all findings; a match that grew is one finding with its full length
    blocked:  the finding that ends the text
    failed:   a check has failed, and its policy lets the text pass: that may be different the next time
    """

    def __init__(self, checks: Iterable[Check]) -> None:
        self.failed = False
        self._checks = sorted(checks, key=lambda check: check.hold != 0)  # see Gate
        self.open()

    def open(self) -> None:
        """Start again."""
        self._scans: list[Scan] = [check.open() for check in self._checks]
        self._resumable: list[Resumable] | None = None
        self.position = 0
        self.blocked: Finding | None = None
        self.reported: list[Finding] = []
        self._latest: dict[Rule, tuple[int, Finding]] = {}  # each rule's last finding, and its index in `reported`

    def feed(self, text: str, final: bool = False) -> None:
        """Read on; after a block, the other scans read only up to the end of the blocking finding."""
        end = self.position + len(text)
        for scan in self._scans:
            for finding in (scan.feed(text, final) if final else skim(scan, text)).findings:
                self._report(finding)
            if self.blocked is not None and self.blocked.end < end:
                text = text[: max(0, len(text) - (end - self.blocked.end))]
                end = self.blocked.end
        self.position = end

    def note(self, findings: Iterable[Finding]) -> None:
        """What others have found in the text."""
        for finding in findings:
            self._report(finding)

    def save(self) -> Mark | None:
        """The state of all scans; None when one of them cannot go back."""
        states = self._states()
        return None if states is None else Mark(states, self.position, len(self.reported), dict(self._latest))

    def restore(self, mark: Mark) -> None:
        """Go back to a saved state."""
        self._restore(mark.scans)
        self.position = mark.position
        self.blocked = None
        self._latest = dict(mark.latest)
        del self.reported[mark.reported :]
        for at, finding in self._latest.values():
            self.reported[at] = finding

    def state(self) -> State | None:
        """The same for other scans of these checks: a state that can be remembered."""
        states = self._states()
        if states is None:
            return None
        return State(states, self.position, tuple(self.reported), tuple([at for at, _ in self._latest.values()]))

    def resume(self, state: State) -> None:
        """Go to where other scans of these checks stood."""
        self._restore(state.scans)
        self.position = state.position
        self.blocked = None
        self.reported = list(state.found)
        self._latest = {state.found[at].rule: (at, state.found[at]) for at in state.latest}

    @property
    def result(self) -> Result:
        """What was found."""
        return Result(tuple(self.reported), self.blocked)

    def show(self, result: Result) -> None:
        """What other scans of these checks have found at their end. These do not stand there, and read no further."""
        self.reported = list(result.found)
        self.blocked = result.blocked

    def _states(self) -> tuple[object, ...] | None:
        if self._resumable is None:
            self._resumable = [scan for scan in self._scans if isinstance(scan, Resumable)]
        if len(self._resumable) < len(self._scans):
            return None
        return tuple([scan.save() for scan in self._resumable])

    def _restore(self, states: Sequence[object]) -> None:
        resumable = self._resumable or [scan for scan in self._scans if isinstance(scan, Resumable)]
        for scan, state in zip(resumable, states, strict=True):
            scan.restore(state)

    def _report(self, finding: Finding) -> None:
        if finding.rule.policy == INTERNAL:
            self.failed = True
        if _blocks(finding):
            chosen = self.blocked
            if chosen is None or (finding.end, finding.rule.order) < (chosen.end, chosen.rule.order):
                self.blocked = finding
        at, known = self._latest.get(finding.rule, (-1, None))
        if known is not None and finding.extends and finding.start <= known.end:
            start, end = min(known.start, finding.start), max(known.end, finding.end)
            self.reported[at] = known = known._replace(start=start, end=end)
        elif known is not None and known.start <= finding.start and finding.end <= known.end:
            return  # the same match, found in another view of the text
        else:
            at, known = len(self.reported), finding
            self.reported.append(finding)
        self._latest[finding.rule] = at, known


def _blocks(finding: Finding) -> bool:
    """Whether a finding ends the text."""
    return finding.rule.holds and finding.rule.action is Action.BLOCK
