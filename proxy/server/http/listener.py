"""A listening socket with uvicorn behind it: TCP, a unix socket, or one that was inherited; with TLS or without.

Two listeners share one event loop, so nothing polls: starting and stopping take no longer than they need to.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from proxy.errors import SettingsError
from proxy.server.http.connection import HEADER_TIMEOUT, Connection
from proxy.server.http.request import AsgiApplication

Address = tuple[str, int]
"""Host and port. Or `unix:/path` and 0; or `fd:N` and 0, for a socket that was inherited."""

UNIX, INHERITED = "unix:", "fd:"
UNIX_FAMILY: int = getattr(socket, "AF_UNIX", -1)  # Windows has none
IDLE_CONNECTION = 75
"""Seconds that an idle connection is kept for its next request; a client should be the first to close it."""
BACKLOG = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerOptions:
    """What uvicorn is told.

    header_timeout:     seconds for a request's head
    certificate, key:   files for TLS (PEM); key_password: of the key
    proxy_headers_from: addresses whose X-Forwarded-For and X-Forwarded-Proto are believed; `*`: all
    root_path:          the path below which a reverse proxy shows this server
    """

    header_timeout: float = HEADER_TIMEOUT
    certificate: Path | None = None
    key: Path | None = None
    key_password: str | None = None
    proxy_headers_from: Sequence[str] = ()
    root_path: str = ""


class HttpConfig(uvicorn.Config):
    """uvicorn's configuration with our protocol. Lifespan and logging are the caller's."""

    def __init__(self, app: AsgiApplication, options: ListenerOptions) -> None:
        super().__init__(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            interface="asgi3",
            backlog=BACKLOG,
            timeout_keep_alive=IDLE_CONNECTION,
            proxy_headers=bool(options.proxy_headers_from),
            forwarded_allow_ips=list(options.proxy_headers_from) or None,
            root_path=options.root_path,
            ssl_certfile=options.certificate,
            ssl_keyfile=options.key,
            ssl_keyfile_password=options.key_password,
        )
        self.header_timeout = options.header_timeout


class Listener(uvicorn.Server):
    """Serves an application at one address."""

    def __init__(self, app: AsgiApplication, address: Address, options: ListenerOptions | None = None) -> None:
        super().__init__(HttpConfig(app, options or ListenerOptions()))
        self._wanted = address
        self._listening: asyncio.Server | None = None
        self._date_timer: asyncio.TimerHandle | None = None
        self._on_signal: Callable[[], object] | None = None
        self.address: Address = address

    async def start(self) -> None:
        """Bind and listen. SettingsError when the address cannot be had, or the certificate cannot be read."""
        self._load()
        loop = asyncio.get_running_loop()
        protocol = partial(Connection, self.config, self.server_state, {}, loop)
        try:
            self._listening = await _listen(loop, protocol, self._wanted, self.config.ssl)
        except OSError as error:
            raise SettingsError(f"cannot listen on {shown(self._wanted)}: {_reason(error)}") from None
        listening = self._listening.sockets[0]
        if listening.family in (socket.AF_INET, socket.AF_INET6):
            self.address = listening.getsockname()[:2]
        self._set_date()

    def close(self) -> None:
        """Stop listening; end idle connections, and the others once they have answered."""
        if self._listening is not None:
            self._listening.close()
        if self._date_timer is not None:
            self._date_timer.cancel()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self._wanted[0].startswith(UNIX) and self._listening is not None:
            Path(self._wanted[0].removeprefix(UNIX)).unlink(missing_ok=True)

    async def drain(self, within: float) -> None:
        """Wait until the requests under way are answered, at most so many seconds."""
        if self.server_state.tasks:
            await asyncio.wait(set(self.server_state.tasks), timeout=within)

    async def finish(self, within: float) -> None:
        """Wait once more; then cut off the clients that are still there."""
        await self.drain(within)
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await self.drain(within)

    def on_signal(self, callback: Callable[[], None]) -> None:
        """Call this in the event loop for each SIGTERM or SIGINT while `capture_signals` is in force."""
        loop = asyncio.get_running_loop()
        self._on_signal = partial(loop.call_soon_threadsafe, callback)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """uvicorn's signal handler. The signal is not raised again afterwards: stopping when asked is a success."""
        if self._on_signal is not None:
            self._on_signal()

    def _load(self) -> None:
        try:
            if self.config.ssl_certfile and not self.config.ssl_keyfile_password:
                _check_key(self.config.ssl_certfile, self.config.ssl_keyfile)
            self.config.load()
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"the TLS certificate or its key cannot be read: {error.strerror or error} "
                "(settings tls_certificate, tls_key, tls_key_password)"
            ) from None

    def _set_date(self) -> None:
        """The Date header (RFC 9110, section 6.6.1), made once a second."""
        self.server_state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        self._date_timer = asyncio.get_running_loop().call_later(1.0, self._set_date)


