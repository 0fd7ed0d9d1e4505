"""The texts of a request: those inside tools and schemas, and which of a conversation are new, in every dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.base import Dialect
from proxy.dialects.common.request_texts import nested_texts
from proxy.dialects.lmstudio.chat import LMStudioChat
from proxy.dialects.openai.chat import OpenAIChat
from proxy.dialects.openai.responses.dialect import OpenAIResponses
from proxy.dialects.request import Options
from tests.dialects.conversations import CHATS, Chat, Turn, Turns, conversations, new_parts


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


PICTURE = "data:image/png;base64,AAAA"
chats = pytest.mark.parametrize("chat", CHATS.values(), ids=CHATS)


@chats
@given(turns=conversations())
def test_what_is_new(chat: Chat, turns: Turns) -> None:
    """System texts at the head and behind what was said last, the beginning of an answer, and the last part of what the
    user said last; or results of tools that nothing of the user follows."""
    assert chat.new(turns) == new_parts(turns)


USER, LAST = Turn("user", ("first", "second")), Turn("user", ("third", "last"))
ANSWER, CALL, RESULT = Turn("assistant", ("answer",)), Turn("call", ("argument",)), Turn("tool", ("result", "more"))
SYSTEM = Turn("system", ("rules",))


@chats
@pytest.mark.parametrize(
    ("turns", "new"),
    [
        ((USER,), {"second"}),
        ((USER, LAST), {"last"}),
        ((SYSTEM, USER, LAST), {"rules", "last"}),
        ((USER, SYSTEM, LAST), {"last"}),
        ((USER, LAST, SYSTEM), {"last", "rules"}),
        ((SYSTEM, USER, Turn("system", ("reminder",)), ANSWER, LAST), {"rules", "last"}),
        ((USER, CALL, SYSTEM, RESULT), {"result", "more", "rules"}),
        ((USER, ANSWER, LAST), {"last"}),
        ((USER, CALL, RESULT), {"result", "more"}),
        ((USER, CALL, RESULT, LAST), {"last"}),
        ((USER, CALL, RESULT, SYSTEM), {"result", "more", "rules"}),
        ((USER, CALL, LAST, RESULT), {"result", "more"}),
        ((USER, ANSWER), {"second", "answer"}),
        ((USER, CALL, RESULT, ANSWER), {"result", "more", "answer"}),
        ((USER, ANSWER, SYSTEM), {"rules"}),
    ],
)
def test_what_is_new_in_some_conversations(chat: Chat, turns: Turns, new: set[str]) -> None:
    """The definition, said in examples."""
    assert chat.new(turns) == new_parts(turns) == new


def new_in(dialect: Dialect, **body: Any) -> set[str]:
    """The texts of a request that are new."""
    request = dialect.parse(json.dumps({"model": "m", **body}).encode(), Options())
    return {text.text for text in request.texts if text.newest}


def test_a_part_without_words_is_not_what_was_said_last() -> None:
    """A picture, or an empty part, behind a text: the text is new."""
    picture = {"type": "image_url", "image_url": {"url": PICTURE}}
    for last in (picture, {"type": "text", "text": " "}):
        content = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, last]
        assert new_in(OpenAIChat(), messages=[{"role": "user", "content": content}]) - {" "} == {"b"}


def test_an_empty_text_behind_a_tools_result() -> None:
    """It is of the user and follows the result, so that is of an earlier turn."""
    result = {"type": "tool_result", "tool_use_id": "i", "content": "b"}
    messages = [{"role": "user", "content": [result, {"type": "text", "text": " "}]}]
    assert new_in(AnthropicMessages(), messages=messages) == set()


def test_a_message_with_nothing_but_a_picture() -> None:
    """It is what the user said last, so all texts before it are of earlier turns."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    shown = {"role": "user", "content": [image]}
    text = {"role": "user", "content": "a"}
    assert new_in(AnthropicMessages(), messages=[text, {"role": "system", "content": "s"}, shown]) == set()
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "i", "content": "b"}]}
    assert new_in(AnthropicMessages(), messages=[text, result, shown]) == set()


def test_what_stands_beside_the_parts_of_the_last_message() -> None:
    """A name belongs to its message, and is new with it."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [{"role": "user", "content": "x", "name": "old"}, {"role": "user", "content": parts, "name": "new"}]
    assert new_in(OpenAIChat(), messages=messages) == {"b", "new"}


def test_a_part_of_several_texts() -> None:
    """All texts of the last part are new."""
    results = [{"type": "tool_result", "tool_use_id": i, "content": text} for i, text in (("i", "a"), ("j", "b"))]
    assert new_in(AnthropicMessages(), messages=[{"role": "user", "content": results}]) == {"i", "a", "j", "b"}


@pytest.mark.parametrize(
    ("given", "new"),
    [
        ("a", {"a"}),
        ([{"type": "text", "content": "a"}, {"type": "message", "content": "b"}], {"b"}),
        ([{"type": "text", "content": "a"}, {"type": "image", "data_url": PICTURE}], {"a"}),
        ([{"type": "text", "content": "a"}, {"type": "text", "content": "\n"}], {"a", "\n"}),
        ([], set()),
    ],
)
def test_what_is_new_for_lm_studio(given: Any, new: set[str]) -> None:
    """Of its own chat the last part with words in it is new, and the system prompt."""
    assert new_in(LMStudioChat(), input=given, system_prompt="s") == new | {"s"}


def test_a_string_for_an_input() -> None:
    """OpenAI's responses take one text for the whole input: all of it is new."""
    assert new_in(OpenAIResponses(), input="a", instructions="b") == {"a", "b"}
