"""OpenAI's chat: the shared conformance tests, and what is its own."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest

from proxy.core.check import Check
from proxy.dialects import answer as answer_module
from proxy.dialects.answer import Answer
from proxy.dialects.base import Dialect
from proxy.dialects.openai.chat import OpenAIChat
from proxy.dialects.openai.chunk_stream import MOST_CHOICES
from proxy.dialects.request import Options
from proxy.errors import ClientError
from tests.dialects.conformance import BAD, NOTICE, Conformance, Deltas, Late, Stream, Told, Wire
from tests.dialects.golden_files import golden
from tests.phrases import block

DIALECT = OpenAIChat()
CALLS_WHOLE = "a tool call leaves in one piece, when all of it has been judged"
LOGPROBS = "token probabilities repeat the text and are dropped"


class ChatWire(Wire):
    """An upstream and a client of /v1/chat/completions."""

    dialect: ClassVar[Dialect] = DIALECT
    streams = (
        Stream("llama_chat_stream"),
        Stream("llama_think_stream"),
        Stream("llama_emoji_stream"),
        Stream("llama_n2_stream", asks={"n": 2}),
        Stream("llama_base_marker_stream"),
        Stream("llama_tool_stream", False, CALLS_WHOLE),
        Stream("llama_tool_two_stream", False, CALLS_WHOLE),
        Stream("llama_tool_escape_stream", False, CALLS_WHOLE),
        Stream("llama_logprobs_stream", False, LOGPROBS),
        Stream("ollama_v1_chat_stream"),
        Stream("ollama_v1_chat_stream_usage"),
        Stream("ollama_v1_chat_think_stream"),
        Stream("ollama_v1_chat_tool_stream", False, CALLS_WHOLE),
        Stream("ollama_v1_chat_logprobs_stream", False, LOGPROBS),
    )
    streamed = ("content", "reasoning_content", "reasoning", "refusal")
    whole = ("arguments", "name")
    finish = "stop"
    blocked = "content_filter"

    def request(self, **extra: Any) -> bytes:
        return json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], **extra}).encode()

    def json_mode(self) -> dict[str, Any]:
        return {"response_format": {"type": "json_object"}}

    def speak(self, deltas: Deltas) -> bytes:
        events = [{"role": "assistant"}, *(self._delta(name, text) for name, text in deltas)]
        chunks = [_chunk({"index": 0, "delta": delta, "finish_reason": None}) for delta in events]
        return b"".join([*chunks, _chunk({"index": 0, "delta": {}, "finish_reason": "stop"}), b"data: [DONE]\n\n"])

    def _delta(self, name: str, text: str) -> dict[str, Any]:
        if name in self.whole:
            return {"tool_calls": [{"index": 0, "type": "function", "function": {name: text}}]}
        return {name: text}

    def speak_whole(self, deltas: Deltas) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": None}
        for name, text in deltas:
            message |= self._delta(name, text)
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return json.dumps({"id": "x", "object": "chat.completion", "model": "m", "choices": [choice]}).encode()

    def read(self, data: bytes) -> Told:
        told = Told()
        *events, rest = data.split(b"\n\n")
        assert rest == b""
        done = False
        for event in events:
            assert not done, "something follows [DONE]"
            done = event == b"data: [DONE]"
            if event.startswith(b"data: {"):
                self._read_chunk(json.loads(event[6:]), told)
        if not done:
            told.finish.clear()
        assert done != told.failed
        return told

    def _read_chunk(self, chunk: dict[str, Any], told: Told) -> None:
        if "error" in chunk:
            assert set(chunk["error"]) >= {"message", "type", "param", "code"}
            told.failed = True
            return
        assert not told.failed
        for choice in chunk["choices"]:
            self._read_message(choice["index"], choice["delta"], told)
            if choice["finish_reason"]:
                told.finish[choice["index"]] = choice["finish_reason"]

    def _read_message(self, index: int, message: dict[str, Any], told: Told) -> None:
        for name in self.streamed:
            told.say((index, name), message.get(name))
        for place, call in enumerate(message.get("tool_calls") or ()):
            for name in self.whole:
                told.say((index, f"{call.get('index', place)}.{name}"), call["function"].get(name))

    def read_whole(self, data: bytes) -> Told:
        told = Told()
        for choice in json.loads(data)["choices"]:
            self._read_message(choice["index"], choice["message"], told)
            told.finish[choice["index"]] = choice["finish_reason"]
        return told


def _chunk(choice: dict[str, Any]) -> bytes:
    return _event(choices=[choice])


def _event(**keys: Any) -> bytes:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + json.dumps({**head, **keys}).encode() + b"\n\n"


class TestConformance(Conformance):
    """What every dialect has to do."""

    wire = ChatWire()


def _run(body: bytes, *checks: Check, stream: bool = True, **extra: Any) -> tuple[Answer, Told, bytes]:
    wire = ChatWire()
    answer, out = wire.stream([body], *checks, **extra) if stream else wire.collect([body], *checks, **extra)
    return answer, (wire.read if stream else wire.read_whole)(out), out


def test_one_of_two_choices_is_blocked() -> None:
    """Only the choice that said it is ended; the other goes on to its own end, and [DONE] comes after that."""
    said = [(1, "so "), (0, "well "), (1, BAD), (0, "done"), (1, "more")]
    chunks = [_chunk({"index": i, "delta": {"content": text}, "finish_reason": None}) for i, text in said]
    ends = [_chunk({"index": i, "delta": {}, "finish_reason": "stop"}) for i in (1, 0)]
    answer, told, _ = _run(b"".join([*chunks, *ends, b"data: [DONE]\n\n"]), block(BAD), n=2)
    assert answer.failed is None
    assert told.texts == {(0, "content"): "well done", (1, "content"): "so \n\n" + NOTICE}
    assert told.finish == {0: "stop", 1: "content_filter"}


def test_usage_after_a_block() -> None:
    """A client that asked for usage gets an estimate, since the model was stopped before it counted."""
    body = ChatWire().speak([("content", "one "), ("content", BAD)])
    _, _, out = _run(body, block(BAD), stream_options={"include_usage": True})
    *_, usage, done, _ = out.split(b"\n\n")
    assert done == b"data: [DONE]"
    assert json.loads(usage[6:])["usage"]["completion_tokens"] > 0


def test_usage_is_told_once() -> None:
    """A stream whose [DONE] is missing is complete when every choice has ended; its usage is not told twice."""
    body = golden("llama_chat_stream").body
    answer, _, out = _run(body.removesuffix(b"data: [DONE]\n\n"), stream_options={"include_usage": True})
    assert answer.failed is None
    assert out == body


def test_text_after_the_end_of_its_choice() -> None:
    """It arrives, and the end comes after it, in front of [DONE]."""
    finish = _chunk({"index": 0, "delta": {}, "finish_reason": "stop"})
    late = _chunk({"index": 0, "delta": {"content": BAD[:4]}, "finish_reason": None})
    first = _chunk({"index": 0, "delta": {"content": "a"}, "finish_reason": None})
    answer, told, _ = _run(b"".join([first, finish, late, b"data: [DONE]\n\n"]), block(BAD))
    assert answer.failed is None
    assert told.texts == {(0, "content"): "aNEVE"}


def test_far_too_many_choices_at_once_are_an_error() -> None:
    """They are read in one go: nobody asked for so many. What was said before them arrives."""
    said = _chunk({"index": 0, "delta": {"content": "a"}, "finish_reason": None})
    for many, failed in ((MOST_CHOICES, False), (MOST_CHOICES + 1, True)):
        flood = _event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}] * many)
        answer, told, _ = _run(said + flood + b"data: [DONE]\n\n")
        assert told.texts == {(0, "content"): "a"}
        assert told.failed is failed
        assert (answer.failed is not None) is failed


def test_an_answer_of_far_too_many_calls_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that end with one event go out in one step, so there is a bound."""
    monkeypatch.setattr(answer_module, "MOST_CHANNELS", 30)
    for many, failed in ((10, False), (12, True)):
        calls = [{"index": i, "id": f"c{i}", "function": {"name": "f", "arguments": "{}"}} for i in range(many)]
        chunks = [_chunk({"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}) for call in calls]
        answer = ChatWire().answer(stream=True)
        out = b"".join(map(answer.feed, [*chunks, _chunk({"index": 0, "delta": {}, "finish_reason": "tool_calls"})]))
        out += answer.feed(b"data: [DONE]\n\n") + answer.finish()
        assert (answer.failed is not None) is failed
        assert (b"tool_calls" in out) is not failed


def test_half_a_call_is_not_sent() -> None:
    """When the upstream dies inside a tool call nothing of the call arrives."""
    frames = golden("llama_tool_stream").body.split(b"\n\n")
    answer, told, out = _run(b"\n\n".join(frames[:10]) + b"\n\n")
    assert answer.failed is not None
    assert told.failed
    assert b"tool_calls" not in out


def test_held_text_that_turns_out_blocked_when_the_upstream_dies() -> None:
    """The end of the text decides: the answer is a blocked one, with its notice and its proper end."""
    body = _chunk({"index": 0, "delta": {"content": "so it is"}, "finish_reason": None})
    answer, told, _ = _run(body, Late())
    assert answer.failed is None
    assert told.texts == {(0, "content"): NOTICE}
    assert told.finish == {0: "content_filter"}


def test_an_engine_that_died() -> None:
    """Ollama shows the death of its engine as an empty chunk and an ordinary end: the client gets an error."""
    answer, told, out = _run(golden("ollama_v1_chat_engine_killed_stream").body)
    assert answer.failed is not None
    assert answer.failed.reason == "truncated"
    assert told.failed
    assert b'"model":""' not in out


def test_a_chunk_that_says_nothing_is_dropped() -> None:
    """A chunk without choices and numbers has nothing for the client, whatever else it holds."""
    frames = golden("llama_chat_stream").body.split(b"\n\n")
    odd = _event(choices=[], prompt_filter_results=[{"text": BAD}])[:-2]
    _, _, out = _run(b"\n\n".join([frames[0], odd, *frames[1:]]))
    assert out == golden("llama_chat_stream").body


def test_old_function_calls() -> None:
    """`function_call` is a call like any other: judged whole, sent whole."""
    deltas = [{"function_call": {"name": "look"}}, {"function_call": {"arguments": '{"a": "'}}]
    deltas.append({"function_call": {"arguments": BAD + '"}'}})
    chunks = [_chunk({"index": 0, "delta": delta, "finish_reason": None}) for delta in deltas]
    body = b"".join([*chunks, _chunk({"index": 0, "delta": {}, "finish_reason": "function_call"}), b"data: [DONE]\n\n"])
    _, _, out = _run(body)
    call = {"name": "look", "arguments": json.dumps({"a": BAD})}
    assert json.loads(out.split(b"\n\n")[0][6:])["choices"][0]["delta"] == {"function_call": call}
    _, told, out = _run(body, block(BAD))
    assert b"look" not in out
    assert told.finish == {0: "content_filter"}


@pytest.mark.parametrize("name", ["llama_chat", "llama_think", "llama_tool", "llama_n2", "ollama_v1_chat_tool"])
def test_whole_answers_of_real_servers(name: str) -> None:
    """A JSON answer of a real server says the same to both kinds of client."""
    wire = ChatWire()
    wire.asks = {"n": 2} if name == "llama_n2" else {}
    for stream in (True, False):
        answer, told = wire.whole_to(golden(name).body, stream=stream)
        assert answer.failed is None
        assert told == wire.read_whole(golden(name).body)


# -- requests


def _parse(options: Options | None = None, **body: Any) -> Any:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **body}
    return DIALECT.parse(json.dumps(body).encode(), options or Options())


def test_every_text_of_a_request() -> None:
    """Texts are located in reading order with their roles, those of calls and tools too."""
    request = _parse(
        tools=[{"type": "function", "function": {"name": "weather", "description": "of a city"}}],
        messages=[
            {"role": "SYSTEM", "content": "sys"},
            {"role": "user", "content": [{"type": "text", "text": "first"}], "name": "ann"},
            {
                "role": "assistant",
                "content": None,
                "reasoning_content": "hm",
                "tool_calls": [{"id": "c1", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        ],
    )
    texts = {t.text: (t.role, t.newest, t.escaped) for t in request.texts}
    assert texts["sys"] == ("system", True, False)
    assert texts["first"] == texts["ann"] == ("user", False, False)
    assert texts["hm"] == texts["weather"] == ("assistant", False, False)
    assert texts['{"city": "Oslo"}'] == ("assistant", False, True)
    assert texts["rain"] == ("tool", True, False)
    assert texts["of a city"][0] == "system"


@pytest.mark.parametrize(
    "body",
    [
        *({"messages": []}, {"messages": None}, {"messages": [{"role": "a b", "content": "a"}]}, {"n": 0}),
        *({"MESSAGES": []}, {"messages": [{"role": "user", "content": "a", "CONTENT": "b"}]}, {"model": "m:cloud"}),
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "http://x/y.png"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "http://x/y"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"url": "file:///y"}}]}]},
    ],
)
def test_requests_that_are_refused(body: dict[str, Any]) -> None:
    """What is malformed, hidden, or would reach other machines is the client's error, with its place."""
    with pytest.raises(ClientError) as caught:
        _parse(**body)
    assert caught.value.param
