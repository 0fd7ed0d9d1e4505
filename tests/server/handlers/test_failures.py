"""Model servers that fail: the client always gets a clear, proper end."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from tests.fakes import Answer, Close, FakeUpstream, Framing, Reset, Stall, Step, Wait, head, reply, reply_json, sse
from tests.phrases import block
from tests.server.running import Answer as Got
from tests.server.running import Policies, chat_body, chunk, running, said
from tests.waiting import PATIENCE, a_moment, at_rest

pytestmark = pytest.mark.anyio

FORBIDDEN = Policies(output=[block("FORBIDDEN")])
HOURS = 36_000.0  # seconds
MARGIN = 10 * PATIENCE  # what no test takes
SSE_HEAD = head(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")])
both = pytest.mark.parametrize("stream", [True, False])
transports = pytest.mark.parametrize("transport", ["own", "httpx"])


def error_of(answer: Got) -> dict[str, object]:
    """The error of a body, or of the last event."""
    value = answer.json() if "json" in answer.headers["content-type"] else answer.events()[-1]
    error: dict[str, object] = value["error"]
    return error


@both
@transports
async def test_not_reachable(stream: bool, transport: str, unused_port: int) -> None:
    """The upstream fails: not reachable 502."""
    nowhere = f"http://127.0.0.1:{unused_port}"
    async with running(nowhere, transport=transport) as proxy:
        answer = await proxy.chat(stream=stream)
        assert answer.status == 502
        assert error_of(answer)["message"] == "The model server cannot be reached; is it running?"
        assert (await proxy.exchange()).outcome == "upstream_error"
        assert proxy.metric("upstream_errors_total", upstream=nowhere, reason="connect") == 1


@both
async def test_times_out(stream: bool) -> None:
    """Times out 504; the model server's connection is closed."""
    async with FakeUpstream(Answer((Stall(),))) as upstream, running(upstream, first_byte_timeout=0.1) as proxy:
        answer = await proxy.chat(stream=stream)
        assert answer.status == 504
        assert error_of(answer)["code"] == "upstream_timeout"
        await (await upstream.exchange()).wait_client_closed()


async def test_a_head_is_not_a_first_byte() -> None:
    """A model server that sends its head and then loads its model has the long time-out until its first byte."""
    go_on = asyncio.Event()
    loading = Answer((SSE_HEAD, Wait(go_on), *reply(sse(*said("Hello"))).steps[1:]))
    async with (
        FakeUpstream(loading) as upstream,
        running(upstream, idle_timeout=100, first_byte_timeout=HOURS) as proxy,
    ):
        asking = asyncio.ensure_future(proxy.chat())
        exchange = await upstream.exchange()
        await at_rest(lambda: exchange.bytes_sent)
        assert exchange.bytes_sent == len(SSE_HEAD)
        proxy.later(HOURS - MARGIN)
        await a_moment()
        go_on.set()
        assert (await asking).text() == "Hello"


async def test_the_long_time_out_ends_too() -> None:
    """It is longer, not endless: after it the answer is 504."""
    loading = Answer((SSE_HEAD, Stall()))
    async with (
        FakeUpstream(loading) as upstream,
        running(upstream, idle_timeout=100, first_byte_timeout=HOURS) as proxy,
    ):
        asking = asyncio.ensure_future(proxy.chat())
        await upstream.exchange()
        proxy.later(HOURS)
        assert (await asking).status == 504


async def test_silent_in_the_middle() -> None:
    """A stream that says nothing for the idle time-out ends with an error event."""
    stalled = reply([*sse(chunk("Hello")), Stall()])
    async with FakeUpstream(stalled) as upstream, running(upstream, idle_timeout=0.1) as proxy:
        answer = await proxy.chat()
        assert answer.status == 200
        assert answer.text() == "Hello"
        assert error_of(answer)["code"] == "upstream_timeout"
        assert "[DONE]" not in answer.events()
        assert answer.complete


