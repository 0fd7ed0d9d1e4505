"""Short texts that are looked at together: what is found in one of them is found in it alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.detectors import DETECTORS, Options, detector_pass
from proxy.checks.fail_open import FailOpen
from proxy.checks.markers import MARKER_DETECTORS, MarkerPass
from proxy.checks.passes import OwnPass, grouped, outside_code, searching_rule
from proxy.core.check import Check, suspects
from proxy.core.types import Action, Rule
from proxy.matching import factors, look
from proxy.matching.matcher import Matcher
from tests.matching import strategies as some
from tests.matching.strategies import BLOCK, CASES, HIDE, Made

pytest.importorskip("ahocorasick_rs", reason="there is no quick look without it")

SEEDS = st.integers(0, 1 << 60)
WRITTEN = [*CASES, "&#97;", "&am", "p;", "&", "\u200b", "\u0306", "и", "ﬁ", "*", "<b>", "a.b", "@", "\x00"]
OWN = sorted([*DETECTORS, *MARKER_DETECTORS])


@pytest.fixture(autouse=True, scope="module")
def everything_is_looked_at() -> Iterator[None]:
    """Also for factors that tell little."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(factors, "LEAST_SCORE", -100.0)
        look.traces_of_pattern.cache_clear()
        yield
        look.traces_of_pattern.cache_clear()


def found_in(check: Check, texts: list[str]) -> set[str]:
    """The texts in which something is found, each read alone."""
    return {text for text in texts if check.open().feed(text, True).findings}


def prepared(check: Matcher) -> Matcher:
    """With its quick looks."""
    check.prepare()
    return check


@some.examples(1500)
@given(
    st.one_of(
        some.rules(some.mixed, HIDE), some.rules(some.late, BLOCK), some.rules(some.mixed, HIDE, fold=True),
        some.rules(some.mixed, BLOCK, fold=True),
    ),
    SEEDS,
)  # fmt: skip
def test_rules_suspect_the_texts_in_which_they_find_something(made: list[Made], seed: int) -> None:
    """Patterns, words, spellings, what waits too long; with all texts clean and with some that are not."""
    rng = random.Random(seed)
    texts = ["".join(rng.choices(WRITTEN, k=rng.randint(0, 5))) for _ in range(rng.randint(1, 4))]
    check = prepared(Matcher([compiled for _, compiled in made]))
    assert set(suspects(check, texts)) == found_in(check, texts)
    assert set(suspects(FailOpen(check), texts)) == found_in(check, texts)


def passes(name: str, action: Action, outside: bool) -> list[OwnPass]:
    """A detector of ours, anywhere or outside of code."""
    rule = Rule("p", name, action)
    if name in MARKER_DETECTORS:
        return [MarkerPass(rule, MARKER_DETECTORS[name].kinds)]
    detector = DETECTORS[name]
    hosts = ("example.com",) if "hosts" in detector.takes else ()
    make = partial(detector_pass, detector, options=Options(frozenset(detector.kinds), tuple(detector.regions), hosts))
    return [outside_code(rule, make(searching_rule(rule)))] if outside else [make(rule)]


@given(st.lists(st.sampled_from(OWN), min_size=1, max_size=3), st.sampled_from(Action), st.booleans(), st.data())
def test_detectors_suspect_the_texts_in_which_they_find_something(
    names: list[str], action: Action, outside: bool, data: st.DataObject
) -> None:
    """Alone and in a group, folded and not, outside of code and anywhere."""
    detectors = [DETECTORS[name] if name in DETECTORS else MARKER_DETECTORS[name] for name in names]
    pieces = st.sampled_from([text for one in detectors for text in (*one.hits, *one.misses)])
    cut = st.builds(lambda text, a, b: text[a : a + b], pieces, st.integers(0, 9), st.integers(0, 60))
    texts = data.draw(st.lists(pieces | cut | st.sampled_from(["", "word", "12", "`", "\n", "x_"]), max_size=6))
    check = Matcher([], others=grouped([one for name in names for one in passes(name, action, outside)]))
    assert set(suspects(check, texts)) == found_in(check, texts)


def test_clean_texts_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is what it is for: nothing is opened."""
    check = prepared(Matcher([], others=grouped(passes("secrets", Action.REWRITE, False))))

    def opened(self: object) -> object:
        raise AssertionError

    monkeypatch.setattr(Matcher, "open", opened)
    assert not suspects(check, ["one", "two", "three"])
