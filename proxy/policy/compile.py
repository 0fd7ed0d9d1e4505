"""From files to one immutable PolicySet, in small steps, so that whoever drives them may let others run in between.

parse -> compile rule by rule -> run every example -> look whether notices and replacements would be found themselves.
Every problem of every file is gathered; with a single one there is no set.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import NamedTuple

import msgspec

from proxy.checks.limits import LengthLimit, Limit, RepetitionLimit
from proxy.checks.markers import MarkerKind, MarkerPass
from proxy.core.check import Check
from proxy.core.types import Action, Ending, Rule
from proxy.errors import PolicyError
from proxy.matching.compiled import CompiledRule, compile_rule
from proxy.matching.errors import PatternError
from proxy.matching.matcher import Matcher
from proxy.matching.rules import MatchRule
from proxy.policy.document import Document, Path
from proxy.policy.examples import Result, run_examples, see, shown
from proxy.policy.plan import Policy, Scope
from proxy.policy.policyset import NOTICE, PolicySet
from proxy.policy.reader import read_policy
from proxy.policy.rulespecs import RESERVED, RuleReader
from proxy.policy.schema import SOURCES, AppliesTo, PolicyFile, RuleSpec
from proxy.policy.source import Problem, Source, Unreadable, lines_of

Steps = Generator[None, None, PolicySet]
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
    load = Compilation(sources, hash_key=hash_key, shadow=shadow, allow_empty=allow_empty, origin=origin)
    return finish(load.steps())


def finish(steps: Steps) -> PolicySet:
    """Run steps to their end without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: PolicySet = end.value
            return result


class Loaded(NamedTuple):
    """A file that could be read."""

    document: Document
    policy: PolicyFile
    unclear: set[int]
    reader: RuleReader


class Ready(NamedTuple):
    """A rule that could be compiled, enforced even if its policy only monitors."""

    loaded: Loaded
    path: Path
    spec: RuleSpec
    rule: Rule
    compiled: CompiledRule | MarkerPass
    check: Check


class Compilation:
    """One load. `results` holds the examples that were run, also when the load fails."""

    def __init__(
        self,
        sources: Iterable[Source],
        *,
        hash_key: bytes,
        shadow: bool = False,
        allow_empty: bool = False,
        origin: str = "policies",
    ) -> None:
        files = sorted(sources, key=lambda source: source.base)
        self._policies = [source for source in files if source.is_policy]
        self._word_files = {source.base: source for source in files if not source.is_policy}
        self._hash_key = hash_key
        self._shadow = shadow
        self._allow_empty = allow_empty
        self._origin = origin
        self._order = 0
        self.problems: list[Problem] = []
        self.hints: list[Problem] = []
        self.results: list[Result] = []

    def steps(self) -> Steps:
        """Compile; yields after each rule and each example. Raises PolicyError."""
        loaded = yield from self._load()
        self._check_names(loaded)
        ready: list[Ready] = []
        policies = yield from self._compile_all(loaded, ready)
        yield from self._run_examples(ready)
        yield from self._check_own_words(ready, policies)
        if not any(policy.rules for policy in policies) and not self._allow_empty and not self.problems:
            missing = "rule in any file" if self._policies else "policy file (.yaml, .yml or .json)"
            hint = "write one, or start with --allow-empty"
            self.problems.append(Problem(self._origin, 0, 0, f"there is no {missing}", hint))
        if self.problems:
            raise PolicyError(lines_of(self.problems))
        revision = yield from self._revision(loaded)
        report = tuple(line for policy in policies for line in _report(policy))
        done = PolicySet(revision, tuple(policies), self._shadow, report, tuple(lines_of(self.hints)))
        done.warm()
        return done

    def _load(self) -> Generator[None, None, list[Loaded]]:
        loaded = []
        for source in self._policies:
            try:
                document = Document(source)
                reading = read_policy(document)
            except Unreadable as error:
                self.problems.append(error.problem)
            else:
                self.problems += reading.problems
                reader = RuleReader(document, self._word_files, self._hash_key)
                loaded.append(Loaded(document, reading.policy, reading.unclear, reader))
            yield
        return loaded

    def _check_names(self, loaded: Sequence[Loaded]) -> None:
        first: dict[str, str] = {INTERNAL: "the proxy itself"}
        for document, policy, _, _ in loaded:
            other = first.setdefault(policy.policy, document.name)
            if other != document.name and policy.policy:
                message = f"the name `{policy.policy}` is taken by {other}"
                self.problems.append(document.problem(document.at(("policy",)), message, "choose another one"))

    def _compile_all(self, loaded: Iterable[Loaded], ready: list[Ready]) -> Generator[None, None, list[Policy]]:
        policies = []
        for one in loaded:
            policy = yield from self._compile(one, ready)
            policies.append(policy)
        return policies

    def _compile(self, loaded: Loaded, ready: list[Ready]) -> Generator[None, None, Policy]:
        policy, reader = loaded.policy, loaded.reader
        name = SHADOW + policy.policy if self._shadow else policy.policy
        enforced = policy.mode == "enforce" and not self._shadow
        own: list[Ready] = []
        for index, spec in enumerate(policy.rules):
            order = self._next_order()
            match = reader.read(index, spec, name, order) if index not in loaded.unclear else None
            if match is not None and (one := self._compile_rule(loaded, index, spec, match)) is not None:
                own.append(one)
            yield
        self.problems += reader.problems
        self.hints += reader.hints
        ready += own
        searching = [one.compiled if enforced else _watching(one.compiled) for one in own]
        limits = self._limits(policy, name, enforced)
        stop = self._stop(policy, name, enforced)
        bounds = [limit.rule for limit in limits] + ([stop.rule] if stop else [])
        return Policy(
            name=name,
            enforced=enforced,
            scope=Scope(policy.applies_to),
            rules=(*map(_rule_of, searching), *bounds),
            compiled=tuple(one for one in searching if isinstance(one, CompiledRule)),
            limits=limits,
            tolerant=policy.on_error == "allow",
            history=policy.history,
            system_prompt=policy.system_prompt,
            images=policy.images,
            markers=tuple(one for one in searching if isinstance(one, MarkerPass)),
            stop=stop,
            stop_always=policy.limits.stop_at_markers == "always",
            scopes=_scopes(zip(own, searching, strict=True)),
        )

    def _compile_rule(self, loaded: Loaded, index: int, spec: RuleSpec, match: MatchRule | MarkerPass) -> Ready | None:
        path: Path = ("rules", index)
        if isinstance(match, MarkerPass):
            return Ready(loaded, path, spec, match.rule, match, _matcher([match]))
        try:
            compiled = compile_rule(match)
        except PatternError as error:
            source = next(source for source in SOURCES if loaded.document.has((*path, source)))
            column = f" (column {error.column} of the pattern)" if error.column and source == "pattern" else ""
            self._wrong(loaded.document, (*path, source), f"{error.message}{column}", error.hint)
            return None
        if compiled.note:
            node = loaded.document.at((*path, "pattern"))
            self.hints.append(loaded.document.problem(node, compiled.note, "", path))
        return Ready(loaded, path, spec, match.rule, compiled, _matcher([compiled]))

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

    def _run_examples(self, ready: Iterable[Ready]) -> Generator[None, None, None]:
        for one in ready:
            for result in run_examples(one.rule, one.check, one.spec.examples):
                self.results.append(result)
                if not result.passed:
                    hint = "mend the rule or the example"
                    self._wrong(one.loaded.document, (*one.path, *result.path), result.wrong, hint)
                yield

    def _check_own_words(self, ready: Sequence[Ready], policies: Iterable[Policy]) -> Generator[None, None, None]:
        """What stands in the place of a match comes back in the next request: no rule may act on it."""
        acting = [one for one in ready if one.rule.action is not Action.FLAG]
        everything = _matcher([one.compiled for one in acting])
        clean: set[str] = set()
        for one in acting:
            for key, text in _own_words(one.rule):
                if text in clean:
                    continue
                if not see(everything, text).spans:
                    clean.add(text)
                    continue
                finder = next((other for other in acting if see(other.check, text).spans), one)
                message = f"its {key} {shown(text)} is itself found by {finder.rule.name}"
                self._wrong(one.loaded.document, (*one.path, key), message, "choose another text")
            yield

    def _revision(self, loaded: Iterable[Loaded]) -> Generator[None, None, str]:
        digest = sha256()
        for _, policy, _, reader in loaded:
            content = msgspec.to_builtins(policy)
            lists = [reader.entries(spec) for spec in policy.rules if spec.words_file]
            digest.update(json.dumps([content, lists], sort_keys=True, ensure_ascii=True).encode("ascii"))
            yield
        return digest.hexdigest()

    def _next_order(self) -> int:
        self._order += 1
        return self._order

    def _wrong(self, document: Document, path: Path, message: str, hint: str) -> None:
        self.problems.append(document.problem(document.at(path), message, hint, path))


