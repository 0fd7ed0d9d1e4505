"""From files to one immutable PolicySet.

Read every file, compile rule by rule, run every example, then check that no rule finds the texts that the proxy itself
inserts. All problems of all files are collected. With a single problem there is no set. `pause` is called often, so
that other work can run in between.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

import msgspec

from proxy.checks.asking import AskingRule
from proxy.checks.plugin_pass import PluginRule
from proxy.checks.registry import BUILT_IN_ONLY, Registry
from proxy.core.failures import CheckFailed
from proxy.core.types import Action
from proxy.errors import PolicyError
from proxy.matching.pauses import Pause, no_pause
from proxy.policy.document import Document, KeyPath, Problem, Source, Unreadable, lines_of
from proxy.policy.examples import (
    ExampleResult,
    ExampleRunner,
    InsertedTexts,
    inserted_texts,
    quoted,
    run_check,
)
from proxy.policy.file_compiler import FileCompiler, LoadedFile, PolicyRule, Progress
from proxy.policy.plan import Policy, rule_of
from proxy.policy.policyset import PolicySet
from proxy.policy.reader import read_policy
from proxy.policy.rule_compiler import CompileCache, RuleCompiler
from proxy.policy.rulespecs import RESERVED, RuleReader
from proxy.policy.schema import Examples, RuleSpec

INTERNAL = "internal"  # the policy to which the proxy's own rules belong


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
        compiler = FileCompiler(file, self._compiler, self._registry, self._pause, self._note_progress, self._shadow)
        policy, rules = compiler.compile(index)
        all_rules += rules
        self.problems += compiler.problems
        self.hints += compiler.hints
        return policy

    def _note_progress(self, progress: Progress) -> None:
        self.progress = progress

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

    def _add_problem(self, document: Document, path: KeyPath, message: str, hint: str) -> None:
        self.problems.append(document.problem(document.at(path), message, hint, path))


def _report(policy: Policy) -> Iterator[str]:
    for search_rule in policy.search_rules:
        rule = rule_of(search_rule)
        yield f"{rule.name}: {rule.action.name.lower()}, {search_rule.describe()}"
    yield from (f"{rule.name}: a limit on answers" for rule in policy.rules if rule.id.startswith(RESERVED))
