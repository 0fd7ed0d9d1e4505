"""Which models a model server has, and what it is that its lists say of them.

Ollama: GET /api/tags, and POST /api/show for each. llama.cpp: GET /props and GET /v1/models. LM Studio:
GET /api/v1/models, or the older GET /api/v0/models. Any other of OpenAI's dialect: GET /v1/models.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from proxy.alignment.claims import Claim
from proxy.alignment.llama_cpp import from_llama_cpp, from_openai
from proxy.alignment.lmstudio import from_lmstudio, names_of
from proxy.alignment.ollama import from_ollama
from proxy.errors import UpstreamError
from proxy.policy.names import normalise_model
from proxy.server.models.api import TIMEOUT, ModelServerApi


@dataclass(frozen=True, slots=True)
class Listed:
    """A model in a list.

    name:   as the model server writes it
    names:  all that it is called there, normalised
    entry:  what the list says of it
    claim:  what follows; None: its description has to be asked for
    digest: "": the model server has none
    """

    name: str
    names: frozenset[str]
    entry: dict[str, Any]
    claim: Claim | None
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a model server has. only: it is one model, which answers whatever name is asked for (llama.cpp)."""

    models: tuple[Listed, ...] = ()
    only: bool = False


Source = Callable[[ModelServerApi], Awaitable[Listing | None]]
"""Reads the list of one kind of model server; None: it is none of this kind."""


class Lists:
    """Asks a model server for its list. It is asked as what it was before; if it is not that any more, as anything."""

    def __init__(self, api: ModelServerApi) -> None:
        self._api = api
        self._sources: list[Source] = [_ollama, _llama_cpp, _lmstudio, _openai]

    async def fetch(self) -> Listing:
        """Raises UpstreamError if the model server does not say it."""
        failure: UpstreamError | None = None
        for source in tuple(self._sources):
            try:
                found = await source(self._api)
            except UpstreamError as error:
                if error.reason != "status":
                    raise
                failure = failure or error
                continue
            if found is not None:
                self._sources.remove(source)
                self._sources.insert(0, source)
                return found
        if failure is not None:
            raise failure
        return Listing()

    async def describe(self, model: Listed) -> Claim:
        """What an Ollama's model claims to be. Raises UpstreamError if it does not say it."""
        shown = await _said(self._api, b"POST", "/api/show", {"model": model.name})
        if not shown:
            raise UpstreamError("The model server does not describe the model", "protocol")
        return from_ollama(model.entry, shown)


async def _said(api: ModelServerApi, method: bytes, path: str, body: object = None) -> dict[str, Any]:
    try:
        async with asyncio.timeout(TIMEOUT):
            return await api.said(method, path, body)
    except TimeoutError:
        raise UpstreamError(f"The model server said nothing to {path} for {TIMEOUT:g} s", "timeout") from None


async def _ollama(api: ModelServerApi) -> Listing | None:
    """llama.cpp has this path too, and leaves the digests empty."""
    found = await _said(api, b"GET", "/api/tags")
    entries = _entries(found, "models", "name")
    if "models" not in found or not all(entry.get("digest") for entry in entries):
        return None
    models = [_listed(entry, "name", [entry["name"]], None, str(entry["digest"])) for entry in entries]
    return Listing(tuple(models))


async def _llama_cpp(api: ModelServerApi) -> Listing | None:
    props = await _said(api, b"GET", "/props")
    if not isinstance(props.get("chat_template"), str):
        return None
    entries = _entries(await _said(api, b"GET", "/v1/models"), "data", "id")
    only = len(entries) <= 1
    known = props if only else {}  # of several models it is not said whose template that is
    models = [_listed(one, "id", _called(one), from_llama_cpp(known, one)) for one in entries or [_own_entry(props)]]
    return Listing(tuple(models), only)


async def _lmstudio(api: ModelServerApi) -> Listing | None:
    for path, key, name in (("/api/v1/models", "models", "key"), ("/api/v0/models", "data", "id")):
        entries = _entries(await _said(api, b"GET", path), key, name)
        if entries:
            return Listing(tuple([_listed(one, name, names_of(one), from_lmstudio(one)) for one in entries]))
    return None


async def _openai(api: ModelServerApi) -> Listing | None:
    entries = _entries(await _said(api, b"GET", "/v1/models"), "data", "id")
    return Listing(tuple([_listed(one, "id", _called(one), from_openai(one)) for one in entries])) if entries else None


def _entries(found: dict[str, Any], key: str, name: str) -> list[dict[str, Any]]:
    listed = found.get(key)
    entries = listed if isinstance(listed, list) else ()
    return [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get(name), str)]


def _listed(entry: dict[str, Any], name: str, names: Iterable[str], claim: Claim | None, digest: str = "") -> Listed:
    return Listed(entry[name], frozenset(map(normalise_model, names)), entry, claim, digest)


def _called(entry: dict[str, Any]) -> list[str]:
    aliases = entry.get("aliases")
    return [name for name in (entry["id"], *(aliases if isinstance(aliases, list) else ())) if isinstance(name, str)]


def _own_entry(props: dict[str, Any]) -> dict[str, Any]:
    """For a llama.cpp that lists no model."""
    return {"id": str(props.get("model_alias") or "model")}
