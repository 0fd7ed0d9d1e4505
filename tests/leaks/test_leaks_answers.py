"""Answers of a model server that bring a forbidden text to the reader."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.lmstudio.chat import LMStudioChat, LMStudioV0Chat
from proxy.dialects.ollama.chat import OllamaChat
from proxy.dialects.openai.chat import OpenAIChat
from proxy.dialects.openai.completions import OpenAICompletions
from proxy.dialects.openai.responses.dialect import OpenAIResponses
from tests.fakes import FakeUpstream, reply_json
from tests.leaks.attack import CARD, CARD_NUMBER, CHAT, STOP, USER, answered, call, chunk, data_of, deltas, ollama, sse
from tests.phrases import rewrite
from tests.server.running import Policies, running

END = (chunk({}, "tool_calls"), "[DONE]")
STOPPED = (chunk({}, "stop"), "[DONE]")
JSON_MODE = {**CHAT, "response_format": {"type": "json_object"}}


@pytest.mark.parametrize("dialect", [OpenAIChat(), LMStudioV0Chat()])
@pytest.mark.parametrize("stream", [True, False])
def test_a_tools_name_that_is_said_twice(dialect: Any, stream: bool) -> None:
    """A chunk that only repeats a call's name waits for the verdict on the name, too."""
    named = chunk(call("forbidden", ident="c"))
    assert b"forbidden" not in answered(dialect, {**CHAT, "stream": stream}, sse(named, named, *END))


@pytest.mark.parametrize("stream", [True, False])
def test_a_tools_second_id(stream: bool) -> None:
    """An id that differs from the one before is judged, or does not go out."""
    chunks = sse(chunk(call("look_up", ident="c")), chunk(call(ident="forbidden")), *END)
    assert b"forbidden" not in answered(OpenAIChat(), {**CHAT, "stream": stream}, chunks)


def test_a_functions_name_that_is_said_twice() -> None:
    """The older function_call is no way around."""
    named = chunk({"function_call": {"name": "forbidden", "arguments": ""}})
    assert b"forbidden" not in answered(OpenAIChat(), CHAT, sse(named, named, *END))


@pytest.mark.parametrize("content", [r'{"x": "\forbidden"}', r"It is C:\forbidden."])
def test_a_backslash_before_a_word_in_json_mode(content: str) -> None:
    """JSON is judged as it is written as well as decoded: people read it as it comes."""
    out = answered(OpenAIChat(), JSON_MODE, sse(chunk({"content": content}), *STOPPED))
    assert "forbidden" not in deltas(out)


@pytest.mark.parametrize("arguments", [r'{"x": "\forbidden"}', r"say \forbidden"])
def test_a_backslash_before_a_word_in_a_tools_arguments(arguments: str) -> None:
    """Arguments are judged as they are written as well as decoded; most of all when they are no JSON."""
    out = answered(OpenAIChat(), CHAT, sse(chunk(call("look_up", arguments, "c")), *END))
    assert b"forbidden" not in out


def test_a_path_in_what_a_tool_of_the_server_answered() -> None:
    """What LM Studio's tools answer is mostly plain text, in which a backslash is a backslash."""
    tool = {"tool": "ls", "provider_info": {"type": "plugin", "plugin_id": "p"}}
    answer = {"type": "tool_call.success", **tool, "arguments": {}, "output": r"C:\forbidden"}
    end = {"type": "chat.end", "result": {"model_instance_id": "m", "output": [], "stats": {}}}
    asked = {"model": "m", "input": "Hello", "stream": True}
    assert b"forbidden" not in answered(LMStudioChat(), asked, sse({"type": "tool_call.start", **tool}, answer, end))


@pytest.mark.parametrize("kind", ["JSON_OBJECT", " json_object", "Json_Schema "])
def test_json_mode_in_another_spelling(kind: str) -> None:
    """Ollama trims and lower-cases response_format.type, so such an answer is judged decoded (or refused)."""
    request = {**CHAT, "response_format": {"type": kind}}
    out = answered(OpenAIChat(), request, sse(chunk({"content": r'{"x": "forb\u0069dden"}'}), *STOPPED))
    assert not out or json.loads(deltas(out))["x"] != "forbidden"


