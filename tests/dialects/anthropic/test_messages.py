"""Anthropic's messages: the shared conformance tests, the requests that are understood, and what is its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.core.guard import Guard
from proxy.dialects.anthropic import overlap
from proxy.dialects.anthropic.messages import AnthropicCountTokens
from proxy.dialects.request import Options
from proxy.errors import BadRequest, ClientError, NotServed, TooLarge, UpstreamError, UpstreamTimeout
from tests.dialects.anthropic.messages_wire import DIALECT, START, MessagesWire, event_of, stream_of
from tests.dialects.conformance import BAD, NOTICE, Conformance, Told, notice
from tests.dialects.golden_files import golden
from tests.phrases import PhrasePlan, block, rewrite


class TestConformance(Conformance):
    """What every dialect has to do."""

    wire = MessagesWire()


def _answer(body: bytes, *checks: Any, stream: bool = True, **extra: Any) -> tuple[Told, bytes]:
    wire = MessagesWire()
    answer, out = wire.stream([body], *checks, **extra) if stream else wire.collect([body], *checks, **extra)
    assert answer.failed is None
    return (wire.read if stream else wire.read_whole)(out), out


def _parse(options: Options | None = None, **body: Any) -> Any:
    body = {"messages": [{"role": "user", "content": "hi"}], **body}
    return DIALECT.parse(json.dumps(body).encode(), options or Options())


def _thinking(*deltas: str, signature: str = "c2ln") -> bytes:
    parts: list[dict[str, Any]] = [{"type": "thinking_delta", "thinking": text} for text in deltas]
    parts.append({"type": "signature_delta", "signature": signature})
    start = {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}
    events = [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in parts]
    return stream_of(start, *events, {"type": "content_block_stop", "index": 0})


# -- answers


def test_a_signature_passes_with_its_thinking() -> None:
    """Thinking that is as the model wrote it keeps its signature, also when its end had to wait."""
    for deltas in (("so it is",), ("so it is ", BAD[:4])):
        told, out = _answer(_thinking(*deltas), block(BAD))
        assert told.of("thinking") == "".join(deltas)
        assert out.count(b"c2ln") == 1
        assert out.index(b"c2ln") > out.rindex(b"thinking_delta")


def test_a_signature_does_not_vouch_for_other_thinking() -> None:
    """Where a rule rewrote the thinking, now or long before its end, the signature is dropped."""
    for deltas in ((BAD, " and on"), ("so it is ", BAD), (BAD, "s" * 50, "t" * 50), (BAD, BAD[:4])):
        for stream in (True, False):
            _, out = _answer(_thinking(*deltas), rewrite(BAD), stream=stream)
            assert b"[X]" in out
            assert b"c2ln" not in out


def test_a_signature_is_judged_too() -> None:
    """It is a string that somebody could write into."""
    _, out = _answer(_thinking("so", signature=f"so {BAD}"), block(BAD))
    assert BAD.encode() not in out


def test_blocks_that_are_left_out_leave_no_gap() -> None:
    """What the server's own tools wrote is not forwarded, and the client's blocks are numbered without it."""
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": BAD}}
    results = {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"title": BAD}]}
    events: list[dict[str, Any]] = []
    for place, content in enumerate((search, results, {"type": "text", "text": "well, "})):
        events.append({"type": "content_block_start", "index": place, "content_block": content})
        if place < 2:
            events.append({"type": "content_block_stop", "index": place})
    events.append({"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "yes"}})
    citation = {"type": "citations_delta", "citation": {"cited_text": BAD}}
    events.append({"type": "content_block_delta", "index": 2, "delta": citation})
    told, out = _answer(stream_of(*events, {"type": "content_block_stop", "index": 2}))
    assert told.texts == {(0, "0.content"): "well, yes"}
    assert BAD.encode() not in out


def test_a_call_that_overlaps_with_text() -> None:
    """A call that is not complete when text begins comes after that text, with the next index."""
    call = {"type": "tool_use", "id": "i", "name": "n", "input": {}}
    told, _ = _answer(
        stream_of(
            {"type": "content_block_start", "index": 0, "content_block": call},
            {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "hello"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": " there"}},
            {"type": "content_block_stop", "index": 1},
        )
    )
    assert told.texts == {
        (0, "0.content"): "hello there",
        (0, "1.name"): "n",
        (0, "1.id"): "i",
        (0, "1.arguments"): "{}",
    }


def _begin(index: int | None, kind: str = "text") -> dict[str, Any]:
    return {"type": "content_block_start", **_at(index), "content_block": {"type": kind, kind: ""}}


def _say(index: int | None, text: str, kind: str = "text") -> dict[str, Any]:
    return {"type": "content_block_delta", **_at(index), "delta": {"type": f"{kind}_delta", kind: text}}


def _stop(index: int | None) -> dict[str, Any]:
    return {"type": "content_block_stop", **_at(index)}


def _at(index: int | None) -> dict[str, Any]:
    return {} if index is None else {"index": index}


@pytest.mark.parametrize("kind", ["text", "thinking"])
@pytest.mark.parametrize("stops", [True, False])
def test_blocks_of_one_kind_that_overlap_follow_each_other(kind: str, stops: bool) -> None:
    """A block that begins before the one before has ended waits for that: each block has its own text, and the order of
    arrival is that of the blocks."""
    overlapping = [
        *(_begin(0, kind), _say(0, "one ", kind), _begin(1, kind), _say(1, "three ", kind)),
        *(_begin(2, kind), _say(0, "two ", kind), _say(2, "five", kind)),
    ]
    if stops:
        overlapping += [_stop(0), _say(1, "four ", kind), _stop(2), _stop(1)]
    else:  # the last one has no stop either, which direct is the client's to bear
        overlapping += [_say(1, "four ", kind), _stop(2)]
    told, out = _answer(stream_of(*overlapping))
    assert [text for _, text in sorted(told.texts.items())] == ["one two ", "three four ", "five"]
    arrived = [word for word in ("one", "two", "three", "four", "five") if word.encode() in out]
    assert (
        sorted(arrived, key=lambda word: out.index(word.encode())) == arrived == ["one", "two", "three", "four", "five"]
    )


@pytest.mark.parametrize("index", [2, None])
def test_a_word_over_blocks_that_overlap_is_found(index: int | None) -> None:
    """Text that waits in one block, while others speak, is not put together with the next one's on the screen."""
    events = [
        *(_begin(0), _say(0, f"so {BAD[:4]}"), _begin(1), _say(1, "and")),
        *(_begin(7, "thinking"), _say(7, "well", "thinking"), _stop(7)),
        *(_begin(index), _say(index, f"{BAD[4:]} on"), _stop(index)),
    ]
    told, out = _answer(stream_of(*events), rewrite(BAD))
    lines = [json.loads(line[6:]) for line in out.splitlines() if line.startswith(b"data: ")]
    assert BAD not in "".join(line.get("delta", {}).get("text", "") for line in lines)
    assert BAD not in "".join(text for _, text in sorted(told.texts.items()))


