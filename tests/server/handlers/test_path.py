"""The guarded path on a real socket, in front of a scripted upstream: what a chat app gets when all goes well."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from proxy.dialects.request import Options
from tests.fakes import FakeUpstream, Wait, byte_by_byte, reply, reply_json, several_per_write, sse
from tests.phrases import block, flag, rewrite
from tests.server.running import Policies, chat_body, chunk, running, said

pytestmark = pytest.mark.anyio

CLEAN = said("Hello", " ", "wörld", " 👩‍👩‍👧")
USAGE = {"choices": [], "usage": {"completion_tokens": 3, "prompt_tokens": 2, "total_tokens": 5}}
FORBIDDEN = Policies(input=[block("FORBIDDEN")], output=[block("FORBIDDEN")])


async def test_untouched_events_leave_byte_identical() -> None:
    """Untouched events leave byte-identical."""
    stream = sse(*CLEAN)
    async with FakeUpstream(reply(stream)) as upstream, running(upstream, FORBIDDEN) as proxy:
        answer = await proxy.chat()
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.body == b"".join(stream)
        assert answer.complete


@pytest.mark.parametrize("pieces", ["whole", "bytes", "three"])
async def test_any_cut_of_the_stream_gives_the_same(pieces: str) -> None:
    """A stream that comes whole, byte by byte or several events at a time gives the client the same text."""
    stream = sse(*said("a FORB", "IDD", "ed one: F", "ORBIDDEN", " and more"))
    cut = {
        "whole": [b"".join(stream)],
        "bytes": byte_by_byte(b"".join(stream)),
        "three": several_per_write(stream, 3),
    }[pieces]
    async with FakeUpstream(reply(cut), boundaries=False) as upstream, running(upstream, FORBIDDEN) as proxy:
        answer = await proxy.chat()
        assert answer.text().startswith("a FORBIDDed one: \n\nStopped by test.")
        assert answer.events()[-1] == "[DONE]"


async def test_each_event_is_sent_when_it_comes() -> None:
    """Text that cannot become part of a match is forwarded in the same read in which it came."""
    seen = asyncio.Event()
    first, *rest = sse(*said("Hello", " world"))[1:]
    answers = reply([first, Wait(seen), *rest])
    async with FakeUpstream(answers) as upstream, running(upstream, FORBIDDEN) as proxy, proxy.wire() as wire:
        await wire.post("/v1/chat/completions", chat_body())
        await wire.until(b"Hello")
        seen.set()
        await wire.until(b"[DONE]")


@pytest.mark.parametrize("field", ["content", "reasoning_content", "reasoning", "refusal"])
async def test_every_text_field_is_guarded(field: str) -> None:
    """Every text field of a chunk is guarded."""
    stream = [chunk(delta={field: "so FORB"}), chunk(delta={field: "IDDEN it is"}), chunk(finish="stop"), "[DONE]"]
    async with FakeUpstream(reply(sse(*stream))) as upstream, running(upstream, FORBIDDEN) as proxy:
        answer = await proxy.chat()
        assert answer.text(field=field).startswith("so ")
        assert b"FORB" not in answer.body
        assert b"IDDEN" not in answer.body


async def test_each_choice_is_guarded_on_its_own() -> None:
    """Each choice index on its own: with n > 1 a block ends only its own choice, the others go on."""
    stream = [
        *(chunk("FORB", index=0), chunk("FORB", index=1), chunk("IDDEN", index=1), chunk("ID", index=0)),
        *(chunk("dle", index=0), chunk(" more", index=1), chunk(finish="stop"), chunk(finish="stop", index=1)),
        *(USAGE, "[DONE]"),
    ]
    async with FakeUpstream(reply(sse(*stream))) as upstream, running(upstream, FORBIDDEN) as proxy:
        answer = await proxy.chat(n=2, stream_options={"include_usage": True})
        assert answer.text(0) == "FORBIDdle"
        assert answer.text(1).startswith("Stopped by test.")
        events = answer.events()
        reasons = {c["index"]: c["finish_reason"] for e in events[:-2] for c in e["choices"] if c["finish_reason"]}
        assert reasons == {0: "stop", 1: "content_filter"}
        assert "usage" in events[-2]
        assert events[-1] == "[DONE]"


async def test_a_block_on_output() -> None:
    """On output the text released so far, one delta with the notice, finish_reason content_filter, [DONE]."""
    stream = said("Take the ", "FORBIDDEN", " and mix it")
    async with FakeUpstream(reply(sse(*stream))) as upstream, running(upstream, FORBIDDEN) as proxy:
        answer = await proxy.chat()
        request_id = answer.headers["x-safety-proxy-request-id"]
        notice = f"Stopped by test. (policy test, request {request_id})"
        assert answer.status == 200
        assert answer.text() == f"Take the \n\n{notice}"
        *_, last, done = answer.events()
        assert last["choices"][0]["finish_reason"] == "content_filter"
        assert done == "[DONE]"
        assert answer.complete
        exchange = await proxy.exchange()
        assert (exchange.outcome, exchange.id) == ("blocked", request_id)


async def test_a_block_of_a_whole_answer() -> None:
    """Not streaming: 200 with the same: the text so far, the notice, content_filter, and the headers say block."""
    stream = said("Take the ", "FORBIDDEN", " and mix it")
    async with FakeUpstream(reply(sse(*stream))) as upstream, running(upstream, FORBIDDEN) as proxy:
        answer = await proxy.chat(stream=False)
        assert answer.status == 200
        choice = answer.json()["choices"][0]
        assert choice["finish_reason"] == "content_filter"
        assert choice["message"]["content"].startswith("Take the \n\nStopped by test.")
        assert answer.headers["x-safety-proxy-action"] == "block"
        assert answer.headers["x-should-retry"] == "false"


async def test_a_rewrite_on_output() -> None:
    """A rewritten span is replaced, wherever the stream was cut, and the rest stays."""
    stream = said("write to a", "da@x.org", " soon")
    policies = Policies(output=[rewrite("ada@x.org", "[mail]")])
    async with FakeUpstream(reply(sse(*stream))) as upstream, running(upstream, policies) as proxy:
        assert (await proxy.chat()).text() == "write to [mail] soon"
        assert (await proxy.exchange()).outcome == "rewritten"


async def test_no_notice_in_a_json_answer() -> None:
    """No notice inside a JSON-mode answer: what was shown of it is closed, so that it parses."""
    stream = said('{"a": "', "FORBIDDEN", '"}')
    async with FakeUpstream(reply(sse(*stream))) as upstream, running(upstream, FORBIDDEN) as proxy:
        answer = await proxy.chat(response_format={"type": "json_object"})
        assert answer.text() == '{"a": ""}'
        assert answer.events()[-2]["choices"][0]["finish_reason"] == "content_filter"


def call(**function: str) -> dict[str, object]:
    """A chunk with a piece of a tool call."""
    ident = {"id": "call_1", "type": "function"} if "name" in function else {}
    return chunk(delta={"tool_calls": [{"index": 0, **ident, "function": function}]})


async def test_a_tool_call_is_held_until_it_is_complete() -> None:
    """Tool call arguments are checked on the decoded JSON values: an escape does not hide a word, nothing goes out."""
    stream = [
        call(name="get", arguments=""),
        *(call(arguments=piece) for piece in ('{"no', 'te": "\\u0046ORB', 'IDDEN"}')),
        chunk(finish="tool_calls"),
        "[DONE]",
    ]
    async with FakeUpstream(reply(sse(*stream))) as upstream, running(upstream, FORBIDDEN) as proxy:
        answer = await proxy.chat()
        assert b"ORB" not in answer.body
        assert b"note" not in answer.body
        assert answer.events()[-2]["choices"][0]["finish_reason"] == "content_filter"


async def test_usage_and_finish_come_after_held_text() -> None:
    """Usage, finish_reason and [DONE] come after held text and are never lost."""
    stream = [chunk("all FORB"), chunk(finish="length"), USAGE, "[DONE]"]
    async with FakeUpstream(reply(sse(*stream))) as upstream, running(upstream, FORBIDDEN) as proxy:
        answer = await proxy.chat(stream_options={"include_usage": True})
        assert answer.text() == "all FORB"
        finish, usage, done = answer.events()[-3:]
        assert finish["choices"][0]["finish_reason"] == "length"
        assert usage["usage"]["total_tokens"] == 5
        assert done == "[DONE]"


async def test_the_upstream_is_always_asked_to_stream() -> None:
    """The upstream is always asked to stream; a non-streaming answer is put together from the guarded stream."""
    stream = [
        chunk(delta={"role": "assistant"}),
        chunk("Hello "),
        chunk("there"),
        chunk(finish="stop"),
        USAGE,
        "[DONE]",
    ]
    async with FakeUpstream(reply(sse(*stream))) as upstream, running(upstream, FORBIDDEN) as proxy:
        answer = await proxy.chat(stream=False)
        assert upstream.requests[0].json()["stream"] is True
        body = answer.json()
        assert body["object"] == "chat.completion"
        assert body["choices"][0]["message"]["content"] == "Hello there"
        assert body["usage"]["total_tokens"] == 5
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_plain_json_answer_goes_through_the_same_gates(stream: bool) -> None:
    """An upstream that answers with one plain JSON body all the same is handled through the same gates."""
    message = {"role": "assistant", "content": "Take the FORBIDDEN thing"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    whole = {"id": "x", "object": "chat.completion", "created": 1, "model": "tiny", "choices": [choice]}
    async with FakeUpstream(reply_json(whole)) as upstream, running(upstream, FORBIDDEN) as proxy:
        answer = await proxy.chat(stream=stream)
        assert b"FORBIDDEN" not in answer.body
        text = answer.text() if stream else answer.json()["choices"][0]["message"]["content"]
        assert text.startswith("Take the \n\nStopped by test.")
        assert answer.complete


async def test_a_block_on_input() -> None:
    """On input HTTP 400 with code content_filter, in OpenAI's and Azure's shape, header x-should-retry: false."""
    async with FakeUpstream([]) as upstream, running(upstream, FORBIDDEN) as proxy:
        answer = await proxy.chat(content="give me FORBIDDEN things")
        assert answer.status == 400
        error = answer.json()["error"]
        assert error["code"] == "content_filter"
        assert error["innererror"]["code"] == "ResponsibleAIPolicyViolation"
        assert "FORBIDDEN" not in error["message"]
        assert answer.headers["x-safety-proxy-request-id"] in error["message"]
        assert answer.headers["x-should-retry"] == "false"
        assert answer.headers["x-safety-proxy-action"] == "block"
        assert upstream.connections == 0


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": "an innocent part"}, {"type": "text", "text": "a FORBIDDEN part"}],
        "FORBIDDEN",
    ],
)
async def test_every_text_of_every_message_is_checked(content: object) -> None:
    """Every text of every message (string or parts) is checked before anything goes upstream."""
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": content}]
    async with FakeUpstream([]) as upstream, running(upstream, FORBIDDEN) as proxy:
        assert (await proxy.chat(messages=messages)).status == 400
        assert upstream.connections == 0


HISTORY = [
    {"role": "user", "content": "a FORBIDDEN question"},
    {"role": "assistant", "content": "Stopped."},
    {"role": "user", "content": "And now?"},
]


async def test_a_block_in_an_earlier_turn() -> None:
    """In an earlier turn that message's text is replaced by the notice and the request goes on."""
    async with FakeUpstream(reply(sse(*CLEAN))) as upstream, running(upstream, FORBIDDEN) as proxy:
        answer = await proxy.chat(messages=HISTORY)
        assert answer.status == 200
        assert answer.headers["x-safety-proxy-action"] == "rewrite"
        first, *others = upstream.requests[0].json()["messages"]
        assert first["content"].startswith("Stopped by test.")
        assert others == HISTORY[1:]


