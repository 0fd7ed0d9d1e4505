"""What a policy says of a text, by brute force over all places, with Python's `re`: the definition, not the matcher.

A rule matches the substring text[s:e], e > s, in its context. A character is covered when it lies in some match of
some rule. Covered spans that share a character are one segment, replaced by the label of its first rule in file order.

The trick: `(?:P)(?=(?s:.{k})\\Z)` at s can only match what ends k characters before the end, and look-around sees the
whole text. (`pos` does not hide what is before it; `endpos` would hide what follows, so it is not used.)
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache

from proxy.core.types import Action
from proxy.matching.rules import MatchRule, Verdict
from tests.matching import spelled

Span = tuple[int, int]
Block = tuple[Verdict, int, MatchRule]  # when and where it falls, the least start of what blocks there, the first rule
FAR = 1 << 60
BEYOND = "\n_Z\u00e7\u0661\u2003.\u0301\u2060"  # what may follow a text, besides the alphabet of the test


def pattern_of(rule: MatchRule, text: str = "") -> str:
    """The pattern that a rule stands for in a text; with `fold`, in the folded text."""
    if rule.pattern is not None:
        return rule.pattern
    few = spelled.FEW.issuperset("".join((text, *(rule.words or ()))))
    spell = spelled.expand if rule.fold else spelled.plain
    return "|".join(spell(word, few) for word in rule.words or ())


@lru_cache(maxsize=50_000)
def _ending(pattern: str, following: int) -> re.Pattern[str]:
    return re.compile(rf"(?:{pattern})(?=(?s:.{{{following}}})\Z)")


def is_match(pattern: str, text: str, span: Span) -> bool:
    """Does the pattern match exactly this part of the text?"""
    return _ending(pattern, len(text) - span[1]).match(text, span[0]) is not None


def matches(rule: MatchRule, text: str) -> list[Span]:
    """All matches of a rule; with `shortest` only the first to end, then the first after it, and so on."""
    pattern = pattern_of(rule, text)
    every = [s for s in itertools.combinations(range(len(text) + 1), 2) if is_match(pattern, text, s)]
    if rule.validate is not None:
        every = [(start, end) for start, end in every if rule.validate(text[start:end])]
    return _shortest(every) if rule.shortest else every


def _shortest(every: Iterable[Span]) -> list[Span]:
    out: list[Span] = []
    for start, end in sorted(every, key=lambda span: (span[1], span[0])):
        if not out or start >= out[-1][1]:
            out.append((start, end))
    return out


def read_to_know(rule: MatchRule, text: str, span: Span, alphabet: str) -> int:
    """How many characters are read when the match is certain: its end, or one more when it looks ahead."""
    upto = text[: span[1]]
    tails = ["", *alphabet, *BEYOND]
    certain = all(is_match(pattern_of(rule), upto + tail, span) for tail in tails)
    return span[1] if certain else span[1] + 1


@cache
def opened(pattern: str, text: str, alphabet: str, more: int) -> int:
    """The earliest start of a match that is not certain yet and some continuation of at most `more` would complete."""
    here = len(text)
    for start in range(here):
        certain = all(is_match(pattern, text + tail, (start, here)) for tail in ["", *alphabet, *BEYOND])
        for tail in _tails(alphabet, more):
            ends = range(here + certain, here + len(tail) + 1)
            if any(is_match(pattern, text + tail, (start, end)) for end in ends):
                return start
    return here


def _tails(alphabet: str, more: int) -> Iterator[str]:
    for length in range(more + 1):
        yield from map("".join, itertools.product(alphabet, repeat=length))


def waits(rule: MatchRule) -> int:
    """How long an unfinished match of the rule may keep text waiting."""
    return rule.max_hold if rule.rule.holds else FAR


def spans(rule: MatchRule, text: str, alphabet: str = "", more: int = 0) -> list[Span]:
    """What a rule covers. `alphabet` and `more` are for what is covered because it waited too long."""
    limit = waits(rule)
    if rule.on_overflow != "cover" or not rule.rule.holds:
        return [(max(start, end - limit), end) for start, end in matches(rule, text)]
    out = matches(rule, text)
    for read in range(limit, len(text) + 1):
        start = opened(pattern_of(rule), text[:read], alphabet, more)
        if start <= read - limit:
            out.append((start, read - limit + 1))
    return out


def merged(found: Iterable[Span]) -> list[Span]:
    """Spans that share a character joined."""
    out: list[Span] = []
    for start, end in sorted(found):
        if out and start < out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


def shown(rules: Sequence[MatchRule], text: str, upto: int | None = None, alphabet: str = "", more: int = 0) -> str:
    """What the client gets of the text, or of what lies before `upto`."""
    upto = len(text) if upto is None else upto
    hiding = [rule for rule in rules if rule.rule.holds and rule.rule.action is Action.REWRITE]
    covered = [(span, rule) for rule in hiding for span in spans(rule, text, alphabet, more)]
    out: list[str] = []
    done = 0
    for start, end in merged(span for span, _ in covered):
        if start >= upto:
            break
        out.append(text[done:start])
        done = end
        if end > upto:
            break
        inside = [rule.rule for (s, e), rule in covered if s < end and e > start]
        out.append(min(inside, key=lambda rule: rule.order).replacement.text)
    return "".join([*out, text[done:upto]])


def block(rules: Sequence[MatchRule], text: str, alphabet: str, more: int = 0) -> Block | None:
    """The first block, if there is one."""
    found: list[Block] = []
    for rule in rules:
        if not rule.rule.holds:
            continue
        if rule.rule.action is Action.BLOCK:
            for start, end in matches(rule, text):
                read = read_to_know(rule, text, (start, end), alphabet)
                found.append((Verdict(read, end), max(start, end - waits(rule)), rule))
        if rule.on_overflow == "block":
            for read in range(rule.max_hold, len(text) + 1):
                start = opened(pattern_of(rule), text[:read], alphabet, more)
                if start <= read - rule.max_hold:
                    found.append((Verdict(read, read), start, rule))
                    break
    if not found:
        return None
    first = min(verdict for verdict, _, _ in found)
    here = [(start, rule) for verdict, start, rule in found if verdict == first]
    return first, min(start for start, _ in here), min((rule for _, rule in here), key=lambda rule: rule.rule.order)


def characters(found: Iterable[Span]) -> set[int]:
    """The offsets that spans cover."""
    return {i for start, end in found for i in range(start, end)}
