"""From a rule of a policy file to the rule that the matcher takes. Problems and hints are collected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches

from proxy.checks.detectors.catalogue import DETECTORS, detector_pass
from proxy.checks.detectors.detector import Detector, Options
from proxy.checks.markers import BREAK, MARKER_DETECTORS, MarkerPass
from proxy.checks.passes import OwnPass, searching_rule
from proxy.checks.system_prompt import SYSTEM_PROMPT_LEAK, SystemPromptPass
from proxy.core.types import REMOVED, Action, Replacement, Rule
from proxy.matching.pauses import Pause, no_pause, pausing
from proxy.matching.rules import MatchRule
from proxy.matching.words import edge_class
from proxy.policy.document import WORDS_SUFFIX, Document, KeyPath, Problem, Source, Unreadable, decode, scalar
from proxy.policy.schema import SOURCES, RuleSpec

MAX_HINTS = 3  # entries of one list that get a hint of their own
DETECTOR_NAMES = (*DETECTORS, *MARKER_DETECTORS, SYSTEM_PROMPT_LEAK.name)
RESERVED = "limits."  # ids of a policy's own bounds

ACTIONS = {"flag": Action.FLAG, "rewrite": Action.REWRITE, "block": Action.BLOCK}
_NEEDS_ACTION = {"replacement": "rewrite", "message": "block"}
_NEEDS_SOURCE = {"match": "pattern", **dict.fromkeys(("only", "except", "regions", "hosts"), "detector")}
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]")
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_OF_MATCHES = ("max_hold", "on_overflow")


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

    def read(self, index: int, spec: RuleSpec, policy: str, order: int) -> MatchRule | OwnPass | None:
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
        answer, prompt = self._messages(spec, path)
        rule = Rule(policy, spec.id, ACTIONS[spec.action], order, replacement, answer, prompt)
        if spec.outside and spec.on_overflow == "block":
            self._wrong(
                (*path, "on_overflow"), "`on_overflow: block` and `outside` exclude each other", "leave one out"
            )
        return self._match_rule(searching_rule(rule) if spec.outside else rule, spec, given[0], path)

    def entries(self, spec: RuleSpec) -> tuple[str, ...]:
        """The entries of the rule's word list, wherever they are written."""
        if not spec.words_file:
            return spec.words
        source = self._word_files.get(spec.words_file)
        if source is None:
            return ()
        lines = (line.strip() for line in pausing(decode(source).split("\n"), self._pause))
        return tuple(line for line in lines if line and not line.startswith("#"))

    def _match_rule(self, rule: Rule, spec: RuleSpec, source: str, path: KeyPath) -> MatchRule | OwnPass | None:
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

    def _detector(self, rule: Rule, spec: RuleSpec, path: KeyPath) -> MatchRule | OwnPass | None:
        if spec.detector in MARKER_DETECTORS:
            return self._markers(rule, spec, path[:-1])
        if spec.detector == SYSTEM_PROMPT_LEAK.name:
            return self._system_prompt(rule, spec, path[:-1])
        detector = DETECTORS.get(spec.detector)
        if detector is None:
            near = get_close_matches(spec.detector, DETECTOR_NAMES, 1)
            hint = f"did you mean `{near[0]}`?" if near else f"there are {' '.join(DETECTOR_NAMES)}"
            self._wrong(path, f"there is no detector `{spec.detector}`", hint)
            return None
        for key in _OF_MATCHES:
            if self.document.has((*path[:-1], key)):
                hint = "its finds have a longest length, and wait no longer"
                self.hints.append(self._problem((*path[:-1], key), f"`{key}` means nothing to a detector", hint))
        return detector_pass(detector, rule, self._detector_options(detector, spec, path[:-1]), spec.fold)

    def _detector_options(self, detector: Detector, spec: RuleSpec, path: KeyPath) -> Options:
        for key, names in (("only", spec.only), ("except", spec.except_)):
            for i, name in enumerate(names):
                if name not in detector.kinds:
                    self._no_kind(detector, name, (*path, key, i))
        if spec.only and spec.except_:
            self._wrong((*path, "except"), "`only` and `except` exclude each other", "leave one out")
        kinds = frozenset(spec.only or detector.kinds) - frozenset(spec.except_)
        if detector.kinds and not kinds:
            self._wrong((*path, "except"), "nothing is left to find", "leave something in, or leave the rule out")
        for key in ("regions", "hosts"):
            if self.document.has((*path, key)) and key not in detector.takes:
                self._wrong((*path, key), f"`{key}` means nothing to the detector `{detector.name}`", "remove it")
        for i, region in enumerate(spec.regions):
            if detector.regions and region not in detector.regions:
                self._wrong((*path, "regions", i), f"`{region}` is no region", "write two letters of ISO 3166-1")
        return Options(kinds, spec.regions, spec.hosts)

    def _no_kind(self, detector: Detector, name: str, path: KeyPath) -> None:
        if not detector.kinds:
            self._wrong(path, f"`{detector.name}` finds one kind of thing only", f"remove `{path[-2]}`")
            return
        near = get_close_matches(name, detector.kinds, 1)
        hint = f"did you mean `{near[0]}`?" if near else "docs/detection.md lists its kinds"
        self._wrong(path, f"`{detector.name}` knows no `{name}`", hint)

    def _markers(self, rule: Rule, spec: RuleSpec, path: KeyPath) -> MarkerPass:
        """A rule for markers. Their spelling is exact, and a replacement could form another marker."""
        for key in ("replacement", "fold", "max_hold", "on_overflow", "outside"):
            if self.document.has((*path, key)):
                self._wrong((*path, key), f"`{key}` means nothing to a detector of markers", "remove it")
        if rule.action is Action.REWRITE:
            rule = replace(rule, replacement=Replacement("", insert=BREAK))
        return MarkerPass(rule, MARKER_DETECTORS[spec.detector].kinds)

    def _system_prompt(self, rule: Rule, spec: RuleSpec, path: KeyPath) -> SystemPromptPass:
        """A rule for the request's own system text, which no example has."""
        for key in ("only", "except", "regions", "hosts", "max_hold", "on_overflow", "outside"):
            if self.document.has((*path, key)):
                message = f"`{key}` means nothing to the detector `{SYSTEM_PROMPT_LEAK.name}`"
                self._wrong((*path, key), message, "remove it")
        if spec.examples.hits or spec.examples.becomes:
            message = "an example has no system text, so nothing is found in it"
            self._wrong((*path, "examples"), message, "leave `hits` and `becomes` out")
        return SystemPromptPass(rule)

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
        for key, source in _NEEDS_SOURCE.items():
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

    def _messages(self, spec: RuleSpec, path: KeyPath) -> tuple[str, str]:
        """The notices for answers and for prompts."""
        given = spec.message
        if isinstance(given, str):
            return given, given
        if not (given.prompt or given.answer):
            self._wrong((*path, "message"), "one of prompt and answer is needed", "write one text, or both keys")
        return given.answer, given.prompt

    def _wrong(self, path: KeyPath, message: str, hint: str) -> None:
        self.problems.append(self._problem(path, message, hint))

    def _problem(self, path: KeyPath, message: str, hint: str) -> Problem:
        return self.document.problem(self.document.at(path), message, hint, path)


def entry_hint(entry: str, fold: bool) -> tuple[str, str] | None:
    """What an entry of a word list may do that was not meant, and what to do about it. The entry is loaded."""
    if entry.isascii() and entry[0].isalnum() and entry[-1].isalnum():
        return None
    kinds = [edge_class(char) for char in entry]
    if not fold and entry[0].isascii() and (found := _INVISIBLE.search(entry)):
        message = f"has an invisible character (U+{ord(found[0]):04X}), and is only found where the text has it too"
        return message, "remove it, or use `fold`"
    if kinds[0] == "M":
        return "begins with a mark that belongs to the character before it", "write the whole letter"
    if kinds[0] == "O" or kinds[-1] == "O":
        return (
            "begins or ends with a sign, and there is found whatever stands beside it",
            "a pattern says more exactly what is meant",
        )
    letters = [char for char, kind in zip(entry, kinds, strict=True) if kind != "M"]
    spaceless = kinds[0] == "S" and "W" not in kinds and len(letters) < (2 if _HAN.match(entry) else 3)
    if spaceless:
        return "is short and in a script without spaces, so it is found inside longer words too", "write a longer entry"
    return None
