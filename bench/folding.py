"""Prints what the folded view costs, and which disguises of a word are seen.

Usage: python -m bench.folding

Times are CPU time of one thread, the median of several runs; a token is 4.3 characters of English on average.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.machine import machine
from proxy.core.types import Action, Rule
from proxy.matching.matcher import Matcher, compile_rule
from proxy.matching.rules import MatchRule

WORDS = ["bomb", "explosive", "zorblax", "weapon", "malware", "password", "suicide", "heroin", "ransom", "kill"]
RUNS = 5


def styled(first: int) -> Callable[[str], str]:
    """Letters from another alphabet that begins at a code point."""
    return lambda word: "".join(chr(first + ord(c) - ord("a")) if c.isalpha() else c for c in word)


def lookalikes(word: str) -> str:
    """Cyrillic and Greek letters where there are some."""
    return word.translate(str.maketrans("aceiopsxykmnvbh", "асеіорѕхуκмηνЬһ"))


def references(word: str) -> str:
    """HTML references for every second letter, decimal and hexadecimal in turn."""
    return "".join(f"&#{ord(c)};" if i % 4 == 1 else f"&#x{ord(c):x};" if i % 4 == 3 else c for i, c in enumerate(word))


DISGUISES: dict[str, Callable[[str], str]] = {
    "zero-width space": "\u200b".join,
    "soft hyphen": "\u00ad".join,
    "word joiner, ZWNJ": lambda w: w[0] + "\u2060" + w[1:2] + "\u200c" + w[2:],
    "tag characters": "\U000e0061".join,
    "bidi marks": lambda w: "\u202d" + "\u200e".join(w) + "\u202c",
    "variation selectors": "\ufe0f".join,
    "combining marks": lambda w: "".join(c + "\u0336" for c in w),
    "full-width": styled(0xFF41),
    "Cyrillic and Greek": lookalikes,
    "mathematical bold": styled(0x1D41A),
    "mathematical script": styled(0x1D4EA),
    "circled": styled(0x24D0),
    "squared": styled(0x1F170),
    "spaced": " ".join,
    "punctuated": "-".join,
    "leet": lambda w: w[0] + w[1:-1].translate(str.maketrans("aeiost", "431057")) + w[-1],
    "HTML references": references,
    "Markdown": lambda w: f"**{w[0]}**{w[1:]}",
    "HTML tags": lambda w: f"<b>{w[0]}</b>{w[1:]}",
}


def seen(matcher: Matcher, text: str) -> bool:
    """Is anything found in a text that is read character by character?"""
    scan = matcher.open()
    return any(scan.feed(c).findings for c in text) or bool(scan.feed("", final=True).findings)


def matcher(patterns: list[str], fold: bool) -> Matcher:
    """One rule for each pattern."""
    rules = [Rule("bench", str(i), Action.REWRITE, i) for i in range(len(patterns))]
    return Matcher([compile_rule(MatchRule(r, pattern=p, fold=fold)) for r, p in zip(rules, patterns, strict=True)])


def listed(words: list[str]) -> Matcher:
    """One rule with a list of words."""
    return Matcher([compile_rule(MatchRule(Rule("bench", "w", Action.REWRITE), words=tuple(words), fold=True))])


def reach() -> None:
    """The table of disguises."""
    print(f"{'disguise':24}{'seen':>8}   example")
    for name, disguise in DISGUISES.items():
        found = [seen(listed([word]), f"the {disguise(word)} here") for word in WORDS]
        print(f"{name:24}{sum(found):>5}/{len(found)}   {disguise(WORDS[0])!r}")
    print()


def tokens(count: int, accents: bool = False) -> list[str]:
    """English-like text from this repository's own prose, cut into tokens."""
    prose = " ".join((Path(__file__).resolve().parents[1] / "LICENSE").read_text().split())
    if accents:
        prose = prose.replace("a", "á").replace("o", "о")
    source, at = random.Random(1), 0
    out: list[str] = []
    while len(out) < count:
        size = source.choice((2, 3, 4, 4, 5, 5, 7))
        out.append(prose[at % len(prose) : at % len(prose) + size] or " ")
        at += size
    return out


def cost(check: Matcher, text: list[str]) -> float:
    """Microseconds for a token, state caches warm."""

    def once() -> float:
        scan = check.open()
        begun = time.thread_time()
        for token in text:
            scan.feed(token)
        return (time.thread_time() - begun) / len(text) * 1e6

    once()
    return statistics.median(once() for _ in range(RUNS))


def speed() -> None:
    """The table of costs."""
    text, accented = tokens(20_000), tokens(20_000, accents=True)
    print(f"{'rules':28}{'plain':>8}{'folded':>9}{'ratio':>8}{'accented':>10}   us per token")
    for count in (10, 100):
        patterns = [rf"\b{a}{b}\w+ing\b" for a, b in pairs(count)]
        plain, folded = matcher(patterns, False), matcher(patterns, True)
        row(f"{count} patterns", cost(plain, text), cost(folded, text), cost(folded, accented))
    names = [f"{a}{b}{a}x" for a, b in pairs(100)]
    whole = matcher([rf"(?<!\w){name}(?!\w)" for name in names], False)
    every = listed(names)
    row("100 words, every spelling", cost(whole, text), cost(every, text), cost(every, accented))
    begun = time.thread_time()
    listed(names)
    print(f"compiling 100 words with every spelling: {(time.thread_time() - begun) * 1e3:.0f} ms")


def pairs(count: int) -> Iterator[tuple[str, str]]:
    """Different beginnings of words."""
    shuffled = sorted((hash_of(c, v, d), c + v, d) for c in "bdkmprstz" for v in "aeiou" for d in "lmnrst")
    return ((start, then) for _, start, then in shuffled[:count])


def hash_of(*parts: str) -> int:
    """A fixed shuffle."""
    return random.Random("".join(parts)).getrandbits(32)


def row(name: str, plain: float, folded: float, accented: float) -> None:
    """One line of the table of costs."""
    print(f"{name:28}{plain:8.2f}{folded:9.2f}{folded / plain:8.2f}{accented:10.2f}")


if __name__ == "__main__":
    print(f"{machine()}\n")
    reach()
    speed()
