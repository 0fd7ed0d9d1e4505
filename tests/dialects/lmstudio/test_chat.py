"""LM Studio: its own chat, and OpenAI's shape under its older paths."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from proxy.core.check import Check
from proxy.core.guard import Guard
from proxy.core.types import Action, Ending, Rule
from proxy.dialects.answer import Answer
from proxy.dialects.base import Dialect
from proxy.dialects.lmstudio.chat import LMStudioChat, LMStudioV0Chat, LMStudioV0Completions
from proxy.dialects.request import Options
from proxy.errors import UpstreamTimeout
from tests.dialects.conformance import NOTICE, Conformance, Deltas, Stream, Told, Wire, notice
from tests.dialects.golden_files import Golden
from tests.dialects.openai.test_chat import ChatWire
from tests.phrases import AtEnd, Phrase, PhrasePlan, block, rewrite

CHAT = LMStudioChat()
MODEL = "openai/gpt-oss-20b"
STATS = {
    "input_tokens": 329,
    "total_output_tokens": 268,
    "reasoning_output_tokens": 5,
    "tokens_per_second": 43.73,
    "time_to_first_token_seconds": 0.781,
}
PROVIDER = {"type": "ephemeral_mcp", "server_label": "search"}
CALL = {"tool": "model_search", "arguments": {"sort": "trending", "limit": 1}, "provider_info": PROVIDER}
FAILED = {"type": "invalid_arguments", "tool_name": "open_browser", "arguments": {"a": 1}, "provider_info": PROVIDER}


def events(*bodies: dict[str, Any]) -> bytes:
    """A stream as LM Studio's docs show it."""
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (body["type"].encode(), json.dumps(body, separators=(",", ":")).encode())
        for body in bodies
    )


def saying(kind: str, *texts: str) -> list[dict[str, Any]]:
    """A message or some reasoning in deltas."""
    return [
        {"type": f"{kind}.start"},
        *({"type": f"{kind}.delta", "content": text} for text in texts),
        {"type": f"{kind}.end"},
    ]


