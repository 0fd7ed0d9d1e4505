"""The detector `system_prompt_leak`: an answer that repeats a long run of words of the request's own system text.

A run is WORDS words in a row (SHORTEST for a system text that has fewer), whatever stands between them: spaces, line
breaks, marks of Markdown. Both texts are read folded. In scripts without spaces each character counts as a word. What
an answer says in other words, translated or encoded is not found.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from html import unescape
from itertools import groupby, islice
from typing import NamedTuple

from proxy.checks.rule_pass import RulePass
from proxy.core.check import Progress
from proxy.core.types import Action, Finding, Rule
from proxy.matching.folding import fold_text
from proxy.matching.rules import PassScan, Verdict
from proxy.matching.views import FoldView

WORDS = 12
"""So many words in a row are a leak: fewer can be a common phrase."""
SHORTEST = 8
"""A system text that has fewer than WORDS words, but so many, is a leak when all of it is repeated."""
TOLD = 4
"""So many words of a run that is too short are worth telling."""
LONGEST_WORD = 40
LONGEST_GAP = 8
"""Characters between two words of a run."""
MOST_WORDS = 20_000
"""Words of a system text that are looked for; what follows is not."""

_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_SEPARATORS = (
    r"\s\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\xbf\u060c\u061b\u061f\u0964\u0965\u2000-\u206f\u3000-\u303f\uff00-\uff0f"
)
_WORD = re.compile(rf"(?P<unspaced>[{_UNSPACED}])|[^{_SEPARATORS}{_UNSPACED}]+")

Words = tuple[str, ...]
_FOLD = FoldView()


class Phrases:
    """The runs of words to look for, each a tuple of WORDS words or fewer.

    by_pair: those that begin with two words
    seconds: the second words behind a first one, sorted
    firsts:  the first words, sorted
    """

    def __init__(self, phrases: Iterable[Words]) -> None:
        by_pair: dict[tuple[str, str], list[Words]] = defaultdict(list)
        for phrase in phrases:
            by_pair[phrase[0], phrase[1]].append(phrase)
        self.by_pair: Mapping[tuple[str, str], Sequence[Words]] = by_pair
        ordered = groupby(sorted(by_pair), key=lambda pair: pair[0])
        self.seconds: Mapping[str, Sequence[str]] = {first: [second for _, second in pairs] for first, pairs in ordered}
        self.firsts: Sequence[str] = list(self.seconds)


NO_PHRASES = Phrases(())


@lru_cache(maxsize=16)
def phrases_of(text: str) -> Phrases:
    """What must not be repeated of a system text."""
    words = islice(_WORD.finditer(fold_text(unescape(text))), MOST_WORDS)
    return Phrases(dict.fromkeys(_runs([match[0] for match in words])))


def _runs(words: Sequence[str]) -> Iterator[Words]:
    length = min(WORDS, len(words))
    if length >= SHORTEST:
        windows = zip(*(words[i:] for i in range(length)), strict=False)
        yield from (window for window in windows if max(map(len, window)) <= LONGEST_WORD)


@dataclass(frozen=True, slots=True)
class SystemPromptPass(RulePass):
    """A rule that looks for a system text.

    phrases: what is looked for; nothing until a request has brought its system text
    """

    phrases: Phrases = NO_PHRASES

    @property
    def _inner(self) -> _InFolded:
        return _InFolded(self.rule, self.phrases)

    @property
    def hold(self) -> int | None:
        """The most characters of the text as it is that may wait."""
        return _FOLD.hold(self._inner.hold) if self.rule.holds else 0

    @property
    def name(self) -> str:
        """The detector's name."""
        return SYSTEM_PROMPT_LEAK.name

    def short_runs(self, text: str) -> Iterator[tuple[str, int]]:
        """Runs of a whole text, as it is read, that break off too early, and how many words they have."""
        text = fold_text(unescape(text))
        words = list(_WORD.finditer(text))
        at = 0
        while at < len(words):
            count = self._run_at([word[0] for word in words[at : at + WORDS]])
            if TOLD <= count < WORDS:
                yield text[words[at].start() : words[at + count - 1].end()], count
            at += max(1, count)

    def _run_at(self, words: Sequence[str]) -> int:
        """How many of the words are the beginning of a phrase."""
        phrases = self.phrases.by_pair.get((words[0], words[1]), ()) if len(words) > 1 else ()
        return max((_shared(phrase, words) for phrase in phrases), default=0)

    def about(self, phrases: Phrases) -> SystemPromptPass:
        """The same rule, for a request with that system text."""
        return replace(self, phrases=phrases)

    def open(self) -> PassScan:
        """A fresh scan."""
        return _FOLD.open(self._inner, self.hides)


class _InFolded(NamedTuple):
    """The pass over the folded text."""

    rule: Rule
    phrases: Phrases

    @property
    def hold(self) -> int:
        """A run without its last character, and the character behind it."""
        return WORDS * (LONGEST_WORD + LONGEST_GAP)

    def open(self) -> SystemPromptScan:
        return SystemPromptScan(self.rule, self.phrases)


class _Run(NamedTuple):
    """Words of the answer, two or more, that are the beginning of phrases. start: where they begin in the text."""

    start: int
    length: int
    phrases: Sequence[Words]