@pytest.mark.parametrize(("policy", "setting"), [("block", None), ("replace", "block")])
async def test_history_can_block(policy: str, setting: str | None) -> None:
    """With history: block, in the policy or as a setting, a block in an earlier turn ends the request."""
    policies = Policies(input=[block("FORBIDDEN")], history=policy)
    async with FakeUpstream([]) as upstream, running(upstream, policies, history=setting) as proxy:
        assert (await proxy.chat(messages=HISTORY)).status == 400


async def test_a_rewrite_on_input() -> None:
    """A rewrite on input reaches the model rewritten; the header says so."""
    policies = Policies(input=[rewrite("ada@x.org", "[mail]")])
    async with FakeUpstream(reply(sse(*CLEAN))) as upstream, running(upstream, policies) as proxy:
        answer = await proxy.chat(content="write to ada@x.org now")
        assert upstream.requests[0].json()["messages"][0]["content"] == "write to [mail] now"
        assert answer.headers["x-safety-proxy-action"] == "rewrite"


async def test_a_flag_changes_nothing() -> None:
    """A flag changes nothing on either side, and is counted."""
    policies = Policies(input=[flag("Hello")], output=[flag("wörld")])
    async with FakeUpstream(reply(sse(*CLEAN))) as upstream, running(upstream, policies) as proxy:
        answer = await proxy.chat()
        assert answer.body == b"".join(sse(*CLEAN))
        assert answer.headers["x-safety-proxy-action"] == "flag"
        exchange = await proxy.exchange()
        assert exchange.outcome == "allowed"
        assert [(direction, f.rule.id) for direction, f in exchange.findings] == [
            ("input", "flag.Hello"),
            ("output", "flag.wörld"),
        ]


