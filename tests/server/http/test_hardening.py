"""What a peer does to fill the memory, to keep a connection for ever, or to lose an answer."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import process_time
from typing import Any

import pytest

from proxy.core.check import Progress
from proxy.core.gate import Gate
from proxy.core.types import Action, Finding, Replacement, Rule
from proxy.dialects.anthropic.message import WholeMessage as AnthropicMessage
from proxy.dialects.openai.message import WholeMessage, WholeText
from proxy.server.http import connection as protocol
from proxy.server.upstream.transport import Http1Transport
from tests.fakes import FakeUpstream, reply, reply_json, sse
from tests.server.routing.test_edge import BODY, CHAT
from tests.server.running import Answer, Policies, Proxy, Wire, chat_body, head, running, said, soon
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.anyio

CHUNKED = head(CHAT, "transfer-encoding: chunked") + b"%x\r\n%b\r\n" % (len(BODY), BODY)
PIECE = b"a" * 65536


@asynccontextmanager
async def answering(**config: Any) -> AsyncIterator[Proxy]:
    """A proxy whose model server says hello to everyone."""
    async with FakeUpstream(lambda _: reply(sse(*said("Hello")))) as upstream, running(upstream, **config) as proxy:
        yield proxy


async def refused(proxy: Proxy, wire: Wire) -> Answer:
    """The answer to what was sent; after it the next ordinary request is served."""
    answer = await wire.answer()
    assert (await proxy.chat()).text() == "Hello"
    return answer


async def test_trailers_are_no_header_fields() -> None:
    """A field behind the body neither decodes it, nor names another host or page."""
    async with answering() as proxy:
        answer = await proxy.send(
            CHUNKED + b"0\r\ncontent-encoding: gzip\r\norigin: http://evil.example\r\nhost: evil.example\r\n\r\n"
        )
        assert answer.status == 200
        assert answer.text() == "Hello"


@pytest.mark.parametrize(
    "beginning",
    [CHUNKED + b"0\r\n", CHUNKED + b"0\r\nx: ", CHUNKED + b"5;"],
    ids=["trailers", "a trailer", "a chunk's extension"],
)
async def test_what_goes_on_beside_a_body_is_bounded(beginning: bytes) -> None:
    """Trailers and chunk extensions without end are refused once they are as long as a head may be, not kept."""
    filler = b"abcdefgh: ijkl\r\n" * 4096 if beginning.endswith(b"\n") else PIECE
    async with answering() as proxy, proxy.wire() as wire:
        await wire.send(beginning)
        for _ in range(8):
            await wire.send(filler)
        answer = await refused(proxy, wire)
        assert answer.status == 431
        assert answer.json()["error"]["code"] == "trailers_too_large"


@pytest.mark.parametrize(
    ("beginning", "rest", "status"),
    [
        (head(CHAT, "transfer-encoding: chunked"), b"zz\r\n", 400),
        (CHUNKED, b"zz\r\n", 400),
        (CHUNKED + b"0\r\nx: ", PIECE + PIECE, 431),
    ],
    ids=["no chunk at all", "a bad chunk after a good one", "a trailer without end"],
)
async def test_a_body_that_is_none_is_counted_as_refused(beginning: bytes, rest: bytes, status: int) -> None:
    """The client is still there: it has sent what is no request, has been told so, and has cancelled nothing."""
    async with answering() as proxy, proxy.wire() as wire:
        await wire.send(beginning)
        await wire.send(rest)
        assert (await wire.answer()).status == status
        exchange = await proxy.exchange()
        assert exchange.outcome == "rejected"
        assert exchange.status == status
        labels = {"endpoint": CHAT, "model": "", "outcome": "rejected", "stream": "false"}
        assert proxy.metric("requests_total", **labels) == 1


async def test_a_client_that_leaves_within_its_body_has_cancelled() -> None:
    """Nobody is there to be told anything."""
    async with answering() as proxy:
        async with proxy.wire() as wire:
            await wire.send(CHUNKED)
        assert (await proxy.exchange()).outcome == "client_cancelled"


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
@pytest.mark.parametrize("framing", [f"content-length: {64 * len(PIECE)}", "transfer-encoding: chunked"])
async def test_a_refusal_reaches_a_client_that_sends_everything_first(connection: str, framing: str) -> None:
    """What is still sent of a body that is too large is read and dropped: a reset would take the answer with it."""
    piece = PIECE if "length" in framing else b"%x\r\n%b\r\n" % (len(PIECE), PIECE)
    async with answering(max_body=len(PIECE)) as proxy, proxy.wire() as wire:
        await wire.send(head(CHAT, f"connection: {connection}", framing))
        for _ in range(64):
            await wire.send(piece)
        assert (await refused(proxy, wire)).status == 413


async def test_a_refused_head_is_read_on() -> None:
    """A head that is far too large is dropped until its client has sent it, and can read why."""
    async with answering() as proxy, proxy.wire() as wire:
        await wire.send(head(CHAT)[:-2] + b"x: ")
        for _ in range(64):
            await wire.send(PIECE)
        assert (await refused(proxy, wire)).status == 431


async def test_who_never_stops_sending_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that goes on after a refusal is not read for ever."""
    monkeypatch.setattr(protocol, "LINGERING_TIMEOUT", 0.02)
    monkeypatch.setattr(protocol, "LINGERING_TIME", 0.1)
    async with answering() as proxy, proxy.wire() as wire:
        await wire.send(head(CHAT)[:-2] + b"x: ")

        async def send_for_ever() -> None:
            while True:
                await wire.send(PIECE)

        with pytest.raises(ConnectionError):
            await soon(send_for_ever())


