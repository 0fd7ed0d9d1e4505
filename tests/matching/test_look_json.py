"""The quick look in JSON: a source, and its values, are read alike with it and without it."""

from __future__ import annotations

import json
import random

from hypothesis import given

from proxy.core.check import Check, skim
from proxy.core.json_checks import json_checks
from proxy.core.types import Finding
from proxy.matching.matcher import Matcher
from tests import laws
from tests.matching import strategies as some
from tests.matching.strategies import BLOCK, CASES, CUTS, HIDE, Made
from tests.matching.test_look import SEEDS, everything_is_looked_at, scattered

__all__ = ["everything_is_looked_at"]  # the fixture


def checks(made: list[Made], prepare: bool) -> tuple[Check, ...]:
    """The check of a JSON source for these rules, with their quick looks and without."""

    def matcher(escaped: bool) -> list[Check]:
        check = Matcher([compiled for _, compiled in made], escaped)
        if prepare:
            check.prepare()
        return [check]

    return json_checks(matcher)


def source(rng: random.Random) -> str:
    """JSON with short values, long ones, keys, numbers and escapes."""
    texts = [scattered(rng, [*CASES, "\n", '"', "\\", "1"], ". b") for _ in range(rng.randint(1, 4))]
    value = {"a": texts, texts[0][:9]: [rng.choice(CASES) for _ in range(rng.choice((0, 12)))], "n": rng.randrange(200)}
    return json.dumps(value, ensure_ascii=rng.random() < 0.5)


def agree(made: list[Made], seed: int, cuts: int, skims: int) -> None:
    """The same findings in all, feed by feed and where nobody asks what waits."""
    rng = random.Random(seed)
    chunks = laws.cut(source(rng), cuts << rng.randint(0, 60))
    (exact,), (quick,) = checks(made, False), checks(made, True)
    read, looked = exact.open(), quick.open()
    expected: list[Finding] = []
    found: list[Finding] = []
    for i, chunk in enumerate((*chunks, "")):
        final = i == len(chunks)
        expected += read.feed(chunk, final).findings
        found += (skim(looked, chunk) if skims >> i & 1 and not final else looked.feed(chunk, final)).findings
        assert found == expected
        if any(map(laws.blocking, found)):
            return


@some.examples(800)
@given(some.rules(some.mixed, HIDE), SEEDS, CUTS, CUTS)
def test_what_hides_in_json_is_found_alike(made: list[Made], seed: int, cuts: int, skims: int) -> None:
    """Rewrites and flags."""
    agree(made, seed, cuts, skims)


@some.examples(800)
@given(some.rules(some.mixed, BLOCK), SEEDS, CUTS, CUTS)
def test_what_blocks_in_json_is_found_alike(made: list[Made], seed: int, cuts: int, skims: int) -> None:
    """Blocks too, up to the first one."""
    agree(made, seed, cuts, skims)


@some.examples(600)
@given(some.rules(some.mixed, HIDE, fold=True), SEEDS, CUTS, CUTS)
def test_folded_rules_in_json_find_alike(made: list[Made], seed: int, cuts: int, skims: int) -> None:
    """In the source as it is written, in the source with escapes resolved, and in each value."""
    agree(made, seed, cuts, skims)
