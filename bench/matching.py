"""Prints what matching costs: CPU time of one thread, medians of several runs.

Usage: python -m bench.matching

A token is 4.3 characters of English on average. "Safe" text has (nearly) no match in it and is read once before it is
timed. All rules rewrite, so the watermark is computed after every token.
"""

from __future__ import annotations

import asyncio
import gc
import random
import re
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence

from bench.corpus import EMAIL, PII, phrases, rules, tokens, words
from bench.machine import machine
from proxy.core.types import Action, Rule
from proxy.matching.compiled import CompiledRule
from proxy.matching.matcher import Matcher, compile_rule
from proxy.matching.rules import MatchRule

RUNS = 5
TOKENS = 30_000
SIZES = (10, 100, 1000)
LIST = 100_000
HOSTILE: dict[str, Sequence[str]] = {
    "a.{0,64}c": "ab",
    "a.{64}c": "ab",
    "(?:a+)+c": "a",
    "(?:a?){30}a{30}c": "a",
    r"[a-z]{1,64}@": "abc ",
    PII["jwt"]: ["eyJ", "-", "-eyJ", "a"],
    PII["card"]: "0123456789- ",
    EMAIL: "a%.@-",
    r"a\S+": "ab",
    ".": "ab",
}


def compiled(patterns: Sequence[str], **options: object) -> list[CompiledRule]:
    """Rules that rewrite."""
    named = [(Rule("bench", str(n), Action.REWRITE, n), p) for n, p in enumerate(patterns)]
    return [compile_rule(MatchRule(rule, pattern, **options)) for rule, pattern in named]  # type: ignore[arg-type]


def word_rule(entries: tuple[str, ...]) -> CompiledRule:
    """A rule with these words."""
    return compile_rule(MatchRule(Rule("bench", "words", Action.REWRITE), words=entries))


def timed(work: Callable[[], object]) -> float:
    """CPU seconds of this thread."""
    start = time.thread_time()
    work()
    return time.thread_time() - start


def median(work: Callable[[], object], runs: int = RUNS) -> float:
    """The median of several runs."""
    return statistics.median(timed(work) for _ in range(runs))


def per_token(matcher: Matcher, pieces: Sequence[str], runs: int = RUNS) -> float:
    """Microseconds for each piece, all states known."""

    def read() -> None:
        feed = matcher.open().feed
        for piece in pieces:
            feed(piece)

    read()
    return median(read, runs) / len(pieces) * 1e6