def ending(*output: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The last event."""
    return {"type": "chat.end", "result": {"model_instance_id": MODEL, "output": list(output), "stats": STATS, **more}}


TALK = events(
    {"type": "chat.start", "model_instance_id": MODEL},
    {"type": "model_load.start", "model_instance_id": MODEL},
    {"type": "model_load.progress", "model_instance_id": MODEL, "progress": 0.65},
    {"type": "model_load.end", "model_instance_id": MODEL, "load_time_seconds": 12.34},
    {"type": "prompt_processing.start"},
    {"type": "prompt_processing.progress", "progress": 0.5},
    {"type": "prompt_processing.end"},
    *saying("reasoning", "Need", " to", " call."),
    *saying("message", "The ", "current", " top", "-trending", " model", " is ..."),
    ending(
        {"type": "reasoning", "content": "Need to call."},
        {"type": "message", "content": "The current top-trending model is ..."},
    ),
)
TOOLS = events(
    {"type": "chat.start", "model_instance_id": MODEL},
    *saying("reasoning", "Need to", " call function."),
    {"type": "tool_call.start", "tool": "model_search", "provider_info": PROVIDER},
    {"type": "tool_call.arguments", **CALL},
    {"type": "tool_call.success", **CALL, "output": '[{"type":"text","text":"Showing 1 model"}]'},
    {"type": "tool_call.failure", "reason": "No such tool: open_browser.", "metadata": FAILED},
    *saying("message", "Here", " it is."),
    ending(
        {"type": "reasoning", "content": "Need to call function."},
        {"type": "tool_call", **CALL, "output": '[{"type":"text","text":"Showing 1 model"}]'},
        {"type": "invalid_tool_call", "reason": "No such tool: open_browser.", "metadata": FAILED},
        {"type": "message", "content": "Here it is."},
    ),
)


@dataclass(frozen=True)
class Written(Stream):
    """A stream written after the docs: LM Studio itself cannot be run here."""

    body: bytes = b""

    @property
    def golden(self) -> Golden:
        return Golden(
            self.name, "LM Studio", "POST /api/v1/chat", 200, {"content-type": "text/event-stream"}, self.body
        )


class NativeWire(Wire):
    """An upstream and a client of /api/v1/chat."""

    dialect: ClassVar[Dialect] = CHAT
    streams = (
        Written("talk", body=TALK),
        Written("tools", False, "a tool's call is written anew when it has been judged", TOOLS),
    )
    streamed = ("message", "reasoning")
    whole = ("arguments", "tool", "output", "reason")
    content = "message"
    finish = "end"
    blocked = "content_filter"

    def request(self, **extra: Any) -> bytes:
        return json.dumps({"model": "m", "input": "hi", **extra}).encode()

    def json_mode(self) -> dict[str, Any]:
        pytest.skip("this API has no JSON mode")

    def speak(self, deltas: Deltas) -> bytes:
        output = self._output(deltas)
        bodies: list[dict[str, Any]] = [{"type": "chat.start", "model_instance_id": MODEL}]
        for item in output:
            if item["type"] == "tool_call":
                bodies.append({**item, "type": "tool_call.success"})
            elif item["type"] == "invalid_tool_call":
                bodies.append({**item, "type": "tool_call.failure"})
            else:
                bodies += saying(item["type"], *item["content"])
        return events(*bodies, ending(*output))

    def _output(self, deltas: Deltas) -> list[dict[str, Any]]:
        output: list[dict[str, Any]] = []
        last = ""
        for name, text in deltas:
            if name != last:
                output.append(self._item(name, ""))
                last = name
            holder = output[-1]["metadata"] if name == "tool_name" else output[-1]
            key = "content" if name in self.streamed else name
            holder[key] += text
        for item in output:
            if item["type"] == "tool_call":
                item["arguments"] = json.loads(item["arguments"] or "{}")
        return output

    def _item(self, name: str, text: str) -> dict[str, Any]:
        if name in self.streamed:
            return {"type": name, "content": text}
        if name == "reason":
            return {"type": "invalid_tool_call", "reason": text, "metadata": {"type": "invalid_name"}}
        return {"type": "tool_call", "tool": "", "arguments": "", "output": "", name: text}

    def speak_whole(self, deltas: Deltas) -> bytes:
        return json.dumps(ending(*self._output(deltas))["result"]).encode()

    def read(self, data: bytes) -> Told:
        told = Told()
        *frames, rest = data.split(b"\n\n")
        assert rest == b""
        opened = ""
        spoken: list[dict[str, Any]] = []
        for frame in frames:
            assert not told.finish
            assert not told.failed or frame.startswith(b"event: chat.end")
            if frame.startswith(b":"):
                continue
            head, _, tail = frame.partition(b"\ndata: ")
            body = json.loads(tail)
            assert head == b"event: " + body["type"].encode()
            kind, _, step = body["type"].partition(".")
            if step == "start" and kind in self.streamed:
                assert not opened
                opened = kind
                spoken.append({"type": kind, "content": ""})
            elif step == "delta":
                assert opened == kind
                spoken[-1]["content"] += body["content"]
            elif step == "end" and kind in self.streamed:
                assert opened == kind
                opened = ""
            elif step in ("success", "failure"):
                spoken.append({**body, "type": "tool_call" if step == "success" else "invalid_tool_call"})
            elif kind == "error":
                assert set(body["error"]) >= {"type", "message"}
                told.failed = True
            elif body["type"] == "chat.end":
                assert body["result"]["output"] == spoken  # the repeat says what was said
                self._read_result(body["result"], told)
                if told.failed:
                    assert told.finish.pop(0) == "failed"
                    return told
        assert not told.failed, "nothing follows the error"
        if not told.finish:
            self._read_output(spoken, told)
        return told

    def _read_result(self, result: dict[str, Any], told: Told) -> None:
        self._read_output(result["output"], told)
        told.finish[0] = result["stats"].get("stop_reason", self.finish)

    def _read_output(self, output: Sequence[dict[str, Any]], told: Told) -> None:
        for i, item in enumerate(output):
            for key in ("content", "tool", "output", "reason"):
                told.say((0, f"{i}.{item['type'] if key == 'content' else key}"), item.get(key))
            if item.get("arguments"):
                told.say((0, f"{i}.arguments"), json.dumps(item["arguments"]))

    def read_whole(self, data: bytes) -> Told:
        told = Told()
        self._read_result(json.loads(data), told)
        return told


class TestNative(Conformance):
    """/api/v1/chat."""

    wire = NativeWire()


class V0Wire(ChatWire):
    """An upstream and a client of /api/v0/chat/completions."""

    dialect: ClassVar[Dialect] = LMStudioV0Chat()


class TestV0Chat(Conformance):
    """/api/v0/chat/completions."""

    wire = V0Wire()


# -- answers


def answering(*checks: Check, dialect: Dialect = CHAT, **body: Any) -> Answer:
    """The answer of a small request."""
    message = {"role": "user", "content": "hi"}
    given = {"input": "hi"} if dialect is CHAT else {"messages": [message], "prompt": "hi"}
    request = dialect.parse(json.dumps({"model": "m", "stream": True, **given, **body}).encode(), Options())
    return dialect.answer(request, Guard(PhrasePlan(checks)), notice)


def told(answer: Answer, *bodies: dict[str, Any]) -> list[dict[str, Any]]:
    """The events that a client gets for those of an upstream."""
    out = answer.feed(events(*bodies)) + answer.finish()
    return [json.loads(frame.partition(b"data: ")[2]) for frame in out.split(b"\n\n") if frame]


def test_a_block_in_reasoning_is_told_in_a_message() -> None:
    """The reasoning ends, a message of its own says why, and the result has both."""
    got = told(answering(block("SECRET")), *saying("reasoning", "so SEC", "RET"), *saying("message", "never"))
    assert got == [
        {"type": "reasoning.start"},
        {"type": "reasoning.delta", "content": "so "},
        {"type": "reasoning.end"},
        {"type": "message.start"},
        {"type": "message.delta", "content": NOTICE},
        {"type": "message.end"},
        {
            "type": "chat.end",
            "result": {
                "model_instance_id": "",
                "output": [{"type": "reasoning", "content": "so "}, {"type": "message", "content": NOTICE}],
                "stats": {
                    "input_tokens": 0,
                    "total_output_tokens": 2,
                    "estimated": True,
                    "stop_reason": "content_filter",
                },
            },
        },
    ]


@pytest.mark.parametrize(
    ("ending_word", "reason"), [(Ending.STOP, "eosFound"), (Ending.LENGTH, "maxPredictedTokensReached")]
)
def test_a_rule_may_end_an_answer_like_the_model(ending_word: Ending, reason: str) -> None:
    """Such an end has an ordinary word and no notice, wherever the match stands."""
    rule = Rule("p", "r", Action.BLOCK, ending=ending_word)
    for kind in ("message", "reasoning"):
        got = told(answering(Phrase("SECRET", rule)), *saying(kind, "so SECRET"))
        assert [event["type"] for event in got] == [f"{kind}.start", f"{kind}.delta", f"{kind}.end", "chat.end"]
        assert got[-1]["result"]["stats"]["stop_reason"] == reason


def test_a_block_at_the_very_end_of_an_item() -> None:
    """A match that only the end of a message decides is still told before the message ends."""
    got = told(answering(AtEnd("SEC")), *saying("message", "a SE", "C"), ending())
    assert [event["type"] for event in got][-2:] == ["message.end", "chat.end"]
    assert got[-1]["result"]["output"] == [{"type": "message", "content": "a \n\n" + NOTICE}]


def test_messages_are_told_apart() -> None:
    """Each item of the output has its own text, also when two of a kind follow each other."""
    items = [("message", "one", " a"), ("message", "two", " b"), ("reasoning", "r"), ("message", "three")]
    got = told(answering(block("|")), *(event for kind, *texts in items for event in saying(kind, *texts)), ending())
    assert [(item["type"], item["content"]) for item in got[-1]["result"]["output"]] == [
        (kind, "".join(texts)) for kind, *texts in items
    ]


def test_a_notice_of_its_own_begins_with_its_first_word() -> None:
    """Only inside a message does a blank line stand before it."""
    got = told(answering(block("SECRET")), *saying("message", "a"), *saying("reasoning", "SECRET"))
    assert [item["content"] for item in got[-1]["result"]["output"]] == ["a", "", NOTICE]


def test_a_blocked_tool_is_not_told() -> None:
    """Nothing of a call that a rule ends goes out, from its first event on."""
    got = told(answering(block("model_search")), {"type": "tool_call.start", "tool": "model_search"}, ending())
    assert [event["type"] for event in got] == ["message.start", "message.delta", "message.end", "chat.end"]


def test_what_is_told_twice_is_judged_once() -> None:
    """A call's name and arguments stand in several events: rewritten alike in all, found once."""
    answer = answering(rewrite("trending"), rewrite("_search", ""))
    got = told(
        answer,
        {"type": "tool_call.start", "tool": "model_search", "provider_info": PROVIDER},
        {"type": "tool_call.arguments", **CALL},
        {"type": "tool_call.success", **CALL, "output": "done"},
        ending(),
    )
    assert [event["tool"] for event in got[:3]] == ["model"] * 3
    assert got[1]["arguments"] == got[2]["arguments"] == {"sort": "[X]", "limit": 1}
    assert got[3]["result"]["output"] == [{**got[2], "type": "tool_call"}]
    assert len(list(answer.guard.findings())) == 2


@pytest.mark.parametrize("key", ["tool", "output"])
def test_a_text_that_is_removed_whole_does_not_come_back(key: str) -> None:
    """A rule that leaves nothing of a text leaves an empty one."""
    call = {**CALL, "output": "done", key: "SECRET"}
    got = told(answering(rewrite("SECRET", "")), {"type": "tool_call.success", **call}, ending())
    assert got[0][key] == ""
    assert "SECRET" not in json.dumps(got)


def test_an_item_that_never_ended_is_released_in_its_place() -> None:
    """Held text of an item comes before the next item begins, also when the server forgot to end it."""
    start = saying("reasoning", "a SEC")[:2]
    got = told(answering(block("SECRET")), *start, *saying("message", "b"), ending())
    assert [event.get("content") for event in got[1:4]] == ["a ", "SEC", None]
    assert got[-1]["result"]["output"][0] == {"type": "reasoning", "content": "a SEC"}


def test_the_response_id_passes_only_where_conversations_are_kept() -> None:
    """It is the key to what the server remembers."""
    last = ending(response_id="resp_1")
    assert "response_id" not in told(answering(), last)[0]["result"]
    request = CHAT.parse(b'{"model":"m","input":"hi","stream":true}', Options(allow_stateful=True))
    kept = told(CHAT.answer(request, Guard(PhrasePlan()), notice), last)
    assert kept[0]["result"]["response_id"] == "resp_1"


@pytest.mark.parametrize(
    "item", [None, 3, "x", [], {}, {"type": []}, {"type": {"a": 1}}, {"type": "image", "content": "x"}]
)
def test_a_whole_answer_with_something_else_in_it(item: Any) -> None:
    """What is no item of the output is left out of a whole answer, or makes it an error for the client."""
    answer = answering(stream=False)
    assert answer.whole(json.dumps(ending(item)["result"]).encode()) == b""
    assert answer.failed is not None or json.loads(answer.result())["output"] == []


def test_the_prompts_tokens_are_known() -> None:
    """What the server has counted can be compared with what was sent."""
    answer = answering()
    told(answer, *saying("message", "a"), ending())
    assert answer.prompt_tokens == STATS["input_tokens"]


def test_errors_end_the_stream() -> None:
    """An error of the server, or of the connection, is one error event, and the result after it says that it failed."""
    answer = answering(block("SECRET"))
    got = told(answer, *saying("message", "a SEC")[:2], {"type": "error", "error": {"message": "no memory"}}, ending())
    *before, error, end = got
    assert [event["type"] for event in before] == [f"message.{step}" for step in ("start", "delta", "delta", "end")]
    assert error["error"] == {"type": "internal_error", "message": "no memory", "code": "upstream_error_event"}
    assert (end["type"], end["result"]["stats"]["stop_reason"]) == ("chat.end", "failed")
    broken = answering()
    out = broken.finish(UpstreamTimeout("silent", "timeout"))
    assert json.loads(out.split(b"\n\n")[0].partition(b"data: ")[2])["error"]["code"] == "upstream_timeout"


# -- the older paths


V0_STATS = {
    "tokens_per_second": 51.4,
    "time_to_first_token": 0.111,
    "generation_time": 0.954,
    "stop_reason": "eosFound",
}
V0_EXTRAS = {
    "stats": V0_STATS,
    "model_info": {"arch": "granite", "quant": "Q4_K_M", "format": "gguf", "context_length": 4096},
    "runtime": {"name": "llama.cpp-mac", "version": "1.3.0", "supported_formats": ["gguf"]},
}
V0_SHOWN = {"stats": V0_STATS, "model_info": {"context_length": 4096}}


def chunk(**more: Any) -> bytes:
    """A chunk of either of the older endpoints."""
    choice = {"index": 0, "delta": {"content": "a b"}, "text": "a b", "logprobs": None, "finish_reason": "stop"}
    return (
        b"data: " + json.dumps({"id": "x", "object": "o", "model": "m", "choices": [choice], **more}).encode() + b"\n\n"
    )


@pytest.mark.parametrize("dialect", [LMStudioV0Chat(), LMStudioV0Completions()])
@pytest.mark.parametrize("checks", [(), (rewrite("b"),)])
def test_statistics_pass(dialect: Dialect, checks: tuple[Check, ...]) -> None:
    """Numbers and the stop reason arrive, in a stream and in a whole answer, also when text had to be rewritten."""
    data = chunk(**V0_EXTRAS) + b"data: [DONE]\n\n"
    out = answering(*checks, dialect=dialect).feed(data)
    merged: dict[str, Any] = {}
    for frame in out.split(b"\n\n")[:-2]:
        merged |= json.loads(frame.removeprefix(b"data: "))
    assert {key: merged.get(key) for key in V0_EXTRAS} == {**V0_SHOWN, "runtime": None}
    whole = answering(*checks, dialect=dialect, stream=False)
    whole.feed(data)
    result = json.loads(whole.result())
    assert {key: result.get(key) for key in V0_EXTRAS} == {**V0_SHOWN, "runtime": None}


def test_statistics_hold_no_text() -> None:
    """A stop reason out of no list, and any other text beside the answer, is left out."""
    words = {"stats": {**V0_STATS, "stop_reason": "SECRET"}, "model_info": {"a SECRET": 1}, "runtime": "SECRET"}
    out = answering(dialect=LMStudioV0Chat()).feed(chunk(**words) + b"data: [DONE]\n\n")
    assert b"SECRET" not in out
    assert b"51.4" in out


@pytest.mark.parametrize(
    ("dialect", "body", "path"),
    [
        (LMStudioV0Chat(), {"messages": [{"role": "user", "content": "x"}]}, "/api/v0/chat/completions"),
        (LMStudioV0Completions(), {"prompt": "x"}, "/api/v0/completions"),
        (CHAT, {"input": "x"}, "/api/v1/chat"),
    ],
)
def test_each_goes_to_its_own_path(dialect: Dialect, body: dict[str, Any], path: str) -> None:
    """The upstream is asked where the client asked."""
    request = dialect.parse(json.dumps({"model": "m", **body}).encode(), Options())
    assert request.path == path
    assert [text.text for text in request.texts] == ["x"]
