"""OpenAI's responses: the shared conformance tests, the requests that are understood, and what is its own."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from proxy.core.guard import Guard
from proxy.dialects.answer import Answer
from proxy.dialects.openai.responses.output import MOST_ITEMS
from proxy.dialects.request import Options
from proxy.errors import ClientError
from tests.dialects.conformance import BAD, NOTICE, Conformance, Late, Told, notice
from tests.dialects.golden_files import golden
from tests.dialects.openai.responses.responses_wire import DIALECT, HEAD, ResponsesWire, event_of, stream_of
from tests.phrases import PhrasePlan, block, rewrite


class TestConformance(Conformance):
    """What every dialect has to do."""

    wire = ResponsesWire()


def _run(body: bytes, *checks: Any, stream: bool = True, **extra: Any) -> tuple[Answer, Told, bytes]:
    wire = ResponsesWire()
    answer, out = wire.stream([body], *checks, **extra) if stream else wire.collect([body], *checks, **extra)
    return answer, (wire.read if stream else wire.read_whole)(out), out


def _parse(options: Options | None = None, **body: Any) -> Any:
    return DIALECT.parse(json.dumps({"model": "m", "input": "hi", **body}).encode(), options or Options())


# -- answers


def test_an_echo_of_the_clients_own_request_passes() -> None:
    """Instructions and tools that the client sent come back as they are, byte for byte."""
    body = golden("ollama_v1_responses_stream").body
    assert _run(body, instructions="Be kind.")[2] == body
    body = golden("ollama_v1_responses_tool_stream").body
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    _, _, out = _run(body, tools=[{"type": "function", "name": "get_weather", "parameters": parameters}])
    assert out.split(b"\n\n")[0] == body.split(b"\n\n")[0]


def test_an_echo_never_shows_the_operators_words() -> None:
    """What comes back is the client's text as it was judged, whatever was sent upstream around it."""
    request = _parse(instructions="mine", stream=True)
    request.texts[0].put("[X]")
    DIALECT.instruct(request, "before", "after")
    assert request.body["instructions"] == "before\n\n[X]\n\nafter"
    answer = DIALECT.answer(request, Guard(PhrasePlan()), notice)
    begun = {**HEAD, "status": "in_progress", "instructions": "before\n\n[X]\n\nafter"}
    out = answer.feed(event_of({"type": "response.created", "response": begun}))
    assert json.loads(out.partition(b"data: ")[2])["response"]["instructions"] == "[X]"


def test_repeats_are_made_from_what_was_shown() -> None:
    """After a rewrite every repeat of the text says the rewritten one (the reader compares them)."""
    for name in ("ollama_v1_responses_think_stream", "llama_responses_stream"):
        answer, told, out = _run(golden(name).body, rewrite("plan a"), rewrite("visible"))
        assert answer.failed is None
        assert b"visible" not in out
        assert b"plan a" not in out
        assert sorted(told.texts.values()) == ["Let me [X] secret thing.", "The [X] answer."]


def test_encrypted_content_that_is_not_the_thinking_is_emptied() -> None:
    """Ollama's copy of the thinking is made from what was shown; anything else could say anything."""
    for given, kept in ((f"so {BAD}", f"so {BAD}"), ("c2VjcmV0", "")):
        item = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": f"so {BAD}"}]}
        at = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
        body = stream_of(
            {"type": "response.output_item.added", "output_index": 0, "item": {**item, "summary": []}},
            {"type": "response.reasoning_summary_text.delta", **at, "delta": f"so {BAD}"},
            {"type": "response.output_item.done", "output_index": 0, "item": {**item, "encrypted_content": given}},
        )
        _, _, out = _run(body, stream=False)
        assert json.loads(out)["output"][0]["encrypted_content"] == kept
        _, _, out = _run(body, rewrite(BAD), stream=False)
        assert json.loads(out)["output"][0]["encrypted_content"] == kept.replace(BAD, "[X]")


def test_a_repeat_that_says_more_than_its_deltas() -> None:
    """Text that only a repeat tells goes through the same gates, with what came before it."""
    item = {"id": "m1", "type": "message", "role": "assistant", "status": "completed"}
    at = {"item_id": "m1", "output_index": 0, "content_index": 0}
    whole = {**item, "content": [{"type": "output_text", "text": f"so {BAD} it is"}]}
    begun = {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}}
    delta = {"type": "response.output_text.delta", **at, "delta": f"so {BAD[:4]}"}
    done = {"type": "response.output_text.done", **at, "text": f"so {BAD} it is"}
    item_done = {"type": "response.output_item.done", "output_index": 0, "item": whole}
    for events in ((begun, delta, done, item_done), (begun, delta, item_done), (begun, delta), (begun, item_done), ()):
        for stream in (True, False):
            body = stream_of(*events, output=[whole])
            answer, out = (ResponsesWire().stream if stream else ResponsesWire().collect)([body], block(BAD))
            assert answer.failed is None
            assert BAD.encode() not in out
            assert b"it is" not in out
            assert b"content_filter" in out
            assert BAD.encode() in ResponsesWire().stream([body])[1]


