"""From files to one immutable PolicySet.

Read every file, compile rule by rule, run every example, then check that no rule finds the texts that the proxy itself
inserts. All problems of all files are collected. With a single problem there is no set. `pause` is called often, so
that other work can run in between.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from hashlib import sha256
from operator import attrgetter
from typing import NamedTuple

import msgspec
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
from proxy.checks.registry import BUILT_IN_ONLY, Registry
from proxy.checks.system_prompt import SystemPromptPass
from proxy.core.check import Check
from proxy.core.failures import CheckFailed
from proxy.core.types import Action, Ending, Rule
from proxy.errors import PolicyError
from proxy.matching.compiled import CompiledRule, compile_rule
from proxy.matching.errors import PatternError
from proxy.matching.pauses import Pause, no_pause
from proxy.matching.rules import MatchRule
from proxy.policy.document import Document, KeyPath, Problem, Source, Unreadable, lines_of
from proxy.policy.examples import (
    ExampleResult,
    ExampleRunner,
    InsertedTexts,
    inserted_texts,
    matcher_of,
    quoted,
    run_check,
)
from proxy.policy.plan import Policy, Scope, SearchRule, rule_of
from proxy.policy.policyset import PolicySet
from proxy.policy.reader import ParsedPolicy, read_policy
from proxy.policy.rulespecs import ACTIONS, RESERVED, RuleFound, RuleReader
from proxy.policy.schema import SOURCES, AppliesTo, Examples, PolicyFile, RuleSpec

SHADOW = "shadow:"
ORDERS = 1_000_000  # between the first rules of two files, so that a rule more in one does not change the other
INTERNAL = "internal"  # the policy to which the proxy's own rules belong

_HAVE_NO_OUTSIDE = (
    MarkerPass,
    OutsideCode,
    SystemPromptPass,
    RefusalPass,
    PluginRule,
    AskingRule,
)  # or look after it themselves

CacheKey = tuple[object, ...]

_rule_fields = attrgetter(*(f.name for f in fields(Rule) if f.name != "order"))
_match_fields = attrgetter(*(f.name for f in fields(MatchRule) if f.name != "rule"))


def compile_policies(
    sources: Iterable[Source],
    *,
    hash_key: bytes,
    shadow: bool = False,
    allow_empty: bool = False,
    origin: str = "policies",
    registry: Registry = BUILT_IN_ONLY,
) -> PolicySet:
    """Compile all files at once. Raises PolicyError with all problems of all files.

    hash_key: the secret under which `{hash: true}` makes tags, 1 to 64 bytes
    shadow:   the set reports findings and changes nothing
    origin:   what errors call the files as a whole
    registry: the kinds of checks that rules can name
    """
    compilation = Compilation(
        sources, hash_key=hash_key, shadow=shadow, allow_empty=allow_empty, origin=origin, registry=registry
    )
    return compilation.run()


@dataclass(frozen=True, slots=True)
class CompileCache:
    """What the next load may use of a load that succeeded.

    rules: the compiled rules, by everything that their files say of them, their examples included
    clean: inserted texts (notices, replacements) in which no rule that acts found anything
    """

    rules: Mapping[CacheKey, CompiledRule] = field(default_factory=dict)
    clean: frozenset[str] = frozenset()


class RuleCompiler:
    """Compiles the rules of one load. A rule that has not changed since the load before is taken from the cache."""

    def __init__(self, cache: CompileCache, pause: Pause) -> None:
        self._cached = cache.rules
        self._pause = pause
        self.rules: dict[CacheKey, CompiledRule] = {}  # of this load

    def compile(self, match: MatchRule, examples: Examples) -> tuple[CompiledRule, bool]:
        """The compiled rule, and whether it comes from the cache. Raises PatternError as `compile_rule` does."""
        key = cache_key(match, examples)
        cached = self._cached.get(key) if key not in self.rules else None
        compiled = compile_rule(match, self._pause) if cached is None else cached.placed(match)
        self.rules[key] = compiled
        return compiled, cached is not None


def cache_key(match: MatchRule, examples: Examples) -> CacheKey:
    """All that decides what a rule does and whether its examples pass: everything but its place among the rules."""
    example_texts = (examples.hits, examples.misses, tuple(examples.becomes.items()))
    return *_rule_fields(match.rule), *_match_fields(match), *example_texts


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


class Compilation:
    """One load.

    results: the examples that were run, also when the load fails
    progress: how far it is
    cache:   what the next load may use of this one; empty until it has succeeded
    """

    def __init__(
        self,
        sources: Iterable[Source],
        *,
        hash_key: bytes,
        shadow: bool = False,
        allow_empty: bool = False,
        origin: str = "policies",
        cache: CompileCache | None = None,
        previous: PolicySet | None = None,
        pause: Pause = no_pause,
        registry: Registry = BUILT_IN_ONLY,
    ) -> None:
        """`cache` comes from the load before, `previous` is the set in force, with the same `hash_key` and `shadow`.

        A policy whose files say the same as in `previous` is the same object, with the same checks.

        `pause` is called often, from every step.
        """
        files = sorted(sources, key=lambda source: source.base)
        self._policies = [source for source in files if source.is_policy]
        self._word_files = {source.base: source for source in files if not source.is_policy}
        self._hash_key = hash_key
        self._shadow = shadow
        self._allow_empty = allow_empty
        self._origin = origin
        self._order = 0
        self._pause = pause
        self._previous = previous
        self._registry = registry
        self._cache_before = cache or CompileCache()
        self._compiler = RuleCompiler(self._cache_before, pause)
        self.cache = CompileCache()
        self.problems: list[Problem] = []
        self.hints: list[Problem] = []
        self.results: list[ExampleResult] = []
        self.progress = Progress("read the files", 0, 0)

    def run(self) -> PolicySet:
        """Compile. Raises PolicyError."""
        files = self._load()
        self._check_names(files)
        rules: list[PolicyRule] = []
        policies = tuple([self._compile(file, index, rules) for index, file in enumerate(files)])
        sound = [rule for rule in rules if not rule.faulty]
        self._run_examples(sound)
        clean_texts = self._check_inserted_texts(sound)
        self._check_not_empty(policies)
        if self.problems:
            raise PolicyError(lines_of(self.problems))
        policy_set = self._policy_set(files, policies)
        self.progress = Progress("prepare the matchers", 0, 0)
        policy_set.warm(() if self._previous is None else self._previous.recent_queries, self._pause)
        self.cache = CompileCache(self._compiler.rules, frozenset(clean_texts))
        return policy_set

    def _policy_set(self, files: Sequence[LoadedFile], policies: Sequence[Policy]) -> PolicySet:
        contents = [self._content(file) for file in files]
        digests = [sha256(b"%d " % index + content).digest() for index, content in enumerate(contents)]
        known = {} if self._previous is None else self._previous.by_digest
        by_digest = {digest: known.get(digest, policy) for digest, policy in zip(digests, policies, strict=True)}
        revision = sha256(b"".join(contents)).hexdigest()
        report = tuple(line for policy in policies for line in _report(policy))
        hints = tuple(lines_of(self.hints))
        policy_set = PolicySet(revision, tuple(by_digest.values()), self._shadow, report, hints, by_digest)
        if self._previous is not None:
            policy_set.take_checks(self._previous)
        return policy_set

    def _load(self) -> list[LoadedFile]:
        files = []
        for source in self._policies:
            try:
                document = Document(source, self._pause)
                parsed = read_policy(document, self._pause)
            except Unreadable as error:
                self.problems.append(error.problem)
            else:
                self.problems += parsed.problems
                reader = RuleReader(document, self._word_files, self._hash_key, self._registry, self._pause)
                files.append(LoadedFile(document, parsed, reader))
        return files

    def _check_names(self, files: Sequence[LoadedFile]) -> None:
        owners: dict[str, str] = {INTERNAL: "the proxy itself"}
        for file in files:
            document, policy = file.document, file.policy
            owner = owners.setdefault(policy.policy, document.name)
            if owner != document.name and policy.policy:
                message = f"the name `{policy.policy}` is taken by {owner}"
                self.problems.append(document.problem(document.at(("policy",)), message, "choose another one"))

    def _check_not_empty(self, policies: Iterable[Policy]) -> None:
        empty_by_mistake = not self._allow_empty and not self.problems  # without a problem that would explain it
        if empty_by_mistake and not any(policy.rules for policy in policies):
            missing = "rule in any file" if self._policies else "policy file (.yaml, .yml or .json)"
            hint = "write one, or start with --allow-empty"
            self.problems.append(Problem(self._origin, 0, 0, f"there is no {missing}", hint))

    def _compile(self, file: LoadedFile, index: int, all_rules: list[PolicyRule]) -> Policy:
        policy = file.policy
        self._order = index * ORDERS
        name = SHADOW + policy.policy if self._shadow else policy.policy
        enforced = policy.mode == "enforce" and not self._shadow
        rules = self._compile_rules(file, name)
        all_rules += rules
        search_rules = [rule.compiled if enforced else self._monitored(rule) for rule in rules]
        limits = self._limits(policy, name, enforced)
        stop = self._stop(policy, name, enforced)
        limit_rules = [limit.rule for limit in limits] + ([stop.rule] if stop else [])
        return Policy(
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

    def _compile_rules(self, file: LoadedFile, policy_name: str) -> list[PolicyRule]:
        """The rules of a file that can be compiled; every other one leaves a problem."""
        reader = file.reader
        rules: list[PolicyRule] = []
        for index, spec in enumerate(file.policy.rules):
            self.progress = Progress(f"compile {file.document.name}", index, len(file.policy.rules))
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

    def _run_examples(self, rules: Iterable[PolicyRule]) -> None:
        rules = tuple(rules)
        for index, rule in enumerate(rules):
            self.progress = Progress("run the examples", index, len(rules))
            if rule.unchanged or rule.spec.examples == Examples() or isinstance(rule.compiled, AskingRule):
                continue
            try:
                self._run_examples_of(rule)
            except CheckFailed as error:
                self._add_failure(rule, "at its examples", error)

    def _run_examples_of(self, rule: PolicyRule) -> None:
        for result in ExampleRunner(rule.rule, rule.check, self._pause).run(rule.spec.examples):
            self.results.append(result)
            if not result.passed:
                place = (*rule.path, *result.path)
                self._add_problem(rule.file.document, place, result.wrong, "fix the rule or the example")

    def _add_failure(self, rule: PolicyRule, when: str, error: CheckFailed) -> None:
        message = f"the check `{error.check}` {error.detail} {when}"
        self._add_problem(rule.file.document, (*rule.path, "check"), message, "fix the plug-in, or leave the rule out")

    def _check_inserted_texts(self, rules: Sequence[PolicyRule]) -> set[str]:
        """Report the inserted texts in which a rule finds something; return the others."""
        self.progress = Progress("look whether notices and replacements are found themselves", 0, 0)
        known = [rule for rule in rules if not isinstance(rule.compiled, AskingRule)]  # nobody is asked at a load
        acting = [rule for rule in known if rule.rule.action is not Action.FLAG]
        changed = [rule.compiled for rule in acting if not rule.unchanged]
        texts = InsertedTexts([rule.compiled for rule in acting], changed, self._cache_before.clean, self._pause)
        for rule in acting:
            try:
                self._check_texts_of(rule, acting, texts)
            except CheckFailed as error:
                failing = next(
                    one for one in acting if isinstance(one.compiled, PluginRule) and one.compiled.name == error.check
                )
                self._add_failure(failing, "at a notice or a replacement", error)
                break
            self._pause()
        return texts.clean

    def _check_texts_of(self, rule: PolicyRule, acting: Sequence[PolicyRule], texts: InsertedTexts) -> None:
        for key, text in inserted_texts(rule.rule):
            if texts.found(text):
                finder = self._first_finder(acting, text) or rule
                message = f"its {key} {quoted(text)} is itself found by {finder.rule.name}"
                self._add_problem(rule.file.document, (*rule.path, key), message, "choose another text")

    def _first_finder(self, rules: Iterable[PolicyRule], text: str) -> PolicyRule | None:
        return next((rule for rule in rules if run_check(rule.check, text, 0, self._pause).spans), None)

    def _content(self, file: LoadedFile) -> bytes:
        """All that a policy says, without comments and layout."""
        content = msgspec.to_builtins(file.policy)
        lists = [file.reader.entries(spec) for spec in file.policy.rules if spec.words_file]
        plugins = [self._plugin_of(spec) for spec in file.policy.rules]
        self._pause()
        said = [content, lists, plugins] if any(plugins) else [content, lists]
        return json.dumps(said, sort_keys=True, ensure_ascii=True).encode("ascii")

    def _plugin_of(self, spec: RuleSpec) -> list[str]:
        """The plug-in whose kind a rule names: what the rule does goes by its version too."""
        entry = self._registry.entries.get(spec.check or spec.detector)
        is_plugin = entry is not None and self._registry.is_plugin(entry.kind.name)
        return [entry.kind.name, entry.version] if entry is not None and is_plugin else []

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


def _report(policy: Policy) -> Iterator[str]:
    for search_rule in policy.search_rules:
        rule = rule_of(search_rule)
        yield f"{rule.name}: {rule.action.name.lower()}, {search_rule.describe()}"
    yield from (f"{rule.name}: a limit on answers" for rule in policy.rules if rule.id.startswith(RESERVED))
