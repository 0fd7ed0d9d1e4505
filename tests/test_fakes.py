"""The scripted upstream does on the socket what its script says, and sees what its client does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import plain_http
from tests.fakes import (
    Answer,
    Answers,
    Close,
    FakeUpstream,
    FakeUpstreamError,
    FakeUpstreamThread,
    Framing,
    Reset,
    Stall,
    Wait,
    byte_by_byte,
    chunk,
    every,
    ndjson,
    reply,
    reply_json,
    several_per_write,
    split_at,
    sse,
)
from tests.fakes.socket_diag import unread_by_peer
from tests.waiting import PATIENCE, at_once

REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
EVENTS = sse({"text": "a"}, {"text": "b"}, "[DONE]")


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """The fake runs under either event loop."""
    return ("asyncio", {"use_uvloop": request.param})


@asynccontextmanager
async def _client(upstream: FakeUpstream) -> AsyncIterator[socket.socket]:
    """A bare socket, connected."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", upstream.port))
        yield client


async def _reads(client: socket.socket) -> list[bytes]:
    """What each read gives, to the end of the connection."""
    loop = asyncio.get_running_loop()
    reads = []
    async with asyncio.timeout(PATIENCE):
        while data := await loop.sock_recv(client, 65536):
            reads.append(data)
    return reads


async def _ask(client: socket.socket, request: bytes = REQUEST) -> None:
    await asyncio.get_running_loop().sock_sendall(client, request)


async def _play(answers: Answers, request: bytes = REQUEST) -> list[bytes]:
    """Send the request to a fake with these answers, and nothing more; what each read gives, to the end."""
    async with FakeUpstream(answers) as upstream, _client(upstream) as client:
        await _ask(client, request)
        client.shutdown(socket.SHUT_WR)
        return await _reads(client)


@pytest.mark.anyio
@pytest.mark.parametrize("framing", list(Framing))
async def test_a_reply_is_http(framing: Framing) -> None:
    """A real client reads status, headers and body of a reply, however its end is told."""
    answer = reply(EVENTS, status=418, headers=[("X-Kind", "tea")], framing=framing)
    async with FakeUpstream(answer) as upstream, plain_http.async_client() as client:
        response = await client.post(upstream.base_url + "/chat/completions", json={"model": "m"})
    assert (response.status_code, response.headers["x-kind"], response.content) == (418, "tea", b"".join(EVENTS))
    assert response.headers["content-type"] == "text/event-stream"


@pytest.mark.anyio
async def test_requests_are_recorded() -> None:
    """Method, path, headers, body and the number of connections are there to assert on."""
    async with FakeUpstream(reply_json({"ok": True})) as upstream, plain_http.async_client() as client:
        await client.post(f"{upstream.url}/api/chat?x=1", json={"model": "é"}, headers={"X-One": "1"})
        await client.get(f"{upstream.url}/api/tags")
        exchange = await upstream.exchange(1)
    first, second = upstream.requests
    assert (first.method, first.target, first.path) == ("POST", "/api/chat?x=1", "/api/chat")
    assert (first.header("x-one"), first.header("X-Two"), first.json()) == ("1", None, {"model": "é"})
    assert (second.method, second.path, second.body) == ("GET", "/api/tags", b"")
    assert exchange.request is second
    assert upstream.connections == 1


@pytest.mark.anyio
async def test_a_chunked_request_is_put_together() -> None:
    """A request body in chunks is recorded without its framing."""
    request = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"one ") + chunk(b"two") + b"0\r\n\r\n"
    async with FakeUpstream(reply(framing=Framing.CLOSE)) as upstream, _client(upstream) as client:
        await _ask(client, request)
        assert await _reads(client)
    assert upstream.requests[0].body == b"one two"


@pytest.mark.anyio
@pytest.mark.parametrize("split", [byte_by_byte, every(7)])
async def test_each_write_is_one_read(split: Callable[[bytes], list[bytes]]) -> None:
    """A client that reads at once gets exactly the pieces that the script cuts, never two in one read."""
    answer = reply(EVENTS, framing=Framing.CLOSE).resplit(split)
    async with FakeUpstream(answer) as upstream, _client(upstream) as client:
        if unread_by_peer(client) is None:
            pytest.skip("this kernel does not tell what a peer has read (sock_diag)")
        await _ask(client)
        reads = await _reads(client)
    assert reads == [step for step in answer.steps if isinstance(step, bytes)]
    assert len(reads) > 15


