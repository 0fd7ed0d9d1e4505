"""The door: paths, methods, names, pages, and requests that are not plainly one request."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from typing import Any

import pytest
import zstandard

from tests.fakes import FakeUpstream, reply, reply_json, sse
from tests.server.http.clock import Clock, only_connection
from tests.server.running import Policies, Wire, chat_body, head, running, said, soon
from tests.waiting import PATIENCE, a_moment, until

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
BODY = json.dumps(chat_body()).encode()
ANSWER = reply(sse(*said("Hello")))
NOWHERE = "http://127.0.0.1:9"
ACTUAL = {
    "gzip": gzip.compress(BODY, mtime=0),
    "x-gzip": gzip.compress(BODY, mtime=0),
    "deflate": zlib.compress(BODY),
    "zstd": zstandard.compress(BODY),
    "identity": BODY,
}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/index.html", 404),
        ("POST", "/v1/chat/completions/", 404),
        ("POST", "//v1/chat/completions", 404),
        ("POST", "/V1/chat/completions", 404),
        ("POST", "/v1/unknown", 404),
        ("POST", "/chat/completions", 404),
        ("POST", "/api/v1/unknown", 404),
        ("POST", "/api/v1/models/load", 404),
        ("GET", "/slots", 404),
        ("GET", "/metrics", 404),
        ("GET", CHAT, 405),
        ("PUT", CHAT, 405),
        ("POST", "/v1/models", 405),
        ("POST", "/", 405),
    ],
)
async def test_every_other_path(method: str, path: str, status: int) -> None:
    """Every other path: 404 in OpenAI's shape; a wrong method 405, with what would be right."""
    async with FakeUpstream([]) as upstream, running(upstream) as proxy:
        answer = await proxy.send(head(path, "content-length: 2", method=method) + b"{}")
        assert answer.status == status
        assert set(answer.json()["error"]) == {"message", "type", "param", "code", "request_id"}
        assert ("allow" in answer.headers) == (status == 405)
        assert upstream.connections == 0


@pytest.mark.parametrize("path", ["/api/chatty", "/api/pull", "/api/delete"])
async def test_ollamas_paths(path: str) -> None:
    """Under /api/ an error is a string, as Ollama's clients read it; what is refused says why."""
    async with running(NOWHERE) as proxy:
        answer = await proxy.send(head(path, "content-length: 2") + b"{}")
        assert answer.status in (404, 405)
        assert isinstance(answer.json()["error"], str)


async def test_head_is_get_without_a_body() -> None:
    """HEAD is answered where GET is, without a body, and also for what is not there."""
    async with FakeUpstream(reply_json({"data": []})) as upstream, running(upstream) as proxy:
        good = await proxy.client.head(f"{proxy.url}/v1/models")
        assert (good.status_code, good.content, good.headers["content-type"]) == (200, b"", "application/json")
        assert (await proxy.client.head(f"{proxy.url}/nothing")).status_code == 404


async def test_websockets() -> None:
    """Websocket upgrades are refused, with a sentence that names LM Studio's SDK."""
    async with running(NOWHERE) as proxy:
        upgrade = ["connection: Upgrade", "upgrade: websocket", "sec-websocket-key: x", "sec-websocket-version: 13"]
        async with proxy.wire() as wire:
            await wire.send(head("/llm", *upgrade, method="GET"))
            answer = await wire.answer()
            assert answer.status == 400
            assert "@lmstudio/sdk" in answer.json()["error"]["message"]
            assert answer.headers["connection"] == "close"


async def test_an_upgrade_to_http2_is_ignored() -> None:
    """Java's client asks for h2c with each request; it gets HTTP/1.1, and the connection ends after the answer."""
    upgrade = ["connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQAAP__"]
    async with FakeUpstream(ANSWER) as upstream, running(upstream) as proxy, proxy.wire() as wire:
        await wire.post(CHAT, BODY, *upgrade)
        answer = await wire.answer()
        assert answer.events()[-1] == "[DONE]"
        assert await wire.ended() == b""


