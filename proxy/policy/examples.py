"""Texts on which rules are tried when a policy is loaded: each rule's examples, and what the proxy itself inserts.

An example is run as a stream would run it: whole, and in chunks of several sizes. An inserted text (a notice, a
replacement) comes back in the next request, so no rule may find it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

from proxy.checks.passes import OwnPass
from proxy.checks.plugin_pass import PluginRule
from proxy.checks.refusals.rule import RefusalPass
from proxy.core.check import Check
from proxy.core.gate import Gate
from proxy.core.types import Action, Direction, Rule
from proxy.matching.compiled import CompiledRule
from proxy.matching.matcher import Matcher
from proxy.matching.pauses import Pause, no_pause, pausing
from proxy.policy.document import KeyPath
from proxy.policy.plan import SearchRule
from proxy.policy.policyset import NOTICES
from proxy.policy.schema import Examples

CHUNK_SIZES = (1, 2, 3, 7)  # code points in a chunk; the whole text comes first
MAX_QUOTED = 60


class ExampleResult(NamedTuple):
    """One example, run. `path` is its place below its rule; `wrong` says why it fails, empty when it passes."""

    rule: Rule
    kind: str
    text: str
    path: KeyPath
    wrong: str = ""

    @property
    def passed(self) -> bool:
        """Whether the rule did what the example says."""
        return not self.wrong


class CheckOutput(NamedTuple):
    """What a check did with a text: the spans that it found, and the text that was released."""

    spans: tuple[tuple[int, int], ...]
    out: str


class ExampleRunner:
    """Runs one rule's examples. `check` is that rule only, enforced; `pause` is called after every chunk of text."""

    def __init__(self, rule: Rule, check: Check, pause: Pause = no_pause) -> None:
        self._rule, self._check, self._pause = rule, check, pause

    def run(self, examples: Examples) -> Iterator[ExampleResult]:
        """Run the examples, one per step."""
        for i, text in enumerate(examples.hits):
            yield self._run_one("hits", text, ("hits", i))
        for i, text in enumerate(examples.misses):
            yield self._run_one("misses", text, ("misses", i))
        for text, wanted in examples.becomes.items():
            yield self._run_one("becomes", text, ("becomes", text), wanted)

    def _run_one(self, kind: str, text: str, path: KeyPath, wanted: str = "") -> ExampleResult:
        whole = self._run(text)
        wrong = _wrong(kind, whole, text, wanted)
        if not wrong:
            differs = next((size for size in CHUNK_SIZES if self._run(text, size) != whole), 0)
            wrong = f"in chunks of {differs} the rule does not do the same as with the whole text" if differs else ""
        return ExampleResult(self._rule, kind, text, ("examples", *path), wrong)

    def _run(self, text: str, size: int = 0) -> CheckOutput:
        return run_check(self._check, text, size, self._pause)


def matcher_of(search_rules: Iterable[SearchRule]) -> Matcher:
    """A matcher for these rules only. A check of a plug-in that fails raises CheckFailed, whatever its policy says."""
    search_rules = tuple(search_rules)
    rules = [rule for rule in search_rules if isinstance(rule, CompiledRule)]
    others = [rule for rule in search_rules if isinstance(rule, OwnPass)]
    plugins = [replace(rule, fails_open=False) for rule in search_rules if isinstance(rule, PluginRule)]
    return Matcher(rules, others=others, max_cached=0, beside=plugins)  # what is read a few times is not worth a cache


def run_check(check: Check, text: str, size: int = 0, pause: Pause = no_pause) -> CheckOutput:
    """What a check does with a text that comes in chunks of `size` code points; 0: whole."""
    gate = Gate([check])
    chunks = [text[i : i + size] for i in range(0, len(text), size)] if size else [text]
    out = "".join([gate.feed(chunk) for chunk in pausing(chunks, pause, 1)]) + gate.feed("", final=True)
    return CheckOutput(tuple((f.start, f.end) for f in gate.findings), out)


def _wrong(kind: str, output: CheckOutput, text: str, wanted: str) -> str:
    if kind == "hits":
        return "" if output.spans else f"the rule finds nothing in {quoted(text)}"
    if kind == "misses":
        found = " and ".join(quoted(text[start:end]) for start, end in output.spans)
        return f"the rule finds {found} in {quoted(text)}" if found else ""
    return "" if output.out == wanted else f"{quoted(text)} becomes {quoted(output.out)}, not {quoted(wanted)}"


def quoted(text: str) -> str:
    """A text for one line of output: quoted, escaped and not too long."""
    short = text if len(text) <= MAX_QUOTED else f"{text[: MAX_QUOTED - 3]}..."
    return "`" + short.encode("unicode_escape").decode("ascii") + "`" if not short.isprintable() else f"`{short}`"


class InsertedTexts:
    """Checks whether rules that act (rewrite, block) would find an inserted text.

    clean: the texts in which none of them finds anything
    """

    def __init__(
        self, acting: Sequence[SearchRule], changed: Sequence[SearchRule], clean_before: frozenset[str], pause: Pause
    ):
        """`clean_before`: texts in which no rule finds anything, except perhaps the `changed` ones."""
        self._acting = [rule for rule in acting if not isinstance(rule, RefusalPass)]  # which reads no prompts
        self._changed = [rule for rule in changed if not isinstance(rule, RefusalPass)]
        self._clean_before = clean_before
        self._pause = pause
        self.clean: set[str] = set()

    def found(self, text: str) -> bool:
        """Whether one of the rules finds something in the text."""
        if text in self.clean:
            return False
        check = self._changed_rules if text in self._clean_before else self._all_rules
        if check is not None and run_check(check, text, 1, self._pause).spans:
            return True
        self.clean.add(text)
        return False

    @cached_property
    def _all_rules(self) -> Matcher | None:
        return matcher_of(self._acting) if self._acting else None

    @cached_property
    def _changed_rules(self) -> Matcher | None:
        return matcher_of(self._changed) if self._changed else None


def inserted_texts(rule: Rule) -> Iterable[tuple[str, str]]:
    """What a user may read because of a rule, each with the key of the rule that sets it."""
    if rule.action is Action.BLOCK:
        for direction, own in ((Direction.OUTPUT, rule.message), (Direction.INPUT, rule.prompt_message)):
            yield "message", own or NOTICES[direction].format(policy=rule.policy)
    elif rule.replacement.mask:
        yield from (("replacement", rule.replacement.mask * n) for n in (1, 4, 16))
    elif rule.replacement.hash_key:
        yield from (("replacement", f"[{rule.replacement.text}:{tag}]") for tag in ("5f0c9a21", "12345678", "abcdefab"))
    elif rule.replacement.text:
        yield "replacement", rule.replacement.text