def anthropic_blocks(*texts: str) -> list[bytes]:
    """A message of several blocks of text."""
    head = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": {}}
    events: list[dict[str, Any] | str] = [{"type": "message_start", "message": head}]
    for i, text in enumerate(texts):
        events += [
            {"type": "content_block_start", "index": i, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": i, "delta": {"type": "text_delta", "text": text}},
            {"type": "content_block_stop", "index": i},
        ]
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}
    return sse(*events, end, {"type": "message_stop"})


def test_a_phrase_over_two_blocks_of_a_message() -> None:
    """Anthropic's own client has one text_stream for all blocks: what it prints holds no forbidden text."""
    out = answered(AnthropicMessages(), {**CHAT, "max_tokens": 9}, anthropic_blocks("for", "bidden"))
    printed = [event["delta"]["text"] for event in data_of(out) if event["type"] == "content_block_delta"]
    assert "forbidden" not in "".join(printed)


def response_events(*texts: str) -> list[bytes]:
    """A response with several messages."""
    head: dict[str, Any] = {"id": "r", "object": "response", "created_at": 1, "status": "in_progress", "model": "m"}
    events: list[dict[str, Any] | str] = [{"type": "response.created", "response": {**head, "output": []}}]
    items = []
    for i, text in enumerate(texts):
        at = {"item_id": f"i{i}", "output_index": i, "content_index": 0}
        item: dict[str, Any] = {"id": f"i{i}", "type": "message", "role": "assistant", "content": []}
        part = {"type": "output_text", "text": text, "annotations": []}
        items.append({**item, "status": "completed", "content": [part]})
        events += [
            {"type": "response.output_item.added", "output_index": i, "item": {**item, "status": "in_progress"}},
            {"type": "response.content_part.added", **at, "part": {**part, "text": ""}},
            {"type": "response.output_text.delta", **at, "delta": text},
            {"type": "response.output_text.done", **at, "text": text},
            {"type": "response.content_part.done", **at, "part": part},
            {"type": "response.output_item.done", "output_index": i, "item": items[-1]},
        ]
    last = {"type": "response.completed", "response": {**head, "status": "completed", "output": items}}
    return sse(*events, last)


def test_a_phrase_over_two_messages_of_a_response() -> None:
    """OpenAI's client has output_text, the texts of all messages joined: it holds no forbidden text."""
    asked = {"model": "m", "input": "Hello", "stream": True}
    last = data_of(answered(OpenAIResponses(), asked, response_events("for", "bidden")))[-1]["response"]
    texts = [part["text"] for item in last["output"] for part in item["content"]]
    assert "forbidden" not in "".join(texts)


def test_a_choice_that_nobody_asked_for() -> None:
    """With n = 1 there is one choice: apps read the first in the list and look at no index."""
    chunks = sse(chunk({"content": "for"}, "stop", index=1), chunk({"content": "bidden"}), *STOPPED)
    events = data_of(answered(OpenAIChat(), CHAT, chunks))
    shown = [event["choices"][0]["delta"].get("content", "") for event in events if event.get("choices")]
    assert "forbidden" not in "".join(shown)


def test_thinking_that_the_app_began() -> None:
    """Ollama goes on with the thinking of a last message: it is judged from its beginning, like content."""
    begun = {"role": "assistant", "content": "", "thinking": "for"}
    lines = [ollama({"content": "", "thinking": "bidden"}), ollama({"content": ""}, done=True)]
    out = answered(OllamaChat(), {"model": "m", "messages": [USER, begun]}, lines)
    assert b"bidden" not in out