@pytest.mark.parametrize(
    "request_bytes",
    [
        head(CHAT, f"content-length: {len(BODY)}", "transfer-encoding: chunked") + BODY,
        head(CHAT, "transfer-encoding: chunked", f"content-length: {len(BODY)}") + BODY,
        head(CHAT, f"content-length: {len(BODY)}", "content-length: 2") + BODY,
        head(CHAT, f"content-length: {len(BODY)}, {len(BODY)}") + BODY,
        head(CHAT, f"content-length: +{len(BODY)}") + BODY,
        head(CHAT, f"content-length : {len(BODY)}") + BODY,
        head(CHAT, "x-folded: a\r\n b", f"content-length: {len(BODY)}") + BODY,
        head(CHAT, "transfer-encoding: gzip, chunked") + b"0\r\n\r\n",
        head(CHAT, "transfer-encoding: chunked, identity") + b"0\r\n\r\n",
        head(CHAT, "transfer-encoding: xchunked") + b"0\r\n\r\n",
        head(CHAT, "transfer-encoding: identity") + BODY,
        head(CHAT, "host: evil", f"content-length: {len(BODY)}") + BODY,
        head(CHAT, f"content-length: {len(BODY)}").replace(b"host: localhost\r\n", b"") + BODY,
        head(CHAT, f"content-length: {len(BODY)}").replace(b"HTTP/1.1", b"HTTP/2.0") + BODY,
        head(CHAT, "transfer-encoding: chunked").replace(b"HTTP/1.1", b"HTTP/1.0") + b"0\r\n\r\n",
        head(CHAT, f"content-length: {len(BODY)}", "x: a\0b") + BODY,
        head(CHAT, "transfer-encoding: chunked") + b"zz\r\n",
        b"rubbish\r\n\r\n",
    ],
)
async def test_smuggling(request_bytes: bytes) -> None:
    """What two readers could take for two different requests (content-length with transfer-encoding, two lengths,
    folded headers, two hosts) is refused with 400 and goes nowhere; the connection ends."""
    async with FakeUpstream([]) as upstream, running(upstream) as proxy, proxy.wire() as wire:
        await wire.send(request_bytes + head("/v1/models", method="GET"))
        answer = await wire.answer()
        assert answer.status == 400
        assert answer.json()["error"]["code"] == "malformed_request"
        await wire.ended()
        assert upstream.connections == 0


async def test_two_requests_at_once() -> None:
    """A second request that comes before the answer to the first is not served; the connection ends after the first
    answer, so that the client knows."""
    once = head(CHAT, f"content-length: {len(BODY)}") + BODY
    async with FakeUpstream([ANSWER]) as upstream, running(upstream) as proxy, proxy.wire() as wire:
        await wire.send(once + once)
        answer = await wire.answer()
        assert answer.events()[-1] == "[DONE]"
        assert await wire.ended() == b""
        assert len(upstream.requests) == 1


async def test_rubbish_after_a_request_is_not_answered_into_the_stream() -> None:
    """Bytes that come while an answer is under way change nothing in it."""
    async with FakeUpstream([ANSWER]) as upstream, running(upstream) as proxy, proxy.wire() as wire:
        await wire.send(head(CHAT, f"content-length: {len(BODY)}") + BODY)
        await upstream.exchange()
        await wire.send(b"rubbish\r\n\r\n")
        answer = await wire.answer()
        assert answer.body == b"".join(sse(*said("Hello")))
        assert await wire.ended() == b""


async def test_a_connection_serves_many_requests() -> None:
    """Requests one after another on one connection are all served."""
    async with FakeUpstream(ANSWER) as upstream, running(upstream) as proxy, proxy.wire() as wire:
        for _ in range(3):
            await wire.post(CHAT, BODY)
            assert (await wire.answer()).events()[-1] == "[DONE]"