@pytest.mark.parametrize(
    "answer",
    [
        reply(b'{"error": "cannot parse: my secret diary"}', status=500),
        reply(sse({"error": {"message": "cannot parse: my secret diary", "code": 500}})),
    ],
)
async def test_its_own_words_stay_out_of_the_log(answer: Answer, caplog: pytest.LogCaptureFixture) -> None:
    """A model server's error may quote the prompt: the client reads it, and the log has the reason alone."""
    async with FakeUpstream(answer) as upstream, running(upstream) as proxy:
        assert b"secret diary" in (await proxy.chat()).body
        exchange = await proxy.exchange()
    (line,) = [message for message in caplog.messages if exchange.id in message]
    assert line.startswith(f"request {exchange.id}: POST {upstream.url}/v1/chat/completions: ")
    assert line.endswith(f" ({exchange.upstream_reason})")
    assert "diary" not in caplog.text


@both
@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
async def test_its_own_errors(status: int, stream: bool) -> None:
    """Its own 4xx and 5xx keep their status and message in OpenAI's error shape; retry-after is kept."""
    refusal = reply_json(
        {"error": {"message": "no such thing", "code": status, "secret": "x"}},
        status=status,
        headers=[("Retry-After", "7"), ("X-Secret", "y")],
    )
    async with FakeUpstream(refusal) as upstream, running(upstream, FORBIDDEN) as proxy:
        answer = await proxy.chat(stream=stream)
        assert answer.status == status
        assert error_of(answer)["message"] == "no such thing"
        assert set(error_of(answer)) == {"message", "type", "param", "code", "request_id"}
        assert answer.headers["retry-after"] == "7"
        assert "x-secret" not in answer.headers
        assert (await proxy.exchange()).outcome == "upstream_error"
        reason = f"status_{status // 100}xx"
        assert proxy.metric("upstream_errors_total", upstream=upstream.url, reason=reason) == 1


@pytest.mark.parametrize(
    "body",
    [b'{"error": "a FORBIDDEN word"}', b'{"error": {"message": "a FORBIDDEN word"}}', b"a FORBIDDEN word"],
)
async def test_an_error_text_is_judged(body: bytes) -> None:
    """What a rule forbids does not come in through an error body either."""
    async with FakeUpstream(reply(body, status=500)) as upstream, running(upstream, FORBIDDEN) as proxy:
        answer = await proxy.chat()
        assert answer.status == 500
        assert b"FORBIDDEN" not in answer.body
        assert "withheld" in str(error_of(answer)["message"])


@both
@pytest.mark.parametrize("end", [Close(), Reset()], ids=["close", "reset"])
async def test_a_stream_that_breaks(end: Close | Reset, stream: bool) -> None:
    """A stream that breaks is ended with an explicit error event, never made to look complete."""
    async with FakeUpstream(reply([*sse(chunk("Hello")), end])) as upstream, running(upstream, FORBIDDEN) as proxy:
        answer = await proxy.chat(stream=stream)
        assert error_of(answer)["code"] == "upstream_truncated"
        assert answer.status == (200 if stream else 502)
        assert b"[DONE]" not in answer.body
        assert b'"finish_reason":"' not in answer.body
        exchange = await proxy.exchange()
        assert (exchange.outcome, exchange.upstream_reason) == ("upstream_error", "truncated")


