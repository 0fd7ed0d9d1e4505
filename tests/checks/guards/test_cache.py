"""The cache of answers: bounded, and one key for one question only."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.guards.cache import AnswerCache, key_of

PARTS = st.lists(st.text(max_size=4) | st.lists(st.text(max_size=3), max_size=3), max_size=4)


def test_what_was_not_used_goes_first() -> None:
    """It keeps so many answers, and forgets the one that nobody has asked for longest."""
    cache = AnswerCache[str](2)
    for name in ("a", "b"):
        cache.put(key_of(name), name)
    assert cache.get(key_of("a")) == "a"
    cache.put(key_of("c"), "c")
    assert [cache.get(key_of(name)) for name in ("a", "b", "c")] == ["a", None, "c"]
    assert len(cache) == 2
    assert (cache.hits, cache.misses) == (3, 1)


def test_none_are_kept() -> None:
    """A cache of size 0 keeps nothing, and one that was cleared has nothing."""
    cache, other = AnswerCache[int](0), AnswerCache[int](5)
    for one in (cache, other):
        one.put(key_of("a"), 1)
    other.clear()
    assert cache.get(key_of("a")) is None
    assert other.get(key_of("a")) is None


@given(PARTS, PARTS)
def test_keys_tell_questions_apart(one: list[str | list[str]], other: list[str | list[str]]) -> None:
    """Two questions have one key only if all their parts are the same, wherever one part ends and another begins."""
    spelled = [[part] if isinstance(part, str) else part for part in one]
    others = [[part] if isinstance(part, str) else part for part in other]
    assert (key_of(*one) == key_of(*other)) is (spelled == others)