def _check_key(certificate: str | os.PathLike[str], key: str | os.PathLike[str] | None) -> None:
    """Raise SettingsError for a key that needs a password. OpenSSL would ask for it on the terminal, and wait."""

    def no_password() -> str:
        raise SettingsError(
            f"the TLS key in {key or certificate} has a password, and none is set: put it into a file and name the "
            "file in SAFETY_PROXY_TLS_KEY_PASSWORD_FILE (setting tls_key_password), or use a key without a password"
        )

    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, no_password)


def shown(address: Address) -> str:
    """The address as a person writes it."""
    host, port = address
    if host.startswith((UNIX, INHERITED)):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bound_host(address: Address) -> str:
    """The host that a listener at this address is bound to. Of a unix socket, which no other machine reaches,
    localhost."""
    host, _ = address
    if host.startswith(UNIX):
        return "localhost"
    if not host.startswith(INHERITED):
        return host
    try:
        with socket.socket(fileno=os.dup(_number(host))) as inherited:
            is_unix = inherited.family == UNIX_FAMILY
            return "localhost" if is_unix else str(inherited.getsockname()[0])
    except OSError as error:
        raise SettingsError(f"{host} is not a socket that was inherited: {error.strerror or error}") from None


def _number(host: str) -> int:
    return int(host.removeprefix(INHERITED))


async def _listen(
    loop: asyncio.AbstractEventLoop, protocol: Callable[[], Connection], address: Address, tls: ssl.SSLContext | None
) -> asyncio.Server:
    host, port = address
    if host.startswith(INHERITED):
        inherited = socket.socket(fileno=os.dup(_number(host)))
        inherited.setblocking(False)
        if inherited.family == UNIX_FAMILY:
            return await _listen_unix(loop, protocol, tls, sock=inherited)
        return await loop.create_server(protocol, sock=inherited, ssl=tls, backlog=BACKLOG)
    if host.startswith(UNIX):
        path = host.removeprefix(UNIX)
        _remove_stale(path)
        return await _listen_unix(loop, protocol, tls, path=path)
    return await loop.create_server(protocol, host, port, ssl=tls, backlog=BACKLOG)


async def _listen_unix(
    loop: asyncio.AbstractEventLoop, protocol: Callable[[], Connection], tls: ssl.SSLContext | None, **where: Any
) -> asyncio.Server:
    if not hasattr(loop, "create_unix_server"):
        raise OSError(errno.EAFNOSUPPORT, "this system has no unix sockets; use HOST:PORT")
    return await loop.create_unix_server(protocol, ssl=tls, backlog=BACKLOG, **where)


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more. OSError when somebody does."""
    if not Path(path).is_socket():
        return
    with socket.socket(UNIX_FAMILY) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
            return
    raise OSError(errno.EADDRINUSE, "in use")


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the address is in use by another program; stop it or choose another one (settings listen and admin)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "permission denied; ports below 1024 need a privilege, and a unix socket a folder that may be written"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address"
    return error.strerror or str(error)