@both
@pytest.mark.parametrize("framing", list(Framing))
async def test_a_stream_without_an_end(framing: Framing, stream: bool) -> None:
    """A stream that ends without a finish is ended with an explicit error event."""
    answers = reply(sse(chunk("Hello"), chunk(" there")), framing=framing)
    async with FakeUpstream(answers) as upstream, running(upstream, FORBIDDEN) as proxy:
        answer = await proxy.chat(stream=stream)
        assert error_of(answer)["code"] == "upstream_truncated"
        assert b"[DONE]" not in answer.body
        assert answer.complete


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (reply(b"<html>", content_type="text/html"), "upstream_protocol"),
        (reply(b"", status=301, headers=[("Location", "http://elsewhere")]), "upstream_status_3xx"),
        (reply(b"", status=204, framing=Framing.LENGTH), "upstream_status_2xx"),
        (reply(gzip.compress(b"data: {}\n\n"), headers=[("Content-Encoding", "gzip")]), "upstream_protocol"),
        (reply(b"not json", content_type="application/json"), "upstream_protocol"),
        (reply(b"[]", content_type="application/json"), "upstream_protocol"),
        (Answer((b"HTTP/1.1 what\r\n\r\n", Close())), "upstream_protocol"),
        (Answer((Close(),)), "upstream_protocol"),
    ],
)
@both
async def test_answers_that_are_none(answer: Answer, code: str, stream: bool) -> None:
    """Unknown content types, redirects, encodings that were not asked for, and what is not HTTP: 502, or for a plain
    body that is not the dialect's an error in the stream."""
    async with FakeUpstream(lambda _: answer) as upstream, running(upstream, FORBIDDEN) as proxy:
        got = await proxy.chat(stream=stream)
        assert error_of(got)["code"] == code
        assert got.status == 502 or (stream and "json" not in got.headers["content-type"])
        assert got.complete


async def test_nonsense_in_the_stream() -> None:
    """An event that is not JSON ends the stream with an error event: what cannot be read cannot be guarded."""
    answers = reply(sse(chunk("Hello"), "nonsense", chunk("after")))
    async with FakeUpstream(answers) as upstream, running(upstream, FORBIDDEN) as proxy:
        answer = await proxy.chat()
        assert answer.text() == "Hello"
        assert error_of(answer)["code"] == "upstream_protocol"
        await (await upstream.exchange()).wait_client_closed()


async def test_comments_keep_the_connection_alive() -> None:
    """While nothing can be sent, SSE comments keep the client's connection alive."""
    go_on = asyncio.Event()
    slow = Answer((Wait(go_on), *reply(sse(*said("Hello"))).steps))
    async with (
        FakeUpstream(slow) as upstream,
        running(upstream, FORBIDDEN, keep_alive=0.05) as proxy,
        proxy.wire() as wire,
    ):
        await wire.post("/v1/chat/completions", chat_body())
        await wire.until(b": keep-alive\n\n\r\n")
        wire.received = wire.received.replace(b": keep-alive\n\n", b"", 1)
        begin = await wire.until(b": keep-alive\n\n\r\n")
        assert begin.startswith(b"HTTP/1.1 200")
        go_on.set()
        await wire.until(b"[DONE]")


async def test_errors_after_a_comment_are_events() -> None:
    """A comment commits the answer to status 200, so an error after it is an error event."""
    go_on = asyncio.Event()
    refusal = reply_json({"error": "the model cannot be loaded"}, status=500)
    slow = Answer((Wait(go_on), *refusal.steps))
    async with (
        FakeUpstream(slow) as upstream,
        running(upstream, FORBIDDEN, keep_alive=0.05) as proxy,
        proxy.wire() as wire,
    ):
        await wire.post("/v1/chat/completions", chat_body())
        await wire.until(b"keep-alive")
        go_on.set()
        answer = await wire.answer()
        assert answer.status == 200
        assert error_of(answer)["message"] == "the model cannot be loaded"
        assert answer.complete


