"""The README's commands, run as they are printed, in the order in which they stand."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.demo.backend import DemoBackend
from tests import plain_http
from tests.proxy_process import ProxyProcess
from tests.waiting import PATIENCE, until_elsewhere

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text("utf-8")
BLOCKS: list[str] = re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
LINES = [re.sub(r"\s+# .*", "", line) for block in BLOCKS for line in block.splitlines()]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
"""For commands that do not begin in the repository."""
TRANSCRIPT = TEXT[TEXT.index("```\ndata: ") :].split("```")[1]


class Shell:
    """Runs a command of the README in a copy of the policies' home, against a proxy on other ports."""

    def __init__(self, home: Path, proxy: ProxyProcess) -> None:
        self._home = home
        self._proxy = proxy

    def run(self, line: str) -> str:
        """What the command prints; it has to succeed. A second's rest is what an edit needs to take effect."""
        line, rest, _ = line.partition(" && sleep 1")
        before = self._revision()
        printed = self._carry_out(line)
        if rest:
            until_elsewhere(lambda: self._revision() != before)
        return printed

    def _revision(self) -> str:
        status = plain_http.get(f"{self._proxy.admin_url}/admin/status").json()
        return str(status["policies"]["revision"])

    def _carry_out(self, line: str) -> str:
        line = line.replace("http://127.0.0.1:11435", self._proxy.url).replace(
            "http://127.0.0.1:9435", self._proxy.admin_url
        )
        line = line.replace(".venv/bin/safety-proxy", f"{shlex.quote(sys.executable)} -m tests.with_copies")
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=self._home,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A home with the policies as `init` copies them, and a proxy that follows them, in front of the demo model."""
    home = tmp_path_factory.mktemp("home")
    init = [sys.executable, "-m", "tests.with_copies", "init", str(home / "my-policies"), "demo", "chat-markers"]
    subprocess.run(init, capture_output=True, timeout=PATIENCE, check=True, env=ENVIRONMENT)
    with DemoBackend(0) as backend, ProxyProcess(upstream=backend.url, policies=home / "my-policies") as proxy:
        yield Shell(home, proxy)


def test_make_knows_its_targets() -> None:
    """Every `make` line of the README is one that the Makefile can carry out."""
    found = [line for line in LINES if line.startswith("make ")]
    assert len(found) >= 3
    for line in found:
        subprocess.run([*shlex.split(line), "--dry-run"], cwd=ROOT, capture_output=True, timeout=PATIENCE, check=True)


def test_the_first_screen_has_the_two_commands_and_a_curl_that_streams() -> None:
    """Nobody has to scroll to get going."""
    screen = TEXT.splitlines()[:24]
    assert any(line.startswith("make run") for line in screen)
    assert any(line.startswith("make test") for line in screen)
    assert any(line.startswith("curl") and '"stream":true' in line for line in screen)


def test_the_commands_do_what_is_said(shell: Shell) -> None:
    """curl, sed and safety-proxy lines run one after the other; the transcript is what the stream really ends with."""
    printed = {line: shell.run(line) for line in LINES if re.match(r"curl|sed|\.venv", line)}
    outputs = list(printed.values())
    assert timeless(outputs[0]).endswith(timeless(TRANSCRIPT))
    assert "Write to [address] before Friday" in next(out for line, out in printed.items() if "garden fair" in line)
    assert 'rule="words.codename"' in next(out for line, out in printed.items() if "findings" in line)
    explained = next(out for line, out in printed.items() if "explain" in line)
    assert "blocked by demo/words.codename" in explained


def test_nothing_else_is_printed_as_a_command() -> None:
    """Every command line of the README is run here, but for containers, which need a daemon."""
    assert [line for line in LINES if line and not re.match(r"make|curl|sed|\.venv|docker", line)] == []


def timeless(stream: str) -> str:
    """A transcript without what differs from run to run."""
    stream = re.sub(r'"created":\d+', '"created":0', stream)
    return re.sub(r"request [0-9a-f]{16}", "request ID", stream).strip()