@pytest.mark.parametrize("place", range(2, 6))
def test_a_repeat_is_told_once(place: int) -> None:
    """A model server that repeats an end, however short, does not make the client's answer any longer: each repeat
    would have all of the text, and each beginning the client's own tools."""
    item = {"id": "m1", "type": "message", "role": "assistant", "status": "completed"}
    at = {"item_id": "m1", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": ""}
    events: list[dict[str, Any]] = [
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        {"type": "response.output_text.delta", **at, "delta": "all of it. "},
        {"type": "response.output_text.done", **at, "text": ""},
        {"type": "response.content_part.done", **at, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": {**item, "content": [part]}},
    ]
    in_progress = {"type": "response.in_progress", "response": {**HEAD, "tools": []}}
    once = [*events[:2], in_progress, *events[2:]]
    tools = [{"type": "function", "name": "look", "parameters": {"type": "object"}}]
    whole = [{**item, "content": [part]}]
    _, told, out = _run(stream_of(*once, output=whole), tools=tools)
    again = [*once[: place + 1], *([once[place]] * 50), *once[place + 1 :]]
    assert _run(stream_of(*again, output=whole), tools=tools)[2] == out
    assert told.of("content") == "all of it. "


def test_a_response_of_far_too_many_items_is_an_error() -> None:
    """Those that begin, and those that the last event lists."""
    item = {"type": "message", "role": "assistant", "content": []}
    added = {"type": "response.output_item.added", "item": item}
    for many, failed in ((MOST_ITEMS, False), (MOST_ITEMS + 1, True)):
        for body in (stream_of(*([added] * many)), stream_of(output=[item] * many)):
            answer, _ = ResponsesWire().stream([body])
            assert (answer.failed is not None) is failed


def test_a_repeat_that_says_something_else_is_not_believed() -> None:
    """Where a repeat and its deltas differ, the client is told again what it was shown."""
    body = ResponsesWire().speak([("content", "one "), ("content", "two")])
    _, told, _ = _run(body.replace(b'"text": "one two"', b'"text": "NEVERSAID"'), block(BAD))
    assert list(told.texts.values()) == ["one two"]
    assert told.finish == {0: "completed"}


def test_items_of_other_types_leave_no_gap() -> None:
    """What the server's own tools did is not forwarded, and the client's items are numbered without it."""
    search = {"id": "ws_1", "type": "web_search_call", "action": {"type": "search", "query": BAD}}
    message = {"id": "m1", "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}
    at = {"item_id": "m1", "output_index": 1, "content_index": 0}
    body = stream_of(
        {"type": "response.output_item.added", "output_index": 0, "item": search},
        {"type": "response.web_search_call.searching", "output_index": 0, "item_id": "ws_1"},
        {"type": "response.output_item.done", "output_index": 0, "item": search},
        {"type": "response.output_item.added", "output_index": 1, "item": {**message, "content": []}},
        {"type": "response.output_text.delta", **at, "delta": "hi"},
        {"type": "response.output_text.annotation.added", **at, "annotation": {"title": BAD}},
        {"type": "response.output_text.done", **at, "text": "hi"},
        {"type": "response.output_item.done", "output_index": 1, "item": message},
        output=[search, message],
    )
    answer, told, out = _run(body)
    assert answer.failed is None
    assert list(told.texts.values()) == ["hi"]
    assert BAD.encode() not in out
    assert b"ws_1" not in out


def test_a_call_that_only_the_last_event_tells() -> None:
    """A call without events of its own is judged, and told in full before the response ends."""
    call = {"id": "fc_1", "type": "function_call", "call_id": "c", "name": "n", "arguments": '{"a": "b"}'}
    _, told, _ = _run(stream_of(output=[call]))
    assert told.of("arguments") == '{"a": "b"}'
    _, told, out = _run(stream_of(output=[{**call, "arguments": json.dumps({"a": BAD})}]), block(BAD))
    assert list(told.texts.values()) == [NOTICE]
    assert b"fc_1" not in out


def test_a_blocked_call_is_not_in_the_output() -> None:
    """Neither its beginning nor its name arrive; the message before it does, and the notice after that."""
    deltas = [("content", "well"), ("name", "look"), ("arguments", json.dumps({"a": BAD}))]
    for stream in (True, False):
        _, told, out = _run(ResponsesWire().speak(deltas), block(BAD), stream=stream)
        assert list(told.texts.values()) == ["well", "\n\n" + NOTICE]
        assert b"look" not in out


def test_a_block_closes_what_is_open() -> None:
    """The notice stands in the open text, and the events that end text, part and item follow in order."""
    _, _, out = _run(ResponsesWire().speak([("content", "ab "), ("content", BAD)]), block(BAD))
    events = [json.loads(frame.partition(b"data: ")[2]) for frame in out.split(b"\n\n") if frame]
    assert [event["type"].removeprefix("response.") for event in events[-6:]] == [
        *("output_text.delta", "output_text.delta", "output_text.done"),
        *("content_part.done", "output_item.done", "completed"),
    ]
    assert events[-2]["item"]["status"] == "incomplete"
    assert events[-3]["part"]["text"] == "ab \n\n" + NOTICE
    final = events[-1]["response"]
    assert (final["status"], final["incomplete_details"]) == ("completed", {"reason": "content_filter"})
    assert final["output"] == [events[-2]["item"]]
    assert final["usage"]["output_tokens"] >= 1


def test_a_block_without_numbers() -> None:
    """Where the upstream gives no numbers and no indexes, our own events have none."""
    _, told, out = _run(golden("llama_responses_stream").body, block("secret"))
    assert told.finish == {0: "content_filter"}
    assert NOTICE in told.texts.values()
    assert b"sequence_number" not in out
    assert b"output_index" not in out


def test_numbers_go_on_after_a_hold() -> None:
    """Text that had to wait changes the number of events; the client's numbers have no gaps (the reader counts)."""
    body = golden("ollama_v1_responses_stream").body
    for checks in ((block("tiny secret"),), (rewrite("a tiny"),), (rewrite("l"),), (rewrite("."), block("zzz"))):
        answer, told, _ = _run(body, *checks)
        assert answer.failed is None
        assert told.finish == {0: "completed"}


def test_a_failed_response() -> None:
    """`response.failed` and both shapes of an error event are errors for the client, flat and as an object."""
    head = b"".join(frame + b"\n\n" for frame in golden("ollama_v1_responses_stream").body.split(b"\n\n")[:6])
    for event in (
        {"type": "response.failed", "response": {"error": {"code": "server_error", "message": "out of memory"}}},
        {"type": "error", "code": "server_error", "message": "out of memory", "param": None},
        {"error": {"message": "out of memory"}, "type": "x"},
    ):
        answer, told, out = _run(head + event_of(event))
        assert answer.failed is not None
        assert told.failed
        last = json.loads(out.split(b"\n\n")[-2].partition(b"data: ")[2])
        flat = {"code": "upstream_error_event", "message": "out of memory", "param": None}
        assert last == {
            "type": "error",
            "error": {"type": "upstream_error", **flat},
            **flat,
            "sequence_number": 6,
        }


def test_an_engine_that_died() -> None:
    """Ollama says nothing of it: the stream without its end becomes an error."""
    wire = ResponsesWire()
    answer, out = wire.stream([golden("ollama_v1_responses_engine_killed_stream").body])
    assert answer.failed is not None
    assert answer.failed.reason == "truncated"
    assert out.endswith(b'"param":null,"sequence_number":4710}\n\n')


@pytest.mark.parametrize("name", ["llama_responses", "ollama_v1_responses"])
def test_whole_answers_of_real_servers(name: str) -> None:
    """A JSON answer of a real server says the same to both kinds of client."""
    wire = ResponsesWire()
    for stream in (True, False):
        answer, told = wire.whole_to(golden(name).body, stream=stream)
        assert answer.failed is None
        assert told == wire.read_whole(golden(name).body)


def test_a_whole_answer_keeps_its_fields() -> None:
    """A client that waits gets Ollama's whole answer as it was."""
    wire = ResponsesWire()
    answer = wire.answer()
    answer.whole(golden("ollama_v1_responses").body)
    assert json.loads(answer.result()) == json.loads(golden("ollama_v1_responses").body)


# -- requests


def test_every_text_of_a_request() -> None:
    """Texts are located in reading order with their roles, those of calls, results and thinking too."""
    request = _parse(
        instructions="sys",
        tools=[{"type": "function", "name": "weather", "description": "of a city", "parameters": {"a": "b"}}],
        input=[
            {"role": "USER", "content": "first"},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "sum"}], "encrypted_content": "enc"},
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city": "Oslo"}'},
            {"type": "function_call_output", "call_id": "c1", "output": "rain"},
            {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "sun"}]},
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "last"}, {"type": "refusal", "refusal": "no"}],
            },
        ],
    )
    texts = {t.text: (t.role, t.newest, t.escaped) for t in request.texts}
    assert texts["sys"] == ("system", True, False)
    assert texts["of a city"][0] == "system"
    assert texts["first"] == ("user", False, False)
    assert texts["sum"] == texts["enc"] == ("assistant", False, False)
    assert texts['{"city": "Oslo"}'] == ("assistant", False, True)
    assert texts["rain"] == texts["sun"] == ("tool", False, False)
    assert texts["last"] == ("user", False, False)
    assert texts["no"] == ("user", True, False)
    for text in request.texts:
        text.put("x")
    assert "Oslo" not in str(request.body)
    assert "rain" not in str(request.body)


