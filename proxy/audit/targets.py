"""Which sides an audit has: the models that were named, direct, through the policies, or through a proxy that runs."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from proxy.alignment.claims import WORST_FIRST, Claim
from proxy.audit.asking import Asker, no_rules
from proxy.audit.guarded import guarded
from proxy.audit.plan import Format, Options, Side
from proxy.errors import SettingsError
from proxy.policy.names import normalise_model
from proxy.policy.schema import Alignment
from proxy.server.backends.backend import Backend
from proxy.server.backends.choice import Backends
from proxy.server.config import ServerConfig, UpstreamConfig
from proxy.settings import Settings
from proxy.startup.configuration import server_config

MAX_NAMES = 20  # names of models in an error
LOOK = 10.0  # seconds for a proxy to list its models
LONGEST = 80  # characters of a model's name in an error


class Wanted(NamedTuple):
    """What the operator asks for.

    models:    their names
    direct:    without policies
    folders:   each of them a set of policies that the model is asked through
    proxy:     the URL of a proxy that runs, to ask through; proxy_key: a key for it
    format:    how the models are asked; None: as they claim to be
    timeout:   seconds for an answer
    """

    models: Sequence[str]
    direct: bool
    folders: Sequence[Path] = ()
    proxy: str | None = None
    proxy_key: str | None = None
    format: Format | None = None
    timeout: float = 600.0


class Target(NamedTuple):
    """A side, and who asks for it."""

    side: Side
    asker: Asker


async def targets(
    wanted: Wanted, settings: Settings, url: str, options: Options, stack: AsyncExitStack
) -> list[Target]:
    """All sides, one model after the other. `stack` closes what they use.

    Raises SettingsError if a model server is none, or does not have a model; PolicyError for wrong policies.
    """
    if wanted.proxy is not None and not wanted.direct:
        return await _through_proxy(wanted, await _shown_by_proxy(wanted), options, stack)
    config = server_config(settings, url)
    found = await _look(config, wanted)
    chosen: list[Target] = []
    for one in found if wanted.direct else ():
        client = await _open(stack, one.row.url, one.row.key, wanted.timeout, settings.upstream_ca)
        chosen.append(Target(_side(one, "direct", "", wanted), Asker(client, options)))
    for folder in wanted.folders:
        chosen += await _through_policies(folder, wanted, settings, url, found, options, stack)
    if wanted.proxy is not None:
        chosen += await _through_proxy(wanted, found, options, stack)
    return chosen


class Found(NamedTuple):
    """A model that was named: as it is listed, what it claims to be, and the model server that has it."""

    name: str
    claim: Claim
    row: UpstreamConfig


async def _look(config: ServerConfig, wanted: Wanted) -> list[Found]:
    """Each model that was named, with what it claims to be and where it is."""
    backends = Backends(config, admits=lambda _: True)
    try:
        await asyncio.gather(*(_look_at(backend) for backend in backends.all))
        rows = list(zip(config.backends, backends.all, strict=True))
        return [_find(name, rows) for name in wanted.models]
    finally:
        await backends.aclose()


async def _look_at(backend: Backend) -> None:
    await backend.look()
    if not backend.known.trouble:
        await backend.models.alignments.look_at_all()


def _find(name: str, rows: Sequence[tuple[UpstreamConfig, Backend]]) -> Found:
    for row, backend in rows:
        listed = _listed(name, backend.known.names)
        if listed is not None:
            return Found(listed, backend.models.alignments.known(listed), row)
    backends = [backend for _, backend in rows]
    silent = [f"the model server at {one.url} {one.known.trouble}" for one in backends if one.known.trouble]
    if silent:
        raise SettingsError("; ".join(silent))
    raise SettingsError(_unknown(name, [one for backend in backends for one in backend.known.names]))


def _listed(name: str, names: Iterable[str]) -> str | None:
    """The model's name as it is listed; None: it is not."""
    model = normalise_model(name)
    return next((one for one in names if normalise_model(one) == model), None)


def _unknown(name: str, names: Sequence[str]) -> str:
    shown = ", ".join(f"{one[:LONGEST]!a}" for one in names[:MAX_NAMES]) or "none"
    more = ", ..." if len(names) > MAX_NAMES else ""
    return f"no model server has a model {name[:LONGEST]!a}. There are: {shown}{more}"


