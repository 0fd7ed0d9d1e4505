"""Fixtures of the server's tests."""

from __future__ import annotations

import socket

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from proxy.server.http import listener
from tests.server import running

STOCK_WITHIN = 1.0
"""Seconds that a test on stock uvicorn waits: many of them wait in vain."""


@pytest.fixture(autouse=True)
def _protocol(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --stock-uvicorn every listener speaks stock uvicorn's HTTP (see tests.stock_uvicorn)."""
    if request.config.getoption("--stock-uvicorn"):
        monkeypatch.setattr(listener, "Connection", HttpToolsProtocol)
        monkeypatch.setattr(running, "WITHIN", STOCK_WITHIN)


@pytest.fixture
def unused_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
