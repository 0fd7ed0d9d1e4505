"""From one policy file that could be read to a Policy: its rules compiled, its limits, and which texts they are for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from msgspec import Struct

from proxy.checks.asking import AskingRule
from proxy.checks.built_in import LengthOptions, MarkersOptions
from proxy.checks.detectors.catalogue import DETECTORS
from proxy.checks.limits import Limit
from proxy.checks.markers import MARKER_DETECTORS, MarkerKind, MarkerPass
from proxy.checks.outside import OutsideCode
from proxy.checks.passes import DetectedPass, OwnPass, outside_code
from proxy.checks.plugin_pass import PluginRule
from proxy.checks.refusals.rule import RefusalPass
from proxy.checks.registry import Registry
from proxy.checks.system_prompt import SystemPromptPass
from proxy.core.check import Check
from proxy.core.failures import CheckFailed
from proxy.core.types import Action, Ending, Rule
from proxy.matching.compiled import CompiledRule
from proxy.matching.errors import PatternError
from proxy.matching.pauses import Pause
from proxy.policy.document import Document, KeyPath, Problem
from proxy.policy.examples import matcher_of, run_check
from proxy.policy.plan import Policy, Scope, SearchRule, rule_of
from proxy.policy.reader import ParsedPolicy
from proxy.policy.rule_compiler import RuleCompiler
from proxy.policy.rulespecs import ACTIONS, RESERVED, RuleFound, RuleReader
from proxy.policy.schema import SOURCES, AppliesTo, PolicyFile, RuleSpec

SHADOW = "shadow:"
ORDERS = 1_000_000  # between the first rules of two files, so that a rule more in one does not change the other

_HAVE_NO_OUTSIDE = (
    MarkerPass,
    OutsideCode,
    SystemPromptPass,
    RefusalPass,
    PluginRule,
    AskingRule,
)  # or look after it themselves


class Progress(NamedTuple):
    """What a load does now, and how many rules are done of how many; 0 of 0 where rules do not count."""

    step: str
    done: int
    total: int


class LoadedFile(NamedTuple):
    """A file that could be read.

    parsed: of the rules: for which it is not known what they look for, and in which anything is wrong
    """

    document: Document
    parsed: ParsedPolicy
    reader: RuleReader

    @property
    def policy(self) -> PolicyFile:
        """What it says."""
        return self.parsed.policy


@dataclass
class PolicyRule:
    """A compiled rule of a policy file. It is enforced here even if its policy only monitors.

    unchanged: its files say the same of it as at the load before, so its examples still pass
    faulty:    something is wrong in it; it was compiled to find what else is
    """

    file: LoadedFile
    path: KeyPath
    spec: RuleSpec
    rule: Rule
    compiled: SearchRule
    unchanged: bool = False
    faulty: bool = False

    @cached_property
    def check(self) -> Check:
        """A matcher for this rule only."""
        return matcher_of([self.compiled])


class FileCompiler:
    """Compiles one file. What is wrong in it is in `problems`, what may surprise in `hints`."""

    def __init__(
        self,
        file: LoadedFile,
        compiler: RuleCompiler,
        registry: Registry,
        pause: Pause,
        report: Callable[[Progress], None],
        shadow: bool = False,
    ) -> None:
        self._file = file
        self._compiler = compiler
        self._registry = registry
        self._pause = pause
        self._report = report
        self._shadow = shadow
        self._order = 0
        self.problems: list[Problem] = []
        self.hints: list[Problem] = []

    def compile(self, index: int) -> tuple[Policy, list[PolicyRule]]:
        """The policy, and those of its rules that could be compiled. `index`: of the file among all."""
        file, policy = self._file, self._file.policy
        self._order = index * ORDERS
        name = SHADOW + policy.policy if self._shadow else policy.policy
        enforced = policy.mode == "enforce" and not self._shadow
        rules = self._compile_rules(file, name)
        search_rules = [rule.compiled if enforced else self._monitored(rule) for rule in rules]
        limits = self._limits(policy, name, enforced)
        stop = self._stop(policy, name, enforced)
        limit_rules = [limit.rule for limit in limits] + ([stop.rule] if stop else [])
        compiled = Policy(
            name=name,
            enforced=enforced,
            scope=Scope(policy.applies_to),
            rules=(*map(rule_of, search_rules), *limit_rules),
            compiled=tuple(rule for rule in search_rules if isinstance(rule, CompiledRule)),
            limits=limits,
            fails_open=policy.on_error == "allow",
            history=policy.history,
            system_prompt=policy.system_prompt,
            images=policy.images,
            markers=tuple(rule for rule in search_rules if isinstance(rule, MarkerPass)),
            detectors=tuple(rule for rule in search_rules if isinstance(rule, DetectedPass)),
            leaks=tuple(rule for rule in search_rules if isinstance(rule, SystemPromptPass)),
            refusals=tuple(rule for rule in search_rules if isinstance(rule, RefusalPass)),
            plugins=tuple(rule for rule in search_rules if isinstance(rule, PluginRule)),
            asking=tuple(rule for rule in search_rules if isinstance(rule, AskingRule)),
            stop=stop,
            stop_always=policy.limits.stop_at_markers == "always",
            scopes=_scopes(zip(rules, search_rules, strict=True)),
            example=_example(zip(rules, search_rules, strict=True)),
        )
        return compiled, rules

    def _compile_rules(self, file: LoadedFile, policy_name: str) -> list[PolicyRule]:
        """The rules of a file that can be compiled; every other one leaves a problem."""
        reader = file.reader
        rules: list[PolicyRule] = []
        for index, spec in enumerate(file.policy.rules):
            self._report(Progress(f"compile {file.document.name}", index, len(file.policy.rules)))
            order, problems_before = self._next_order(), len(reader.problems)
            incomplete = index in file.parsed.incomplete_rules
            fails_open = file.policy.on_error == "allow"
            match = reader.read(index, spec, policy_name, order, fails_open) if not incomplete else None
            rule = self._compile_rule(file, index, spec, match) if match is not None else None
            if rule is not None:
                rule.faulty = index in file.parsed.faulty_rules or len(reader.problems) > problems_before
                rules.append(rule)
            self._pause()
        self.problems += reader.problems
        self.hints += reader.hints
        return rules

    def _compile_rule(self, file: LoadedFile, index: int, spec: RuleSpec, match: RuleFound) -> PolicyRule | None:
        path: KeyPath = ("rules", index)
        if isinstance(match, OwnPass | PluginRule | AskingRule):
            return _outside(PolicyRule(file, path, spec, match.rule, match))
        try:
            compiled, unchanged = self._compiler.compile(match, spec.examples)
        except PatternError as error:
            self._add_pattern_problem(file.document, path, error)
            return None
        if compiled.note:
            node = file.document.at((*path, "pattern"))
            self.hints.append(file.document.problem(node, compiled.note, "", path))
        return _outside(PolicyRule(file, path, spec, match.rule, compiled, unchanged))

    def _add_pattern_problem(self, document: Document, path: KeyPath, error: PatternError) -> None:
        source = next(source for source in SOURCES if document.has((*path, source)))
        place = (*path, source) if source != "check" else (*path, "options", "pattern")
        column = f" (column {error.column} of the pattern)" if error.column and place[-1] == "pattern" else ""
        self._add_problem(document, place, f"{error.message}{column}", error.hint)

    def _monitored(self, rule: PolicyRule) -> SearchRule:
        """The rule for a policy that only monitors: it reports findings, and no text waits for it."""
        if isinstance(rule.compiled, OwnPass | PluginRule | AskingRule):
            return rule.compiled.enforced(False)
        match = rule.compiled.source
        not_enforced = replace(match, rule=replace(match.rule, enforced=False))
        compiled, _ = self._compiler.compile(not_enforced, rule.spec.examples)
        self._pause()
        return compiled

    def _limits(self, policy: PolicyFile, name: str, enforced: bool) -> tuple[Limit, ...]:
        """Its bounds, made by kinds as the checks of rules are."""
        limits: list[Limit] = []
        longest, repetition = policy.limits.max_output_characters, policy.limits.repetition
        if longest:
            rule = self._limit_rule(name, "max_output_characters", enforced)
            limits.append(self._limit("length", rule, LengthOptions(longest)))
        if repetition.max:
            limits.append(self._limit("repetition", self._limit_rule(name, "repetition", enforced), repetition))
        return tuple(limits)

    def _limit(self, kind: str, rule: Rule, options: Struct) -> Limit:
        limit = self._registry[kind].make(rule, options)
        assert isinstance(limit, Limit)
        return limit

    def _stop(self, policy: PolicyFile, name: str, enforced: bool) -> MarkerPass | None:
        if policy.limits.stop_at_markers == "never":
            return None
        rule = self._limit_rule(name, "stop_at_markers", enforced, Ending.STOP)
        stop = self._registry["markers"].make(rule, MarkersOptions((MarkerKind.TURN,)))
        assert isinstance(stop, MarkerPass)
        return stop

    def _limit_rule(self, policy: str, name: str, enforced: bool, ending: Ending = Ending.LENGTH) -> Rule:
        return Rule(policy, RESERVED + name, Action.BLOCK, self._next_order(), enforced=enforced, ending=ending)

    def _next_order(self) -> int:
        self._order += 1
        return self._order

    def _add_problem(self, document: Document, path: KeyPath, message: str, hint: str) -> None:
        self.problems.append(document.problem(document.at(path), message, hint, path))


def _outside(rule: PolicyRule) -> PolicyRule:
    """The rule, limited to text outside of code where its spec says so."""
    if not rule.spec.outside or isinstance(rule.compiled, _HAVE_NO_OUTSIDE):
        return rule
    outer = replace(rule.rule, action=ACTIONS[rule.spec.action])
    return replace(rule, rule=outer, compiled=outside_code(outer, rule.compiled))


def _example(rules: Iterable[tuple[PolicyRule, SearchRule]]) -> tuple[Rule, str] | None:
    """A text in which the first rule that has one finds something: its own example, a word of it or its detector's."""
    for rule, search_rule in rules:
        spec = rule.spec
        named = spec.detector
        detector = (DETECTORS.get(named) or MARKER_DETECTORS.get(named)) if named else None
        texts = (*spec.examples.hits, *spec.examples.becomes, *spec.words, *(detector.hits if detector else ()))
        found = next((text for text in texts if not rule.faulty and _finds(rule, text)), None)
        if found is not None:
            return rule_of(search_rule), found
    return None


def _finds(rule: PolicyRule, text: str) -> bool:
    if isinstance(rule.compiled, AskingRule):
        return False
    with suppress(CheckFailed):  # told where its examples are run
        return bool(run_check(rule.check, text).spans)
    return False


def _scopes(rules: Iterable[tuple[PolicyRule, SearchRule]]) -> dict[Rule, Scope]:
    """The scopes of the rules that are narrower than their policy."""
    narrow = [(rule.spec, rule_of(search)) for rule, search in rules if rule.spec.directions or rule.spec.roles]
    return {rule: Scope(AppliesTo(directions=spec.directions, roles=spec.roles)) for spec, rule in narrow}