def _side(found: Found, way: str, policies: str, wanted: Wanted) -> Side:
    claim, name = found.claim, found.name
    if claim.kind in ("embedding", "guard"):
        raise SettingsError(f"{name[:LONGEST]!a} is an {claim.kind} model, so it has no answers to audit")
    return Side(f"{name}, {way}", name, way, _format(claim, wanted), policies, claim.status, claim.why, claim.digest)


def _format(claim: Claim, wanted: Wanted) -> Format:
    return wanted.format or ("completion" if claim.kind == "completion" else "chat")


async def _open(
    stack: AsyncExitStack, url: str, key: str | None, patience: float, authorities: Path | None = None
) -> httpx.AsyncClient:
    """A client of its own, that heeds no environment variable of the operator's, as the proxy's does not."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    verify = ssl.create_default_context(cafile=None if authorities is None else str(authorities))
    limits = httpx.Timeout(patience, connect=min(patience, 10.0))
    client = httpx.AsyncClient(base_url=url, headers=headers, timeout=limits, verify=verify, trust_env=False)
    return await stack.enter_async_context(client)


async def _through_policies(
    folder: Path,
    wanted: Wanted,
    settings: Settings,
    url: str,
    found: Sequence[Found],
    options: Options,
    stack: AsyncExitStack,
) -> list[Target]:
    """The models through the policies of one folder."""
    proxy = await stack.enter_async_context(guarded(settings, url, folder))
    way = "through the policies" if len(wanted.folders) == 1 else f"through the policies of {folder}"
    asker = Asker(proxy.client, options, proxy.rules.take)
    return [Target(_side(one, way, proxy.revision, wanted), asker) for one in found]


async def _through_proxy(
    wanted: Wanted, found: Sequence[Found], options: Options, stack: AsyncExitStack
) -> list[Target]:
    """The models through a proxy that runs. Which of its rules blocks nobody tells a client."""
    assert wanted.proxy is not None
    asker = Asker(await _open(stack, wanted.proxy, wanted.proxy_key, wanted.timeout), options, no_rules)
    way = f"through {wanted.proxy}"
    return [Target(_side(one, way, wanted.proxy, wanted), asker) for one in found]


async def _shown_by_proxy(wanted: Wanted) -> list[Found]:
    """The models as a proxy that runs lists them, with what it says of each. Raises SettingsError if it is none."""
    assert wanted.proxy is not None
    async with AsyncExitStack() as stack:
        client = await _open(stack, wanted.proxy, wanted.proxy_key, LOOK)
        entries = await _entries(client, wanted.proxy)
    row = UpstreamConfig(url=wanted.proxy, key=wanted.proxy_key)
    return [_shown(name, entries, row) for name in wanted.models]


async def _entries(client: httpx.AsyncClient, url: str) -> dict[str, dict[str, Any]]:
    """The entries of its list of models by their names."""
    try:
        response = await client.get("/v1/models")
        value = response.json() if response.status_code == 200 else None
    except httpx.TransportError as error:
        raise SettingsError(f"the proxy at {url} does not answer: {error or type(error).__name__}") from None
    except ValueError:
        value = None
    listed = value.get("data") if isinstance(value, dict) else None
    if not isinstance(listed, list):
        raise SettingsError(f"{url} is no proxy: GET /v1/models gave {response.status_code} without a list of models")
    return {one["id"]: one for one in listed if isinstance(one, dict) and isinstance(one.get("id"), str)}


def _shown(name: str, entries: Mapping[str, dict[str, Any]], row: UpstreamConfig) -> Found:
    listed = _listed(name, entries)
    if listed is None:
        raise SettingsError(_unknown(name, list(entries)))
    said = entries[listed].get("safety_proxy")
    said = said if isinstance(said, dict) else {}
    status: Alignment = next((one for one in WORST_FIRST if one == said.get("alignment")), "unknown")
    evidence = [one for one in said.get("evidence") or () if isinstance(one, dict)]
    has_no_template = any((one.get("signal"), one.get("says")) == ("template", "base") for one in evidence)
    return Found(listed, Claim(status, "completion" if has_no_template else "chat"), row)
