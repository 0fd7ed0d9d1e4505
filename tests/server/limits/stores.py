"""Stores of limits for tests: a real Redis server, and one that does not answer."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from tests.waiting import PATIENCE

REDIS = shutil.which("redis-server") or shutil.which("valkey-server")
WHY_NOT = "there is no redis-server (Debian: apt-get install redis-server)"
READY = b"ready to accept connections"


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """A Redis server of the test's own, on a unix socket; its URL."""
    assert REDIS is not None
    socket = folder / "r.sock"
    options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no", "--dir", str(folder)]
    with subprocess.Popen([REDIS, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if READY in line.lower():
                    break
            yield f"redis+unix://{socket}"
        finally:
            process.terminate()
            process.wait(PATIENCE)


@asynccontextmanager
async def silent_server() -> AsyncIterator[tuple[str, list[asyncio.StreamWriter]]]:
    """A server that takes connections and says nothing; its URL, and its connections."""
    taken: list[asyncio.StreamWriter] = []

    async def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", taken
    finally:
        server.close()
        for writer in taken:
            writer.transport.abort()