@pytest.mark.parametrize("begin", [b"", b"POST /v1/chat/comp", head(CHAT)[:-2]])
async def test_slow_heads(begin: bytes) -> None:
    """A client that sends its head byte by byte, or says nothing, is closed after the header time-out."""
    async with running(NOWHERE) as proxy, proxy.wire() as wire:
        await wire.send(begin)
        await until(lambda: len(proxy.server.listener.server_state.connections) == 1)
        connection, clock = only_connection(proxy), Clock()
        await until(lambda: connection._head_size == len(begin))
        connection._stop_head_timer()  # the loop's own, which began when the client came
        connection.loop = clock.loop
        connection._start_head_timer()
        clock.forward(PATIENCE - 1)
        assert not connection.transport.is_closing()
        clock.forward(2)
        assert (await wire.answer()).status == 408
        assert await wire.ended() == b""


async def test_a_slow_second_head() -> None:
    """The time-out holds for every request of a connection, not only for the first."""
    async with FakeUpstream(ANSWER) as upstream, running(upstream) as proxy, proxy.wire() as wire:
        await wire.post(CHAT, BODY)
        await wire.answer()
        connection, clock = only_connection(proxy), Clock()
        connection.loop = clock.loop
        await wire.send(b"POST ")
        await until(lambda: connection._head_timer is not None)
        clock.forward(PATIENCE + 1)
        assert (await wire.answer()).status == 408


async def test_slow_bodies() -> None:
    """A client that sends its body byte by byte is refused after the body time-out, and nothing goes upstream.

    The time-out is over at once: what counts is that the bytes which keep coming do not put it off.
    """

    answered = asyncio.Event()

    async def drip(wire: Wire) -> None:
        while not answered.is_set():  # to be cancelled is what `asyncio.wait_for` now and then forgets before 3.12
            await wire.send(b" ")
            await a_moment()

    async with (
        FakeUpstream([]) as upstream,
        running(upstream, body_timeout=0.0) as proxy,
        proxy.wire() as wire,
    ):
        await wire.send(head(CHAT, "content-length: 100000"))
        dripping = asyncio.ensure_future(drip(wire))
        answer = await wire.answer()
        answered.set()
        await asyncio.gather(dripping, return_exceptions=True)  # the proxy may have closed before
        assert answer.status == 408
        assert answer.json()["error"]["code"] == "request_timeout"
        assert upstream.connections == 0


@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_bodies_over_the_limit(framing: str) -> None:
    """A body over the limit: 413, also without content-length, and the rest is not read."""
    async with running(NOWHERE, max_body=1000) as proxy, proxy.wire() as wire:
        if framing == "length":
            await wire.send(head(CHAT, "content-length: 1001"))
        else:
            await wire.send(head(CHAT, "transfer-encoding: chunked") + b"3E9\r\n" + b" " * 1001)
        answer = await wire.answer()
        assert answer.status == 413
        assert answer.json()["error"]["code"] == "body_too_large"
        assert await wire.ended() == b""


async def test_the_refusal_reaches_a_client_that_is_still_sending() -> None:
    """A client that has sent a large body before it looks at the answer finds the 413, not a broken connection."""
    async with running(NOWHERE, max_body=1000) as proxy, proxy.wire() as wire:
        await wire.send(head(CHAT, "content-length: 300000") + b" " * 300_000)
        assert (await wire.answer()).status == 413


async def test_a_body_at_the_limit() -> None:
    """A body of exactly the limit is served, with content-length and in chunks."""
    async with FakeUpstream(ANSWER) as upstream, running(upstream, max_body=len(BODY)) as proxy:
        assert (await proxy.send(head(CHAT, f"content-length: {len(BODY)}") + BODY)).status == 200
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"
        assert (await proxy.send(head(CHAT, "transfer-encoding: chunked") + chunks)).status == 200