@pytest.mark.anyio
async def test_a_client_that_does_not_read_is_written_to_all_the_same() -> None:
    """Waiting for a reader is bounded, so a script plays on against a client that never reads."""
    async with FakeUpstream(reply([b"a", b"b"])) as upstream, _client(upstream) as client:
        await _ask(client)
        exchange = await upstream.exchange()
        await exchange.wait_answered()
        assert await asyncio.get_running_loop().sock_recv(client, 65536) != b""
    assert exchange.bytes_sent == sum(map(len, reply([b"a", b"b"]).steps))  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_wait_holds_the_rest_back() -> None:
    """What stands after a `Wait` is written when its event is set, and not before."""
    go = asyncio.Event()
    loop = asyncio.get_running_loop()
    answer = Answer((b"first", Wait(go), b"second", Close()))
    async with FakeUpstream(answer) as upstream, _client(upstream) as client:
        await _ask(client)
        assert await loop.sock_recv(client, 99) == b"first"
        exchange = await upstream.exchange()
        assert not exchange.answered.is_set()
        assert exchange.bytes_sent == len(b"first")
        go.set()
        assert await _reads(client) == [b"second"]


@pytest.mark.anyio
async def test_a_wait_that_nobody_ends_fails_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `Wait` does not hang: the fake raises when it is closed."""
    monkeypatch.setattr("tests.fakes.connection.WAIT_SECONDS", 0.05)

    async def forget() -> None:
        async with FakeUpstream(Answer((Wait(asyncio.Event()),))) as upstream, _client(upstream) as client:
            await _ask(client)
            assert await _reads(client) == []

    with pytest.raises(FakeUpstreamError, match="still waits after"):
        await forget()


@pytest.mark.anyio
async def test_reset_and_close_differ() -> None:
    """`Close` is an orderly end for the client, `Reset` a broken connection."""
    async with FakeUpstream([Answer((b"x", Close())), Answer((b"x", Reset()))]) as upstream:
        async with _client(upstream) as client:
            await _ask(client)
            assert await _reads(client) == [b"x"]
        async with _client(upstream) as client:
            await _ask(client)
            with pytest.raises(ConnectionResetError):
                await _reads(client)


@pytest.mark.anyio
@pytest.mark.parametrize("end", [Close(), Reset()])
async def test_a_reply_that_is_cut_has_no_end(end: Close | Reset) -> None:
    """A chunked body that ends with `Close` or `Reset` has no last chunk: a client sees that it is not complete."""
    async with FakeUpstream(reply([*EVENTS, end])) as upstream, plain_http.async_client() as client:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await client.post(upstream.url)


@pytest.mark.anyio
@pytest.mark.parametrize("half", [False, True])
async def test_the_client_going_is_seen_at_once(half: bool) -> None:
    """During a `Stall` the client's close, or half-close, is noted with its time, and the script ends."""
    async with FakeUpstream(reply([b"data: 1\n\n", Stall()])) as upstream, _client(upstream) as client:
        await _ask(client)
        exchange = await upstream.exchange()
        assert await asyncio.get_running_loop().sock_recv(client, 9999)
        assert not exchange.client_closed.is_set()
        if half:
            client.shutdown(socket.SHUT_WR)
        else:
            client.close()
        await at_once(exchange.client_closed)
        assert exchange.closed_at is not None
        await exchange.wait_answered()


@pytest.mark.anyio
async def test_a_client_that_leaves_with_its_request_is_seen() -> None:
    """A client that is gone when its request is read counts as gone for that request."""
    async with FakeUpstream(reply([Stall()])) as upstream:
        async with _client(upstream) as client:
            await _ask(client)
        exchange = await upstream.exchange()
        await exchange.wait_client_closed()


@pytest.mark.anyio
async def test_stall_ends_when_it_is_released() -> None:
    """A released `Stall` goes on with the script."""
    release = asyncio.Event()
    async with FakeUpstream(Answer((Stall(release), b"x", Close()))) as upstream, _client(upstream) as client:
        await _ask(client)
        await upstream.exchange()
        release.set()
        assert await _reads(client) == [b"x"]


@pytest.mark.anyio
async def test_waiting_for_what_does_not_come_gives_up() -> None:
    """Waiting for a request, or for a client to go, is bounded and says what was missing."""
    async with FakeUpstream(reply([Stall()])) as upstream, _client(upstream) as client:
        with pytest.raises(FakeUpstreamError, match="request 0 did not come"):
            await upstream.exchange(within=0.01)
        await _ask(client)
        exchange = await upstream.exchange()
        with pytest.raises(FakeUpstreamError, match="still connected"):
            await exchange.wait_client_closed(0.01)
        with pytest.raises(FakeUpstreamError, match="not played"):
            await exchange.wait_answered(0.01)