def test_reasoning_that_the_app_began() -> None:
    """The same in OpenAI's chat."""
    begun = {"role": "assistant", "content": "", "reasoning_content": "for"}
    chunks = sse(chunk({"reasoning_content": "bidden"}), *STOPPED)
    out = answered(OpenAIChat(), {**CHAT, "messages": [USER, begun]}, chunks)
    assert "bidden" not in deltas(out, "reasoning_content")


def test_a_text_that_goes_on_where_a_prompt_ends() -> None:
    """An app of /v1/completions shows prompt and text as one: the text is judged from the prompt on."""
    choice = {"index": 0, "text": "bidden", "finish_reason": "stop"}
    event = {"id": "a", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]}
    asked = {"model": "m", "prompt": "It is for", "stream": True}
    assert b"bidden" not in answered(OpenAICompletions(), asked, sse(event, "[DONE]"))


def test_a_flood_of_characters_that_nobody_sees() -> None:
    """Letters that stand side by side on the screen are found, however many unseen characters are between them."""
    rule = "{id: hide, words: [forbidden], fold: true, action: rewrite, replacement: '#'}"
    text = "f" + "\u200b" * 600 + "orbidden"
    out = answered(OpenAIChat(), CHAT, sse(chunk({"content": text}), *STOPPED), rule)
    assert "forbidden" not in deltas(out).replace("\u200b", "")


def test_a_number_with_an_exponent() -> None:
    """A number is judged as a program reads it, however it is spelled."""
    arguments = '{"n": 4.111111111111111e15}'
    assert json.loads(arguments)["n"] == CARD_NUMBER
    out = answered(OpenAIChat(), CHAT, sse(chunk(call("pay", arguments, "c")), *END), CARD)
    assert b"e15" not in out


@pytest.mark.anyio
async def test_words_in_retry_after() -> None:
    """A retry-after is a number of seconds or a date (RFC 9110, section 10.2.3); anything else is left out."""
    refusal = reply_json({"error": {"message": "no"}}, status=429, headers=[("Retry-After", "forbidden")])
    policy = Policies(output=[rewrite("forbidden")])
    async with FakeUpstream(refusal) as upstream, running(upstream, policy) as proxy:
        assert "forbidden" not in str((await proxy.chat()).headers)


ALIKE = sse(chunk({"content": "a"}), chunk({"content": "b"}))


def test_text_in_a_comment() -> None:
    """An event that begins within another one is none, however much it looks like those before it."""
    out = answered(OpenAIChat(), CHAT, [*ALIKE, b": ", *sse(chunk({"content": "c"}), *STOPPED)])
    assert deltas(out) == "ab"


def test_text_after_the_end_of_an_answer() -> None:
    """Nothing follows [DONE], not even an event like those before it."""
    for text in ("a", ""):
        sent = [*ALIKE, *sse(*STOPPED), *sse(chunk({"content": text}))]
        assert answered(OpenAIChat(), CHAT, sent).endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("reads", ["one", "many"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_fingerprint_that_is_new_in_each_event(stream: bool, reads: str) -> None:
    """It is judged in each of them, also when nothing else is new but the text."""
    said = [{**chunk({"content": "a"}), "system_fingerprint": value} for value in ("x", "y", "forbidden")]
    sent = sse(*said, *STOPPED)
    out = answered(OpenAIChat(), {**CHAT, "stream": stream}, [b"".join(sent)] if reads == "one" else sent)
    assert (deltas(out) if stream else json.loads(out)["choices"][0]["message"]["content"]) == "aaa"
    assert b"forbidden" not in out


def test_events_that_are_read_as_one_are_counted_one_by_one() -> None:
    """What a stopped answer is said to have cost does not depend on how its events came."""
    said = sse(*[chunk({"content": "a"})] * 3, chunk({"content": "forbidden"}))
    rule = STOP.replace("words: [forbidden]", "pattern: forbidden")
    for sent in (said, [b"".join(said)]):
        out = json.loads(answered(OpenAIChat(), {**CHAT, "stream": False}, sent, rule))
        assert out["usage"]["completion_tokens"] == 4
