"""`safety-proxy serve`: read the settings, load the policies, find the model server, then serve until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from urllib.parse import urlsplit

from proxy.cli import banner
from proxy.cli.config import effective_settings
from proxy.cli.event_loop import run
from proxy.cli.logs import logging_to
from proxy.cli.service_manager import ServiceManager
from proxy.errors import SettingsError
from proxy.policy.store import PolicyStore
from proxy.server.app import Bound
from proxy.server.app import serve as run_server
from proxy.server.ops.drops import Drops
from proxy.server.state.directory import StateDirectory
from proxy.settings import SHIPPED, EffectiveSettings, Settings
from proxy.startup.configuration import keeps_records, open_decision_log, open_store, server_config
from proxy.startup.discovery import DEMO, KNOWN, Backend, find, named
from proxy.startup.keys import follow_policies, load_keys, refuse_open_listeners
from proxy.startup.plugins import find_registry
from proxy.startup.policies import load, load_reviews, policy_folder
from proxy.values import Address

LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")

log = logging.getLogger("safety_proxy.server")


def serve(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C. Raises SettingsError or PolicyError if the start fails."""
    settings = _inherit_sockets(effective_settings(args), os.environ)
    _refuse_loops(settings)
    refuse_open_listeners(settings)
    drops = Drops()
    with logging_to(sys.stderr, settings.log_format, settings.log_level, drops), ExitStack() as stack:
        run(_serve(settings, stack, drops))
    return 0


async def _serve(settings: Settings, stack: ExitStack, drops: Drops) -> None:
    manager = ServiceManager()
    key, empty = settings.hash_key, settings.allow_empty
    registry = find_registry(settings)
    keys = load_keys(settings)
    state = StateDirectory.open(settings.state_dir) if settings.state_dir is not None else None
    is_default = settings.policies == SHIPPED
    store = None if is_default else await load(settings.policies, hash_key=key, allow_empty=empty, registry=registry)
    shadow = None
    if settings.shadow:
        shadow = await load(settings.shadow, hash_key=key, allow_empty=empty, shadow=True, registry=registry)
    backend, *more = await _backends(settings, stack)
    if store is None:  # which ones apply by default depends on the model server
        folder = policy_folder(settings, is_demo=backend.is_demo)
        store = await load(folder, hash_key=key, allow_empty=empty, registry=registry)

    reviews = await load_reviews(settings, store.directory)
    follow_policies([one for one in (store, shadow) if one is not None], keys)

    def ready(bound: Bound) -> None:
        listen, admin = Address(*bound.listen), Address(*bound.admin) if bound.admin else None
        if keys is None:
            _warn_of_open_listeners(listen, admin)
        watching = _loaded(shadow) if shadow else None
        scheme = "https" if settings.tls_certificate else "http"
        plugins = [banner.plugin(entry) for entry in registry.plugins]
        recording = banner.recording(settings.record_text, settings.decision_log, keeps_records(settings))
        asked = "" if keys is None else banner.keys(keys)
        about = (watching, scheme, plugins, recording, more, asked, settings.console)
        rows = banner.lines(listen, admin, backend, _loaded(store), *about)
        banner.write(sys.stdout, rows)
        manager.ready(f"chat apps connect to {listen}")

    config = server_config(settings, backend.url)
    kept = open_store(settings, drops)
    if kept is not None:
        stack.enter_context(kept)
    decisions = stack.enter_context(open_decision_log(settings, drops, kept))
    await run_server(
        *(config, store, shadow),
        observers=[decisions],
        drops=drops,
        reviews=reviews,
        keys=keys,
        state=state,
        records=kept,
        ready=ready,
        stopping=manager.stopping,
        reloading=manager.reloading,
    )


def _warn_of_open_listeners(listen: Address, admin: Address | None) -> None:
    """Say who can do what without a key, where that is not only this machine."""
    if not listen.is_local:
        log.warning("listen: %s", banner.open_listener(listen))
    if admin and not admin.is_local:
        log.warning("admin: %s", banner.open_admin(admin))


def _loaded(store: PolicyStore) -> banner.Loaded:
    current = store.current
    names = [(policy.name, len(policy.rules)) for policy in current.policies]
    return banner.Loaded(names, str(store.directory), current.revision)


async def _backends(settings: Settings, stack: ExitStack) -> list[Backend]:
    """The model servers of the file's `[[upstream]]`, else the one that there is."""
    if settings.upstreams:
        return await asyncio.gather(
            *(named(one.url, one.key, one.name, settings.upstream_ca) for one in settings.upstreams)
        )
    return [await _backend(settings, stack)]


async def _backend(settings: Settings, stack: ExitStack) -> Backend:
    """The model server that is set, or one that is found, or the demo model."""
    if settings.upstream == DEMO:
        return _start_demo(settings, stack, "demo model: scripted answers")
    if settings.upstream:
        return await named(settings.upstream, settings.upstream_key, authorities=settings.upstream_ca)
    found = await find(own=banner.dialled(settings.listen))
    if found is not None:
        log.info("found %s at %s", found.name, found.url)
        return found
    demo = _start_demo(settings, stack, "demo model: scripted answers, since no model server was found")
    looked = " nor ".join(f"{name} at {url}" for name, url, *_ in KNOWN)
    log.warning("neither %s answers, so the demo model at %s does, with scripted answers", looked, demo.url)
    return demo


def _start_demo(settings: Settings, stack: ExitStack, what: str) -> Backend:
    from proxy.demo.backend import DemoBackend
    from proxy.demo.script import ANSWERS, MODEL

    demo = stack.enter_context(DemoBackend(settings.demo_pace))
    return Backend(what, demo.url, MODEL, prompt=ANSWERS[-1].prompt, is_demo=True)


def _inherit_sockets(found: EffectiveSettings, environ: Mapping[str, str]) -> Settings:
    """The settings with the sockets of a service manager (sd_listen_fds(3)): the first is the chat listener, a second
    one the admin listener. An address that was set explicitly stays."""
    settings = found.settings
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return settings
    count = int(environ.get("LISTEN_FDS") or 0)
    if count >= 1 and found.sources["listen"] == "default":
        settings = replace(settings, listen=Address("fd:3", 0))
    if count >= 2 and found.sources["admin"] == "default":
        settings = replace(settings, admin=Address("fd:4", 0))
    return settings


def _refuse_loops(settings: Settings) -> None:
    """Refuse the proxy as its own model server, which would call itself for ever, and two listeners at one address."""
    listen, admin = settings.listen, settings.admin
    if admin == listen and listen.port:
        raise SettingsError(f"listen and admin are both {listen}; they need two ports")
    own = (*LOOPBACK, listen.host) if listen.host in (*LOOPBACK, *banner.EVERYWHERE) else (listen.host,)
    for upstream in (settings.upstream, *(one.url for one in settings.upstreams)):
        url = urlsplit("" if upstream in (None, DEMO) else upstream)
        if url.hostname in own and url.port == listen.port:
            raise SettingsError(f"upstream is {upstream}, which is where the proxy itself listens")
