"""A private authority for an https model server: a real TLS connection, with certificates of the tests' own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from proxy.errors import SettingsError
from proxy.server.config import ServerConfig
from proxy.server.upstream.client import create_upstream
from proxy.startup.discovery import look_at
from tests.fakes import reply, reply_json, sse
from tests.server.running import running, said

pytestmark = pytest.mark.anyio

LISTED = {"object": "list", "data": [{"id": "tiny"}]}


@asynccontextmanager
async def model_server(authority: trustme.CA) -> AsyncIterator[str]:
    """A model server behind TLS, whose certificate the authority has issued; its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        answer = reply_json(LISTED) if head.startswith(b"GET") else reply(sse(*said("Hello")))
        for step in answer.steps:
            assert isinstance(step, bytes)
            writer.write(step)
        writer.close()

    server = await asyncio.start_server(serve, "localhost", 0, ssl=context)
    async with server:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    """An authority whose certificate is in ca.pem."""
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return made


async def test_its_model_server_is_believed(tmp_path: Path, authority: trustme.CA) -> None:
    """Requests reach it, and so does the first look of a start."""
    async with model_server(authority) as url, running(url, upstream_ca=tmp_path / "ca.pem") as proxy:
        assert (await proxy.chat()).text() == "Hello"
        assert (await look_at(url, authorities=tmp_path / "ca.pem")).model == "tiny"


async def test_another_ones_is_not(tmp_path: Path, authority: trustme.CA) -> None:
    """Neither without the setting, nor if another authority has issued the certificate: 502, and nothing is sent."""
    async with model_server(authority) as url, running(url) as proxy:
        assert (await proxy.chat()).status == 502
    async with model_server(trustme.CA()) as url, running(url, upstream_ca=tmp_path / "ca.pem") as proxy:
        assert (await proxy.chat()).status == 502


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), ("nonsense", "it holds no PEM certificate")])
def test_a_file_that_cannot_be_read_stops_the_start(tmp_path: Path, content: str | None, reason: str) -> None:
    """One sentence with the setting."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError, match=f"upstream_ca .*ca.pem cannot be read .{reason}"):
        create_upstream(ServerConfig(upstream="https://x:1", upstream_ca=path))
