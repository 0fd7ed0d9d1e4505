"""The scripted model server. It is written on bare sockets, since it has to break off, and to see others do so."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from proxy.conformance.cases import Exchange, Part
from proxy.conformance.dialects.base import MODEL, Dialect
from proxy.conformance.secrets import fill

PACE = 0.02
"""Seconds between two events of an answer that goes on for ever."""
HEAD_LIMIT = 1 << 20
BYTE = re.compile(rb"\\x([0-9a-f]{2})")
LISTS: Mapping[str, Any] = {
    "/": {},
    "/v1/models": {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 1, "owned_by": "you"}]},
    "/api/tags": {"models": [{"name": MODEL, "model": MODEL, "modified_at": "2026-01-01T00:00:00Z", "size": 1}]},
    "/api/version": {"version": "0.12.0"},
    "/api/ps": {"models": []},
    "/api/show": {"details": {}, "model_info": {}, "capabilities": ["completion", "tools", "thinking"]},
}
"""What guards ask of a model server before they trust it with a request."""
Address: TypeAlias = tuple[str, int]


@dataclass
class Asked:
    """A request as the scripted server received it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    peer: Address


@dataclass
class Script:
    """What the server does with the requests of one exchange, and what it saw.

    heard:   set by the client, when it has text
    closed:  set when a connection closes before all has been said
    arrived: the client had text while the server waited
    """

    exchange: Exchange
    dialect: Dialect
    patience: float
    asked: list[Asked] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: bool = False

    @property
    def takes(self) -> str:
        """The path that it is about."""
        return self.exchange.case.path or self.dialect.path

    def pieces(self) -> list[bytes]:
        """The body of its answer, in pieces. What stands behind the half of it waits, or never comes."""
        case = self.exchange.case
        if case.raw:
            return [raw_bytes(fill(text, self.exchange.secret)) for text in case.raw]
        parts = self.exchange.parts
        if case.then == "forever":
            parts = (*parts, *[Part("more ")] * int(self.patience / PACE))
        if self.exchange.stream:
            return self.dialect.stream(parts, case.finish)
        return [msgspec.json.encode(self.dialect.whole(parts, case.finish))]


def raw_bytes(text: str) -> bytes:
    r"""UTF-8, but `\xff` is that byte."""
    return BYTE.sub(lambda found: bytes([int(found[1], 16)]), text.encode())


class Server:
    """`async with serving(host, port) as server: server.script = ...`"""

    def __init__(self) -> None:
        self.script: Script | None = None
        self.asked = 0
        self.address: Address = ("", 0)

    @property
    def url(self) -> str:
        """Where it is."""
        host, port = self.address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, with all its requests."""
        try:
            with contextlib.suppress(OSError, EOFError, ValueError, asyncio.LimitOverrunError):
                while (asked := await _read(reader, writer)) is not None:
                    self.asked += 1
                    if not await self._answer(asked, reader, writer):
                        break
        finally:
            writer.close()

    async def _answer(self, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        script, path = self.script, asked.path.partition("?")[0]
        if script is None or path != script.takes:
            known = LISTS.get(path)
            await _whole(writer, 200 if known is not None else 404, known or {"error": "not found"})
            return True
        script.asked.append(asked)
        if script.exchange.case.raw == () and not _is_object(asked.body):
            await _whole(writer, 400, script.dialect.error("the body is not a JSON object"))
            return True
        return await _play(script, reader, writer)


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Asked | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
    body = await _body(reader, writer, headers)
    return Asked(method, path, headers, body, writer.get_extra_info("peername")[:2])


async def _body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: Mapping[str, str]) -> bytes:
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if "chunked" not in headers.get("transfer-encoding", ""):
        return await reader.readexactly(int(headers.get("content-length", "0")))
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False


async def _whole(writer: asyncio.StreamWriter, status: int, body: Any) -> None:
    data = msgspec.json.encode(body)
    head = f"HTTP/1.1 {status} Told\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    await writer.drain()


async def _play(script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Say the answer. Returns whether the connection can be used again."""
    watch = asyncio.ensure_future(reader.read(1))
    say = asyncio.ensure_future(_say(script, writer))
    try:
        await asyncio.wait([watch, say], return_when=asyncio.FIRST_COMPLETED)
        if say.done() and say.exception() is None:
            return say.result() and not watch.done()
        script.closed.set()
        return False
    finally:
        watch.cancel()
        say.cancel()
        await asyncio.gather(watch, say, return_exceptions=True)
        script.over.set()


async def _say(script: Script, writer: asyncio.StreamWriter) -> bool:
    case = script.exchange.case
    pieces = script.pieces()
    kind = case.type or (script.dialect.type if script.exchange.stream else "application/json")
    head = f"HTTP/1.1 {case.status} Told\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
    if case.then == "close" and not script.exchange.stream:
        return False
    writer.write(head.encode())
    half = len(pieces) // 2
    for place, piece in enumerate(pieces):
        if place == half and case.then in ("wait", "close"):
            if case.then == "close":
                return False
            await _wait_for_client(script)
        if place == len(pieces) - 1 and case.then == "cut":
            break
        if piece:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
        await asyncio.sleep(PACE if case.then == "forever" else 0)
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


async def _wait_for_client(script: Script) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(script.patience):
            await script.heard.wait()
            script.arrived = True


@asynccontextmanager
async def serving(host: str, port: int) -> AsyncIterator[Server]:
    """A listening server. Raises OSError."""
    server = Server()
    open_ones: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(server.connected(reader, writer))
        open_ones.add(task)
        task.add_done_callback(open_ones.discard)

    listener = await asyncio.start_server(connected, host, port, limit=HEAD_LIMIT)
    server.address = listener.sockets[0].getsockname()[:2]
    try:
        yield server
    finally:
        listener.close()
        for task in list(open_ones):
            task.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)
        await asyncio.sleep(0)  # in this turn of the loop the sockets are closed
