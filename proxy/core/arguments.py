"""Tool call arguments: JSON that a program will run. They leave when all of them have been judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from proxy.core.askers import Asked
from proxy.core.check import NO_TURN, Check, Turn
from proxy.core.gate import MOST_REPORTED, Gate
from proxy.core.json_checks import json_checks
from proxy.core.json_gate import JsonGate
from proxy.core.steps import STALLED, Steps, in_one_go
from proxy.core.types import Finding, Rule

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
        self._judging = gate = self._gate()
        gate.most_reported = MOST_REPORTED
        at = 0
        while at + (size := step()) < len(whole) and gate.blocked is None:
            self._out.append(gate.feed(whole[at : at + size]))
            at += size
            yield None
        self._out.append(gate.feed(whole[at:], final=True))
        while gate.undecided and self.blocked is None:
            yield STALLED
        self._size = 0
        self.findings, self.blocked, self.more = gate.findings, self.blocked or gate.blocked, gate.more
        return "" if self.blocked is not None else "".join(self._out)

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

    def _gate(self) -> Gate:
        return Gate(self._checks(False), self._turn)


class ArgumentsGate(WholeGate):
    """A call's arguments: every key, text and number is judged decoded, and the JSON as it is written.

    A block ends the call: half an argument must not be executed. A rewrite leaves JSON.
    """

    def _gate(self) -> Gate:
        return JsonGate(json_checks(self._checks), self._turn)
