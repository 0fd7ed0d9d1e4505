"""A proxy in front of several scripted model servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from proxy.server.config import UpstreamConfig
from proxy.server.upstream.client import DirectUpstream
from tests.fakes import Answer, FakeUpstream, Request, reply, reply_json, sse
from tests.server.running import Policies, Proxy, running, said
from tests.waiting import until

MISSING = reply(b"404 page not found", status=404, content_type="text/plain")


@dataclass
class Scripted:
    """A model server's answers (see tests.fakes.FakeUpstream): what it tells of itself, and what it says in a chat.

    name:  what its chat answers say, so that a test sees who answered
    models: digests by names; the names stand in its lists
    kind:  ollama, llamacpp, lmstudio or openai
    chat:  in place of its answer
    told:  in place of all that it tells of itself
    """

    name: str
    models: dict[str, str] = field(default_factory=dict)
    kind: str = "ollama"
    chat: Answer | Callable[[Request], Answer] | None = None
    told: Answer | None = None
    paths: list[str] = field(default_factory=list)
    tells_models = True

    def __call__(self, request: Request) -> Answer:
        """The answer to one request."""
        self.paths.append(f"{request.method} {request.path}")
        if request.method == "GET" or request.path == "/api/show":
            return self.told or self._told(request.path)
        if callable(self.chat):
            return self.chat(request)
        return self.chat or reply(sse(*said(self.name)))

    def _told(self, path: str) -> Answer:
        ids = [{"id": name, "object": "model", "owned_by": self.kind} for name in self.models]
        if path == "/v1/models":
            return reply_json({"object": "list", "data": ids})
        if path == "/api/v0/models" and self.kind == "lmstudio":
            return reply_json({"object": "list", "data": ids})
        if path == "/api/version" and self.kind == "ollama":
            return reply_json({"version": "0.33.0"})
        if path == "/api/tags" and self.kind == "ollama":
            listed = [{"name": name, "model": name, "digest": digest} for name, digest in self.models.items()]
            return reply_json({"models": listed})
        if path == "/api/show" and self.kind == "ollama":
            return reply_json({"capabilities": ["completion"]})
        return MISSING


@asynccontextmanager
async def several(
    *scripts: Scripted | str, policies: Policies | None = None, rows: Sequence[dict[str, Any]] = (), **config: Any
) -> AsyncIterator[tuple[Proxy, list[FakeUpstream]]]:
    """A proxy in front of these, called by their names; a text is the URL of one that is not there. `rows`: more of the
    settings of each."""
    async with AsyncExitStack() as stack:
        upstreams = [
            await stack.enter_async_context(FakeUpstream(script)) for script in scripts if isinstance(script, Scripted)
        ]
        left, configs = iter(upstreams), []
        for number, script in enumerate(scripts):
            url, name = (script, script) if isinstance(script, str) else (next(left).url, script.name)
            own = rows[number] if number < len(rows) else {}
            configs.append(UpstreamConfig(**{"url": url, "name": name, **own}))
        async with running(configs[0].url, policies, upstreams=tuple(configs), **config) as proxy:
            yield proxy, upstreams


async def die(proxy: Proxy, upstream: FakeUpstream) -> None:
    """A model server ends, and the proxy has noticed that its idle connections have."""
    await upstream.__aexit__(None, None, None)
    (client,) = [one.upstream for one in proxy.server.runtime.backends.all if one.url == upstream.url]
    if isinstance(client, DirectUpstream):
        origin = client._origin
        await until(lambda: not origin.open_connections)


async def who(proxy: Proxy, model: str, **body: Any) -> str:
    """The name of the model server that answered."""
    answer = await proxy.chat(model=model, **body)
    assert answer.status == 200, answer.body
    return answer.text()