def held(matcher: Matcher) -> tuple[float, int, int]:
    """Characters that wait after each token of safe text: mean, 99th percentile, most."""
    scan = matcher.open()
    fed = 0
    waiting = []
    for piece in tokens(TOKENS):
        fed += len(piece)
        waiting.append(fed - scan.feed(piece).watermark)
    waiting.sort()
    return statistics.fmean(waiting), waiting[len(waiting) * 99 // 100], waiting[-1]


def rescan(patterns: Sequence[str], pieces: Sequence[str]) -> float:
    """Microseconds per token for `re` over the last 256 characters after every token, as naive proxies do."""
    searches = [re.compile(pattern).search for pattern in patterns]

    def read() -> None:
        window = ""
        for piece in pieces:
            window = (window + piece)[-256:]
            for search in searches:
                search(window)

    return timed(read) / len(pieces) * 1e6


def hostile(alphabet: Sequence[str]) -> list[str]:
    """Pieces of four characters that make as many states as can be."""
    rng = random.Random(5)
    text = "".join(rng.choices(alphabet, k=TOKENS))
    return [text[i : i + 4] for i in range(0, TOKENS, 4)]


def first_reading(matcher: Matcher, pieces: Sequence[str]) -> float:
    """Microseconds for each piece when no state is known."""
    feed = matcher.open().feed

    def read() -> None:
        for piece in pieces:
            feed(piece)

    return timed(read) / len(pieces) * 1e6


async def stalls(patterns: Sequence[str]) -> list[float]:
    """Milliseconds by which a timer of 1 ms was late while a thread compiled, rule by rule with pauses."""

    def work() -> None:
        for pattern in patterns:
            compiled([pattern])
            time.sleep(0)

    thread = threading.Thread(target=work)
    late = []
    thread.start()
    while thread.is_alive():
        start = time.perf_counter()
        await asyncio.sleep(0.001)
        late.append((time.perf_counter() - start) * 1e3 - 1)
    return sorted(late)


def row(what: str, value: str, wanted: str) -> None:
    print(f"| {what} | {value} | {wanted} |", flush=True)


def speed() -> None:
    """Safe text: rules of three sizes, with a word list, and folded."""
    pieces = tokens(TOKENS)
    listed = word_rule(tuple(words(LIST)))
    plain = {n: per_token(Matcher(compiled(rules(n))), pieces) for n in SIZES}
    row(
        "safe text, 10 / 100 / 1000 rules, us per token",
        " / ".join(f"{plain[n]:.2f}" for n in SIZES),
        "1.2 / 2.0 / 2.6",
    )
    both = {n: per_token(Matcher([*compiled(rules(n)), listed]), pieces) for n in SIZES}
    added = " / ".join(f"{both[n] - plain[n]:+.2f}" for n in SIZES)
    row(f"with {LIST:,} words added, us per token", added, "+0.6")
    folded = per_token(Matcher(compiled(rules(100), fold=True)), pieces)
    row("folded, 100 rules, times plain", f"{folded / plain[100]:.2f}", "2")
    fresh = Matcher(compiled(rules(1000)))
    row("1000 rules, first reading (states are built), us per token", f"{first_reading(fresh, pieces):.1f}", "-")
    for n, goal, some in ((10, "40x", pieces[:2000]), (1000, "1000x", pieces[:100])):
        slow = rescan(rules(n), some)
        row(f"`re` over the last 256 characters, {n} rules, us", f"{slow:.0f} ({slow / plain[n]:.0f}x)", goal)


def compilation() -> None:
    """Compiling, and what it does to an event loop."""
    patterns = rules(1000)
    row("compile 1000 rules, s CPU", f"{median(lambda: compiled(patterns), 3):.2f}", "0.6")
    made = compiled(patterns)
    row("compose 1000 compiled rules, ms CPU", f"{median(lambda: Matcher(made)) * 1e3:.0f}", "-")
    listed = tuple(words(LIST))
    row(f"compile {LIST:,} words, s CPU", f"{median(lambda: word_rule(listed), 3):.2f}", "-")
    late = asyncio.run(stalls(patterns))
    at = " / ".join(f"{late[int(len(late) * q)]:.1f}" for q in (0.5, 0.99)) + f" / {late[-1]:.1f}"
    row("event loop late while a thread compiles, ms, p50 / p99 / most", at, "p99 10")


def worst() -> None:
    """Text made to be slow, for rules that load."""
    for pattern, alphabet in HOSTILE.items():
        cost = first_reading(Matcher(compiled([pattern])), hostile(alphabet))
        row(f"hostile text, `{pattern[:40]}`, us per token".replace("|", "\\|"), f"{cost:.1f}", "100")
    bits = [part for pattern in phrases(990) for part in re.findall(r"[a-z]{4,}", pattern)]
    rng = random.Random(9)
    text = " ".join(word[: rng.randint(2, len(word))] for word in rng.choices(bits, k=6000))
    pieces = [text[i : i + 4] for i in range(0, len(text), 4)]
    row("hostile text, 1000 rules, us per token", f"{first_reading(Matcher(compiled(rules(1000))), pieces):.1f}", "100")


def holding() -> None:
    """How much text waits."""
    for what, patterns, wanted in (
        ("the PII rules without e-mail", list(PII.values()), "0.1 / 2"),
        ("with e-mail", [*PII.values(), EMAIL], "4 / 13"),
        ("990 phrases", phrases(990), "3.2 / 23"),
    ):
        mean, late, most = held(Matcher(compiled(patterns)))
        row(f"held back, {what}, characters: mean / p99 (most)", f"{mean:.2f} / {late} ({most})", wanted)


def main() -> None:
    pieces = tokens(TOKENS)
    print(machine(), end="; ")
    print(f"{RUNS} runs, {len(pieces):,} tokens of {sum(map(len, pieces)) / len(pieces):.1f} characters\n")
    print("| what | measured | reach |\n|---|---|---|")
    sys.setswitchinterval(0.0005)
    gc.collect()
    gc.freeze()
    for part in (speed, compilation, worst, holding):
        part()


if __name__ == "__main__":
    main()
