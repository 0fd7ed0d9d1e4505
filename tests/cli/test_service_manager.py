"""What systemd hears of the proxy (sd_notify(3)), over a real socket."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.cli.service_manager import ServiceManager
from tests.fakes import FakeUpstreamThread
from tests.policies import COPIES
from tests.proxy_process import ProxyProcess
from tests.waiting import PATIENCE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="systemd is Linux's")


@pytest.fixture(name="systemd")
def fixture_systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that systemd would read."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(PATIENCE)
        yield listening


def heard(systemd: socket.socket) -> dict[str, str]:
    """The next message."""
    return dict(line.split("=", 1) for line in systemd.recv(4096).decode().splitlines())


def test_a_service_is_ready_reloads_and_stops(systemd: socket.socket, tmp_path: Path) -> None:
    """READY once it listens, RELOADING and READY around a SIGHUP, STOPPING at SIGTERM; in this order."""
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    with (
        FakeUpstreamThread([]) as upstream,
        ProxyProcess(upstream=upstream.url, policies=COPIES, environment=environment) as proxy,
    ):
        ready = heard(systemd)
        assert ready["READY"] == "1"
        assert proxy.url.removeprefix("http://") in ready["STATUS"]
        os.kill(proxy.pid, signal.SIGHUP)
        reloading = heard(systemd)
        assert reloading["RELOADING"] == "1"
        assert int(reloading["MONOTONIC_USEC"]) > 0
        assert heard(systemd)["READY"] == "1"
    assert heard(systemd)["STOPPING"] == "1"


def test_an_abstract_socket_is_reached() -> None:
    """systemd may name one with @ in the place of its first byte, which is 0."""
    name = f"safety-proxy-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(PATIENCE)
        ServiceManager({"NOTIFY_SOCKET": f"@{name}"}).stopping()
        assert heard(listening)["STOPPING"] == "1"


def test_nobody_is_told_where_nobody_asks() -> None:
    """Without NOTIFY_SOCKET nothing is sent, and nothing is said."""
    ServiceManager({}).ready("listening")


def test_a_reload_that_fails_is_over_too(systemd: socket.socket, tmp_path: Path) -> None:
    """The unit does not stay in the state "reloading"."""
    manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    with pytest.raises(ZeroDivisionError), manager.reloading():
        raise ZeroDivisionError
    assert heard(systemd)["RELOADING"] == "1"
    assert heard(systemd)["READY"] == "1"


def test_a_socket_that_is_gone_is_told(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """A warning with the message and the place; the proxy goes on."""
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("listening")
    assert "systemd cannot be told READY=1" in caplog.text
