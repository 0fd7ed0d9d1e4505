"""What looks like a find of a detector and is none, and why: for `safety-proxy explain`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from proxy.checks.asking import AskingRule
from proxy.checks.code import CodeScan
from proxy.checks.detectors.scan import FoldedPass
from proxy.checks.markers import MarkerPass, find, named
from proxy.checks.outside import OutsideCode
from proxy.checks.passes import Detecting, OwnPass
from proxy.checks.plugin_pass import PluginRule
from proxy.checks.system_prompt import SystemPromptPass
from proxy.matching.compiled import CompiledRule
from proxy.matching.folding import fold_text


class Dropped(NamedTuple):
    """A candidate that does not count, as it reads (folded where the rule folds), and why."""

    text: str
    reason: str


def detector_name(rule: CompiledRule | OwnPass | PluginRule | AskingRule) -> str:
    """The detector that a rule names; empty when it has words, a pattern or a check."""
    inner = rule.detector if isinstance(rule, OutsideCode) else rule.check if isinstance(rule, PluginRule) else rule
    return inner.name if isinstance(inner, Detecting | MarkerPass | SystemPromptPass) else ""


def dropped(rule: CompiledRule | OwnPass | PluginRule | AskingRule, text: str) -> Iterator[Dropped]:
    """The candidates of a rule's detector that do not count."""
    if isinstance(rule, PluginRule):
        if isinstance(rule.check, Detecting):
            yield from _by_detector(rule.check, text)
    elif isinstance(rule, OutsideCode):
        yield from _outside(rule, text)
    elif isinstance(rule, Detecting):
        yield from _by_detector(rule, text)
    elif isinstance(rule, MarkerPass):
        for match in find(text, rule.known):
            if not rule.counts(match[0]):
                yield Dropped(match[0], f"a {named(match[0]).kind} marker")
    elif isinstance(rule, SystemPromptPass):
        for run, count in rule.short_runs(text):
            yield Dropped(run, f"only {count} words in a row of the system text")


def _by_detector(detector: Detecting, text: str) -> Iterator[Dropped]:
    shown = fold_text(text) if isinstance(detector, FoldedPass) else text
    for start, end, validation in detector.candidates(text):
        if not validation.spans:
            yield Dropped(shown[start:end], validation.reason)


def _outside(rule: OutsideCode, text: str) -> Iterator[Dropped]:
    """Also what counts, but lies in code."""
    detector = rule.detector
    if detector is None:
        return
    yield from _by_detector(detector, text)
    code = CodeScan().feed(text, True).code
    for finding in detector.open().feed(text, True).findings:
        if not finding.extends and any(start <= finding.start and finding.end <= end for start, end in code):
            yield Dropped(text[finding.start : finding.end], "it stands in code")
