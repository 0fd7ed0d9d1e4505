"""From files to one immutable PolicySet, with a pause again and again in which others may run.

parse -> compile rule by rule -> run every example -> look whether notices and replacements would be found themselves.
Every problem of every file is gathered; with a single one there is no set.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple

import msgspec

from proxy.checks.limits import LengthLimit, Limit, RepetitionLimit
from proxy.checks.markers import MarkerKind, MarkerPass
from proxy.checks.outside import OutsideCode
from proxy.checks.passes import DetectedPass, OwnPass, outside_code
from proxy.core.check import Check
from proxy.core.types import Action, Ending, Rule
from proxy.errors import PolicyError
from proxy.matching.compiled import CompiledRule
from proxy.matching.errors import PatternError
from proxy.matching.pauses import Pause, no_pause
from proxy.matching.rules import MatchRule
from proxy.policy.document import Document, Path
from proxy.policy.examples import Result, Trial, matcher_of, see, shown
from proxy.policy.ownwords import OwnWords, own_words
from proxy.policy.plan import Asked, Policy, Scope, rule_of
from proxy.policy.policyset import PolicySet
from proxy.policy.reader import read_policy
from proxy.policy.reuse import Kept, Reuse
from proxy.policy.rulespecs import ACTIONS, RESERVED, RuleReader
from proxy.policy.schema import SOURCES, AppliesTo, Examples, PolicyFile, RuleSpec
from proxy.policy.source import Problem, Source, Unreadable, lines_of

SHADOW = "shadow:"
INTERNAL = "internal"  # the policy to which the proxy's own rules belong


def compile_policies(
    sources: Iterable[Source],
    *,
    hash_key: bytes,
    shadow: bool = False,
    allow_empty: bool = False,
    origin: str = "policies",
) -> PolicySet:
    """Compile all files at once. Raises PolicyError with all problems of all of them.

    hash_key: the secret under which `{hash: true}` makes tags, 1 to 64 bytes
    shadow:   the set only watches
    origin:   what errors call the whole of the files
    """
    return Compilation(sources, hash_key=hash_key, shadow=shadow, allow_empty=allow_empty, origin=origin).run()


class Loaded(NamedTuple):
    """A file that could be read."""

    document: Document
    policy: PolicyFile
    unclear: set[int]
    reader: RuleReader


@dataclass
class Ready:
    """A rule that could be compiled, enforced even if its policy only monitors.

    known: nothing that its files say of it has changed since the load before, so its examples are right
    """

    loaded: Loaded
    path: Path
    spec: RuleSpec
    rule: Rule
    compiled: CompiledRule | OwnPass
    known: bool = False

    @cached_property
    def check(self) -> Check:
        """The rule alone."""
        return matcher_of([self.compiled])


class Compilation:
    """One load.

    results: the examples that were run, also when the load fails
    kept:    what the next load may use of this one, once it has gone well
    """

    def __init__(
        self,
        sources: Iterable[Source],
        *,
        hash_key: bytes,
        shadow: bool = False,
        allow_empty: bool = False,
        origin: str = "policies",
        kept: Kept | None = None,
        asked: Sequence[Asked] = (),
        pause: Pause = no_pause,
    ) -> None:
        """Of the load before, with the same `hash_key`: what it `kept`, and what its set was `asked`.

        `pause` is called often, from within everything.
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
        self._asked = asked
        self._before = kept or Kept()
        self._rules = Reuse(self._before, pause)
        self.kept = Kept()
        self.problems: list[Problem] = []
        self.hints: list[Problem] = []
        self.results: list[Result] = []

    def run(self) -> PolicySet:
        """Compile. Raises PolicyError."""
        loaded = self._load()
        self._check_names(loaded)
        ready: list[Ready] = []
        policies = [self._compile(one, ready) for one in loaded]
        self._run_examples(ready)
        clean = self._check_own_words(ready)
        if not any(policy.rules for policy in policies) and not self._allow_empty and not self.problems:
            missing = "rule in any file" if self._policies else "policy file (.yaml, .yml or .json)"
            hint = "write one, or start with --allow-empty"
            self.problems.append(Problem(self._origin, 0, 0, f"there is no {missing}", hint))
        if self.problems:
            raise PolicyError(lines_of(self.problems))
        revision = self._revision(loaded)
        report = tuple(line for policy in policies for line in _report(policy))
        done = PolicySet(revision, tuple(policies), self._shadow, report, tuple(lines_of(self.hints)))
        done.warm(self._asked, self._pause)
        self.kept = Kept(self._rules.rules, frozenset(clean))
        return done

    def _load(self) -> list[Loaded]:
        loaded = []
        for source in self._policies:
            try:
                document = Document(source, self._pause)
                reading = read_policy(document, self._pause)
            except Unreadable as error:
                self.problems.append(error.problem)
            else:
                self.problems += reading.problems
                reader = RuleReader(document, self._word_files, self._hash_key, self._pause)
                loaded.append(Loaded(document, reading.policy, reading.unclear, reader))
        return loaded

    def _check_names(self, loaded: Sequence[Loaded]) -> None:
        first: dict[str, str] = {INTERNAL: "the proxy itself"}
        for document, policy, _, _ in loaded:
            other = first.setdefault(policy.policy, document.name)
            if other != document.name and policy.policy:
                message = f"the name `{policy.policy}` is taken by {other}"
                self.problems.append(document.problem(document.at(("policy",)), message, "choose another one"))

    def _compile(self, loaded: Loaded, ready: list[Ready]) -> Policy:
        policy, reader = loaded.policy, loaded.reader
        name = SHADOW + policy.policy if self._shadow else policy.policy
        enforced = policy.mode == "enforce" and not self._shadow
        own: list[Ready] = []
        for index, spec in enumerate(policy.rules):
            order = self._next_order()
            match = reader.read(index, spec, name, order) if index not in loaded.unclear else None
            if match is not None and (one := self._compile_rule(loaded, index, spec, match)) is not None:
                own.append(one)
            self._pause()
        self.problems += reader.problems
        self.hints += reader.hints + _never_met(loaded)
        ready += own
        searching = [one.compiled if enforced else self._watching(one) for one in own]
        limits = self._limits(policy, name, enforced)
        stop = self._stop(policy, name, enforced)
        bounds = [limit.rule for limit in limits] + ([stop.rule] if stop else [])
        return Policy(
            name=name,
            enforced=enforced,
            scope=Scope(policy.applies_to),
            rules=(*map(rule_of, searching), *bounds),
            compiled=tuple(one for one in searching if isinstance(one, CompiledRule)),
            limits=limits,
            tolerant=policy.on_error == "allow",
            history=policy.history,
            system_prompt=policy.system_prompt,
            images=policy.images,
            markers=tuple(one for one in searching if isinstance(one, MarkerPass)),
            detectors=tuple(one for one in searching if isinstance(one, DetectedPass)),
            stop=stop,
            stop_always=policy.limits.stop_at_markers == "always",
            scopes=_scopes(zip(own, searching, strict=True)),
        )

    def _compile_rule(self, loaded: Loaded, index: int, spec: RuleSpec, match: MatchRule | OwnPass) -> Ready | None:
        path: Path = ("rules", index)
        if isinstance(match, OwnPass):
            return _placed(Ready(loaded, path, spec, match.rule, match))
        try:
            compiled, known = self._rules.compiled(match, spec.examples)
        except PatternError as error:
            source = next(source for source in SOURCES if loaded.document.has((*path, source)))
            column = f" (column {error.column} of the pattern)" if error.column and source == "pattern" else ""
            self._wrong(loaded.document, (*path, source), f"{error.message}{column}", error.hint)
            return None
        if compiled.note:
            node = loaded.document.at((*path, "pattern"))
            self.hints.append(loaded.document.problem(node, compiled.note, "", path))
        return _placed(Ready(loaded, path, spec, match.rule, compiled, known))

    def _watching(self, one: Ready) -> CompiledRule | OwnPass:
        """The rule for a policy that only monitors: it reports, and nothing waits for it."""
        if isinstance(one.compiled, OwnPass):
            return one.compiled.enforced(False)
        match = one.compiled.source
        compiled, _ = self._rules.compiled(replace(match, rule=replace(match.rule, enforced=False)), one.spec.examples)
        self._pause()
        return compiled

    def _limits(self, policy: PolicyFile, name: str, enforced: bool) -> tuple[Limit, ...]:
        limits: list[Limit] = []
        given = policy.limits
        if given.max_output_characters:
            limits.append(
                LengthLimit(self._limit(name, "max_output_characters", enforced), given.max_output_characters)
            )
        if given.repetition.max:
            loop = given.repetition
            rule = self._limit(name, "repetition", enforced)
            limits.append(RepetitionLimit(rule, loop.max, loop.longest, loop.characters))
        return tuple(limits)

    def _stop(self, policy: PolicyFile, name: str, enforced: bool) -> MarkerPass | None:
        if policy.limits.stop_at_markers == "never":
            return None
        rule = self._limit(name, "stop_at_markers", enforced, Ending.STOP)
        return MarkerPass(rule, frozenset((MarkerKind.TURN,)))

    def _limit(self, policy: str, name: str, enforced: bool, ending: Ending = Ending.LENGTH) -> Rule:
        return Rule(policy, RESERVED + name, Action.BLOCK, self._next_order(), enforced=enforced, ending=ending)

    def _run_examples(self, ready: Iterable[Ready]) -> None:
        for one in ready:
            if one.known or one.spec.examples == Examples():
                continue
            for result in Trial(one.rule, one.check, self._pause).run(one.spec.examples):
                self.results.append(result)
                if not result.passed:
                    hint = "mend the rule or the example"
                    self._wrong(one.loaded.document, (*one.path, *result.path), result.wrong, hint)

    def _check_own_words(self, ready: Sequence[Ready]) -> set[str]:
        """Note the own words that some rule finds; return the others."""
        acting = [one for one in ready if one.rule.action is not Action.FLAG]
        new = [one.compiled for one in acting if not one.known]
        words = OwnWords([one.compiled for one in acting], new, self._before.clean, self._pause)
        for one in acting:
            for key, text in own_words(one.rule):
                if not words.found(text):
                    continue
                finder = next((other for other in acting if see(other.check, text, 0, self._pause).spans), one)
                message = f"its {key} {shown(text)} is itself found by {finder.rule.name}"
                self._wrong(one.loaded.document, (*one.path, key), message, "choose another text")
            self._pause()
        return words.clean

    def _revision(self, loaded: Iterable[Loaded]) -> str:
        digest = sha256()
        for _, policy, _, reader in loaded:
            content = msgspec.to_builtins(policy)
            lists = [reader.entries(spec) for spec in policy.rules if spec.words_file]
            digest.update(json.dumps([content, lists], sort_keys=True, ensure_ascii=True).encode("ascii"))
            self._pause()
        return digest.hexdigest()

    def _next_order(self) -> int:
        self._order += 1
        return self._order

    def _wrong(self, document: Document, path: Path, message: str, hint: str) -> None:
        self.problems.append(document.problem(document.at(path), message, hint, path))