async def test_the_operators_words_stand_around_the_clients() -> None:
    """A policy's system prompt stands around the client's system text, and is not judged as the client's."""
    policies = Policies(input=[block("operator")], prompt=("operator first", "operator last"))
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    async with FakeUpstream(reply(sse(*CLEAN))) as upstream, running(upstream, policies) as proxy:
        assert (await proxy.chat(messages=messages)).status == 200
        system = upstream.requests[0].json()["messages"][0]
        assert system == {"role": "system", "content": "operator first\n\nBe kind.\n\noperator last"}


async def test_headers_on_every_answer() -> None:
    """Headers x-safety-proxy-request-id, -policy (revision), -action on every answer."""
    async with FakeUpstream(reply(sse(*CLEAN))) as upstream, running(upstream, FORBIDDEN) as proxy:
        answers = [
            await proxy.chat(),
            await proxy.chat(stream=False),
            await proxy.chat(content="FORBIDDEN"),
            await proxy.chat(messages=[]),
        ]
        assert [a.headers["x-safety-proxy-policy"] for a in answers] == ["revision-1"] * 4
        assert [a.headers["x-safety-proxy-action"] for a in answers] == ["allow", "allow", "block", "allow"]
        assert len({a.headers["x-safety-proxy-request-id"] for a in answers}) == 4


