"""Which rules may share registers: those for which text waits in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from proxy.matching.compiled import CompiledRule
from proxy.matching.rules import Overflow

UNLIMITED = 1 << 60


@dataclass(frozen=True, slots=True, eq=False)
class HoldClass:
    """Rules for which text waits in the same way. Compared by identity.

    holds:       text waits for their open matches
    limit:       the most characters that may wait; a match covers no more of what lies before its end
    on_overflow: what becomes of a character that has waited that long; "release" when none can
    number:      the rule, where there is only one because on_overflow has to know which
    every_start: their matches have validators, so none may stand in for another that began later
    """

    holds: bool
    limit: int = UNLIMITED
    on_overflow: Overflow = "release"
    number: int = -1
    every_start: bool = False


def classify(rules: Sequence[CompiledRule]) -> list[HoldClass]:
    """A class for each rule; as few as can be, because every class has registers of its own."""
    limits = sorted({r.source.max_hold for r in rules if _releases_late(r)})
    known: dict[tuple[object, ...], HoldClass] = {}
    return [known.setdefault(_key(new), new) for new in (_class_of(n, rule, limits) for n, rule in enumerate(rules))]


def _releases_late(rule: CompiledRule) -> bool:
    return rule.source.rule.holds and rule.unbounded and rule.source.on_overflow == "release"


def _class_of(number: int, rule: CompiledRule, limits: Iterable[int]) -> HoldClass:
    source = rule.source
    if not source.rule.holds or source.validate is not None:
        return HoldClass(source.rule.holds, every_start=source.validate is not None)
    if not rule.unbounded:
        longest = rule.longest or 0
        return HoldClass(True, next((limit for limit in limits if limit >= longest), UNLIMITED))
    if source.on_overflow == "release":
        return HoldClass(True, source.max_hold)
    return HoldClass(True, source.max_hold, source.on_overflow, number)


def _key(c: HoldClass) -> tuple[object, ...]:
    return c.holds, c.limit, c.on_overflow, c.number, c.every_start
