"""A listening socket with our HTTP on each connection; no signals, no polling, no process of its own."""

from __future__ import annotations

import asyncio
import errno
import socket
from email.utils import formatdate

from proxy.errors import SettingsError
from proxy.server.http.connection import ClientConnection, House, Serve

Address = tuple[str, int]

IDLE_CONNECTION = 75.0
"""Seconds that an idle connection is kept for its next request; a client should be the first to close it."""


class Listener:
    """Gives each request that comes to one address to `serve`."""

    def __init__(self, serve: Serve, address: Address, header_timeout: float) -> None:
        self._house = House(serve, header_timeout, IDLE_CONNECTION)
        self._wanted = address
        self._server: asyncio.Server | None = None
        self._clock: asyncio.TimerHandle | None = None
        self.address: Address = address

    async def start(self) -> None:
        """Bind. SettingsError when the address cannot be had."""
        loop = asyncio.get_running_loop()
        host, port = self._wanted
        try:
            self._server = await loop.create_server(self._connection, host, port, backlog=2048)
        except OSError as error:
            raise SettingsError(f"cannot listen on {host}:{port}: {_reason(error)}") from None
        self.address = self._server.sockets[0].getsockname()[:2]
        self._tell_date()

    def close(self) -> None:
        """Stop listening; end idle connections, and the others once they have answered."""
        if self._server is not None:
            self._server.close()
        if self._clock is not None:
            self._clock.cancel()
        for connection in list(self._house.connections):
            connection.shutdown()

    async def drain(self, within: float) -> None:
        """Wait until the requests under way are answered, at most so many seconds."""
        if self._house.tasks:
            await asyncio.wait(set(self._house.tasks), timeout=within)

    async def finish(self, within: float) -> None:
        """Wait once more; then cut off whoever is still there."""
        await self.drain(within)
        for connection in list(self._house.connections):
            connection.abort()
        await self.drain(within)

    def _connection(self) -> ClientConnection:
        return ClientConnection(self._house)

    def _tell_date(self) -> None:
        """The Date header (RFC 9110, section 6.6.1), made once a second."""
        self._house.date = b"date: %b\r\n" % formatdate(usegmt=True).encode()
        self._clock = asyncio.get_running_loop().call_later(1.0, self._tell_date)


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the address is in use by another program; stop it or choose another port (settings listen and admin)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "permission denied; ports below 1024 need a privilege"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address"
    return error.strerror or str(error)
