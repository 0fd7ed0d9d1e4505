"""`safety-proxy serve`: settings, policies, a model server, and then the proxy until it is told to stop."""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import ExitStack
from dataclasses import fields
from typing import Any
from urllib.parse import urlsplit

import uvloop

from proxy.cli import banner
from proxy.cli.config import effective
from proxy.cli.discovery import KNOWN, Backend, find, look_at
from proxy.cli.logs import logging_to
from proxy.cli.policies import load
from proxy.demo.backend import DemoBackend
from proxy.demo.script import MODEL, SCENES
from proxy.dialects.base import Options
from proxy.errors import SettingsError
from proxy.policy.store import PolicyStore
from proxy.server.app import Bound
from proxy.server.app import serve as run_server
from proxy.server.config import ServerConfig
from proxy.server.ops.decision_log import DecisionLog
from proxy.settings import ROWS, Settings
from proxy.values import Address

LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")

log = logging.getLogger("safety_proxy.server")


def serve(args: argparse.Namespace) -> int:
    """Run until SIGTERM or Ctrl-C. Raises SettingsError and PolicyError for whatever stops the start."""
    settings = effective(args).settings
    _refuse_circles(settings)
    with logging_to(sys.stderr, settings.log_format), ExitStack() as stack:
        uvloop.run(_serve(settings, stack))
    return 0


async def _serve(settings: Settings, stack: ExitStack) -> None:
    key, empty = settings.hash_key, settings.allow_empty
    store = await load(settings.policies, hash_key=key, allow_empty=empty)
    shadow = await load(settings.shadow, hash_key=key, allow_empty=empty, shadow=True) if settings.shadow else None
    backend = _backend(settings, stack)

    def ready(bound: Bound) -> None:
        listen, admin = Address(*bound.listen), Address(*bound.admin) if bound.admin else None
        watching = _loaded(shadow) if shadow else None
        banner.write(sys.stdout, banner.lines(listen, admin, backend, _loaded(store), watching))

    config = server_config(settings, backend.url)
    await run_server(config, store, shadow, observers=[DecisionLog()], ready=ready)


def _loaded(store: PolicyStore) -> banner.Loaded:
    current = store.current
    names = [(policy.name, len(policy.rules)) for policy in current.policies]
    return banner.Loaded(names, str(store.directory), current.revision)


def server_config(settings: Settings, upstream: str) -> ServerConfig:
    """The server's part of the settings: what bears the same name."""
    options = Options(**_shared(Options, settings))
    return ServerConfig(**{**_shared(ServerConfig, settings), "upstream": upstream, "options": options})


def _shared(kind: type[Any], settings: Settings) -> dict[str, Any]:
    return {row.name: getattr(settings, row.name) for row in fields(kind) if row.name in ROWS}


def _backend(settings: Settings, stack: ExitStack) -> Backend:
    """The model server that was named, or one that is found, or the demo model."""
    if settings.upstream:
        return look_at(settings.upstream, key=settings.upstream_key)
    found = find(own=banner.dialled(settings.listen))
    if found is not None:
        log.info("found %s at %s", found.name, found.url)
        return found
    demo = stack.enter_context(DemoBackend(settings.demo_pace))
    looked = " nor ".join(f"{name} at {url}" for name, url, *_ in KNOWN)
    log.warning("neither %s answers: the demo model at %s does, with scripted answers", looked, demo.url)
    what = "demo model: scripted answers, since no model server was found"
    return Backend(what, demo.url, MODEL, prompt=SCENES[-1].prompt)


def _refuse_circles(settings: Settings) -> None:
    """The proxy as its own model server would ask itself for ever; two listeners cannot share an address."""
    listen, admin = settings.listen, settings.admin
    if admin == listen and listen.port:
        raise SettingsError(f"listen and admin are both {listen}; they need two ports")
    if settings.upstream is None:
        return
    url = urlsplit(settings.upstream)
    own = (*LOOPBACK, listen.host) if listen.host in (*LOOPBACK, *banner.EVERYWHERE) else (listen.host,)
    if url.port == listen.port and url.hostname in own:
        raise SettingsError(f"upstream is {settings.upstream}, which is where the proxy itself listens")
