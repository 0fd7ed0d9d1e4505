"""From a rule of a policy file to the rule that the matcher takes. Problems and hints are collected."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, NamedTuple

from proxy.checks.asking import AskingRule
from proxy.checks.built_in import MarkersOptions, WordsOptions
from proxy.checks.isolated import isolated_rule
from proxy.checks.kinds import CheckKind, NoOptions, OptionError, Remark
from proxy.checks.markers import MARKER_DETECTORS
from proxy.checks.passes import OwnPass, searching_rule
from proxy.checks.plugin_pass import PluginRule
from proxy.checks.registry import Registry
from proxy.checks.system_prompt import SYSTEM_PROMPT_LEAK
from proxy.core.types import REMOVED, Action, Replacement, Rule
from proxy.matching.pauses import Pause, no_pause, pausing
from proxy.matching.rules import MatchRule
from proxy.matching.words import edge_class
from proxy.policy.document import WORDS_SUFFIX, Document, KeyPath, Problem, Source, Unreadable, decode, scalar
from proxy.policy.reader import read_options
from proxy.policy.schema import SHORT, SOURCES, RuleSpec

MAX_HINTS = 3  # entries of one list that get a hint of their own
RESERVED = "limits."  # ids of a policy's own bounds

ACTIONS = {"flag": Action.FLAG, "rewrite": Action.REWRITE, "block": Action.BLOCK}
_NEEDS_ACTION = {"replacement": "rewrite", "message": "block"}
_NEEDS_SOURCE = {
    "match": "pattern",
    "options": "check",
    **dict.fromkeys(("only", "except", "regions", "hosts"), "detector"),
}
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]")
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_OF_MATCHES = ("max_hold", "on_overflow")
_OF_SYSTEM_TEXT = ("only", "except", "regions", "hosts", "max_hold", "on_overflow", "outside")
_OF_MARKERS = ("replacement", "fold", "max_hold", "on_overflow", "outside")  # what means nothing to them
MAX_REASON = 160  # characters of what a plug-in says is wrong with its options


RuleFound = MatchRule | OwnPass | PluginRule | AskingRule
"""What a rule of a file becomes."""


class Written(NamedTuple):
    """A kind and its options, as a rule has them.

    path:    below which its options are written
    renamed: where an option is written under another name
    """

    kind: CheckKind
    options: Any
    path: KeyPath
    renamed: Mapping[str, str] = {}

    def place(self, remark: Remark) -> KeyPath:
        """Where a remark belongs."""
        if not remark.path:
            return self.path
        first = str(remark.path[0])
        return (*self.path, self.renamed.get(first, first), *remark.path[1:])


class RuleReader:
    """Reads the rules of one document."""

    def __init__(
        self,
        document: Document,
        word_files: Mapping[str, Source],
        hash_key: bytes,
        registry: Registry,
        pause: Pause = no_pause,
    ) -> None:
        self.document = document
        self._registry = registry
        self._pause = pause
        self.problems: list[Problem] = []
        self.hints: list[Problem] = []
        self._word_files = word_files
        self._hash_key = hash_key
        self._ids: dict[str, int] = {}

    def read(self, index: int, spec: RuleSpec, policy: str, order: int, fails_open: bool = False) -> RuleFound | None:
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
            self._wrong(path, f"exactly one of {', '.join(SOURCES)} is needed, but it has {found}", "")
            return None
        answer, prompt = self._messages(spec, path)
        rule = Rule(policy, spec.id, ACTIONS[spec.action], order, replacement, answer, prompt)
        if spec.outside and spec.on_overflow == "block":
            self._wrong(
                (*path, "on_overflow"), "`on_overflow: block` and `outside` exclude each other", "leave one out"
            )
        written = self._written(spec, given[0], path)
        if written is not None and written.kind.name == "system_prompt":
            self._check_system_examples(spec, path)
        if written is None or self._remarks_are_problems(written):
            return None
        return self._search(written, rule, spec, path, fails_open)

    def entries(self, spec: RuleSpec) -> tuple[str, ...]:
        """The entries of the rule's word list, wherever they are written."""
        if not spec.words_file:
            return spec.words
        source = self._word_files.get(spec.words_file)
        if source is None:
            return ()
        lines = (line.strip() for line in pausing(decode(source).split("\n"), self._pause))
        return tuple(line for line in lines if line and not line.startswith("#"))

    def _written(self, spec: RuleSpec, source: str, path: KeyPath) -> Written | None:
        """The kind that a rule names and its options, whether it is written short or as a `check`."""
        if source == "check":
            return self._named(spec, path)
        if source in SHORT:
            return self._with_options(self._registry[source], spec, path, source)
        if source == "detector":
            return self._detector(spec, path)
        if source == "pattern":
            return self._short("pattern", spec, path)
        words = self._words(spec, (*path, source))
        options = WordsOptions(words, spec.fold, spec.max_hold, spec.on_overflow)
        return Written(self._registry["words"], options, path, {"words": source}) if words else None

    def _named(self, spec: RuleSpec, path: KeyPath) -> Written | None:
        kind = self._registry.get(spec.check)
        if kind is None:
            self._unknown("check", spec.check, path)
            return None
        if not kind.in_rules:
            self._wrong((*path, "check"), f"`{kind.name}` is not for rules", "write it under the policy's `limits`")
            return None
        return self._with_options(kind, spec, path, "options")

    def _with_options(self, kind: CheckKind, spec: RuleSpec, path: KeyPath, key: str) -> Written | None:
        """A kind with the options that stand under a key of the rule."""
        for one in _OF_MATCHES:
            if self.document.has((*path, one)):
                beside = "check" if key == "options" else key
                self._wrong((*path, one), f"`{one}` means nothing beside `{beside}`", f"an option goes under `{key}`")
        if self.document.has((*path, "fold")) and "fold" in kind.options.__struct_fields__:
            self._wrong((*path, "fold"), f"`fold` is an option of `{kind.name}`", f"write it under `{key}`")
        options, problems = read_options(self.document, (*path, key), kind.options, self._pause)
        self.problems += problems
        if problems or options is None:
            return None
        if isinstance(options, WordsOptions):
            self._check_words(options.words, options.fold, (*path, key, "words"))
        return Written(kind, options, (*path, key))

    def _detector(self, spec: RuleSpec, path: KeyPath) -> Written | None:
        name = spec.detector
        if name in MARKER_DETECTORS:
            for key in _OF_MARKERS:
                if self.document.has((*path, key)):
                    self._wrong((*path, key), f"`{key}` means nothing to a detector of markers", "remove it")
            options = MarkersOptions(tuple(MARKER_DETECTORS[name].kinds))
            return Written(self._registry["markers"], options, path)
        if name == SYSTEM_PROMPT_LEAK.name:
            for key in _OF_SYSTEM_TEXT:
                if self.document.has((*path, key)):
                    self._wrong((*path, key), f"`{key}` means nothing to the detector `{name}`", "remove it")
            return Written(self._registry["system_prompt"], NoOptions(), path)
        if name not in self._registry.names("detector"):
            self._unknown("detector", name, path)
            return None
        for key in _OF_MATCHES:
            if self.document.has((*path, key)):
                hint = "its finds have a longest length, and wait no longer"
                self.hints.append(self._problem((*path, key), f"`{key}` means nothing to a detector", hint))
        own = self._registry.get(name)
        return self._short("detector", spec, path) if own is None else self._own_detector(own, spec, path)

    def _own_detector(self, kind: CheckKind, spec: RuleSpec, path: KeyPath) -> Written:
        """A detector of a plug-in."""
        for key in ("only", "except", "regions", "hosts"):
            if self.document.has((*path, key)):
                self._wrong((*path, key), f"`{key}` means nothing to the detector `{kind.name}`", "remove it")
        return self._short(kind.name, spec, path)

    def _short(self, name: str, spec: RuleSpec, path: KeyPath) -> Written:
        """The options of a kind that the rule itself has as keys."""
        kind = self._registry[name]
        options = kind.options(**{field: getattr(spec, field) for field in kind.options.__struct_fields__})
        return Written(kind, options, path)

    def _unknown(self, what: str, name: str, path: KeyPath) -> None:
        known = self._registry.names(what)
        near = get_close_matches(name, known, 1)
        hint = f"did you mean `{near[0]}`?" if near else f"there are {' '.join(known)}"
        self._wrong((*path, what), f"there is no {what} `{name}`", hint)

    def _check_system_examples(self, spec: RuleSpec, path: KeyPath) -> None:
        if spec.examples.hits or spec.examples.becomes:
            message = "an example has no system text, so nothing is found in it"
            self._wrong((*path, "examples"), message, "leave `hits` and `becomes` out")

    def _remarks_are_problems(self, written: Written) -> bool:
        """Whether something is wrong with options that fit the schema."""
        before = len(self.problems)
        for remark in self._remarks(written):
            if remark is None:
                self._pause()
            elif remark.is_hint:
                self.hints.append(self._problem(written.place(remark), remark.message, remark.hint))
            else:
                self._wrong(written.place(remark), remark.message, remark.hint)
        return len(self.problems) > before

    def _remarks(self, written: Written) -> Iterable[Remark | None]:
        kind = written.kind
        if kind.remarks is None:
            return ()
        if not self._registry.is_plugin(kind.name):
            return kind.remarks(written.options)
        try:
            return list(kind.remarks(written.options))
        except (Exception, SystemExit) as error:
            message = f"the check `{kind.name}` cannot look at its options ({_told(error)})"
            return [Remark((), message, "change them, or fix it")]

    def _search(
        self, written: Written, rule: Rule, spec: RuleSpec, path: KeyPath, fails_open: bool
    ) -> RuleFound | None:
        """What the kind makes of the options."""
        kind = written.kind
        is_plugin = self._registry.is_plugin(kind.name)
        if is_plugin and kind.isolation:
            self._check_asking(kind, spec, path)
            return replace(isolated_rule(kind, rule, written.options), fails_open=fails_open)
        try:
            made = kind.make(searching_rule(rule) if is_plugin or spec.outside else rule, written.options)
            if not is_plugin:
                assert isinstance(made, MatchRule | OwnPass | AskingRule)
                if isinstance(made, AskingRule):
                    self._check_asking(kind, spec, path)
                    return replace(made, fails_open=fails_open)
                return made
            plugin = self._registry.plugin_rule(kind.name, rule, made, fails_open)
        except OptionError as error:
            self._wrong(written.place(error.remark), error.remark.message, error.remark.hint)
            return None
        except (Exception, SystemExit) as error:
            if not is_plugin:
                raise
            message = f"the check `{kind.name}` cannot be made ({_told(error)})"
            self._wrong(path, message, "change its options, or fix it")
            return None
        folds = spec.fold and "fold" not in kind.options.__struct_fields__
        return replace(plugin, fold=folds, outside=bool(spec.outside))

    def _check_asking(self, kind: CheckKind, spec: RuleSpec, path: KeyPath) -> None:
        """Whoever is asked reads the text as it is."""
        for key in ("fold", "outside"):
            if self.document.has((*path, key)):
                message = f"`{key}` means nothing to `{kind.name}`, which asks about the text as it is"
                self._wrong((*path, key), message, "remove it")
        if spec.examples.becomes or spec.examples.hits or spec.examples.misses:
            hint = "`safety-proxy explain` and a running proxy ask"
            self.hints.append(self._problem((*path, "examples"), "nobody is asked at a load: they are not tried", hint))

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
            self._wrong((*path, "id"), f"the id is given a second time here (first on line {first})", "rename one")

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
                message = "`becomes` cannot be used with a hash, which changes with each start"
                self._wrong((*path, "examples", "becomes"), message, "use `hits`")
            short = next((name for name in SHORT if self.document.has((*path, name))), "")
            word = spec.detector or spec.check or short or spec.id.rpartition(".")[2]
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


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:MAX_REASON]


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