async def test_held_text_is_kept_alive_too() -> None:
    """While all that comes is held back, comments keep the connection alive."""
    go_on = asyncio.Event()
    stream: list[Step] = [*sse(chunk("FORB")), Wait(go_on), *sse(chunk("idden", finish="stop"), "[DONE]")]
    async with (
        FakeUpstream(reply(stream)) as upstream,
        running(upstream, FORBIDDEN, keep_alive=0.05) as proxy,
        proxy.wire() as wire,
    ):
        await wire.post("/v1/chat/completions", chat_body())
        await wire.until(b"keep-alive")
        go_on.set()
        assert b"FORBidden" in (await wire.until(b"[DONE]")).replace(b'"}', b"")
        exchange = await proxy.exchange()
        assert exchange.max_held == 4
        assert exchange.held_seconds > 0


async def test_a_client_that_does_not_stream_waits_without_comments() -> None:
    """A client that does not stream gets no comments, and after the wait its answer."""
    go_on = asyncio.Event()
    slow = Answer((Wait(go_on), *reply(sse(*said("Hello"))).steps))
    async with (
        FakeUpstream(slow) as upstream,
        running(upstream, FORBIDDEN, keep_alive=100, first_byte_timeout=HOURS) as proxy,
    ):
        asking = asyncio.ensure_future(proxy.chat(stream=False))
        await upstream.exchange()
        proxy.later(HOURS - MARGIN)
        await a_moment()
        go_on.set()
        assert (await asking).json()["choices"][0]["message"]["content"] == "Hello"


async def test_an_answer_that_is_too_long() -> None:
    """A whole answer is put together up to a limit; beyond it the client gets an error, and the model stops."""
    stream: list[Step] = [*sse(*(chunk("x" * 100) for _ in range(20))), Stall()]
    async with FakeUpstream(reply(stream)) as upstream, running(upstream, max_answer=1500) as proxy:
        answer = await proxy.chat(stream=False)
        assert answer.status == 502
        assert error_of(answer)["code"] == "upstream_too_long"
        await (await upstream.exchange()).wait_client_closed()


class BrokenCheck:
    """A check that raises."""

    hold = 0

    def open(self) -> BrokenCheck:
        """Itself."""
        return self

    def feed(self, text: str, final: bool = False) -> None:
        """Fails."""
        raise RuntimeError("broken check")


async def test_a_check_that_fails_on_output_blocks() -> None:
    """A check that raises ends the answer like any other block: fail closed, and counted."""
    async with (
        FakeUpstream(reply(sse(*said("Hello")))) as upstream,
        running(upstream, Policies(output=[BrokenCheck()])) as proxy,
    ):
        answer = await proxy.chat()
        assert "Hello" not in answer.text()
        assert answer.events()[-2]["choices"][0]["finish_reason"] == "content_filter"
        exchange = await proxy.exchange()
        assert exchange.outcome == "blocked"
        assert proxy.metric("check_errors_total", check="other", reason="exception", on_error="block") >= 1


async def test_a_check_that_fails_on_input_blocks() -> None:
    """The same on input: 400, and nothing goes upstream."""
    async with FakeUpstream([]) as upstream, running(upstream, Policies(input=[BrokenCheck()])) as proxy:
        answer = await proxy.chat()
        assert answer.status == 400
        assert answer.json()["error"]["code"] == "content_filter"
        assert upstream.connections == 0
        assert proxy.metric("check_errors_total", check="other", reason="exception", on_error="block") == 1


async def test_a_failure_of_the_proxy_itself(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A bug in the proxy is a 500 in the dialect's shape, a line in the log, and no harm to the next request."""
    from proxy.server.exchange.record import Exchange

    def fail(*_: object) -> None:
        raise LookupError("a bug")

    async with FakeUpstream(reply(sse(*said("Hello")))) as upstream, running(upstream, FORBIDDEN) as proxy:
        with monkeypatch.context() as patch:
            patch.setattr(Exchange, "record_held", fail)
            answer = await proxy.chat(n=1, stream=False)
        assert answer.status == 500
        assert error_of(answer)["code"] == "upstream_internal"
        assert "a bug" in caplog.text
        assert (await proxy.exchange()).outcome == "proxy_error"
        assert (await proxy.chat()).text() == "Hello"
