"""What rules are that look for something in their own way, beside the patterns and words of the matcher."""

from __future__ import annotations

from proxy.checks.detectors.scan import DetectorPass, FoldedPass
from proxy.checks.markers import MarkerPass
from proxy.checks.outside import Folded, OutsideCode, searching_rule
from proxy.checks.system_prompt import SystemPromptPass
from proxy.core.types import Rule
from proxy.matching.compiled import CompiledRule
from proxy.matching.rules import HidingPass
from proxy.matching.scan import MatchPass

Detecting = DetectorPass | FoldedPass
DetectedPass = Detecting | OutsideCode
OwnPass = MarkerPass | DetectedPass | SystemPromptPass


def outside_code(rule: Rule, searching: CompiledRule | Detecting) -> OutsideCode:
    """What a rule looks for, but not in code. `searching` is made for `searching_rule(rule)`."""
    if not isinstance(searching, CompiledRule):
        return OutsideCode(rule, searching)
    inner: HidingPass = MatchPass([searching])
    return OutsideCode(rule, Folded(inner) if searching.source.fold else inner)


__all__ = ["DetectedPass", "Detecting", "OwnPass", "outside_code", "searching_rule"]
