"""A look at a model server: what it is, and which models it has. No model is loaded for it.

Sources: Ollama's docs/api.md (GET /api/version, /api/tags), LM Studio's REST docs (GET /api/v0/models), llama.cpp's
server README (GET /v1/models, owned_by `llamacpp`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from proxy.errors import UpstreamBroken, UpstreamError, UpstreamTimeout
from proxy.policy.names import normalise_model
from proxy.server.backends.kinds import BackendKind
from proxy.server.models.api import ModelServerApi

TIMEOUT = 5.0  # seconds for an answer; a model server that loads a model may take its time
LIST = "/v1/models"  # Ollama, LM Studio, llama.cpp and servers of OpenAI's dialect have it
TAGS, V0_MODELS, VERSION = "/api/tags", "/api/v0/models", "/api/version"
OK = 200
NOBODY = "does not answer yet; requests get 502 until it does"
HINTS = {401: "it wants a key (upstream_key)", 403: "it wants a key (upstream_key)", 503: "it is not ready yet"}
MAX_MODELS = 10_000  # names of one list that are kept


class Look(NamedTuple):
    """What a look has shown.

    kind:    what it is; None: it has not answered, or it is none of them
    models:  the digests of its models by their normalised names, "" where it tells none; {} for what is none of them;
             None: it has not told
    names:   the same names as it spells them, in its order
    answers: it has answered this time, whatever it said
    silent:  it has taken the question, and not answered in time
    trouble: what is wrong with it, as a sentence about it; "": nothing
    marks:   by normalised name, what else it says that tells a model from another one
    """

    kind: BackendKind | None = None
    models: Mapping[str, str] | None = None
    names: tuple[str, ...] = ()
    answers: bool = False
    silent: bool = False
    trouble: str = ""
    marks: Mapping[str, str] = MappingProxyType({})


NOT_LOOKED_AT = Look()


async def look_at(api: ModelServerApi, before: Look = NOT_LOOKED_AT, patience: float | None = None) -> Look:
    """Look. Where it does not answer, what it is and what it has is as `before`: it may come back as it was.

    patience: seconds for each answer; None: TIMEOUT
    """
    try:
        kind, listed = await _ask(_Asking(api, patience or TIMEOUT), before.kind if before.answers else None)
    except UpstreamError as error:
        silent = isinstance(error, UpstreamTimeout)
        return before._replace(answers=False, silent=silent, trouble=_silence(error))
    models = None if kind is None else _models(kind, listed)
    if models is not None:
        digests = {normalise_model(name): digest for name, digest in models}
        return Look(kind, digests, tuple(name for name, _ in models), answers=True, marks=_marks(listed))
    may_come_back = kind is not None or listed.status in HINTS
    known = before if may_come_back else Look(models={})
    return known._replace(answers=True, silent=False, trouble=_trouble(listed))


class _Answer(NamedTuple):
    """What was said to a GET of a path."""

    path: str
    status: int
    value: dict[str, Any]


class _Asking:
    """Asks a model server; each answer may take `timeout` seconds."""

    def __init__(self, api: ModelServerApi, timeout: float) -> None:
        self._api = api
        self._timeout = timeout

    async def get(self, path: str) -> _Answer:
        """Raises UpstreamError with what is wrong, as a sentence about the model server."""
        try:
            async with asyncio.timeout(self._timeout):
                return _Answer(path, *await self._api.answer(b"GET", path))
        except TimeoutError:
            raise UpstreamTimeout(f"has not answered GET {path} within {self._timeout:g} s", "timeout") from None
        except UpstreamBroken as error:
            trouble = f"does not answer GET {path} in HTTP: is it a model server?"
            raise UpstreamBroken(trouble, error.reason) from error


async def _ask(api: _Asking, kind: BackendKind | None) -> tuple[BackendKind | None, _Answer]:
    """What it is, if that is not known, and what it says to the question for its models."""
    listed = await api.get(TAGS if kind is BackendKind.OLLAMA else LIST)
    if kind is None:
        kind = await _kind(api, listed)
        if kind is BackendKind.OLLAMA:
            listed = await api.get(TAGS)
    return kind, listed


async def _kind(api: _Asking, listed: _Answer) -> BackendKind | None:
    """What a server is whose list of models this is."""
    entries = list(_entries(listed, "data"))
    if any(entry.get("owned_by") == "llamacpp" for entry in entries):
        return BackendKind.LLAMA_CPP
    if isinstance((await api.get(VERSION)).value.get("version"), str):
        return BackendKind.OLLAMA
    if isinstance((await api.get(V0_MODELS)).value.get("data"), list):
        return BackendKind.LM_STUDIO
    return BackendKind.OPENAI if _is_list(listed) else None


def _models(kind: BackendKind, listed: _Answer) -> list[tuple[str, str]] | None:
    """Names and digests; None: it does not tell them just now."""
    if kind is BackendKind.OLLAMA:
        if "models" not in listed.value:
            return None
        return [(name, str(entry.get("digest") or "")) for entry, name in _named(listed, "models", "name")]
    if not _is_list(listed):
        return None
    own = [(name, "") for _, name in _named(listed, "data", "id")]
    aliases = [(name, "") for entry, _ in _named(listed, "data", "id") for name in _aliases(entry)]
    return own + [pair for pair in aliases if pair not in own]


def _marks(listed: _Answer) -> dict[str, str]:
    """llama.cpp's `meta`: the model's size, and those of its vocabulary, vectors and context."""
    return {
        normalise_model(name): json.dumps(entry["meta"], sort_keys=True)
        for entry, name in _named(listed, "data", "id")
        if isinstance(entry.get("meta"), dict)
    }


def _is_list(said: _Answer) -> bool:
    """An OpenAI list of models. Ollama's is null before it has one."""
    return said.status == OK and "data" in said.value and isinstance(said.value["data"], list | None)


def _entries(said: _Answer, key: str) -> Iterator[dict[str, Any]]:
    listed = said.value.get(key)
    for entry in listed[:MAX_MODELS] if isinstance(listed, list) else ():
        if isinstance(entry, dict):
            yield entry


def _named(said: _Answer, key: str, name: str) -> Iterator[tuple[dict[str, Any], str]]:
    for entry in _entries(said, key):
        if isinstance(entry.get(name), str):
            yield entry, entry[name]


def _aliases(entry: dict[str, Any]) -> list[str]:
    aliases = entry.get("aliases")
    return [alias for alias in aliases if isinstance(alias, str)] if isinstance(aliases, list) else []


def _trouble(listed: _Answer) -> str:
    """What is wrong with a server that gives no list of models."""
    if listed.status in HINTS:
        return f"answers GET {listed.path} with status {listed.status}: {HINTS[listed.status]}"
    without = " without a list of models" if listed.status == OK else ""
    return f"answers, but is none of {KINDS}: GET {listed.path} gave {listed.status}{without}"


KINDS = ", ".join((BackendKind.OLLAMA, BackendKind.LM_STUDIO, BackendKind.LLAMA_CPP))


def _silence(error: UpstreamError) -> str:
    return NOBODY if error.reason == "connect" else str(error)
