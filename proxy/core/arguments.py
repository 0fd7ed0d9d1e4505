"""Tool call arguments: JSON that a program will run. They leave when all of them have been judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from proxy.core.check import Check
from proxy.core.gate import MOST_REPORTED, Gate
from proxy.core.json_checks import json_checks
from proxy.core.json_gate import JsonGate
from proxy.core.steps import Steps, in_one_go
from proxy.core.types import Finding, Rule

Checks = Callable[[bool], Iterable[Check]]  # True: for text that is JSON source


class WholeGate:
    """A gate that releases nothing before the text is complete, for a tool's name or a call's id."""

    def __init__(self, checks: Checks) -> None:
        self._checks = checks
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
        """Collect the text; at the end judge it and return it."""
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
        self._size = 0
        gate = self._gate()
        gate.most_reported = MOST_REPORTED
        out: list[str] = []
        at = 0
        while at + (size := step()) < len(whole) and gate.blocked is None:
            out.append(gate.feed(whole[at : at + size]))
            at += size
            yield
        out.append(gate.feed(whole[at:], final=True))
        self.findings, self.blocked, self.more = gate.findings, gate.blocked, gate.more
        return "" if self.blocked is not None else "".join(out)

    def _gate(self) -> Gate:
        return Gate(self._checks(False))


class ArgumentsGate(WholeGate):
    """A call's arguments: every key, text and number is judged decoded, and the JSON as it is written.

    A block ends the call: half an argument must not be executed. A rewrite leaves JSON.
    """

    def _gate(self) -> Gate:
        return JsonGate(json_checks(self._checks))
