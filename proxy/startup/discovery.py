"""Which model server to stand in front of, when nobody has said."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import httpx
import orjson

from proxy.errors import SettingsError, UpstreamBroken
from proxy.server.config import ServerConfig
from proxy.server.upstream.client import TRANSPORT_ERRORS, Upstream, UpstreamHeaders, create_upstream
from proxy.server.upstream.response import read_all
from proxy.settings import Settings

log = logging.getLogger("safety_proxy.server")

DEMO = "demo"
PATIENCE = 0.5  # seconds for each look; on the loopback a server that is there answers in a few milliseconds
MAX_BYTES = 8 * 1024 * 1024  # bytes of an answer
LIST = "/v1/models"  # Ollama, LM Studio, llama.cpp and servers of OpenAI's dialect have it
NOBODY = "does not answer yet; requests get 502 until it does"
HINTS = {401: "it wants a key (upstream_key)", 403: "it wants a key (upstream_key)", 503: "it is not ready yet"}


class Backend(NamedTuple):
    """A model server.

    name:    what it is, as far as that is known
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


KNOWN = (
    ("Ollama", "http://127.0.0.1:11434", "/api/version", "version"),
    ("LM Studio", "http://127.0.0.1:1234", "/v1/models", "data"),
)


async def find(own: str) -> Backend | None:
    """The first of the usual model servers that answers as itself; `own` is this proxy's URL, which is none."""
    for name, url, path, key in KNOWN:
        if url != own and key in (await _get(url, path)).value:
            return await look_at(url, name)
    return None


async def upstream_url(settings: Settings, stack: ExitStack) -> str:
    """The model server that was named, or one that is found; `demo` is the demo model, which `stack` ends.

    Raises SettingsError when none was named and none is found: an answer nobody asked a model for is no answer.
    """
    if settings.upstream == DEMO:
        from proxy.demo.backend import DemoBackend

        return (await asyncio.to_thread(stack.enter_context, DemoBackend(settings.demo_pace))).url
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


async def named(url: str, key: str | None = None, authorities: Path | None = None) -> Backend:
    """The model server that the operator has named. What is wrong with it is logged: it may come up later."""
    backend = await look_at(url, key=key, authorities=authorities)
    if backend.trouble:
        log.warning("the model server at %s %s", url, backend.trouble)
    return backend


async def look_at(url: str, name: str = "", key: str | None = None, authorities: Path | None = None) -> Backend:
    """A model server whose address is given: does it answer, and what can be asked for? `authorities`: the setting
    upstream_ca."""
    found = await _get(url, LIST, key, authorities)
    models = found.value.get("data")
    first = models[0] if isinstance(models, list) and models else None
    model = first.get("id") if isinstance(first, dict) else None
    return Backend(name, url, model if isinstance(model, str) else None, found.trouble)


class Found(NamedTuple):
    """The JSON object at a path of a server, or why there is none."""

    value: dict[str, object]
    trouble: str = ""


async def _get(base: str, path: str, key: str | None = None, authorities: Path | None = None) -> Found:
    """Ask as requests will: with the same client of the model server."""
    upstream = create_upstream(ServerConfig(upstream=base, connect_timeout=PATIENCE, upstream_ca=authorities))
    try:
        async with asyncio.timeout(PATIENCE):
            return await _ask(upstream, path, key)
    except TimeoutError:
        return Found({}, f"has not answered GET {path} within {PATIENCE:g} s")
    except (httpx.ProtocolError, UpstreamBroken):
        return Found({}, f"does not answer GET {path} in HTTP: is it a model server?")
    except TRANSPORT_ERRORS:
        return Found({}, NOBODY)
    finally:
        await upstream.aclose()


async def _ask(upstream: Upstream, path: str, key: str | None) -> Found:
    headers = UpstreamHeaders(key, False).build((), b"application/json")
    response = await upstream.open(b"GET", path.encode(), headers, b"")
    try:
        return _read(response.status, await read_all(response, MAX_BYTES), path)
    finally:
        response.abort()


def _read(status: int, body: bytes, path: str) -> Found:
    if status != httpx.codes.OK:
        return Found({}, f"answers GET {path} with status {status}: {HINTS.get(status, 'is it a model server?')}")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = None
    if isinstance(value, dict):
        return Found(value)
    return Found({}, f"answers GET {path}, but not with a JSON object: is it a model server?")
