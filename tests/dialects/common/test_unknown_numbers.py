"""Numbers under keys that nobody here knows: which pass, and how many."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.common.unknown_numbers import MOST, MOST_A_KEY, UnknownNumbers
from proxy.dialects.wire.json_body import says_more


def open_to_all(_: str) -> bool:
    """No rule minds anything."""
    return True


@pytest.mark.parametrize(
    "more",
    [
        {"ttft_ms": 12.5, "cached": True, "stop_token": None, "n": -3},
        {"tokensPerSecond": 40, "x-cost": 1e-7, "prompt_cache_hit_tokens": 7, "seconds_per_token": 0.25},
        {"metrics": {"ttft": 0.5, "deep": {"hits": 3}}},
        {"is_last_token": False, "valid": 1, "grid": 2},
    ],
)
def test_numbers_booleans_and_nulls_pass(more: dict[str, Any]) -> None:
    """Beside what is known, and objects of nothing else as a whole."""
    clean = {"content": "x"}
    assert UnknownNumbers(open_to_all).beside({**clean, **more}, clean) == {**clean, **more}


@pytest.mark.parametrize(
    "more",
    [
        {"said": "text"},
        {"codes": [122, 111]},
        {"token": 122},
        {"token_id": 122},
        {"nextId": 122},
        {"last_char": 122},
        {"byte7": 122},
        {"a code": 1},
        {"é": 1},
        {"k" * 41: 1},
        {"": 1},
        {"7": 1},
        {"metrics": {"ttft": 0.5, "name": "x"}},
        {"metrics": {"ttft": 0.5, "tokens": [1]}},
        {"metrics": {}},
        {"a": {"b": {"c": {"d": {"e": 1}}}}},
        {"huge": float("inf")},
        {"Content": 1},
        {"DONE": True},
        {"error": False},
    ],
)
def test_what_could_be_text_or_means_something_does_not_pass(more: dict[str, Any]) -> None:
    """Texts, lists, numbers of tokens or characters, keys of another form, and keys that a client takes for others."""
    clean = {"content": "x"}
    assert UnknownNumbers(open_to_all).beside({**clean, **more}, clean) == clean


def test_a_rule_reads_key_and_value_as_they_are_shown() -> None:
    """What a rule minds is left out, and the rest stays."""
    judged: list[str] = []

    def admits(text: str) -> bool:
        judged.append(text)
        return "4111" not in text and "heron" not in text

    value = {"a": 4111111111111111, "heron": 1, "b": 2.5, "c": True}
    assert UnknownNumbers(admits).beside(value, {}) == {"b": 2.5, "c": True}
    assert judged == ["a: 4111111111111111", "heron: 1", "b: 2.5", "c: true"]


@given(st.lists(st.integers(0, 200) | st.booleans() | st.floats(0, 9), max_size=60), st.booleans())
def test_few_values_pass_under_one_key(values: list[Any], is_statistics: bool) -> None:
    """A text that is told by codes, one in each event, ends after a few; a value that stays the same always passes."""
    unknown = UnknownNumbers(open_to_all)
    shown: list[Any] = []
    for value in values:
        event = {"x": value}
        clean = unknown.statistics(event, "usage") if is_statistics else unknown.beside(event, {})
        shown += clean.values()
    changes = sum(repr(a) != repr(b) for a, b in pairwise(shown))
    assert changes < MOST_A_KEY
    assert shown[:1] == values[:1]


def test_the_end_brings_the_total() -> None:
    """A number that has changed too often comes once more with the end of the answer, and no more after that."""
    unknown = UnknownNumbers(open_to_all)
    shown = [unknown.beside({"n": n}, {}).get("n") for n in range(10)]
    unknown.ending = True
    shown += [unknown.beside({"n": n}, {}).get("n") for n in (99, 100)]
    assert shown == [0, 1, 2, 3, *[None] * 6, 99, None]


def test_few_values_pass_in_one_answer() -> None:
    """Under a key of its own each, or in an object, there are not more."""
    unknown = UnknownNumbers(open_to_all)
    shown: dict[str, Any] = {}
    for n in range(3 * MOST):
        shown |= unknown.beside({f"x{n}": 122}, {})
    assert len(shown) == MOST
    assert unknown.statistics({"y": 1, "prompt_tokens": 3}, "usage") == {"prompt_tokens": 3}


def test_statistics_keep_what_is_known() -> None:
    """Known counts may change with each event; of an object that is not all numbers the numbers stay."""
    unknown = UnknownNumbers(open_to_all)
    for n in range(50):
        assert unknown.statistics({"predicted_n": n}, "timings") == {"predicted_n": n}
    given = {"cost": 0.5, "tier": "x", "prompt_tokens_details": {"text_tokens": 3, "note": "x"}, "odd": {"a": "x"}}
    assert unknown.statistics(given, "usage") == {"cost": 0.5, "prompt_tokens_details": {"text_tokens": 3}}
    assert unknown.statistics("said", "usage") is None


@pytest.mark.parametrize(
    ("data", "value", "more"),
    [
        (b'{"a": 1.5, "b": [2]}', {"a": 1.5, "b": [2]}, False),
        (b'{"a":1.5}', {"a": 1.5}, False),
        (b'{"a": 1.50000000000000000004111111111111111}', {"a": 1.5}, True),
        (b'{"a": 0.10}', {"a": 0.1}, True),
        (b'{"a":1,"a":1}', {"a": 1}, True),
    ],
)
def test_digits_that_are_not_read_are_noticed(data: bytes, value: dict[str, Any], more: bool) -> None:
    """A number can be written with more digits than it has; then an event is written anew."""
    assert says_more(data, value) is more