@pytest.mark.parametrize("encoding", ACTUAL)
async def test_encoded_bodies(encoding: str) -> None:
    """Content-Encoding identity, gzip, deflate and zstd are decoded; the model server gets plain JSON."""
    body = ACTUAL[encoding]
    async with FakeUpstream(ANSWER) as upstream, running(upstream) as proxy:
        answer = await proxy.send(head(CHAT, f"content-encoding: {encoding}", f"content-length: {len(body)}") + body)
        assert answer.status == 200
        assert upstream.requests[0].json()["messages"] == chat_body()["messages"]
        assert upstream.requests[0].header("content-encoding") is None


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("br", b"x", 415),
        ("gzip, gzip", b"x", 415),
        ("gzip", BODY, 400),
        ("gzip", gzip.compress(BODY, mtime=0)[:-4], 400),
        ("gzip", gzip.compress(b" " * 50_000, mtime=0), 413),
        ("deflate", zlib.compress(b" " * 50_000), 413),
        ("zstd", zstandard.compress(b" " * 50_000), 413),
        ("zstd", zstandard.compress(BODY)[:-2], 400),
    ],
)
async def test_encodings_that_are_refused(encoding: str, body: bytes, status: int) -> None:
    """Another encoding is 415, a bomb 413, rubbish 400."""
    async with running(NOWHERE, max_body=10_000) as proxy:
        answer = await proxy.send(head(CHAT, f"content-encoding: {encoding}", f"content-length: {len(body)}") + body)
        assert answer.status == status
        assert "message" in answer.json()["error"]


async def test_headers_upstream() -> None:
    """Headers go upstream by an allow-list: no X-Conversation-Id, no Origin, no credentials, our own Host."""
    mine = [
        *("X-Conversation-Id: abc", "Authorization: Bearer secret", "x-api-key: secret", "Cookie: a=b", "TE: trailers"),
        *("User-Agent: me", "Accept-Encoding: gzip", "X-Forwarded-For: 1.2.3.4", "Origin: http://localhost:3000"),
        *(
            "traceparent: 00-" + 32 * "1" + "-" + 16 * "2" + "-01",
            "tracestate: a=b",
            "Connection: keep-alive, X-Hop",
            "X-Hop: 1",
        ),
    ]
    async with FakeUpstream(ANSWER) as upstream, running(upstream) as proxy, proxy.wire() as wire:
        await wire.post(CHAT, BODY, *mine)
        assert (await wire.answer()).status == 200
        sent = dict(upstream.requests[0].headers)
        assert sent == {
            "host": f"127.0.0.1:{upstream.port}",
            "content-type": "application/json",
            "accept": "text/event-stream",
            "accept-encoding": "identity",
            "user-agent": sent["user-agent"],
            "traceparent": "00-" + 32 * "1" + "-" + 16 * "2" + "-01",
            "tracestate": "a=b",
            "content-length": sent["content-length"],
        }
        assert sent["user-agent"].startswith("safety-proxy/")


@pytest.mark.parametrize(
    ("config", "sent"),
    [
        ({"pass_authorization": True}, {"authorization": "Bearer mine", "x-api-key": "mine"}),
        ({"upstream_key": "ours"}, {"authorization": "Bearer ours"}),
        ({"upstream_key": "ours", "pass_authorization": True}, {"authorization": "Bearer ours"}),
    ],
)
async def test_credentials_upstream(config: dict[str, Any], sent: dict[str, str]) -> None:
    """The client's key goes upstream only by a setting, and never beside the operator's own."""
    async with FakeUpstream(ANSWER) as upstream, running(upstream, **config) as proxy, proxy.wire() as wire:
        await wire.post(CHAT, BODY, "Authorization: Bearer mine", "x-api-key: mine")
        await wire.answer()
        headers = dict(upstream.requests[0].headers)
        assert {name: headers[name] for name in ("authorization", "x-api-key") if name in headers} == sent