class SystemPromptScan:
    """One answer on its way. Keeps the runs that may still become a leak, and the beginning of a word."""

    __slots__ = ("_blocks", "_end", "_first", "_phrases", "_position", "_rule", "_runs", "_shown", "_word", "verdict")

    def __init__(self, rule: Rule, phrases: Phrases) -> None:
        self._rule = rule
        self._phrases = phrases
        self._position = 0
        self._word = ""  # that may go on
        self._end = 0  # of the last whole word
        self._first: tuple[int, str] | None = None  # the last word and where it begins, if a phrase begins so
        self._runs: tuple[_Run, ...] = ()
        self._shown = 0  # the end of what was found
        self._blocks = rule.holds and rule.action is Action.BLOCK
        self.verdict: Verdict | None = None

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on, as core.check.Scan does."""
        if self.verdict is not None:
            return Progress(self._position)
        whole = self._word + text
        base = self._position - len(self._word)
        self._position += len(text)
        word, found = "", list[Finding]()
        for match in _WORD.finditer(whole):
            unspaced = match["unspaced"] is not None
            if match.end() == len(whole) and not final and not unspaced:
                word = match[0]
                break
            finding = self._read(base + match.start(), match[0])
            if finding is not None and self._blocks:
                return self._stop(finding, base + match.end() + (not unspaced))
            found += [finding] if finding is not None else []
        self._word = word[-LONGEST_WORD - 1 :]  # one that is too long stays too long
        if self._position - len(word) - self._end > LONGEST_GAP:
            self._forget()
        mark = self._position if final or not self._rule.holds else self._mark(word)
        return Progress(mark, tuple(found))

    def _read(self, start: int, word: str) -> Finding | None:
        """One more whole word."""
        if start - self._end > LONGEST_GAP or len(word) > LONGEST_WORD:
            self._forget()
        self._end = end = start + len(word)
        begun = list(self._runs)
        if self._first is not None:
            begun.append(_Run(self._first[0], 1, self._phrases.by_pair.get((self._first[1], word), ())))
        runs, leak = [], -1
        for begin, count, phrases in begun:
            going_on = [phrase for phrase in phrases if phrase[count] == word]
            if leak < 0 and any(len(phrase) == count + 1 for phrase in going_on):
                leak = begin
            longer = [phrase for phrase in going_on if len(phrase) > count + 1]
            if longer:
                runs.append(_Run(begin, count + 1, longer))
        self._runs = tuple(runs)
        self._first = (start, word) if word in self._phrases.seconds else None
        return self._leak(leak, end) if leak >= 0 else None

    def _leak(self, start: int, end: int) -> Finding:
        """What is new of a leak: one that goes on is one find."""
        extends = start < self._shown
        finding = Finding(max(start, self._shown), end, self._rule, extends)
        self._shown = end
        return finding

    def _forget(self) -> None:
        self._runs, self._first = (), None

    def _mark(self, word: str) -> int:
        """Where the earliest run begins that the text may still complete. `word` is the beginning of its next word."""
        starts = [run.start for run in self._runs if any(p[run.length].startswith(word) for p in run.phrases)]
        if self._first is not None and _goes_on(word, self._phrases.seconds[self._first[1]]):
            starts.append(self._first[0])
        if word and _goes_on(word, self._phrases.firsts):
            starts.append(self._position - len(word))
        return max(self._shown, min(starts, default=self._position))

    def _stop(self, finding: Finding, read: int) -> Progress:
        self.verdict = Verdict(read, finding.end)
        self._position = finding.start
        return Progress(finding.start, (finding,))

    def save(self) -> object:
        """The whole state."""
        return self._position, self._word, self._end, self._first, self._runs, self._shown, self.verdict

    def restore(self, mark: object) -> None:
        """Go back to a saved state."""
        assert isinstance(mark, tuple)
        self._position, self._word, self._end, self._first, self._runs, self._shown, self.verdict = mark

    def state_key(self) -> Hashable | None:
        """None: what is looked for differs from request to request, so nothing is worth keeping."""
        return None

    def restore_key(self, key: Hashable, position: int) -> int:
        """There is no key to restore."""
        raise AssertionError("a scan without keys")


def _shared(phrase: Words, words: Sequence[str]) -> int:
    """How many words both have at their beginning."""
    return next((i for i, (own, other) in enumerate(zip(phrase, words, strict=False)) if own != other), len(words))


def _goes_on(word: str, words: Sequence[str]) -> bool:
    """Whether one of the sorted words begins with this one."""
    at = bisect_left(words, word)
    return at < len(words) and words[at].startswith(word)


class SystemPromptDetector(NamedTuple):
    """The detector that a policy can name. hits and misses: an answer for the system text SYSTEM_TEXT."""

    name: str
    about: str
    hits: tuple[str, ...]
    misses: tuple[str, ...]


SYSTEM_TEXT = (
    "You are the assistant of the Hill Road Library. Answer questions about opening hours and loans in two sentences, "
    "and never say that the archive in the cellar is being moved."
)
SYSTEM_PROMPT_LEAK = SystemPromptDetector(
    "system_prompt_leak",
    f"an answer that repeats {WORDS} words or more in a row of the request's system text",
    (
        SYSTEM_TEXT,
        "Sure: *You are the **assistant** of the Hill Road Library.* Answer questions about opening hours and loans!",
        "ANSWER QUESTIONS ABOUT OPENING HOURS\nAND LOANS\nIN TWO SENTENCES,\nAND NEVER SAY that",
    ),
    (
        "I am the assistant of the Hill Road Library, and answer questions.",
        "You are right. The archive in the cellar is being moved.",
        "Answer questions about opening hours and loans. In my case, two sentences.",
    ),
)
