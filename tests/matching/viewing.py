"""Brute force for views: passes that need no engine, views by their definition, and what a text comes to."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Hashable, Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from proxy.core.check import Progress, Scan
from proxy.core.gate import Gate
from proxy.core.types import Action, Finding, Replacement, Rule
from proxy.matching.folding import BREVE, BREVE_LETTERS, fold
from proxy.matching.matcher import Matcher
from proxy.matching.rules import Pass, PassScan, Verdict, View


def rule(name: str, action: Action = Action.REWRITE, order: int = 0) -> Rule:
    return Rule("p", name, action, order, Replacement(f"[{name}]"))


class Word(NamedTuple):
    """A literal, found anywhere or as a whole word; what follows it then decides."""

    rule: Rule
    text: str
    whole: bool = False


class Keyless:
    """A scan whose states have no keys."""

    def state_key(self) -> None:
        return None

    def restore_key(self, key: Hashable, position: int) -> int:
        raise AssertionError


class WordScan(Keyless):
    """A pass scan over literals that knows everything as early as can be, one character at a time."""

    def __init__(self, words: tuple[Word, ...]) -> None:
        self._words = words
        self._text = ""
        self.verdict: Verdict | None = None

    def feed(self, text: str, final: bool = False) -> Progress:
        found: list[Finding] = []
        for char in text:
            self._text += char
            if self._judge(self._ends(False), found):
                return Progress(min(self._mark(), *(f.start for f in found)), tuple(found))
        if final and self._judge(self._ends(True), found):
            return Progress(min(self._mark(), *(f.start for f in found)), tuple(found))
        return Progress(len(self._text) if final else self._mark(), tuple(sorted(found, key=lambda f: f[:2])))

    def save(self) -> object:
        return self._text

    def restore(self, mark: object) -> None:
        assert isinstance(mark, str)
        self._text, self.verdict = mark, None

    def _judge(self, ends: Iterable[Finding], found: list[Finding]) -> bool:
        """Take the findings in; True when one blocks."""
        new = list(ends)
        found.extend(new)
        blocks = [f for f in new if f.rule.action is Action.BLOCK]
        if blocks:
            at_end = self.verdict is None and blocks[0].end == len(self._text) and self._is_pending(blocks[0])
            self.verdict = Verdict(len(self._text) + at_end, blocks[0].end)
        return bool(blocks)

    def _is_pending(self, finding: Finding) -> bool:
        return any(word.whole for word in self._words if word.rule is finding.rule)

    def _ends(self, final: bool) -> Iterator[Finding]:
        text = self._text
        for word in self._words:
            end = len(text) - (word.whole and not final)
            start = end - len(word.text)
            if start < 0 or text[start:end] != word.text or (final and not word.whole):
                continue
            if not word.whole or (self._begins(start) and not re.match(r"\w", text[end:])):
                yield Finding(start, end, word.rule)

    def _begins(self, at: int) -> bool:
        return at == 0 or not re.match(r"\w", self._text[at - 1])

    def _mark(self) -> int:
        text = self._text
        for at in range(len(text)):
            for word in self._words:
                rest = text[at:]
                if not word.rule.holds or len(rest) >= len(word.text) + word.whole:
                    continue
                if word.text.startswith(rest) and (not word.whole or self._begins(at)):
                    return at
        return len(text)


class WordPass(NamedTuple):
    """The pass of such scans."""

    words: tuple[Word, ...]
    hold: int | None = None

    def open(self) -> PassScan:
        return WordScan(self.words)


class PatternScan(Keyless):
    """A pass scan that waits for the end, then tries every span of the text."""

    verdict: Verdict | None = None

    def __init__(self, patterns: tuple[tuple[Rule, str], ...]) -> None:
        self._patterns = patterns
        self._text = ""

    def feed(self, text: str, final: bool = False) -> Progress:
        self._text += text
        if not final:
            return Progress(0)
        found = (Finding(s, e, rule) for rule, p in self._patterns for s, e in spans(p, self._text))
        return Progress(len(self._text), tuple(sorted(found, key=lambda f: f.start)))

    def save(self) -> object:
        return self._text

    def restore(self, mark: object) -> None:
        assert isinstance(mark, str)
        self._text = mark


class PatternPass(NamedTuple):
    """The pass of such scans."""

    patterns: tuple[tuple[Rule, str], ...]
    hold: int | None = None

    def open(self) -> PassScan:
        return PatternScan(self.patterns)


class Seen(NamedTuple):
    """A check: a pass through a view."""

    view: View
    inner: Pass
    hold: int | None = None

    def open(self) -> PassScan:
        return self.view.open(self.inner)


def spans(pattern: str, text: str) -> Iterator[tuple[int, int]]:
    """Every span that matches, in context."""
    for end in range(1, len(text) + 1):
        at_end = re.compile(rf"(?:{pattern})(?=(?s:.{{{len(text) - end}}})\Z)")
        yield from ((start, end) for start in range(end) if at_end.match(text, start))


Unit = tuple[int, int, str]
REFERENCES = ["&#98;", "&#x41;", "&shy;", "&amp;", "&zwnj;", "&#769;"]
REFERENCE = re.compile("&(?:#[0-9]{1,8}|#[xX][0-9a-fA-F]{1,7}|(?:amp|apos|shy|zwnj|acute));")
JSON_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4})')


def cut(escape: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    """Every escape as one unit, every other character as one."""
    at = 0
    while at < len(text):
        found = escape.match(text, at)
        end = found.end() if found else at + 1
        yield at, end
        at = end


def folded(text: str) -> list[Unit]:
    """The folded view by its definition."""
    units = []
    before = ""
    for start, end in cut(REFERENCE, text):
        shown = html.unescape(text[start:end])
        part = "".join(map(fold, shown))
        if shown == BREVE and before in BREVE_LETTERS:
            part = BREVE
        before = shown if part else before
        units.append((start, end, part))
    return units


def unescaped(text: str) -> list[Unit]:
    """The view of JSON source by the json module."""
    return [
        (start, end, json.loads(f'"{text[start:end]}"') if end - start > 1 else text[start:end])
        for start, end in cut(JSON_ESCAPE, text)
    ]


def folded_json(text: str) -> list[Unit]:
    """One view through the other."""
    outer = unescaped(text)
    owner = [i for i, (_, _, part) in enumerate(outer) for _ in part]
    inner = folded("".join(part for _, _, part in outer))
    return [(outer[owner[start]][0], outer[owner[end - 1]][1], part) for start, end, part in inner]


def expected(units: list[Unit], matches: Iterable[tuple[int, int, Rule]], raw: str) -> str:
    """The raw text with every matched unit hidden, and every unseen one that follows a hidden one."""
    owner = [i for i, (_, _, part) in enumerate(units) for _ in part]
    labels: list[tuple[int, int, Rule]] = []
    for start, end, named in sorted(((owner[s], owner[e - 1] + 1, r) for s, e, r in matches), key=lambda m: m[:2]):
        if labels and labels[-1][1] > start:
            s, e, r = labels[-1]
            labels[-1] = s, max(e, end), min(r, named, key=lambda rule: rule.order)
        else:
            labels.append((start, end, named))
    out, hidden = "", False
    starts = {start: named for start, _, named in labels}
    covered = {i for start, end, _ in labels for i in range(start, end)}
    for i, (start, end, part) in enumerate(units):
        out += starts[i].replacement.text if i in starts else ""
        hidden = i in covered or (hidden and not part)
        out += "" if hidden else raw[start:end]
    return out


class Run(NamedTuple):
    """What a gate made of a text. Of findings, where they start and what a rule's findings cover together."""

    out: str
    starts: list[tuple[int, str]]
    covered: set[tuple[str, int]]
    blocked: Finding | None


