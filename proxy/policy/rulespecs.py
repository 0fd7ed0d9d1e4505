"""From a rule of a policy file to the rule that the matcher takes. Problems and hints are collected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches

from proxy.checks.detectors import DETECTORS
from proxy.checks.markers import BREAK, MARKER_DETECTORS, MarkerPass
from proxy.core.types import REMOVED, Action, Replacement, Rule
from proxy.matching.pauses import Pause, no_pause, pausing
from proxy.matching.rules import MatchRule
from proxy.policy.document import Document, KeyPath, scalar
from proxy.policy.entryhints import entry_hint
from proxy.policy.schema import SOURCES, RuleSpec
from proxy.policy.source import WORDS_SUFFIX, Problem, Source, Unreadable, decode

MAX_HINTS = 3  # entries of one list that get a hint of their own
RESERVED = "limits."  # ids of a policy's own bounds

_ACTIONS = {"flag": Action.FLAG, "rewrite": Action.REWRITE, "block": Action.BLOCK}
_NEEDS_ACTION = {"replacement": "rewrite", "message": "block"}
_NEEDS_PATTERN = {"match": "pattern"}


class RuleReader:
    """Reads the rules of one document."""

    def __init__(
        self, document: Document, word_files: Mapping[str, Source], hash_key: bytes, pause: Pause = no_pause
    ) -> None:
        self.document = document
        self._pause = pause
        self.problems: list[Problem] = []
        self.hints: list[Problem] = []
        self._word_files = word_files
        self._hash_key = hash_key
        self._ids: dict[str, int] = {}

    def read(self, index: int, spec: RuleSpec, policy: str, order: int) -> MatchRule | MarkerPass | None:
        """The rule as the matcher takes it, enforced; None when it is not known what it looks for.

        What is wrong with the rest of it is in `problems`, and no reason not to look at what it looks for.
        """
        path: KeyPath = ("rules", index)
        self._check_id(spec, path)
        self._check_keys(spec, path)
        replacement = self._replacement(spec, path)
        given = [source for source in SOURCES if self.document.has((*path, source))]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            self._wrong(path, f"exactly one of {', '.join(SOURCES)} is needed, here is {found}", "")
            return None
        rule = Rule(policy, spec.id, _ACTIONS[spec.action], order, replacement, spec.message)
        return self._match_rule(rule, spec, given[0], path)

    def entries(self, spec: RuleSpec) -> tuple[str, ...]:
        """The entries of the rule's word list, wherever they are written."""
        if not spec.words_file:
            return spec.words
        source = self._word_files.get(spec.words_file)
        if source is None:
            return ()
        lines = (line.strip() for line in pausing(decode(source).split("\n"), self._pause))
        return tuple(line for line in lines if line and not line.startswith("#"))

    def _match_rule(self, rule: Rule, spec: RuleSpec, source: str, path: KeyPath) -> MatchRule | MarkerPass | None:
        if source == "detector":
            return self._detector(rule, spec, (*path, source))
        if source == "pattern":
            return self._options(rule, spec, pattern=spec.pattern)
        words = self._words(spec, (*path, source))
        return self._options(rule, spec, words=words) if words else None

    @staticmethod
    def _options(
        rule: Rule, spec: RuleSpec, pattern: str | None = None, words: tuple[str, ...] | None = None
    ) -> MatchRule:
        shortest = spec.match == "shortest" and pattern is not None
        return MatchRule(rule, pattern, words, spec.fold, shortest, spec.max_hold, spec.on_overflow)

    def _detector(self, rule: Rule, spec: RuleSpec, path: KeyPath) -> MatchRule | MarkerPass | None:
        if spec.detector in MARKER_DETECTORS:
            return self._markers(rule, spec, path[:-1])
        detector = DETECTORS.get(spec.detector)
        if detector is None:
            known = (*DETECTORS, *MARKER_DETECTORS)
            near = get_close_matches(spec.detector, known, 1)
            hint = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(known)}"
            self._wrong(path, f"there is no detector `{spec.detector}`", hint)
            return None
        return MatchRule(
            rule, detector.pattern, None, spec.fold, False, spec.max_hold, spec.on_overflow, detector.validate
        )

    def _markers(self, rule: Rule, spec: RuleSpec, path: KeyPath) -> MarkerPass:
        """A rule for markers. Their spelling is exact, and a replacement could form another marker."""
        for key in ("replacement", "fold", "max_hold", "on_overflow"):
            if self.document.has((*path, key)):
                self._wrong((*path, key), f"`{key}` means nothing to a detector of markers", "remove it")
        if rule.action is Action.REWRITE:
            rule = replace(rule, replacement=Replacement("", insert=BREAK))
        return MarkerPass(rule, MARKER_DETECTORS[spec.detector].kinds)

    def _words(self, spec: RuleSpec, path: KeyPath) -> tuple[str, ...]:
        if spec.words_file and not self._word_file_is_there(spec.words_file, path):
            return ()
        try:
            words = self.entries(spec)
        except Unreadable as error:
            self.problems.append(error.problem)
            return ()
        if not words:
            self._wrong(path, f"`{spec.words_file}` holds no entry", "write one entry a line")
        self._check_words(words, spec.fold, path)
        return words

    def _word_file_is_there(self, name: str, path: KeyPath) -> bool:
        if not name.endswith(WORDS_SUFFIX) or "/" in name or "\\" in name or name.startswith("."):
            self._wrong(path, f"`{name}` cannot be a words_file", "give the name of a .txt file beside the policy")
            return False
        if name not in self._word_files:
            near = get_close_matches(name, self._word_files, 1)
            hint = f"did you mean `{near[0]}`?" if near else "put it beside the policy"
            self._wrong(path, f"there is no file `{name}`", hint)
            return False
        return True

    def _check_words(self, words: tuple[str, ...], fold: bool, path: KeyPath) -> None:
        for i, word in enumerate(pausing(words, self._pause)):
            if word != word.strip():
                self._wrong((*path, i), f"the entry `{word}` starts or ends with white space", "remove it")
        hints = ((i, entry_hint(word, fold)) for i, word in enumerate(pausing(words, self._pause)) if word)
        surprising = [(i, *hint) for i, hint in hints if hint is not None]
        for i, message, hint in surprising[:MAX_HINTS]:
            self.hints.append(self._problem((*path, i), f"the entry `{words[i]}` {message}", hint))
        if len(surprising) > MAX_HINTS:
            rest = f"{len(surprising) - MAX_HINTS} more entries may surprise, from here on"
            self.hints.append(self._problem((*path, surprising[MAX_HINTS][0]), rest, ""))

    def _check_id(self, spec: RuleSpec, path: KeyPath) -> None:
        if not spec.id:  # noted by the reader
            return
        if spec.id.startswith(RESERVED):
            self._wrong((*path, "id"), f"`{RESERVED}` is for the policy's own limits", "choose another id")
        first = self._ids.get(spec.id)
        if first is None:
            self._ids[spec.id] = self.document.at((*path, "id")).start_mark.line + 1
        else:
            self._wrong((*path, "id"), f"the id stands here for the second time (first on line {first})", "rename one")

    def _check_keys(self, spec: RuleSpec, path: KeyPath) -> None:
        action_is_known = scalar(self.document.at((*path, "action"))) == spec.action
        for key, action in _NEEDS_ACTION.items() if action_is_known else ():
            if spec.action != action and self.document.has((*path, key)):
                self._wrong((*path, key), f"`{key}` means nothing with `action: {spec.action}`", f"it is for {action}")
        for key, source in _NEEDS_PATTERN.items():
            if self.document.has((*path, key)) and not self.document.has((*path, source)):
                self._wrong((*path, key), f"`{key}` means nothing without `{source}`", "remove it")

    def _replacement(self, spec: RuleSpec, path: KeyPath) -> Replacement:
        given = spec.replacement
        if not isinstance(given, str):
            if bool(given.mask) == given.hash:
                self._wrong((*path, "replacement"), "exactly one of mask and hash is needed", 'write {mask: "*"}')
            if given.hash and spec.examples.becomes:
                message = "`becomes` cannot be used with a hash, which is another one after each start"
                self._wrong((*path, "examples", "becomes"), message, "use `hits`")
            word = spec.detector or spec.id.rpartition(".")[2]
            return Replacement(word, hash_key=self._hash_key) if given.hash else Replacement(mask=given.mask)
        return Replacement(given) if given != REMOVED.text else REMOVED

    def _wrong(self, path: KeyPath, message: str, hint: str) -> None:
        self.problems.append(self._problem(path, message, hint))

    def _problem(self, path: KeyPath, message: str, hint: str) -> Problem:
        return self.document.problem(self.document.at(path), message, hint, path)
