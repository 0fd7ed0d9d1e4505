"""Which model server to stand in front of, when nobody has said."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from proxy.errors import SettingsError, UpstreamError
from proxy.server.backends import look as backend_look
from proxy.server.backends.kinds import BackendKind
from proxy.server.config import ServerConfig
from proxy.server.models.api import ModelServerApi
from proxy.server.upstream.client import create_upstream
from proxy.settings import Settings

log = logging.getLogger("safety_proxy.server")

DEMO = "demo"
CONTAINER_HOST = "host.docker.internal"
FROM_A_CONTAINER = (
    "on Linux a container cannot reach a model server that listens on 127.0.0.1 only. Let it listen on Docker's bridge "
    "(OLLAMA_HOST=172.17.0.1), or run the container with --network host (docs/operations.md, In a container)"
)
PATIENCE = 0.5  # seconds for each look; on the loopback a server that is there answers in a few milliseconds


class Backend(NamedTuple):
    """A model server.

    name:    what it is, as far as that is known
    label:   what the operator calls it, where there are several
    model:   one of its models
    trouble: what is wrong with it at the first look, as a sentence about it; empty if nothing is
    prompt:  something to ask it
    is_demo: it is the demo model
    """

    name: str
    url: str
    model: str | None = None
    trouble: str = ""
    prompt: str = "Hello!"
    is_demo: bool = False
    label: str = ""


KNOWN = (
    ("Ollama", "http://127.0.0.1:11434", "/api/version", "version"),
    ("LM Studio", "http://127.0.0.1:1234", "/v1/models", "data"),
)


async def find(own: str) -> Backend | None:
    """The first of the usual model servers that answers as itself; `own` is this proxy's URL, which is none."""
    for name, url, path, key in KNOWN:
        if url != own and await _says(url, path, key):
            return await look_at(url, name)
    return None


async def upstream_url(settings: Settings, stack: ExitStack) -> str:
    """The model server that was named, or one that is found; `demo` is the demo model, which `stack` ends.

    Raises SettingsError when none was named and none is found: an answer nobody asked a model for is no answer.
    """
    if settings.upstream == DEMO:
        from proxy.demo.backend import DemoBackend

        return (await asyncio.to_thread(stack.enter_context, DemoBackend(settings.demo_pace))).url
    if settings.upstreams:
        return settings.upstreams[0].url
    if settings.upstream:
        return settings.upstream
    found = await find(own=f"http://{settings.listen}")
    if found is None:
        looked = " nor ".join(f"{name} at {url}" for name, url, *_ in KNOWN)
        raise SettingsError(
            f"no model server: neither {looked} answers. Start one, or name it in SAFETY_PROXY_UPSTREAM "
            "(demo: the demo model with scripted answers)"
        )
    return found.url


async def named(url: str, key: str | None = None, label: str = "", authorities: Path | None = None) -> Backend:
    """The model server that the operator has named. What is wrong with it is logged: it may come up later."""
    backend = await look_at(url, key=key, label=label, authorities=authorities)
    if backend.trouble:
        log.warning("the model server at %s %s", url, backend.trouble)
        if hint := container_hint(url, backend.trouble):
            log.warning("%s: %s", CONTAINER_HOST, hint)
    return backend


def container_hint(url: str, trouble: str) -> str:
    """What to do where Docker's name for its host is dialled and nobody answers; empty anywhere else."""
    return FROM_A_CONTAINER if urlsplit(url).hostname == CONTAINER_HOST and trouble == backend_look.NOBODY else ""


async def look_at(
    url: str, name: str = "", key: str | None = None, label: str = "", authorities: Path | None = None
) -> Backend:
    """A model server whose address is given: what is it, and what can be asked for? authorities: as upstream_ca."""
    async with _asking(url, key, authorities) as api:
        look = await backend_look.look_at(api, patience=PATIENCE)
    kind = "" if look.kind in (None, BackendKind.OPENAI) else str(look.kind)
    return Backend(name or kind, url, next(iter(look.names), None), look.trouble, label=label)


@asynccontextmanager
async def _asking(url: str, key: str | None = None, authorities: Path | None = None) -> AsyncIterator[ModelServerApi]:
    """Asks as requests will: with the same client of the model server."""
    upstream = create_upstream(ServerConfig(upstream=url, connect_timeout=PATIENCE, upstream_ca=authorities))
    try:
        yield ModelServerApi(upstream, key)
    finally:
        await upstream.aclose()


async def _says(url: str, path: str, key: str) -> bool:
    """Whether a server gives an object with this key at a path."""
    async with _asking(url) as api:
        try:
            async with asyncio.timeout(PATIENCE):
                return key in (await api.answer(b"GET", path)).value
        except (UpstreamError, TimeoutError):
            return False
