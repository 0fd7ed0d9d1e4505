"""What rules are that look for something in their own way, beside the patterns and words of the matcher."""

from __future__ import annotations

from collections.abc import Iterable

from proxy.checks.detectors.group import DetectorGroup, groupable
from proxy.checks.detectors.scan import DetectorPass, FoldedPass
from proxy.checks.markers import MarkerPass
from proxy.checks.outside import OutsideCode, searching_rule
from proxy.checks.refusals.rule import RefusalPass
from proxy.checks.rule_pass import Folded
from proxy.checks.system_prompt import SystemPromptPass
from proxy.core.types import Rule
from proxy.matching.compiled import CompiledRule
from proxy.matching.rules import HidingPass
from proxy.matching.scan import MatchPass

Detecting = DetectorPass | FoldedPass
DetectedPass = Detecting | OutsideCode
OwnPass = MarkerPass | DetectedPass | SystemPromptPass | RefusalPass


def outside_code(rule: Rule, searching: CompiledRule | Detecting) -> OutsideCode:
    """What a rule looks for, but not in code. `searching` is made for `searching_rule(rule)`."""
    if not isinstance(searching, CompiledRule):
        (inner,) = grouped([searching])
        return OutsideCode(rule, inner, searching)
    found = MatchPass([searching])
    return OutsideCode(rule, Folded(found) if searching.source.fold else found)


def grouped(passes: Iterable[OwnPass]) -> list[HidingPass]:
    """The passes, of which detectors that end no text read it together."""
    plain: list[DetectorPass] = []
    folded: list[DetectorPass] = []
    rest: list[HidingPass] = []
    for one in passes:
        if isinstance(one, FoldedPass) and groupable(one.inner):
            folded.append(one.inner)
        elif isinstance(one, DetectorPass) and groupable(one):
            plain.append(one)
        else:
            rest.append(one)
    if plain:
        rest.append(DetectorGroup.of(plain))
    if folded:
        rest.append(Folded(DetectorGroup.of(folded)))
    return rest


__all__ = ["DetectedPass", "Detecting", "OwnPass", "grouped", "outside_code", "searching_rule"]
