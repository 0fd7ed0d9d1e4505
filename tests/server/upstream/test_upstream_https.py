"""A model server behind https is reached through httpx."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import respx

from proxy.errors import UpstreamUnreachable
from proxy.server.config import ServerConfig
from proxy.server.upstream.client import create_upstream, to_upstream_error

pytestmark = pytest.mark.anyio


class Once(httpx.AsyncByteStream):
    """A body in two reads, one of them empty."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The reads."""
        yield b""
        yield b"data: {}\n\n"


CONFIG = ServerConfig(upstream="https://models.example/base")


async def test_requests_go_under_the_upstreams_path_and_answers_come_raw() -> None:
    """Path, headers and body as given; the answer's bytes as they came, encoded or not."""
    with respx.mock(using="httpx") as mocked:
        answer = httpx.Response(200, headers={"X-One": "1"}, stream=Once())
        route = mocked.post("https://models.example/base/v1/chat/completions").mock(return_value=answer)
        upstream = create_upstream(CONFIG)
        response = await upstream.open(b"POST", b"/v1/chat/completions", [(b"accept", b"text/event-stream")], b"{}")
        assert response.status == 200
        assert (b"x-one", b"1") in response.headers
        assert await response.read_some() == b"data: {}\n\n"
        assert await response.read_some() == b""
        await upstream.aclose()
    request = route.calls.last.request
    assert request.content == b"{}"
    assert request.headers["accept"] == "text/event-stream"
    assert "accept-encoding" not in request.headers
    assert "user-agent" not in request.headers


async def test_nobody_at_the_other_end_is_said_so() -> None:
    """A refused connection is the proxy's own word for it."""
    with respx.mock(using="httpx") as mocked:
        mocked.get("https://models.example/base/v1/models").mock(side_effect=httpx.ConnectError("refused"))
        upstream = create_upstream(CONFIG)
        with pytest.raises(httpx.ConnectError) as caught:
            await upstream.open(b"GET", b"/v1/models", [], b"")
        await upstream.aclose()
    assert isinstance(to_upstream_error(caught.value), UpstreamUnreachable)
