"""Starting and stopping the proxy in tests: what it prints is found, and an end that is not clean fails the test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.proxy_process import ProxyProcess, ProxyProcessError
from tests.waiting import PATIENCE

BANNER = """
import os, signal, sys, threading
print("safety-proxy is up")
print("  base_url  http://127.0.0.1:4711/v1")
print("  admin     http://127.0.0.1:4712")
print("log line", sys.argv[1:], [name for name in os.environ if name.startswith("SAFETY_PROXY_")], file=sys.stderr)
"""
CLEAN_END = "signal.sigwait({signal.SIGTERM}); print('bye')"
BLOCK_SIGTERM = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})"


def _program(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr("tests.proxy_process.PROGRAM", (sys.executable, "-c", f"{BLOCK_SIGTERM}\n{code}"))


def test_urls_and_output_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The addresses come from the banner; arguments and settings are handed on, and those of the machine are not."""
    _program(monkeypatch, BANNER + CLEAN_END)
    monkeypatch.setenv("SAFETY_PROXY_LISTEN", "0.0.0.0:80")
    proxy = ProxyProcess(
        upstream="http://127.0.0.1:1", policies=tmp_path, arguments=["--x"], environment={"SAFETY_PROXY_Y": "1"}
    )
    with proxy:
        assert proxy.url == "http://127.0.0.1:4711"
        assert proxy.base_url == "http://127.0.0.1:4711/v1"
        assert proxy.admin_url == "http://127.0.0.1:4712"
        assert proxy.pid > 0
    for part in ("safety-proxy is up", "'--upstream', 'http://127.0.0.1:1'", "'--x'", "['SAFETY_PROXY_Y']", "bye"):
        assert part in proxy.log_text()


def test_a_proxy_that_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A proxy that ends before its banner is complete is an error that shows what it wrote."""
    _program(monkeypatch, "print('  base_url  http://127.0.0.1:4711/v1'); raise SystemExit('the port is in use')")
    with pytest.raises(ProxyProcessError, match="the port is in use"):
        ProxyProcess(upstream="x", policies=tmp_path).__enter__()


@pytest.mark.parametrize(
    ("end", "code", "seconds"), [("; raise SystemExit(3)", "code 3", PATIENCE), ("; signal.pause()", "code -9", 0.3)]
)
def test_an_end_that_is_not_clean(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, end: str, code: str, seconds: float
) -> None:
    """An exit code other than 0, and a proxy that does not end on SIGTERM, fail the test."""
    monkeypatch.setattr("tests.proxy_process.STOP_SECONDS", seconds)
    _program(monkeypatch, BANNER + CLEAN_END + end)
    proxy = ProxyProcess(upstream="x", policies=tmp_path).__enter__()
    with pytest.raises(ProxyProcessError, match=code):
        proxy.__exit__(None, None, None)