def run(check: Seen | Matcher, chunks: list[str]) -> Run:
    """Through a gate, with the laws of a check looked after on the way."""
    gate = Gate([Lawful(check)])
    out = "".join(gate.feed(chunk) for chunk in chunks) + gate.feed("", final=True)
    starts = sorted((f.start, f.rule.id) for f in gate.findings)
    covered = {(f.rule.id, at) for f in gate.reported for at in range(f.start, f.end)}
    return Run(out, starts, covered, gate.blocked)


class Lawful(NamedTuple):
    """A check whose scans are held to the laws."""

    check: Seen | Matcher
    hold: int | None = None

    def open(self) -> LawfulScan:
        return LawfulScan(self.check.open())


class LawfulScan:
    """Fails when a watermark goes back or too far, or a finding hides what was let go."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._fed = self._mark = 0

    def feed(self, text: str, final: bool = False) -> Progress:
        before = self._mark
        self._fed += len(text)
        mark, found, _ = progress = self._scan.feed(text, final)
        if not any(f.rule.action is Action.BLOCK for f in found):
            assert before <= mark <= self._fed
            assert not final or mark == self._fed
        assert [f.start for f in found] == sorted(f.start for f in found)
        assert all(f.start >= before for f in found if f.rule.holds)
        assert all(f.start < f.end <= self._fed for f in found)
        self._mark = mark
        return progress


def chunkings(text: str, cuts: list[int]) -> list[list[str]]:
    """Whole, character by character, and as told."""
    bounds = sorted({min(c, len(text)) for c in cuts} | {0, len(text)})
    return [[text], list(text), [text[a:b] for a, b in pairwise(bounds)]]
