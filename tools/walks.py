"""Which files a prompt enters, a token, and an edit of a policy until it is in force: traced, not guessed.

Each walk runs the real proxy in this process and notes every file of it when a function there is first called. What is
kept from call to call would make a second walk shorter. So ask for them in a fresh process: `tools.architecture` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

from proxy.policy.store import PolicyStore
from proxy.server.app import Server
from proxy.server.config import ServerConfig
from proxy.server.exchange.policies import ActivePolicies
from proxy.server.ops.policy_watcher import PolicyWatcher
from proxy.server.runtime import Runtime
from proxy.server.upstream.connection import Connection

PROXY = Path(__file__).parent.parent / "proxy"
POLL_INTERVAL = 0.01  # seconds

POLICY = """
version: 1
policy: house
rules:
  - id: codename
    words: ["zorblaxium", "project zorblax"]
    action: block
    examples: {hits: ["zorblaxium"], misses: ["blaxium"]}
  - id: ticket
    pattern: "TICKET-[0-9]{4}"
    action: rewrite
    replacement: "[ticket]"
"""
EDITED = POLICY.replace('["zorblaxium", ', '["zorblaxium", "quillonite", ').replace("TICKET", "ISSUE")

REQUEST = b'{"model": "m", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}'
REFUSED_REQUEST = b"GET /props HTTP/1.1\r\nhost: localhost\r\n\r\n"
REQUEST_HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(REQUEST)
RESPONSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":null}]}\n\n'
)
END = EVENT.replace(b'"content":"%b"', b"").replace(b"null", b'"stop"') + b"data: [DONE]\n\n"


class Trace:
    """Files of the proxy in the order in which they were first entered.

    within: only while this function runs; None: always
    """

    def __init__(self, within: CodeType | None = None) -> None:
        self.files: dict[str, None] = {}
        self._within = within
        self._records = within is None

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Called by Python for each call and return (sys.setprofile)."""
        code = frame.f_code
        if code is self._within and event in ("call", "return"):
            self._records = event == "call"
        if event == "call" and self._records and code.co_name != "<module>":
            self._enter(Path(code.co_filename))

    def _enter(self, file: Path) -> None:
        if file.is_relative_to(PROXY):
            self.files.setdefault(file.relative_to(PROXY).as_posix())

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Trace this thread while the block runs."""
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(None)


def token() -> list[str]:
    """The files that an event of a running stream enters, from the upstream's socket to the client's."""
    return asyncio.run(_token())


def prompt() -> list[str]:
    """The files that a chat request enters, from the client's socket to the upstream's. It is the second one: what is
    made once is there."""
    return asyncio.run(_prompt())


def policy_edit() -> list[str]:
    """The files that an edit enters, from the watcher to the first exchange that has the new set."""
    return asyncio.run(_policy_edit())


async def _token() -> list[str]:
    trace = Trace(within=Connection.data_received.__code__)
    async with _running() as ask:
        stream = await ask()
        for text in (b"One", b" two", b" three"):
            await stream.send(text)
        with trace.recording():
            await stream.send(b" four")
        await stream.end()
    return list(trace.files)


async def _prompt() -> list[str]:
    trace = Trace()
    async with _running() as ask:
        await (await ask()).end()
        with trace.recording():
            stream = await ask()
        await stream.end()
    return list(trace.files)


class Stream(NamedTuple):
    """A stream through the proxy, seen from both ends."""

    model_server: asyncio.StreamWriter
    request: asyncio.StreamWriter
    client: asyncio.StreamReader

    async def send(self, text: bytes) -> None:
        """Send an event and wait until its text has come through."""
        self.model_server.write(_chunk(EVENT % text))
        await self.client.readuntil(text)

    async def end(self) -> None:
        """Send the end, wait until it has come through, and close. Another request then gives the proxy time to see
        the close."""
        self.model_server.write(_chunk(END) + b"0\r\n\r\n")
        await self.client.readuntil(b"0\r\n\r\n")
        self.model_server.close()
        await self.model_server.wait_closed()
        self.request.write(REFUSED_REQUEST)
        await self.client.readuntil(b"\r\n\r\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


Ask = Callable[[], Awaitable[Stream]]
"""A client's request, until it has reached the model server."""


@contextlib.asynccontextmanager
async def _running() -> AsyncIterator[Ask]:
    accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"POST /v1/chat/completions "):
            await accepted.put(writer)
        else:  # what the proxy wants to know of the model
            writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            writer.close()

    with tempfile.TemporaryDirectory() as folder:
        store = await _loaded(Path(folder))
        model_server = await asyncio.start_server(accept, "127.0.0.1", 0)
        port = model_server.sockets[0].getsockname()[1]
        config = ServerConfig(upstream=f"http://127.0.0.1:{port}", listen=("127.0.0.1", 0), admin=None)
        clients: list[asyncio.StreamWriter] = []
        async with model_server, Server(config, store) as server:
            address = server.bound.listen

            async def ask() -> Stream:
                reader, client = await asyncio.open_connection(*address)
                clients.append(client)
                client.write(REQUEST_HEAD + REQUEST)
                writer = await accepted.get()
                writer.write(RESPONSE_HEAD)
                return Stream(writer, client, reader)

            yield ask
            for client in clients:
                client.close()


async def _policy_edit() -> list[str]:
    trace = Trace()
    threading.setprofile(trace)  # policies are compiled in a thread
    try:
        with tempfile.TemporaryDirectory() as folder:
            store = await _loaded(Path(folder))
            runtime = Runtime(ServerConfig(upstream="http://127.0.0.1:9"), store)
            (Path(folder) / "house.yaml").write_text(EDITED, "utf-8")
            trace.files.clear()
            with trace.recording():
                await _reload(store)
                ActivePolicies(store).snapshot()
            await runtime.aclose()
    finally:
        threading.setprofile(None)
    return list(trace.files)


async def _reload(store: PolicyStore) -> None:
    loaded = asyncio.Event()
    store.listeners.append(lambda status: loaded.set())
    watching = asyncio.create_task(PolicyWatcher([store], poll=POLL_INTERVAL, watch=False).run())
    await loaded.wait()
    watching.cancel()
    await asyncio.wait([watching])


class _Unprepared(PolicyStore):
    """Its sets are in force, and not made quick with long texts: that comes later, in a thread beside the walk."""

    async def prepare(self) -> None:
        """Nothing."""


async def _loaded(folder: Path) -> PolicyStore:
    (folder / "house.yaml").write_text(POLICY, "utf-8")
    store = _Unprepared(folder, hash_key=b"key")
    await store.load()
    return store