@pytest.mark.anyio
async def test_answers_by_request() -> None:
    """A function chooses the answer, so that one fake can be a whole model server."""

    def ollama(request: object) -> Answer:
        assert hasattr(request, "path")
        return reply_json({"path": request.path})

    async with FakeUpstream(ollama) as upstream, plain_http.async_client() as client:
        assert (await client.get(f"{upstream.url}/api/version")).json() == {"path": "/api/version"}
        assert (await client.get(f"{upstream.url}/api/tags")).json() == {"path": "/api/tags"}


@pytest.mark.anyio
async def test_a_request_too_many_fails_the_test() -> None:
    """When the list of answers is used up, the connection is closed and the fake raises at its end."""
    with pytest.raises(FakeUpstreamError, match="no answer is left for GET /two"):
        await _play([reply_json(1)], b"GET /one HTTP/1.1\r\n\r\nGET /two HTTP/1.1\r\n\r\n")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("request_bytes", "complaint"),
    [
        (b"hello\r\n\r\n", "is not HTTP"),
        (b"GET / HTTP/1.1\r\nHost", "broke off"),
        (b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nab", "2 of 9 bytes came"),
    ],
)
async def test_a_request_that_is_not_http_fails_the_test(request_bytes: bytes, complaint: str) -> None:
    """A broken request is never answered as if it were whole."""
    with pytest.raises(FakeUpstreamError, match=complaint):
        await _play(reply_json({}), request_bytes)


@pytest.mark.anyio
async def test_a_test_that_fails_by_itself_keeps_its_error() -> None:
    """The fake's own complaint does not hide the error of the test."""

    async def fail() -> None:
        async with FakeUpstream([]) as upstream, _client(upstream) as client:
            await _ask(client)
            assert await _reads(client) == []
            raise KeyError("the test's own")

    with pytest.raises(KeyError):
        await fail()


def test_a_thread_serves_clients_that_block() -> None:
    """The same fake in a thread: a blocking client, waiting from outside, and an event set from outside."""
    go = asyncio.Event()
    with FakeUpstreamThread([reply([b"one", Wait(go), b"two"]), reply([Stall()])]) as upstream:
        with plain_http.client() as client:
            with client.stream("POST", upstream.base_url, json={}) as response:
                assert upstream.exchange().request.path == "/v1"
                upstream.set(go)
                assert response.read() == b"onetwo"
            upstream.wait_answered()
            with client.stream("GET", upstream.url):
                pass
        upstream.wait_client_closed(1)
        assert (len(upstream.requests), upstream.connections) == (2, 1)


def test_a_thread_reports_a_script_that_failed() -> None:
    """A failure in the thread reaches the test."""

    def overask() -> None:
        with FakeUpstreamThread([]) as upstream, pytest.raises(httpx.RemoteProtocolError):
            plain_http.get(upstream.url)

    with pytest.raises(FakeUpstreamError, match="no answer"):
        overask()


def test_events_are_spelt_as_servers_spell_them() -> None:
    """Data-only events, named events, CRLF, and lines of JSON."""
    assert sse({"a": "é"}, "[DONE]") == ['data: {"a":"é"}\n\n'.encode(), b"data: [DONE]\n\n"]
    assert sse(("ping", {}), newline="\r\n") == [b"event: ping\r\ndata: {}\r\n\r\n"]
    assert ndjson({"done": False}, {"done": True}) == [b'{"done":false}\n', b'{"done":true}\n']


@given(st.binary(max_size=40), st.lists(st.integers(0, 40)), st.integers(1, 9))
def test_cutting_loses_nothing(data: bytes, offsets: list[int], size: int) -> None:
    """Every way to cut gives back the same bytes when joined, in pieces that are not empty."""
    for pieces in (split_at(data, *offsets), byte_by_byte(data), every(size)(data)):
        assert b"".join(pieces) == data
        assert all(pieces)
        joined = several_per_write(pieces, size)
        assert b"".join(joined) == data
        assert len(joined) == -(-len(pieces) // size)


def test_resplit_keeps_the_other_steps_in_place() -> None:
    """Only neighbouring bytes are joined and cut anew; a `Wait` between them stays between them."""
    wait = Wait(asyncio.Event())
    answer = Answer((b"ab", b"cd", wait, b"ef", Reset()))
    assert answer.resplit(every(3)).steps == (b"abc", b"d", wait, b"ef", Reset())
