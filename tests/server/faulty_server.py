"""A server whose every byte is scripted, on raw sockets, so that it can break HTTP and TCP in every way.

Each connection runs the next script (the last one again and again). A script that returns leaves the connection open;
the server then waits until the client closes it. So `all_gone` is the proof that a client leaks no connection.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from tests.waiting import PATIENCE, stuck

LIMIT = PATIENCE
"""Seconds that anything here may take; a hang is an error, never a wait."""


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._unread = bytearray()
        self.sent = 0
        self.blocked = asyncio.Event()

    async def request(self) -> bytes:
        """One whole request, its content-length body included. ConnectionError when the client leaves before."""
        while (end := self._request_end()) is None:
            await self.read()
        request = bytes(self._unread[:end])
        del self._unread[:end]
        return request

    async def read(self, size: int = 65536) -> bytes:
        """Whatever comes next, at most `size` bytes. ConnectionError when the client leaves."""
        data = await self._loop.sock_recv(self._sock, size)
        if not data:
            raise ConnectionError("the client has left")
        self._unread += data
        return data

    async def send(self, *pieces: bytes) -> None:
        """Sends the pieces, each in a write of its own."""
        for piece in pieces:
            await self._loop.sock_sendall(self._sock, piece)
            self.sent += len(piece)

    async def flood(self, piece: bytes, times: int) -> None:
        """Sends `piece` many times; sets `blocked` once the client takes nothing any more."""
        for _ in range(times):
            send = asyncio.ensure_future(self.send(piece))
            try:
                if not self.blocked.is_set() and await stuck(send):
                    self.blocked.set()
                await send
            finally:
                send.cancel()

    async def gone(self) -> None:
        """Returns when the client has closed its end, whatever it sends until then."""
        try:
            while True:
                await self.read()
        except ConnectionError:
            return

    def half_close(self) -> None:
        """FIN: this end sends no more, but still reads."""
        self._sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """RST instead of FIN."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Closes both ways."""
        self._sock.close()

    @property
    def closed(self) -> bool:
        """This end has closed the connection itself."""
        return self._sock.fileno() < 0

    def _request_end(self) -> int | None:
        head = self._unread.find(b"\r\n\r\n") + 4
        if head < 4:
            return None
        found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", self._unread[:head])
        end = head + (int(found[1]) if found else 0)
        return end if len(self._unread) >= end else None


Script = Callable[[Peer], Awaitable[None]]


class FaultyServer:
    """Listens on a free loopback port while its context is open. `tasks` holds one task per connection, in order."""

    def __init__(self, *scripts: Script, host: str = "127.0.0.1") -> None:
        self._scripts = scripts
        self._host = host
        self.peers: list[Peer] = []
        self.tasks: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        """The origin, for clients."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    @property
    def connections(self) -> int:
        """Connections that were accepted so far."""
        return len(self.tasks)

    def stop_listening(self) -> None:
        """From now on connections are refused."""
        self._accepting.cancel()
        self._listener.close()

    async def all_gone(self) -> None:
        """Returns when every connection is closed. TimeoutError means that the client has leaked one."""
        if self.tasks:
            _, left = await asyncio.wait(self.tasks, timeout=LIMIT)
            if left:
                raise TimeoutError(f"{len(left)} of {len(self.tasks)} connections are still open")

    async def __aenter__(self) -> FaultyServer:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        self._listener = socket.create_server((self._host, 0), family=family, backlog=1024)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = asyncio.ensure_future(self._accept())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._accepting.cancel()
        for task in self.tasks:
            task.cancel()
        outcomes = await asyncio.gather(self._accepting, *self.tasks, return_exceptions=True)
        self._listener.close()
        broken = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        if broken and kind is None:
            raise ExceptionGroup("a script failed", broken)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self._listener)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            script = self._scripts[min(len(self.tasks), len(self._scripts) - 1)]
            peer = Peer(sock)
            self.peers.append(peer)
            self.tasks.append(asyncio.ensure_future(_play(script, peer)))


async def _play(script: Script, peer: Peer) -> None:
    try:
        await script(peer)
        if not peer.closed:
            await peer.gone()
    except ConnectionError:
        pass  # the client has left: for a script that is an end like any other
    finally:
        peer.close()


def answers(*answers: bytes) -> Script:
    """Answers one request after the other with these bytes; then keeps the connection open."""

    async def script(peer: Peer) -> None:
        for answer in answers:
            await peer.request()
            await peer.send(answer)

    return script


def ok(body: bytes = b"hello", *headers: bytes) -> bytes:
    """A plain 200 with a content-length."""
    lines = [b"HTTP/1.1 200 OK", b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """A chunked 200; `end` is what follows the last chunk."""
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + framed + end


@contextmanager
def full_backlog() -> Iterator[str]:
    """The URL of a listener whose queue is full: no connection to it is ever made, none is refused."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for filler in fillers:
            filler.close()