async def test_empty_lines_keep_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty line after an answer is no request: the connection ends when it has been idle for long enough."""
    monkeypatch.setattr("proxy.server.http.listener.IDLE_CONNECTION", 1)
    async with answering() as proxy, proxy.wire() as wire:
        await wire.post(CHAT, chat_body())
        assert (await wire.answer()).complete
        await wire.send(b"\r\n")
        assert await wire.ended() == b""


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
async def test_an_answer_that_nobody_reads_is_dropped(monkeypatch: pytest.MonkeyPatch, connection: str) -> None:
    """A client that asks for a long answer and takes nothing of it does not keep it, nor its connection."""
    monkeypatch.setattr(protocol, "SEND_TIMEOUT", 0.1)
    text = "lorem ipsum " * 700_000
    whole = {"id": "1", "choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]}
    async with FakeUpstream(reply_json(whole), boundaries=False) as upstream, running(upstream, Policies()) as proxy:
        client = socket.create_connection(proxy.server.bound.listen)
        with client:
            body = b'{"model": "tiny", "messages": [{"role": "user", "content": "a"}]}'
            client.sendall(head(CHAT, f"connection: {connection}", f"content-length: {len(body)}") + body)
            assert (await proxy.exchange()).status == 200
            client.settimeout(PATIENCE)
            state = proxy.server.listener.server_state
            await until(lambda: not state.connections)  # this client is the one who waits

            def read() -> int:
                size = 0
                try:
                    while data := client.recv(1 << 20):
                        size += len(data)
                except ConnectionError:
                    pass
                return size

            assert await asyncio.to_thread(read) < len(text)


async def test_a_flood_leaves_the_others_their_turn() -> None:
    """Of a socket that is always full only so much is read before everybody else has had a turn."""
    listening = socket.create_server(("127.0.0.1", 0))
    size = 16 * 1024 * 1024
    left = memoryview(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size))

    def fill(server: socket.socket) -> None:
        nonlocal left
        with suppress(BlockingIOError):
            while left:
                left = left[server.send(left) :]

    turns = 0
    reads: Counter[int] = Counter()

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def take(data: bytes) -> None:
        reads[turns] += len(data)
        fill(server)  # whatever was taken of it, the socket is full again

    counting = asyncio.create_task(count())
    origin = Http1Transport().origin(f"http://127.0.0.1:{listening.getsockname()[1]}")
    try:
        with listening:
            asking = asyncio.ensure_future(origin.request(b"GET", b"/"))
            server, _ = await soon(asyncio.to_thread(listening.accept))
            with server:
                server.setblocking(False)
                fill(server)
                await soon((await soon(asking)).pump(take))
    finally:
        counting.cancel()
        origin.close()
    assert sum(reads.values()) == size
    assert max(reads.values()) <= 1024 * 1024


def add_chat(count: int, piece: str) -> int:
    """How long a chat message gets."""
    whole = WholeMessage()
    for _ in range(count):
        whole.add({"choices": [{"index": 0, "delta": {"content": piece}}]})
    return len(whole.body({})["choices"][0]["message"]["content"])


def add_text(count: int, piece: str) -> int:
    """How long a completion gets."""
    whole = WholeText()
    for _ in range(count):
        whole.add({"choices": [{"index": 0, "text": piece}]})
    return len(whole.body({})["choices"][0]["text"])


def add_anthropic(count: int, piece: str) -> int:
    """How long an Anthropic message gets."""
    whole = AnthropicMessage()
    whole.add({"type": "message_start", "message": {}})
    whole.add({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    for _ in range(count):
        whole.add({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}})
    return len(whole.body()["content"][0]["text"])


@pytest.mark.parametrize("add", [add_chat, add_text, add_anthropic])
async def test_a_long_answer_is_put_together_in_a_time_that_grows_with_its_length(add: Any) -> None:
    """30,000 pieces of 500 characters stall nobody: copying all before each would move some hundred gigabytes."""
    began = process_time()
    assert add(30_000, "a" * 500) == 15_000_000
    assert process_time() - began < 2.0


class Known:
    """A check that finds all at once."""

    hold = 0

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        self._findings = findings

    def open(self) -> Known:
        """Itself: it is used once."""
        return self

    def feed(self, text: str, final: bool = False) -> Progress:
        """Everything."""
        return Progress(len(text), self._findings)


async def test_a_prompt_of_nothing_but_matches_is_rewritten_in_a_time_that_grows_with_its_length() -> None:
    """100,000 spans to hide stall nobody: copying the rest of the text for each would move a hundred gigabytes."""
    rule = Rule("a", "b", Action.REWRITE, replacement=Replacement("#"))
    count, text = 100_000, "bob@example.com "
    known = Known(tuple(Finding(i * len(text), (i + 1) * len(text) - 1, rule) for i in range(count)))
    began = process_time()
    assert Gate([known]).feed(text * count, final=True) == "# " * count
    assert process_time() - began < 3.0
