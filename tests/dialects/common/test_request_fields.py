"""What a table of a request's parts says of each: judged and passed, passed, left out, or refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.core.types import Kind
from proxy.dialects.common.request_fields import (
    COUNT,
    NUMBER,
    PASSED,
    STRING,
    SWITCH,
    LeftOut,
    Object,
    Report,
    Take,
    allowed,
    form,
    judged,
    kinds,
    left_out,
    lenient,
    list_of,
    map_of,
    one_or_more,
    refused,
    words,
)
from proxy.dialects.common.request_texts import _MARKER_IN_BRACKETS
from proxy.dialects.request import InputText, Options
from proxy.errors import BadRequest

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def read(take: Take, value: Any, **options: bool) -> tuple[Any, Report]:
    """A body with one key `k`, read through an entry."""
    report = Report(Options(**options))
    return Object({"k": take})({"k": value}, "", report), report


def passes(take: Take, value: Any) -> Any:
    """What is sent in place of a value; LeftOut when it is left out."""
    clean, report = read(take, value)
    assert report.dropped == ([] if clean else ["k"])
    return clean.get("k", LeftOut)


@pytest.mark.parametrize("value", [None, True, 3, 0.7, "0.7", "-1", "1e3", "true", "NULL", ""])
def test_passed_takes_what_holds_no_words(value: Any) -> None:
    """A number, a boolean, null, and a string that spells one go on as they are."""
    assert passes(PASSED, value) == value


@pytest.mark.parametrize("value", ["hot", "0.7 or so", "0x7f", [1], {"a": 1}, "9" * 80])
def test_passed_leaves_the_rest_out(value: Any) -> None:
    """Anything else is left out and named."""
    assert passes(PASSED, value) is LeftOut


@pytest.mark.parametrize(
    ("value", "meant"),
    [(True, True), (1, True), ("true", True), (" Yes", True), (False, False), (0, False), ("off", False), (None, None)],
)
def test_a_switch_is_sent_as_the_boolean_that_is_meant(value: Any, meant: bool | None) -> None:
    """What the proxy reads as true is sent as true, so that nobody reads it otherwise."""
    assert passes(SWITCH, value) is meant


@pytest.mark.parametrize("value", ["perhaps", 2, [], {}, [1]])
def test_a_switch_that_says_nothing_clear_is_left_out(value: Any) -> None:
    """Neither true nor false: left out and named."""
    assert passes(SWITCH, value) is LeftOut


@pytest.mark.parametrize(
    ("value", "meant"), [(2, 2), (2.0, 2), ("2", 2), (None, None), (2.5, LeftOut), (True, LeftOut), (1e300, LeftOut)]
)
def test_a_count_is_sent_as_the_whole_number_that_is_meant(value: Any, meant: Any) -> None:
    """2.0 and "2" are 2; what is no whole number is left out."""
    assert passes(COUNT, value) == meant


def test_a_known_word_passes_and_another_is_judged() -> None:
    """A backend may have added a word: it passes, and rules see it as system text, which can be rewritten."""
    effort = words("low", "high")
    assert read(effort, "high")[1].texts == []
    clean, report = read(effort, "max")
    (text,) = report.texts
    assert (text.role, text.text, text.param, text.newest) == ("system", "max", "k", True)
    text.put("[gone]")
    assert clean == {"k": "[gone]"}
    assert passes(effort, "as hard as you can") is LeftOut
    assert [text.text for text in read(effort, 77)[1].texts] == ["77"]


@given(JSON)
def test_judged_passes_any_json_and_misses_no_text(value: Any) -> None:
    """Every string, number and key of it is among the texts, and all of it is sent."""
    assume(not any(_MARKER_IN_BRACKETS(text) for text in _texts(value)))
    clean, report = read(judged(), value)
    assert clean == {"k": value}
    assert sorted(text.text for text in report.texts) == sorted(_texts(value))
    assert {text.kind for text in report.texts} <= {Kind.CONTENT}


def test_what_stands_inside_one_value_is_judged_joined() -> None:
    """A template may print it so, in its order; each key, and another value, is a text of its own."""
    value = [{"title": "a", "text": "b", "deep": [["c"], "d"]}, {"text": "e"}]
    _, report = read(map_of(judged()), {"one": value, "two": "f"})
    groups: dict[int, list[str]] = {}
    for text in report.texts:
        groups.setdefault(text.group, []).append(text.text)
    joined = ["".join(texts) for texts in groups.values()]
    assert sorted(joined) == sorted(["abdce", "f", "title", "text", "deep", "text"])


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(text for item in value.values() for text in _texts(item))]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [] if value is None or isinstance(value, bool) else [str(value)]


def test_what_is_left_out_is_not_judged() -> None:
    """Its texts are gone too, and it is named once, however deep the reason for it lay."""
    part = Object({"a": judged(), "b": list_of(form("[a-z]{1,3}")), "c": kinds("type", {})}, ["c"])
    value = {"a": "secret", "b": ["abc", "too long"], "c": {"type": "new"}}
    clean, report = read(list_of(part), [value, {"a": "kept", "b": [], "c": None}][:1])
    assert clean == {"k": []}
    assert report.texts == []
    assert report.dropped == ["k[0]"]


def test_items_that_are_left_out_close_up() -> None:
    """The others follow each other, a text is written back where it then stands, and names tell where it stood."""
    item = kinds("type", {"text": Object({"type": STRING, "text": judged("user")})})
    clean, report = read(list_of(item), [{"type": "odd"}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}])
    assert report.dropped == ["k[0]"]
    assert [text.param for text in report.texts] == ["k[1].text", "k[2].text"]
    report.texts[1].put("c")
    assert [part["text"] for part in clean["k"]] == ["a", "c"]


def test_a_text_in_an_array_is_written_back_where_it_stands() -> None:
    """Also when items before it are left out."""
    clean, report = read(list_of(words("known")), ["two words", "known", "new"])
    report.texts[0].put("[gone]")
    assert clean == {"k": ["known", "[gone]"]}


def test_one_in_place_of_several() -> None:
    """A value that stands where an array belongs is an array of one."""
    assert passes(one_or_more(NUMBER), 3) == [3]
    assert passes(one_or_more(NUMBER), [3, 4]) == [3, 4]


def test_known_parts_that_are_left_out() -> None:
    """They are named like unknown ones."""
    assert passes(left_out("an account's"), "x") is LeftOut
    assert read(map_of(left_out("theirs")), {"a": 1})[1].dropped == ["k.a"]


def test_lenient_leaves_out_what_does_not_fit() -> None:
    """A wrong type is left out; a key that hides as another is refused all the same."""
    take = lenient(Object({"name": STRING}))
    assert passes(take, {"name": "x"}) == {"name": "x"}
    assert passes(take, {"name": 5}) is LeftOut
    with pytest.raises(BadRequest, match="did you mean"):
        read(take, {"NAME": "x"})


def test_what_an_operator_has_to_allow() -> None:
    """It is left out unless the option is on."""
    take = allowed("allow_server_tools", judged())
    assert passes(take, "x") is LeftOut
    assert read(take, "x", allow_server_tools=True)[0] == {"k": "x"}


def test_an_object_that_does_not_say_its_kind() -> None:
    """It is of the default kind, if there is one."""
    variants = {"a": Object({"x": NUMBER})}
    assert passes(kinds("type", variants, default="a"), {"x": 1}) == {"x": 1}
    assert passes(kinds("type", variants), {"x": 1}) is LeftOut
    assert passes(kinds("type", variants, default="a"), {"type": 5, "x": 1}) is LeftOut


def test_refused_parts_say_why() -> None:
    """The reason follows the path."""
    with pytest.raises(BadRequest, match=r"^k cannot be read; send text") as caught:
        read(refused("cannot be read; send text", "unreadable"), 1)
    assert (caught.value.param, caught.value.code) == ("k", "unreadable")


def test_a_body_without_what_it_needs() -> None:
    """It is refused also when what it needs was there and was left out."""
    with pytest.raises(BadRequest, match=r"^k is missing"):
        Object({"k": form("a")}, ["k"])({"k": "b"}, "", Report())


@pytest.mark.parametrize(
    ("param", "kind"),
    [
        ("messages[0].thinking", Kind.REASONING),
        ("tools[0].function.parameters.thinking", Kind.CONTENT),
        ("chat_template_kwargs.reasoning", Kind.CONTENT),
    ],
)
def test_only_messages_hold_reasoning(param: str, kind: Kind) -> None:
    """A key of the same name in a tool or in the template's arguments is no reasoning."""
    assert InputText("system", "x", param, {}, "k").kind is kind
