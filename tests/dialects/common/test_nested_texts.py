"""Texts inside tools and schemas: found, and written back where they stand."""

from __future__ import annotations

from typing import Any

from proxy.dialects.common.nested_texts import nested_texts


def test_every_string_inside_is_found_keys_too() -> None:
    """The values and the keys of objects and arrays at any depth are texts, and numbers are."""
    value = {"a": ["x", {"b": "y"}], "n": 1, "t": True}
    assert sorted(t.text for t in nested_texts(value, "system", "tools[0]")) == ["1", "a", "b", "n", "t", "x", "y"]


def test_a_key_and_its_value_can_be_rewritten_again_and_again() -> None:
    """A rewritten key stays rewritten whatever is written to it or its value later, and the order is kept."""
    value: dict[str, Any] = {"first": "1", "bad": "2", "last": "3"}
    texts = {t.text: t for t in nested_texts(value, "system", "tools[0]")}
    for text in ("[X]", "[Y]"):
        texts["bad"].put(text)
    texts["2"].put("two")
    assert list(value.items()) == [("first", "1"), ("[Y]", "two"), ("last", "3")]


def test_two_keys_with_one_label_both_stay() -> None:
    """No member is lost when a rule gives two keys the same label."""
    value: dict[str, Any] = {"bad": None, "worse": True}
    for text in nested_texts(value, "system", "tools[0]"):
        text.put("[X]")
    assert value == {"[X]": None, "[X]_": True}
