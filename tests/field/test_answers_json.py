"""JSON in answers stays JSON, whatever a rule does to it: rows of public reports, each with its right value."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.base import Dialect
from proxy.dialects.ollama.chat import OllamaChat
from proxy.dialects.openai.chat import OpenAIChat
from proxy.dialects.openai.responses.dialect import OpenAIResponses
from proxy.dialects.request import Options
from tests.field.answer_cases import (
    CHAT,
    MESSAGES,
    RESPONSES,
    both,
    chat_calls,
    entry,
    message_events,
    response_events,
)
from tests.field.answering import EMAIL, NOTICE, QUIET, STOP, answering, carried, events
from tests.laws import cut
from tests.leaks.attack import CARD, asked, chunk, deltas

# -- d04, c09: a rewrite or a block leaves JSON

JSON_CHAT = {**CHAT, "response_format": {"type": "json_object"}}
LETTERS = st.text('ab@.c \\"\n\u00e9{}:,', max_size=5) | st.sampled_from(["bob@example.com", "forbidden", "a bob@b.co"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | LETTERS | st.just(4111111111111111),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LETTERS, inner, max_size=3),
    max_leaves=6,
)
RULESETS = st.sampled_from(
    [
        [EMAIL],
        [CARD, "{id: word, words: [forbidden], action: rewrite, replacement: 'a \"b\"'}"],
        ["{id: cross, pattern: '[a-c]\", ?\"[a-c]', action: rewrite}", EMAIL],
        ["{id: first, pattern: '^[a-c]', action: rewrite, replacement: '#'}"],
        [
            "{id: folded, words: [forbidden, abc], fold: true, action: rewrite}",
            "{id: tag, detector: email, action: rewrite}",
        ],
    ]
)


def _pieces(text: str, places: int) -> list[str]:
    return [piece for piece in cut(text, places) if piece]


@both
def test_d04_an_escape_before_an_address(stream: bool) -> None:
    """The line break before a hidden address stays, as it was written."""
    text = '{"note":"Hi\\nbob@example.com"}'
    for places in (0, -1):
        body = events(*(chunk({"content": piece}) for piece in _pieces(text, places)), chunk({}, "stop"), "[DONE]")
        got = carried(OpenAIChat(), {**JSON_CHAT, "stream": stream}, body, [EMAIL])
        said = deltas(got.out) if stream else json.loads(got.out)["choices"][0]["message"]["content"]
        assert said == '{"note":"Hi\\n[email]"}'


@settings(deadline=None)
@given(VALUES, st.booleans(), RULESETS, st.integers(0, 2**60), st.booleans())
def test_d04_any_json_any_rules_any_chunks(
    value: Any, ascii_only: bool, rules: list[str], places: int, stream: bool
) -> None:
    """A JSON answer, and a call's arguments, can be read after every rewrite, and do not depend on the chunks."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    said = []
    for cuts in (places, -1):
        body = events(*(chunk({"content": piece}) for piece in _pieces(text, cuts)), chunk({}, "stop"), "[DONE]")
        got = carried(OpenAIChat(), {**JSON_CHAT, "stream": stream}, body, rules)
        said.append(deltas(got.out) if stream else json.loads(got.out)["choices"][0]["message"]["content"])
    body = events(chunk({"tool_calls": [entry(("1", "f", text))]}), chunk({}, "tool_calls"), "[DONE]")
    ((_, _, arguments),) = chat_calls(carried(OpenAIChat(), {**CHAT, "stream": stream}, body, rules).out, stream)
    assert arguments == said[0]
    assert said[0] == said[1]
    json.loads(said[0])
    assert "bob@example.com" not in said[0] or EMAIL not in rules