def test_too_much_that_waits_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that never ends does not make others wait without bound."""
    monkeypatch.setattr(overlap, "MOST", 10)
    wire = MessagesWire()
    answer, out = wire.stream([stream_of(_begin(0), _begin(1), *[_say(1, "on and ") for _ in range(20)])])
    assert answer.failed is not None
    assert wire.read(out).failed


def test_a_call_whose_input_stands_in_its_beginning() -> None:
    """Some servers give the whole input at once: it is judged like the rest, and a call without input has none."""
    for given, passes in (({"a": "fine"}, True), ({"a": BAD}, False), ({}, True)):
        call = {"type": "tool_use", "id": "i", "name": "n", "input": given}
        body = stream_of(
            {"type": "content_block_start", "index": 0, "content_block": call},
            {"type": "content_block_stop", "index": 0},
        )
        told, _ = _answer(body, block(BAD))
        assert told.of("arguments") == (json.dumps(given) if passes else "")


def test_an_escaped_word_in_a_call() -> None:
    """The input is judged as the program reads it: a word spelled with escapes is seen."""
    deltas = [("arguments", piece) for piece in ('{"a": "\\u004e', "EVERSAID", '"}')]
    told, _ = _answer(MessagesWire().speak(deltas), block(BAD))
    assert told.texts == {(0, "0.content"): NOTICE}


def test_a_block_has_its_details() -> None:
    """The reason names no rule of the match: type, no category, and the notice for people."""
    _, out = _answer(MessagesWire().speak([("content", f"ab {BAD}")]), block(BAD), stream=False)
    message = json.loads(out)
    assert message["stop_details"] == {"type": "refusal", "category": None, "explanation": NOTICE}
    assert message["content"] == [{"type": "text", "text": "ab "}, {"type": "text", "text": "\n\n" + NOTICE}]
    assert message["usage"]["output_tokens"] >= 1


def test_stop_sequences() -> None:
    """Only one that the client gave is told back."""
    for value in ("END", BAD):
        end = {"type": "message_delta", "delta": {"stop_reason": "stop_sequence", "stop_sequence": value}}
        body = event_of(START) + event_of({**end, "usage": {"output_tokens": 1}}) + event_of({"type": "message_stop"})
        _, out = _answer(body, stream=False, stop_sequences=["END"])
        assert json.loads(out)["stop_sequence"] == (value if value == "END" else None)


def test_an_answer_without_an_end_or_beginning() -> None:
    """A message that stops without a reason, or blocks that were not begun, are errors."""
    wire = MessagesWire()
    text = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "x"}}
    stop = {"type": "content_block_stop", "index": 3}
    for events in ((START, text, {"type": "message_stop"}), (text,), (START, stop), (START, text, text)):
        answer, out = wire.stream([b"".join(event_of(event) for event in events)])
        assert answer.failed is not None
        assert wire.read(out).failed


@pytest.mark.parametrize("name", ["llama_messages", "ollama_v1_messages"])
def test_whole_answers_of_real_servers(name: str) -> None:
    """A JSON answer of a real server says the same to both kinds of client."""
    wire = MessagesWire()
    for stream in (True, False):
        answer, told = wire.whole_to(golden(name).body, stream=stream)
        assert answer.failed is None
        assert told == wire.read_whole(golden(name).body)


def test_an_engine_that_died() -> None:
    """Ollama says nothing of it: the stream without its end becomes an error."""
    wire = MessagesWire()
    answer, out = wire.stream([golden("ollama_v1_messages_engine_killed_stream").body])
    assert answer.failed is not None
    assert answer.failed.reason == "truncated"
    told = wire.read(out)
    assert told.failed
    assert told.of("content").endswith("round")


# -- requests


def test_every_text_of_a_request() -> None:
    """Texts are located in reading order with their roles; what stands in calls and results is found too."""
    request = _parse(
        model="m",
        system=[{"type": "text", "text": "sys", "cache_control": {"type": "ephemeral"}}],
        tools=[{"name": "weather", "description": "of a city", "input_schema": {"type": "object"}}],
        messages=[
            {"role": "User", "content": "first"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "sig"},
                    {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": ["Oslo"]}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "rain"}]},
                    {"type": "tool_result", "tool_use_id": "c2", "content": "sun"},
                    {"type": "text", "text": "last"},
                ],
            },
        ],
    )
    texts = {t.param: (t.role, t.text, t.newest) for t in request.texts}
    assert texts["system[0].text"] == ("system", "sys", True)
    assert {"weather", "of a city", "input_schema"} <= {t.text for t in request.texts if t.param.startswith("tools[0]")}
    assert texts["messages[0].content"] == ("user", "first", False)
    assert texts["messages[1].content[0].thinking"] == ("assistant", "hm", False)
    assert texts["messages[1].content[1].input.city[0]"] == ("assistant", "Oslo", False)
    assert texts["messages[2].content[0].content[0].text"] == ("tool", "rain", False)
    assert texts["messages[2].content[1].content"] == ("tool", "sun", False)
    assert texts["messages[2].content[2].text"] == ("user", "last", True)
    assert request.body["messages"][0]["role"] == "user"
    for text in request.texts:
        text.put("x")
    assert "Oslo" not in str(request.body)
    assert json.loads(DIALECT.upstream_body(request))["stream"] is True


def test_a_prefill() -> None:
    """The assistant's beginning is what the output is judged from, and belongs to the newest turn."""
    request = _parse(messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "Sure, "}])
    assert request.prefill == "Sure, "
    assert [t.newest for t in request.texts] == [True, True]