async def test_headers_of_the_answer() -> None:
    """Headers of the model server's answer do not reach the client, and a stream is marked as not to be buffered."""
    theirs = [("Set-Cookie", "a=b"), ("Server", "llama.cpp"), ("Access-Control-Allow-Origin", "*")]
    answer = reply(sse(*said("Hello")), headers=theirs)
    async with FakeUpstream(answer) as upstream, running(upstream) as proxy:
        got = await proxy.chat()
        assert set(got.headers) == {
            *("date", "content-type", "transfer-encoding", "cache-control", "x-accel-buffering"),
            *("x-safety-proxy-request-id", "x-safety-proxy-policy", "x-safety-proxy-action"),
        }
        assert got.headers["cache-control"] == "no-cache"
        assert got.headers["x-accel-buffering"] == "no"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:11435", 200),
        ("127.0.0.1", 200),
        ("[::1]:11435", 200),
        ("192.168.1.5:80", 200),
        ("box.local", 200),
        ("x.localhost", 200),
        ("host.docker.internal:11435", 200),
        ("Proxy.Example.ORG", 200),
        ("evil.example", 403),
        ("8.8.8.8", 403),
        ("localhost.evil.example", 403),
        ("", 403),
    ],
)
async def test_names(host: str, status: int) -> None:
    """Bound to loopback, only local names and those of a setting are answered (DNS rebinding)."""
    async with FakeUpstream(ANSWER) as upstream, running(upstream, hosts=("proxy.example.org",)) as proxy:
        answer = await proxy.send(head(CHAT, f"content-length: {len(BODY)}", host=host) + BODY)
        assert answer.status == status


ORIGINS = [
    ("http://localhost", 200),
    ("https://localhost:3000", 200),
    ("http://127.0.0.1:8080", 200),
    ("http://0.0.0.0:1", 200),
    ("app://obsidian.md", 200),
    ("vscode-webview://abc", 200),
    ("https://chat.example.org", 200),
    ("http://localhost.evil.example", 403),
    ("https://evil.example", 403),
    ("null", 403),
    ("ftp://localhost", 403),
]


@pytest.mark.parametrize(("origin", "status"), ORIGINS)
async def test_pages_that_may_call(origin: str, status: int) -> None:
    """Web pages of Ollama's default origins and those of a setting may call; the others get 403 and no CORS header."""
    async with FakeUpstream(ANSWER) as upstream, running(upstream, origins=("https://chat.example.org",)) as proxy:
        async with proxy.wire() as wire:
            await wire.post(CHAT, BODY, f"origin: {origin}")
            answer = await wire.answer()
        assert answer.status == status
        assert answer.headers.get("access-control-allow-origin") == (origin if status == 200 else None)
        if status == 200:
            assert "x-safety-proxy-action" in answer.headers["access-control-expose-headers"]
            assert answer.headers["vary"] == "Origin"
        else:
            assert upstream.connections == 0


async def test_a_page_of_ones_own() -> None:
    """A page that the proxy's own name has served is no foreign one."""
    async with FakeUpstream(ANSWER) as upstream, running(upstream, hosts=("proxy.example",)) as proxy:
        mine = head(CHAT, "origin: http://proxy.example:1", f"content-length: {len(BODY)}", host="proxy.example:1")
        assert (await proxy.send(mine + BODY)).status == 200


@pytest.mark.parametrize(("origin", "allowed"), [("http://localhost:3000", True), ("https://evil.example", False)])
async def test_preflight(origin: str, allowed: bool) -> None:
    """A browser's preflight is answered without a key, with the SDKs' headers, for pages that may call."""
    asked = [f"origin: {origin}", "access-control-request-method: POST"]
    async with running(NOWHERE) as proxy:
        answer = await proxy.send(head(CHAT, *asked, method="OPTIONS"))
        assert answer.status == (204 if allowed else 403)
        if allowed:
            assert "POST" in answer.headers["access-control-allow-methods"]
            listed = answer.headers["access-control-allow-headers"].lower()
            assert all(name in listed for name in ("authorization", "x-stainless-os", "openai-beta", "x-api-key"))


