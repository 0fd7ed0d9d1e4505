"""The proxy as its users run it: `python -m proxy serve` in a process of its own, on free ports of the loopback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.waiting import PATIENCE

REPOSITORY: Final = Path(__file__).resolve().parent.parent
PROGRAM: Final = (sys.executable, "-m", "proxy")
STOP_SECONDS: Final = PATIENCE
BASE_URL: Final = re.compile(r"^\s*base_url\s+(http://\S+)/v1\s*$")
ADMIN_URL: Final = re.compile(r"^\s*admin\s+(http://\S+?)/?\s*$")


class ProxyProcessError(AssertionError):
    """The proxy did not start, or did not end cleanly; the message ends with all that it wrote."""


class ProxyProcess:
    """A running proxy: `with ProxyProcess(upstream=llama.url, policies=folder) as proxy: httpx.get(proxy.url)`.

    Without `upstream` the settings name the model servers.
    `arguments` are added to the command, `environment` to this process's (without its SAFETY_PROXY_* variables).
    `program` takes the same command in the place of the proxy.
    Leaving the block sends SIGTERM and raises ProxyProcessError if the proxy does not end with exit code 0.
    """

    def __init__(
        self,
        *,
        upstream: str | None,
        policies: Path,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = (),
    ) -> None:
        command = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        command += [*(["--upstream", upstream] if upstream else []), "--policies", str(policies), *arguments]
        self._command = [*(program or PROGRAM), *command]
        self._environment = _clean_environment() | dict(environment or {})
        self._lines: list[str] = []
        self._ready = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        self.admin_url = ""

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as its base_url."""
        return f"{self.url}/v1"

    @property
    def pid(self) -> int:
        """The proxy's process id. ProxyProcessError if it is not running."""
        if self._process is None:
            raise ProxyProcessError("the proxy is not running")
        return self._process.pid

    def log_text(self) -> str:
        """All that the proxy wrote so far, standard output and standard error."""
        return "".join(self._lines)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            cwd=REPOSITORY,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), name="the proxy's output")
        self._reader.start()
        self._ready.wait(PATIENCE)
        if not (self.url and self.admin_url):
            self._end(self._process.kill)
            raise ProxyProcessError(f"the proxy did not print its base_url and admin addresses\n{self.log_text()}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        assert self._process is not None
        code = self._end(self._process.terminate)
        if code != 0 and kind is None:
            raise ProxyProcessError(f"the proxy ended with code {code} on SIGTERM\n{self.log_text()}")

    def _read(self, process: subprocess.Popen[str]) -> None:
        """Keep every line; be ready at the second address, or at the end of the output."""
        assert process.stdout is not None
        for line in process.stdout:
            self._lines.append(line)
            if found := BASE_URL.match(line):
                self.url = found[1]
            elif found := ADMIN_URL.match(line):
                self.admin_url = found[1]
            if self.url and self.admin_url:
                self._ready.set()
        self._ready.set()

    def _end(self, ask: Callable[[], None]) -> int:
        """End this very process; the exit code, negative for a signal (-9: it did not end when asked)."""
        assert self._process is not None
        process, self._process = self._process, None
        with process:
            ask()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            self._reader.join(STOP_SECONDS)
        return process.returncode


def _clean_environment() -> dict[str, str]:
    """This process's environment without settings of a proxy, and without buffered output."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SAFETY_PROXY_")}
    return kept | {"PYTHONUNBUFFERED": "1"}
