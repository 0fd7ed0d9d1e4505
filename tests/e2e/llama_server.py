"""A real llama.cpp server as a subprocess: its C++ HTTP server comes in the wheel of PyPI's xllamacpp.

Run as a program, this module is that subprocess: it serves the model on a free port of 127.0.0.1, prints its url, and
ends on SIGTERM or when its standard input closes, so that it never outlives the tests that started it.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.waiting import PATIENCE

REPOSITORY = Path(__file__).parent.parent.parent
PROGRAM = (sys.executable, "-m", "tests.e2e.llama_server")


class LlamaServerError(RuntimeError):
    """The server did not start, or died; the message ends with what it wrote to standard error."""


class LlamaServer:
    """A running server: `with LlamaServer(model) as llama: httpx.get(llama.url + "/v1/models")`.

    `slots` requests are answered at once, each with a context of `context_tokens`. The model says some 6,000 tokens a
    second at first and under 1,000 after half a minute, so the default context keeps an endless script going.
    With `embeddings` it serves an embedding model, and no other.
    """

    def __init__(self, model: Path, *, slots: int = 3, context_tokens: int = 400_000, embeddings: bool = False) -> None:
        self.model = model
        self.embeddings = embeddings
        self.slots = slots
        self.context_tokens = context_tokens
        self.url = ""
        self._log: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the process and return once /health answers 200. LlamaServerError if it does not, or dies."""
        try:
            self._start(time.monotonic() + PATIENCE)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop()

    @property
    def pid(self) -> int:
        """The process id of the server. LlamaServerError if it is not running."""
        if self._process is None:
            raise LlamaServerError("the llama.cpp server is not running")
        return self._process.pid

    def log_text(self) -> str:
        """What the running server wrote to standard error so far."""
        return "" if self._log is None else self._log.read_text(encoding="utf-8", errors="replace")

    def get(self, path: str) -> Any:
        """The JSON that the server answers to a GET."""
        return self._request("GET", path)[1]

    def post(self, path: str, body: object) -> Any:
        """The JSON that the server answers to a POST of `body`."""
        return self._request("POST", path, json.dumps(body).encode())[1]

    def count_tokens(self, text: str) -> int:
        """How many tokens `text` is inside a rendered prompt, where control markers are control tokens."""
        return len(self.post("/tokenize", {"content": text, "parse_special": True})["tokens"])

    def slots_busy(self) -> int:
        """How many requests the server is working on just now."""
        return sum(slot["is_processing"] for slot in self.get("/slots"))

    def wait_busy(self, slots: int = 1, *, within: float = PATIENCE) -> None:
        """Wait until exactly `slots` slots are at work. AssertionError if that takes more than `within` seconds."""
        over = time.monotonic() + within
        while (busy := self.slots_busy()) != slots:
            if time.monotonic() > over:
                raise AssertionError(f"{busy} of the llama.cpp server's slots are busy after {within} s, not {slots}")

    def wait_idle(self, *, within: float = PATIENCE) -> None:
        """Wait until no slot is at work. An endless script keeps one at work for minutes. AssertionError as above."""
        self.wait_busy(0, within=within)

    def _start(self, deadline: float) -> None:
        log, path = tempfile.mkstemp(prefix="llama-server-", suffix=".log")
        self._log = Path(path)
        with os.fdopen(log, "wb") as stderr:
            self._process = subprocess.Popen(
                [
                    *PROGRAM,
                    self.model,
                    f"--slots={self.slots}",
                    f"--context={self.context_tokens}",
                    *(["--embeddings"] if self.embeddings else []),
                ],
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        self.url = self._read_url(self._process, deadline)
        while self._request("GET", "/health")[0] != http.client.OK:
            if time.monotonic() > deadline:
                raise LlamaServerError(f"the llama.cpp server did not become healthy\n{self.log_text()}")

    def _stop(self) -> None:
        """End this very process: SIGTERM, then SIGKILL if it is still there after a while."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate(timeout=PATIENCE)
        log, self._log = self._log, None
        if log is not None:
            log.unlink()

    def _read_url(self, process: subprocess.Popen[bytes], deadline: float) -> str:
        """The line that the process prints; an empty one means that it died first, or was killed at the deadline."""
        assert process.stdout is not None
        watchdog = threading.Timer(deadline - time.monotonic(), process.kill)
        watchdog.start()
        try:
            line = process.stdout.readline().decode().strip()
        finally:
            watchdog.cancel()
            watchdog.join()
        if not line:
            raise LlamaServerError(f"the llama.cpp server did not start\n{self.log_text()}")
        return line

    def _request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        """One request on a connection of its own: (status, JSON)."""
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.url).netloc, timeout=PATIENCE)
        with contextlib.closing(connection):
            try:
                connection.request(method, path, body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                return response.status, json.loads(response.read())
            except OSError as error:
                raise LlamaServerError(f"{method} {path}: {error!r}; the server's log:\n{self.log_text()}") from error


def serve(model: str, slots: int, context_tokens: int, embeddings: bool) -> None:
    """Be the server process: print the url, then stay until SIGTERM or the end of standard input."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {Path(model).stem}
    params.n_parallel = slots
    params.n_ctx = context_tokens * slots
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.use_jinja = True
    params.endpoint_slots = True
    params.endpoint_metrics = True
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    if embeddings:
        params.embedding = True
        params.n_batch = params.n_ubatch = 2048  # a text is read in one go
    server = xllamacpp.Server(params)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print(server.listening_address, flush=True)
    sys.stdin.buffer.read()
    os._exit(0)  # the server's own threads do not end by themselves


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="serve a GGUF with llama.cpp on a free port of 127.0.0.1")
    parser.add_argument("model")
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--context", type=int, required=True)
    parser.add_argument("--embeddings", action="store_true")
    arguments = parser.parse_args()
    serve(arguments.model, arguments.slots, arguments.context, arguments.embeddings)


if __name__ == "__main__":
    main()