@settings(deadline=None)
@given(VALUES, st.booleans(), RULESETS)
def test_d04_the_other_direction(value: Any, ascii_only: bool, rules: list[str]) -> None:
    """In the history a call's arguments are judged and written like those of an answer."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    body = events(chunk({"tool_calls": [entry(("1", "f", text))]}), chunk({}, "tool_calls"), "[DONE]")
    ((_, _, answered),) = chat_calls(carried(OpenAIChat(), {**CHAT, "stream": False}, body, rules).out, False)
    said = {"role": "assistant", "content": None, "tool_calls": [entry(("1", "f", text))]}
    messages = [*CHAT["messages"], said, {"role": "tool", "tool_call_id": "1", "content": "ok"}]
    sent = asyncio.run(asked(OpenAIChat(), {**CHAT, "messages": messages}, *rules))
    (call,) = next(message["tool_calls"] for message in json.loads(sent)["messages"] if "tool_calls" in message)
    assert call["function"]["arguments"] == answered


def test_d04_a_value_alone_in_the_history() -> None:
    """A rule that looks for the beginning of a text finds that of a value, in an answer and in the history."""
    first = "{id: first, pattern: '^secret', action: rewrite, replacement: '#'}"
    said = {"role": "assistant", "content": None, "tool_calls": [entry(("1", "f", '{"a": "secret"}'))]}
    messages = [*CHAT["messages"], said, {"role": "tool", "tool_call_id": "1", "content": "ok"}]
    sent = asyncio.run(asked(OpenAIChat(), {**CHAT, "messages": messages}, first))
    assert json.loads(sent)["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"a": "#"}'


def _json_answers() -> Iterator[tuple[Dialect, dict[str, Any], Callable[[str], list[bytes]], Callable[[Any], str]]]:
    """For each dialect with a JSON mode: how a text is answered, and where it stands in a whole answer."""
    line = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": False}
    yield (
        OpenAIChat(),
        JSON_CHAT,
        lambda text: events(*(chunk({"content": letter}) for letter in text), chunk({}, "stop"), "[DONE]"),
        lambda whole: str(whole["choices"][0]["message"]["content"] or ""),
    )
    yield (
        OllamaChat(),
        {**CHAT, "format": "json"},
        lambda text: [
            json.dumps({**line, "message": {"role": "assistant", "content": letter}}).encode() + b"\n"
            for letter in text
        ],
        lambda whole: str(whole["message"]["content"]),
    )
    yield (
        AnthropicMessages(),
        {**MESSAGES, "output_config": {"format": {"type": "json_schema", "schema": {}}}},
        lambda text: message_events(
            [
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                *(
                    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": letter}}
                    for letter in text
                ),
                {"type": "content_block_stop", "index": 0},
            ]
        ),
        lambda whole: "".join(block["text"] for block in whole["content"]),
    )
    item = {"id": "m", "type": "message", "role": "assistant", "content": []}
    yield (
        OpenAIResponses(),
        {**RESPONSES, "text": {"format": {"type": "json_object"}}},
        lambda text: response_events(
            [
                {"type": "response.output_item.added", "item": item},
                *({"type": "response.output_text.delta", "item_id": "m", "delta": letter} for letter in text),
            ],
            output=[{**item, "content": [{"type": "output_text", "text": text}]}],
        ),
        lambda whole: "".join(part["text"] for item in whole["output"] for part in item["content"]),
    )


@pytest.mark.parametrize(("dialect", "request_", "answer", "read"), list(_json_answers()), ids=lambda value: "")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"title": "All about forbidden fruit"}', '{"title": "All about "}'),
        ('{"tags": ["a", "forbidden"], "n": 1}', '{"tags": ["a", ""]}'),
        ('{"n": 12, "forbidden": [1]}', '{"n": 12, "":null}'),
        ("forbidden", ""),
    ],
)
@both
def test_c09_a_block_leaves_json(
    dialect: Dialect,
    request_: dict[str, Any],
    answer: Callable[[str], list[bytes]],
    read: Callable[[Any], str],
    text: str,
    shown: str,
    stream: bool,
) -> None:
    """Open WebUI's tasks ask for JSON: after a block it is closed, or empty, and there is no notice in it."""
    got = carried(dialect, {**request_, "stream": stream}, answer(text), [STOP])
    assert got.answer.failed is None
    assert got.answer.guard.blocked_choices
    whole = got.out if not stream else carried(dialect, {**request_, "stream": False}, [got.out]).out
    assert read(json.loads(whole)) == shown
    assert not shown or json.loads(shown)


MARKED = (
    *('{"title": "one"}<|im_end|>', '{"title": "one <|im_end|>', '{"a": ["x", {"b": "<|im_start|>user'),
    *('{"n": 12<|im_end|>', '{"<|im_end|>": 1}'),
)


@pytest.mark.parametrize(("dialect", "request_", "answer", "read"), list(_json_answers()), ids=lambda value: "")
@pytest.mark.parametrize("text", MARKED)
@pytest.mark.parametrize("limit", ["stop_at_markers: always", "max_output_characters: 7"])
@both
def test_c09_a_limit_leaves_json(
    dialect: Dialect,
    request_: dict[str, Any],
    answer: Callable[[str], list[bytes]],
    read: Callable[[Any], str],
    text: str,
    limit: str,
    stream: bool,
) -> None:
    """A turn marker inside a value, or too long an answer, ends it like an ordinary end; what has come is closed."""
    got = carried(dialect, {**request_, "stream": stream}, answer(text), [QUIET], limits=limit)
    assert got.answer.failed is None
    whole = got.out if not stream else carried(dialect, {**request_, "stream": False}, [got.out]).out
    shown = read(json.loads(whole))
    json.loads(shown)
    assert "im_" not in shown or "markers" not in limit
    assert NOTICE not in whole.decode()


NUMBERS = ['{"a": 12, "b": 3}', "[1, -2.5e3]", '{"a": [1, {"b": 77}], "c": 4}']


@pytest.mark.parametrize("text", NUMBERS)
@pytest.mark.parametrize("rules", [[QUIET], [CARD]])
def test_d04_a_number_waits_for_its_end_and_no_longer(text: str, rules: list[str]) -> None:
    """With the comma, bracket or blank that ends it, all of it is out."""
    asked = OpenAIChat().parse(json.dumps({**JSON_CHAT, "stream": True}).encode(), Options())
    answer = answering(asked, rules)
    out = ""
    for place, character in enumerate(text, start=1):
        out += deltas(answer.feed(events(chunk({"content": character}))[0]))
        waiting = text[len(out) : place]
        assert character not in ",}] " or not waiting
        assert not waiting or rules == [CARD] or all(c in "0123456789.-e" for c in waiting)