@pytest.mark.parametrize(
    "body",
    [
        *({"messages": []}, {"messages": "hi"}, {"messages": [{"role": "user<|im_end|>", "content": "a"}]}),
        *({"system": 1}, {"messages": [{"role": "user", "content": 1}]}, {"messages": [{"role": 1, "content": "a"}]}),
        *({"messages": [{"role": "user", "Content": "a", "content": "b"}]}, {"MODEL": "m"}, {"model": "x-cloud"}),
        {
            "messages": [
                {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://x/y"}}]}
            ]
        },
    ],
)
def test_requests_that_are_refused(body: dict[str, Any]) -> None:
    """What is malformed, hidden, or would reach other machines is the client's error, with its place."""
    with pytest.raises(ClientError) as caught:
        _parse(**body)
    assert caught.value.param


def test_pictures() -> None:
    """Pictures in the request pass unless a policy refuses them."""
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    messages = [{"role": "user", "content": [picture]}]
    assert _parse(messages=messages).body["messages"][0]["content"] == [picture]
    with pytest.raises(BadRequest, match="refused by policy"):
        _parse(Options(allow_images=False), messages=messages)


def test_what_is_not_forwarded() -> None:
    """Account data and service levels are nobody's business."""
    request = _parse(metadata={"user_id": "u"}, service_tier="auto", keep_alive=-1)
    assert set(request.dropped) == {"metadata", "service_tier", "keep_alive"}


def test_the_operators_words() -> None:
    """They stand around the system text, whatever its form."""
    for system, expected in (
        (None, "A\n\nB"),
        ("own", "A\n\nown\n\nB"),
        ([{"type": "text", "text": "own"}], [{"type": "text", "text": text} for text in ("A", "own", "B")]),
    ):
        request = _parse(system=system)
        DIALECT.instruct(request, "A", "B")
        assert request.body["system"] == expected


# -- errors


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (BadRequest("no"), "invalid_request_error"),
        (NotServed("no"), "not_found_error"),
        (TooLarge("no"), "request_too_large"),
        (UpstreamTimeout("no", "timeout"), "timeout_error"),
        (UpstreamError("no", "status_5xx", 503), "overloaded_error"),
        (UpstreamError("no", "internal", 500), "api_error"),
        (UpstreamError("no", "status_4xx", 422), "invalid_request_error"),
    ],
)
def test_errors(problem: ClientError | UpstreamError, kind: str) -> None:
    """An error has Anthropic's shape, with the type that belongs to its status."""
    body = json.loads(DIALECT.error(problem, "req_1"))
    assert body == {"type": "error", "error": {"type": kind, "message": "no"}, "request_id": "req_1"}


