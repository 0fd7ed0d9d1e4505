"""Tool call arguments: JSON that a program will run. They leave when all of them have been judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from proxy.core.askers import Asked
from proxy.core.check import NO_TURN, Check, Progress, Scan, Turn, asking
from proxy.core.gate import MOST_REPORTED, Gate
from proxy.core.json_checks import json_checks
from proxy.core.json_gate import JsonGate
from proxy.core.steps import STALLED, Steps, in_one_go
from proxy.core.types import Action, Finding, Rule

Checks = Callable[[bool], Iterable[Check]]  # True: for text that is JSON source


class WholeGate:
    """A gate that releases nothing before the text is complete, for a tool's name or a call's id."""

    def __init__(self, checks: Checks, turn: Turn = NO_TURN) -> None:
        self._checks = checks
        self._turn = turn
        self._judging: Gate | None = None  # what reads the whole text, once it is there
        self._out: list[str] = []
        self._parts: list[str] = []
        self._size = 0
        self.blocked: Finding | None = None
        self.findings: list[Finding] = []
        self.more: dict[Rule, int] = {}

    @property
    def held(self) -> int:
        """Characters that wait for a verdict."""
        return self._size

    def feed(self, text: str, final: bool = False) -> str:
        """Collect the text; at the end judge it and return it. Of checks that ask: see `finish`."""
        if self.blocked is not None:
            return ""
        self._parts.append(text)
        self._size += len(text)
        size = self._size
        return in_one_go(self.finish(lambda: size)) if final else ""

    def finish(self, step: Callable[[], int]) -> Steps[str]:
        """Judge the text, which is complete, so many characters at a time, and return it."""
        whole = "".join(self._parts)
        self._parts.clear()
        out = yield from self._judge(whole, step)
        self._size = 0
        return out

    def take_asks(self) -> list[Asked]:
        """See Gate."""
        return self._judging.take_asks() if self._judging is not None else []

    def take_dropped(self) -> list[int]:
        """See Gate."""
        return self._judging.take_dropped() if self._judging is not None else []

    def answer(self, key: int, reply: object) -> str:
        """A question is answered. The text is returned by `finish`, when all are."""
        if self._judging is not None:
            self._out.append(self._judging.answer(key, reply))
        return ""

    def give_up(self) -> None:
        """See Gate."""
        if self._judging is not None:
            self._judging.give_up()

    def _judge(self, whole: str, step: Callable[[], int]) -> Steps[str]:
        """What is released of it."""
        return (yield from self._pass(Gate(self._checks(False), self._turn), pieces(whole, step)))

    def _pass(self, gate: Gate, cut: Iterable[str]) -> Steps[str]:
        """Feed a gate; what comes out, if it does not block."""
        self._judging = gate
        gate.most_reported = MOST_REPORTED
        for piece in cut:
            if gate.blocked is not None:
                break
            self._out.append(gate.feed(piece))
            yield None
        self._out.append(gate.feed("", final=True))
        while gate.undecided and self.blocked is None:
            yield STALLED
        self.findings, self.blocked, self.more = gate.findings, self.blocked or gate.blocked, gate.more
        return "" if self.blocked is not None else "".join(self._out)


class ArgumentsGate(WholeGate):
    """A call's arguments: every key, text and number is judged decoded, and the JSON as it is written.

    A block ends the call: half an argument must not be executed. A rewrite leaves JSON.
    """

    def _judge(self, whole: str, step: Callable[[], int]) -> Steps[str]:
        """Where nothing is found, which is most often so, nothing has to be written."""
        checks = json_checks(self._checks)
        if asking(checks):
            return (yield from self._pass(JsonGate(checks, self._turn), pieces(whole, step)))
        told = Told()
        for check in checks:  # there is one, or none
            yield from told.listen(check.open(), pieces(whole, step))
        if not told.found:
            return whole
        return (yield from self._pass(JsonGate([told]), told.pieces))


class Told:
    """What a scan has told of a text, as a check that tells it again: the scan's pieces have to be fed to it."""

    hold = None

    def __init__(self) -> None:
        self.found = False
        self.pieces: list[str] = []
        self._answers: list[Progress] = []

    def listen(self, scan: Scan, cut: Iterable[str]) -> Steps[None]:
        """Let a scan read a text up to a block."""
        for piece in cut:
            self.pieces.append(piece)
            self._note(scan.feed(piece))
            if any(blocks(finding) for finding in self._answers[-1].findings):
                return
            yield None
        self._note(scan.feed("", final=True))

    def _note(self, answer: Progress) -> None:
        self.found = self.found or bool(answer.findings)
        self._answers.append(answer)

    def open(self) -> Told:
        """This object: it is used once."""
        self._answers.reverse()
        return self

    def feed(self, text: str, final: bool = False) -> Progress:
        """The next answer; of the end there is one too."""
        return self._answers.pop()


def pieces(text: str, step: Callable[[], int]) -> Iterator[str]:
    """A text, so many characters at a time."""
    at = 0
    while at < len(text):
        size = step()
        yield text[at : at + size]
        at += size


def blocks(finding: Finding) -> bool:
    """Whether it ends the text."""
    return finding.rule.holds and finding.rule.action is Action.BLOCK