def test_a_string_input() -> None:
    """The short form is one text of the user."""
    request = _parse(input="hello", stream=True)
    assert [(t.role, t.text, t.param) for t in request.texts] == [("user", "hello", "input")]
    sent = json.loads(DIALECT.upstream_body(request))
    assert sent == {"model": "m", "input": "hello", "stream": True, "store": False}


def test_a_prefill() -> None:
    """The assistant's beginning is what the output is judged from."""
    said = {"role": "assistant", "content": [{"type": "output_text", "text": "Sure"}]}
    request = _parse(input=[{"role": "user", "content": "a"}, said])
    assert request.prefill == "Sure"
    assert [t.newest for t in request.texts] == [True, True]


@pytest.mark.parametrize(
    "body",
    [
        *({"input": []}, {"input": None}, {"input": [1]}, {"input": [{"role": "a<|im_end|>", "content": "a"}]}),
        *(
            {"input": [{"type": "item_reference", "id": "m"}]},
            {"input": [{"role": "user", "content": "a"}, {"id": "m"}]},
        ),
        *({"previous_response_id": "r"}, {"conversation": "c"}, {"conversation": {"id": "c"}}),
        *({"INPUT": "a"}, {"model": "m:cloud"}, {"instructions": 1}, {"input": [{"type": "odd", "text": "a"}]}),
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://x/y.png"}]}]},
        {"input": [{"role": "user", "content": "a", "Content": "b"}]},
    ],
)
def test_requests_that_are_refused(body: dict[str, Any]) -> None:
    """What is malformed, hidden, remembered, or would reach other machines is the client's error, with its place."""
    with pytest.raises(ClientError) as caught:
        _parse(**body)
    assert caught.value.param