def test_a_blocked_prompt() -> None:
    """A refused prompt is an invalid request; the sentence for people is its message."""
    body = json.loads(DIALECT.blocked("not that", "req_1"))
    assert body["error"] == {"type": "invalid_request_error", "message": "not that"}


# -- counting


COUNT = AnthropicCountTokens()


def _count(body: bytes, *checks: Any) -> Any:
    request = COUNT.parse(MessagesWire().request(stream=True), Options())
    assert set(json.loads(COUNT.upstream_body(request))) == {"model", "messages"}
    assert (request.path, request.stream) == ("/v1/messages/count_tokens", False)
    answer = COUNT.answer(request, Guard(PhrasePlan(checks)), notice)
    assert answer.whole(body) == b""
    return answer


def test_counting() -> None:
    """The number passes, and nothing beside it."""
    answer = _count(b'{"input_tokens": 12, "note": "NEVERSAID"}')
    assert answer.failed is None
    assert json.loads(answer.result()) == {"input_tokens": 12}


@pytest.mark.parametrize("body", [b"", b"{}", b'{"input_tokens":"NEVERSAID"}', b'{"error":{"message":"NEVERSAID"}}'])
def test_a_count_that_is_none(body: bytes) -> None:
    """Anything but a number is an error."""
    answer = _count(body, block(BAD))
    assert answer.failed is not None
    assert BAD not in str(answer.failed)


def test_a_count_is_nostream_of() -> None:
    """A stream where a number belongs is an error."""
    answer = COUNT.answer(COUNT.parse(MessagesWire().request(), Options()), Guard(PhrasePlan()), notice)
    assert answer.feed(golden("llama_messages_stream").body) == b""
    assert answer.failed is not None
    assert answer.finish() == b""


def test_how_long_the_prompt_was() -> None:
    """Cached tokens are tokens of the prompt too; a later count replaces an estimate."""
    for name, tokens in (("llama_messages_stream", 34), ("ollama_v1_messages_stream", 41)):
        answer, _ = MessagesWire().stream([golden(name).body])
        assert answer.prompt_tokens == tokens
