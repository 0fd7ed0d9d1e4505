"""docs/checks.md, followed as it is written: from an empty directory to a law test that passes and a blocked stream."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.checks.kinds import DetectorKind
from proxy.core.failures import Reason
from proxy.testing import made, spans
from tests import plain_http
from tests.proxy_process import ProxyProcess
from tests.waiting import PATIENCE, until_elsewhere

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/checks.md").read_text("utf-8")
LINES = [
    line.strip() for block in re.findall(r"^ *```sh\n(.*?)^ *```", TEXT, re.M | re.S) for line in block.splitlines()
]


class Author:
    """Types one line after the other, in a directory of his own."""

    def __init__(self, home: Path) -> None:
        self._folder = home

    def type(self, line: str) -> str:
        """What the command prints; it has to succeed."""
        if line.startswith("cd "):
            self._folder /= line.removeprefix("cd ")
            return ""
        line = re.sub(r"^safety-proxy", f"{shlex.quote(sys.executable)} -m proxy", line)
        line = re.sub(r"^python", shlex.quote(sys.executable), line)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "SAFETY_"))}
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=self._folder,
            env={**environment, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def serve(self, line: str) -> ProxyProcess:
        """The proxy that a line starts, on free ports."""
        words = shlex.split(line.removeprefix("safety-proxy serve "))
        given = dict(zip(words[::2], words[1::2], strict=True))
        plugins = ["--plugins", str(self._folder / given["--plugins"])]
        policies = self._folder / given["--policies"]
        return ProxyProcess(upstream=given["--upstream"], policies=policies, arguments=plugins)


def test_ten_minutes_from_nothing_to_a_blocked_stream(tmp_path: Path) -> None:
    """Every line of the page, in its order; what it says of them comes true."""
    author = Author(tmp_path)
    printed: dict[str, str] = {}

    def said(part: str) -> str:
        return next(out for line, out in printed.items() if part in line)

    serve = next(line for line in LINES if line.startswith("safety-proxy serve"))
    before, after = LINES[: LINES.index(serve)], LINES[LINES.index(serve) + 1 :]
    for line in before:
        printed[line] = author.type(line)
    assert "2 passed" in said("pytest")
    assert "loud: words in capitals" in said("safety-proxy checks")
    assert "blocked by loud/loud.found" in said("explain")
    with author.serve(serve) as proxy:
        banner = re.compile(r"plug-ins  loud 0\.1\.0 \(check, file .*safety_proxy_loud\.py\)")
        until_elsewhere(lambda: banner.search(proxy.log_text()))
        asked, status = (line for line in after if line.startswith("curl"))
        stream = author.type(asked.replace("http://127.0.0.1:11435", proxy.url))
        assert "content_filter" in stream
        assert "Not so loud, please." in stream
        shown = "".join(json.loads(content) for content in re.findall(r'"content":("(?:[^"\\]|\\.)*")', stream))
        assert "start the deployment:\n\n    export \n\nNot so loud, please. (policy loud, request " in shown
        told = json.loads(author.type(status.replace("http://127.0.0.1:9435", proxy.admin_url)))
        assert [plugin["check"] for plugin in told["plugins"]] == ["loud"]
        assert 'plugin_info{check="loud"' in plain_http.get(f"{proxy.admin_url}/metrics").text
    assert len(before) + len(after) + 1 == len(LINES)


def test_the_detector_of_the_page_works() -> None:
    """As it is printed."""
    (code,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.M | re.S)
    names: dict[str, object] = {}
    exec(compile(code, "docs/checks.md", "exec"), names)
    kind = names["KIND"]
    assert isinstance(kind, DetectorKind)
    assert spans(made(kind), "HR-20311 and HR-20312") == ["HR-20311"]


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_row(reason: Reason) -> None:
    """What a check may do wrong is in a table, by the words of the metric."""
    assert f"\n| `{reason}` |" in TEXT