async def test_options() -> None:
    """OPTIONS without a page behind it tells the methods."""
    async with running(NOWHERE) as proxy:
        answer = await proxy.send(head("/v1/models", method="OPTIONS"))
        assert (answer.status, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS")


async def test_the_expect_header() -> None:
    """A client that waits for 100 Continue gets it, unless its body would be too large."""
    async with FakeUpstream(ANSWER) as upstream, running(upstream, max_body=1000) as proxy:
        async with proxy.wire() as wire:
            await wire.send(head(CHAT, "expect: 100-continue", f"content-length: {len(BODY)}"))
            assert await wire.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await wire.send(BODY)
            assert (await wire.answer()).status == 200
        async with proxy.wire() as wire:
            await wire.send(head(CHAT, "expect: 100-continue", "content-length: 5000"))
            assert (await wire.until(b"\r\n")).startswith(b"HTTP/1.1 413")


async def test_a_bug_at_the_door(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A bug before any handler is a 500 in JSON and a line in the log."""
    from proxy.server.routing.routes import RouteTable

    def fail(*_: object) -> None:
        raise LookupError("a bug")

    async with running(NOWHERE, policies=Policies()) as proxy:
        monkeypatch.setattr(RouteTable, "find", fail)
        answer = await proxy.chat()
        assert answer.status == 500
        assert answer.json()["error"]["code"] == "upstream_internal"
        assert "a bug" in caplog.text


async def test_many_connections_that_say_nothing() -> None:
    """A hundred connections that say nothing do not keep one that speaks from its answer."""
    async with FakeUpstream(ANSWER) as upstream, running(upstream) as proxy:
        silent = [await soon(asyncio.open_connection(*proxy.server.bound.listen)) for _ in range(100)]
        assert (await proxy.chat()).events()[-1] == "[DONE]"
        for _, writer in silent:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in silent))


@pytest.mark.parametrize(("status", "expected"), [(200, 200), (415, 200), (404, 200), (503, 503)])
async def test_the_root_says_that_the_model_server_runs(status: int, expected: int) -> None:
    """Whatever the model server answers at its root, it runs (llama.cpp's page wants gzip, else 415); but for a 5xx."""
    async with FakeUpstream(lambda _: reply(b"a page", status=status)) as upstream, running(upstream) as proxy:
        assert (await proxy.client.head(f"{proxy.url}/")).status_code == expected


async def test_http_1_0() -> None:
    """A client of HTTP/1.0 gets whole answers, and streams without chunks that end when the connection closes."""
    async with FakeUpstream(ANSWER) as upstream, running(upstream) as proxy:
        for stream in (False, True):
            body = json.dumps(chat_body(stream=stream)).encode()
            old = head(CHAT, f"content-length: {len(body)}").replace(b"HTTP/1.1", b"HTTP/1.0")
            async with proxy.wire() as wire:
                await wire.send(old + body)
                received = await wire.ended()
            first, _, rest = received.partition(b"\r\n\r\n")
            assert first.startswith(b"HTTP/1.1 200")
            assert b"transfer-encoding" not in first
            assert b"connection: close" in first
            assert rest.endswith(b"data: [DONE]\n\n") == stream


@pytest.mark.parametrize(
    "large", ["x-large: " + "a" * 70_000, *["\r\n".join(["x-many: 1"] * 10_000)]], ids=["one", "many"]
)
async def test_large_heads(large: str) -> None:
    """A head over the limit, in one piece or without an end, is refused with 431."""
    whole = head("/v1/models", large, method="GET")
    async with running(NOWHERE) as proxy:
        for sent in (whole, whole[:-4]):
            answer = await proxy.send(sent)
            assert answer.status == 431
            assert answer.json()["error"]["code"] == "head_too_large"


async def test_a_large_body_is_not_a_large_head() -> None:
    """A body that comes with its head is not counted as part of it."""
    body = json.dumps(chat_body("x" * 100_000)).encode()
    async with FakeUpstream(ANSWER) as upstream, running(upstream) as proxy:
        assert (await proxy.send(head(CHAT, f"content-length: {len(body)}") + body)).status == 200