def _placed(one: Ready) -> Ready:
    """The rule where it is to look: everywhere, or outside of code."""
    if not one.spec.outside or isinstance(one.compiled, MarkerPass | OutsideCode):
        return one
    rule = replace(one.rule, action=ACTIONS[one.spec.action])
    return replace(one, rule=rule, compiled=outside_code(rule, one.compiled))


def _never_met(loaded: Loaded) -> list[Problem]:
    """Limits of a policy that no request meets which is served: it would be taken for a guard and guard nothing."""
    given, document = loaded.policy.applies_to, loaded.document
    unmet: list[tuple[str, str]] = []
    if given.keys:
        unmet.append(("keys", "no request has the name of a key yet, so the policy applies to none"))
    if given.alignment and "unknown" not in given.alignment:
        unmet.append(("alignment", "every model counts as `unknown` yet, so the policy applies to none"))
    paths: list[tuple[Path, str]] = [(("applies_to", key), message) for key, message in unmet]
    return [document.problem(document.at(path), message, "leave it out", path) for path, message in paths]


def _scopes(rules: Iterable[tuple[Ready, CompiledRule | OwnPass]]) -> dict[Rule, Scope]:
    """Of the rules that are narrower than their policy."""
    narrow = [(one.spec, rule_of(it)) for one, it in rules if one.spec.directions or one.spec.roles]
    return {rule: Scope(AppliesTo(directions=spec.directions, roles=spec.roles)) for spec, rule in narrow}


def _report(policy: Policy) -> Iterator[str]:
    for compiled in policy.searching:
        rule = rule_of(compiled)
        yield f"{rule.name}: {rule.action.name.lower()}, {compiled.describe()}"
    yield from (f"{rule.name}: a limit on answers" for rule in policy.rules if rule.id.startswith(RESERVED))
