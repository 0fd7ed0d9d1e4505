"""Tells systemd how the proxy is, where it asks (Type=notify): ready, reloading, stopping. See sd_notify(3).

A datagram to the unix socket that NOTIFY_SOCKET names. Without that variable, and on Windows, nobody asks.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic_ns

UNIX_FAMILY: int = getattr(socket, "AF_UNIX", -1)  # Windows has none

log = logging.getLogger("safety_proxy.server")


class ServiceManager:
    """What systemd is told. Each message is sent at once, and whether it arrives changes nothing else."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        """`environ`: where NOTIFY_SOCKET is looked up."""
        self._address = environ.get("NOTIFY_SOCKET", "")

    def ready(self, status: str) -> None:
        """The listeners are bound. `status`: what `systemctl status` shows."""
        self._send(f"READY=1\nSTATUS={status}")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Policies and keys are read again while the block runs; if that fails, those before stay in force."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={monotonic_ns() // 1000}")
        try:
            yield
        finally:  # without it the unit would stay in the state "reloading"
            self._send("READY=1")

    def stopping(self) -> None:
        """Nothing new is taken; running answers finish."""
        self._send("STOPPING=1\nSTATUS=running answers finish")

    def _send(self, message: str) -> None:
        if not self._address or UNIX_FAMILY == -1:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(UNIX_FAMILY, socket.SOCK_DGRAM) as messages:
                messages.settimeout(1)  # a full queue must not stop the streams
                messages.sendto(message.encode(), address)
        except OSError as error:
            log.warning("systemd cannot be told %s at %s: %s", message.split("\n")[0], self._address, error)