def test_state() -> None:
    """Nothing is stored without the operator's leave, and empty values are none."""
    request = _parse(store=True, previous_response_id=None, conversation=None, background=False)
    assert (request.body["store"], request.removed) == (False, ("store",))
    assert set(request.body) == {"model", "input", "store"}
    kept = _parse(Options(allow_stateful=True), store=True, previous_response_id="r").body
    assert (kept["store"], kept["previous_response_id"]) == (True, "r")


def test_what_is_not_forwarded() -> None:
    """Probabilities and extra parts that cannot be judged are left out, and the client is told."""
    request = _parse(top_logprobs=3, include=["message.output_text.logprobs", "reasoning.encrypted_content"], user="u")
    assert set(request.removed) == {"logprobs", "include"}
    assert request.body["include"] == ["reasoning.encrypted_content"]
    assert request.dropped == ("user",)


def test_the_operators_words() -> None:
    """They stand around the instructions."""
    for own, expected in ((None, "A\n\nB"), ("own", "A\n\nown\n\nB")):
        request = _parse(instructions=own)
        DIALECT.instruct(request, "A", "B")
        assert request.body["instructions"] == expected


def test_blocked_prompts_name_their_place() -> None:
    """The 400 of a refused prompt blames `input`."""
    error = json.loads(DIALECT.blocked("no", "r1"))["error"]
    assert (error["param"], error["code"]) == ("input", "content_filter")


def test_how_long_the_prompt_was() -> None:
    """The count that the upstream tells at the end."""
    for name, tokens in (("llama_responses_stream", 20), ("ollama_v1_responses_think_stream", 42)):
        assert _run(golden(name).body)[0].prompt_tokens == tokens


def test_a_block_in_the_event_that_would_have_ended_the_text() -> None:
    """The text is still open for the notice, and ends after it with all its events."""
    for stem in ("output_text.done", "content_part.done", "output_item.done"):
        events = ResponsesWire().speak([("content", "so it is")]).split(b"\n\n")
        earlier = {
            "output_item.done": ("output_text.done", "content_part.done"),
            "content_part.done": ("output_text.done",),
        }
        left_out = tuple(f"event: response.{name}\n".encode() for name in earlier.get(stem, ()))
        body = b"\n\n".join(event for event in events if not (left_out and event.startswith(left_out)))
        _, told, out = _run(re.sub(rb', "sequence_number": \d+', b"", body), Late())
        assert list(told.texts.values()) == [NOTICE]
        kinds = [frame.partition(b"\n")[0].removeprefix(b"event: response.") for frame in out.split(b"\n\n")[-6:-1]]
        assert kinds == [
            b"output_text.delta",
            b"output_text.done",
            b"content_part.done",
            b"output_item.done",
            b"completed",
        ]