def _matcher(searching: Iterable[CompiledRule | MarkerPass]) -> Matcher:
    """What these look for, and nothing else."""
    searching = tuple(searching)
    rules = [one for one in searching if isinstance(one, CompiledRule)]
    return Matcher(rules, others=[one for one in searching if isinstance(one, MarkerPass)])


def _rule_of(searching: CompiledRule | MarkerPass) -> Rule:
    return searching.rule if isinstance(searching, MarkerPass) else searching.source.rule


def _watching(searching: CompiledRule | MarkerPass) -> CompiledRule | MarkerPass:
    """The rule for a policy that only monitors: it reports, and nothing waits for it."""
    if isinstance(searching, MarkerPass):
        return searching.enforced(False)
    match = searching.source
    return compile_rule(replace(match, rule=replace(match.rule, enforced=False)))


def _scopes(rules: Iterable[tuple[Ready, CompiledRule | MarkerPass]]) -> dict[Rule, Scope]:
    """Of the rules that are narrower than their policy."""
    narrow = [(one.spec, _rule_of(it)) for one, it in rules if one.spec.directions or one.spec.roles]
    return {rule: Scope(AppliesTo(directions=spec.directions, roles=spec.roles)) for spec, rule in narrow}


def _own_words(rule: Rule) -> Iterable[tuple[str, str]]:
    """What a user may read because of a rule, and the key that says so."""
    if rule.action is Action.BLOCK:
        yield "message", rule.message or NOTICE.format(policy=rule.policy)
    elif rule.replacement.mask:
        yield from (("replacement", rule.replacement.mask * n) for n in (1, 4, 16))
    elif rule.replacement.hash_key:
        yield from (("replacement", f"[{rule.replacement.text}:{tag}]") for tag in ("5f0c9a21", "12345678", "abcdefab"))
    elif rule.replacement.text:
        yield "replacement", rule.replacement.text


def _report(policy: Policy) -> Iterator[str]:
    for compiled in policy.searching:
        rule = _rule_of(compiled)
        yield f"{rule.name}: {rule.action.name.lower()}, {compiled.describe()}"
    yield from (f"{rule.name}: a limit on answers" for rule in policy.rules if rule.id.startswith(RESERVED))