@pytest.mark.parametrize(("rules", "passes"), [(True, False), (False, True)])
async def test_logprobs_pass_only_without_an_output_rule(rules: bool, passes: bool) -> None:
    """logprobs: removed while any output rule applies, and a response header says so."""
    probability = {"content": [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []}]}
    with_logprobs = chunk("Hi")
    with_logprobs["choices"][0]["logprobs"] = probability
    policies = FORBIDDEN if rules else Policies()
    answers = reply(sse(with_logprobs, chunk(finish="stop"), "[DONE]"))
    options = Options(logprobs=True)
    async with FakeUpstream(answers) as upstream, running(upstream, policies, options=options) as proxy:
        answer = await proxy.chat(logprobs=True)
        assert ("logprobs" in upstream.requests[0].json()) == passes
        assert (b'"logprob"' in answer.body) == passes
        assert (answer.headers.get("x-safety-proxy-removed") == "logprobs") == (not passes)


async def test_the_clients_json_is_written_anew() -> None:
    """The client's JSON is parsed, allow-listed and serialised again; sampling options a backend knows are kept."""
    body: dict[str, Any] = {"temperature": 0.5, "top_k": 3, "X\r\nevil: 1": 1, "__verbose": True}
    async with FakeUpstream(reply(sse(*CLEAN))) as upstream, running(upstream, FORBIDDEN) as proxy:
        answer = await proxy.chat(**body)
        sent = upstream.requests[0].json()
        assert (sent["temperature"], sent["top_k"]) == (0.5, 3)
        assert set(sent) == {"model", "messages", "stream", "temperature", "top_k"}
        assert answer.headers["x-safety-proxy-dropped"] == "X??evil??1, __verbose"


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"{", "valid JSON"),
        (b"", "valid JSON"),
        (b'{"messages": ' + b"[" * 150 + b"]" * 150 + b"}", "nested"),
        (b"[1]", "object"),
        (b'{"messages": "hi"}', "messages"),
        (b'{"messages": []}', "messages"),
        (b'{"messages": [{"role": "user", "content": 1}]}', "content"),
        (b'{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}', "JSON"),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', "JSON"),
        (b'{"messages": [{"role": "user", "content": "\xff"}]}', "JSON"),
        (b'{"messages": ' + b"[" * 5000 + b"]" * 5000 + b"}", "depth"),
        (b'{"messages": [{"role": "wizard\\n", "content": "x"}]}', "role"),
        (b'{"messages": [{"role": "user", "content": "x"}], "n": 1000}', "n must"),
    ],
)
async def test_bad_bodies(body: bytes, names: str) -> None:
    """Malformed JSON, wrong types, NaN, lone surrogates, not an object, deep nesting: 400 with OpenAI's error shape,
    and the next request is served as if nothing had been."""
    async with FakeUpstream(reply(sse(*CLEAN))) as upstream, running(upstream, FORBIDDEN) as proxy:
        async with proxy.wire() as wire:
            await wire.post("/v1/chat/completions", body)
            answer = await wire.answer()
            assert answer.status == 400
            error = answer.json()["error"]
            assert names in f"{error['message']} {error['param']}"
            assert error["type"] == "invalid_request_error"
            await wire.post("/v1/chat/completions", chat_body())
            assert (await wire.answer()).body == b"".join(sse(*CLEAN))
        assert (await proxy.exchange()).outcome == "rejected"


