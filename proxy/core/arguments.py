"""Tool call arguments: JSON that a program will run. It is judged as a whole, by the values that a program reads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from proxy.core.check import Check
from proxy.core.gate import Gate
from proxy.core.types import Action, Finding, Rule

MAX_DIGITS = 400  # of a number written out; a float has no more
UNREADABLE = Rule("internal", "arguments", Action.BLOCK)  # nested too deep to be read

_HALF_PAIR = re.compile("[\ud800-\udfff]")  # of UTF-16 surrogates; JSON can escape one alone

Checks = Callable[[bool], Iterable[Check]]  # escaped -> checks


class WholeGate:
    """A gate that releases nothing before the text is complete, for a tool's name or a call's id."""

    def __init__(self, checks: Checks) -> None:
        self._checks = checks
        self._parts: list[str] = []
        self._size = 0
        self.blocked: Finding | None = None
        self.findings: list[Finding] = []

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
        if not final:
            return ""
        whole = "".join(self._parts)
        self._parts.clear()
        self._size = 0
        return self._judge(whole)

    def _judge(self, text: str) -> str:
        return self._gated(text)

    def _gated(self, text: str, escaped: bool = False, seen: frozenset[Rule] = frozenset()) -> str:
        """The text through a gate of its own; findings of rules in `seen` are not reported again."""
        gate = Gate(self._checks(escaped), escaped)
        out = gate.feed(text, final=True)
        self.findings += [f for f in gate.findings if f.rule not in seen]
        if gate.blocked is not None:
            self.blocked = gate.blocked
            return ""
        return out


class ArgumentsGate(WholeGate):
    """A call's arguments: every key, string and number of the JSON is judged decoded, then the text as it is written.

    A rewrite that would leave broken JSON ends the call instead: half an argument must not be executed.
    """

    def __init__(self, checks: Checks) -> None:
        super().__init__(checks)
        self._clean: set[str] = set()  # keys and values in which nothing is found; many come more than once

    def _judge(self, text: str) -> str:
        try:
            value = json.loads(text, object_pairs_hook=_Pairs, parse_int=_Number, parse_float=_Number)
            judged, changed = self._walk(value)
            self._clean.clear()
        except RecursionError:
            self.blocked = Finding(0, len(text), UNREADABLE)
            self.findings.append(self.blocked)
            return ""
        except ValueError:  # not JSON (an answer cut short): judged as text, escapes decoded
            return self._gated(text, escaped=True)
        if self.blocked is not None:
            return ""
        return self._judge_source(_dump(judged) if changed else text)

    def _judge_source(self, source: str) -> str:
        """Judge the text as it is written, for matches that contain the JSON's own punctuation."""
        before = len(self.findings)
        out = self._gated(source, escaped=True, seen=frozenset(f.rule for f in self.findings))
        broken = out != source and not _is_json(out)
        if self.blocked is None and broken:
            rewrites = [f for f in self.findings[before:] if f.rule.holds] or [Finding(0, len(source), UNREADABLE)]
            self.blocked = rewrites[0]
            return ""
        return out

    def _walk(self, value: Any) -> tuple[Any, bool]:
        """The value with every leaf judged, and whether that changed anything."""
        if self.blocked is not None:
            return value, False
        if isinstance(value, _Pairs):
            pairs = [(self._walk(k), self._walk(v)) for k, v in value]
            return _Pairs((k[0], v[0]) for k, v in pairs), any(k[1] or v[1] for k, v in pairs)
        if isinstance(value, list):
            items = [self._walk(item) for item in value]
            return [item[0] for item in items], any(item[1] for item in items)
        if isinstance(value, str):  # a number too: _Number is its literal
            plain = value.plain() if isinstance(value, _Number) else value
            out = plain if self._is_clean(plain) else self._gated(plain)
            return (value, False) if out == plain else (out, True)
        return value, False

    def _is_clean(self, text: str) -> bool:
        """Whether no rule finds anything. Then the text needs no gate, which would cost more than this look."""
        if text in self._clean:
            return True
        if any(check.open().feed(text, final=True).findings for check in self._checks(False)):
            return False
        self._clean.add(text)
        return True


class _Pairs(list[tuple[Any, Any]]):
    """A JSON object with its duplicate keys: a program may read any of them."""


class _Number(str):
    """A JSON number as it is written."""

    __slots__ = ()

    def plain(self) -> str:
        """Without an exponent, as a program would print it: 4.111e3 is 4111."""
        number = Decimal(self)
        if not ("e" in self or "E" in self) or abs(number.adjusted()) > MAX_DIGITS:
            return str(self)
        return format(number, "f")


def _dump(value: Any) -> str:
    if isinstance(value, _Pairs):
        return "{" + ", ".join(f"{_dump(k)}: {_dump(v)}" for k, v in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_dump, value)) + "]"
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, str) and _HALF_PAIR.search(value):
        return json.dumps(value)  # UTF-8 has no bytes for it
    return json.dumps(value, ensure_ascii=False)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