async def test_large_prompts_are_parsed_in_a_thread() -> None:
    """A long prompt, parsed in a thread and judged in slices, is served like any other, and all of it is judged."""
    long = "abcdefghij " * 2_000
    async with FakeUpstream(reply(sse(*CLEAN))) as upstream, running(upstream, FORBIDDEN, offload=1000) as proxy:
        assert (await proxy.chat(content=long)).status == 200
        (sent,) = [request for request in upstream.requests if request.method == "POST"]
        assert sent.json()["messages"][0]["content"] == long
        assert (await proxy.chat(content=long + "FORBIDDEN")).status == 400


async def test_an_exchange_keeps_its_policies() -> None:
    """A stream that has begun keeps the policies that it began with; the next request gets the new ones."""
    go_on = asyncio.Event()
    first, *rest = sse(*said("Hello", " FORBIDDEN"))[1:]
    answers = [reply([first, Wait(go_on), *rest]), reply(sse(*said("Hello", " FORBIDDEN")))]
    async with FakeUpstream(answers) as upstream, running(upstream, FORBIDDEN) as proxy:
        async with proxy.wire() as wire:
            await wire.post("/v1/chat/completions", chat_body())
            await wire.until(b"Hello")
            proxy.store.current = Policies(revision="revision-2")
            go_on.set()
            assert b"FORBIDDEN" not in await wire.until(b"[DONE]")
        answer = await proxy.chat()
        assert answer.text() == "Hello FORBIDDEN"
        assert answer.headers["x-safety-proxy-policy"] == "revision-2"


async def test_connections_to_the_model_server_are_kept() -> None:
    """After an answer has come to its end, its connection serves the next request."""
    async with FakeUpstream(reply(sse(*CLEAN))) as upstream, running(upstream, FORBIDDEN) as proxy:
        for _ in range(3):
            assert (await proxy.chat()).complete
            await (await upstream.exchange(len(upstream.exchanges) - 1)).wait_answered()
        assert upstream.connections == 1


async def test_models_are_listed() -> None:
    """GET /v1/models is passed through, parsed and serialised again: only what is known is shown."""
    model = {"id": "tiny", "object": "model", "created": 1, "owned_by": "llamacpp", "secret": "path"}
    listed = {"object": "list", "data": [{**model, "meta": {"n_params": 5, "x": "y"}}], "models": [{"name": "tiny"}]}
    async with FakeUpstream(reply_json(listed)) as upstream, running(upstream) as proxy:
        answer = await proxy.client.get(f"{proxy.url}/v1/models?x=1")
        known = {
            "id": "tiny",
            "object": "model",
            "created": 1,
            "owned_by": "llamacpp",
            "meta": {"n_params": 5, "x": "y"},
        }
        assert answer.json() == {"object": "list", "data": [known]}
        assert upstream.requests[0].target == "/v1/models"
        head = await proxy.client.head(f"{proxy.url}/v1/models")
        assert (head.status_code, head.content) == (200, b"")


async def test_one_model() -> None:
    """GET /v1/models/{id} takes names with slashes and colons, and nothing that leads elsewhere."""
    async with FakeUpstream(reply_json({"id": "a/b:c", "object": "model"})) as upstream, running(upstream) as proxy:
        answer = await proxy.client.get(f"{proxy.url}/v1/models/a/b:c%20d")
        assert answer.json() == {"id": "a/b:c", "object": "model"}
        assert upstream.requests[0].target == "/v1/models/a/b:c%20d"
        sent = await proxy.send(b"GET /v1/models/..%2F..%2Fslots HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert sent.status == 404
        assert len(upstream.requests) == 1


async def test_json_dumps_is_the_clients() -> None:
    """Whatever JSON a client writes (spaces, escapes), the model server gets the same values."""
    body = json.dumps({"messages": [{"role": "user", "content": 'é "q" \u2028 \U0001f600'}]}, indent=3).encode()
    async with FakeUpstream(reply(sse(*CLEAN))) as upstream, running(upstream) as proxy, proxy.wire() as wire:
        await wire.post("/v1/chat/completions", body)
        assert (await wire.answer()).status == 200
        assert upstream.requests[0].json()["messages"] == json.loads(body)["messages"]
