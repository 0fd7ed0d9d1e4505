"""`safety-proxy doctor`: what a start would stumble over, said before it does, each with what to do."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from proxy.cli.banner import dialled
from proxy.cli.config import effective_settings
from proxy.errors import PolicyError, SettingsError
from proxy.settings import SHIPPED, Settings
from proxy.startup import discovery
from proxy.startup.keys import load_keys, refuse_open_listeners
from proxy.startup.plugins import find_registry
from proxy.startup.policies import load
from proxy.values import Address

PYTHON = (3, 11)
FREE_DISK = 100 * 2**20  # bytes: less is soon full of log
OPEN_FILES = 1024  # two for each stream
BUILT = 1_767_225_600.0  # 2026-01-01 as Unix time: a clock before it is wrong, and keys would not expire
WRITABLE_BY_OTHERS = 0o022
READABLE_BY_OTHERS = 0o077


class Verdict(StrEnum):
    """How bad it is. Only WRONG makes the exit code 1."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"


class Finding(NamedTuple):
    """What was looked at, how it is, and what to do about it (empty: nothing)."""

    about: str
    verdict: Verdict
    says: str
    fix: str = ""


def doctor(args: argparse.Namespace) -> int:
    """Look at everything that a start needs, and print it; 1 when something is wrong."""
    findings = list(examine(args))
    for finding in findings:
        print(f"{finding.verdict:<6}{finding.about:<13}{finding.says}")
        if finding.fix:
            print(f"{'':<19}-> {finding.fix}")
    wrong = sum(finding.verdict is Verdict.WRONG for finding in findings)
    print("nothing is wrong" if not wrong else f"{wrong} thing{'s are' if wrong > 1 else ' is'} wrong")
    return 1 if wrong else 0


def examine(args: argparse.Namespace) -> Iterator[Finding]:
    """All findings, those first that the others rest on."""
    yield python(sys.version_info[:2])
    yield event_loop()
    try:
        settings = effective_settings(args).settings
    except SettingsError as error:
        yield Finding("settings", Verdict.WRONG, str(error), "safety-proxy config shows which are in force, and why")
        return
    yield Finding("settings", Verdict.OK, "they can be read")
    yield from ports(settings)
    yield from upstreams(settings)
    yield policies(settings)
    yield from keys(settings)
    yield from permissions(settings)
    yield clock(time.time())
    yield from disk(settings)
    yield from open_files()


def python(found: tuple[int, ...]) -> Finding:
    """Whether this Python is new enough."""
    says = f"Python {'.'.join(map(str, found))} on {platform.system()} {platform.machine()}"
    if found < PYTHON:
        return Finding("python", Verdict.WRONG, says, f"install Python {'.'.join(map(str, PYTHON))} or newer")
    return Finding("python", Verdict.OK, says)


def event_loop() -> Finding:
    """Which event loop would run it; Windows has no uvloop."""
    try:
        return Finding("event loop", Verdict.OK, f"uvloop {version('uvloop')}")
    except PackageNotFoundError:
        fix = "" if sys.platform == "win32" else "pip install uvloop: it costs a stream less"
        return Finding("event loop", Verdict.OK if sys.platform == "win32" else Verdict.NOTE, "asyncio's own", fix)


def ports(settings: Settings) -> Iterator[Finding]:
    """Whether both listeners could be bound now, and whether everybody could reach them."""
    for name, address in (("listen", settings.listen), ("admin", settings.admin)):
        if address is not None and not address.is_socket:
            yield port(name, address)
    try:
        refuse_open_listeners(settings)
    except SettingsError as error:
        yield Finding("access", Verdict.WRONG, str(error))


def port(name: str, address: Address) -> Finding:
    """Whether an address is free."""
    try:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        with socket.socket(family) as trial:
            if os.name == "posix":  # as a server binds: what an ended one has left is no obstacle
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((address.host, address.port))
    except OSError as error:
        fix = f"stop what runs there, or choose another address (setting {name})"
        return Finding(
            name, Verdict.WRONG, f"{address}: {error.strerror or error}", f"{fix}; a running safety-proxy too?"
        )
    return Finding(name, Verdict.OK, f"{address} is free")


def upstreams(settings: Settings) -> Iterator[Finding]:
    """What the model servers say."""
    if settings.upstream == discovery.DEMO:
        yield Finding("upstream", Verdict.OK, "the demo model")
    elif settings.upstreams:
        for one in settings.upstreams:
            yield upstream(one.url, one.key, settings.upstream_ca)
    elif settings.upstream:
        yield upstream(settings.upstream, settings.upstream_key, settings.upstream_ca)
    else:
        found = asyncio.run(discovery.find(own=dialled(settings.listen)))
        if found is None:
            fix = "start Ollama or LM Studio, or name yours (setting upstream)"
            yield Finding("upstream", Verdict.NOTE, "no model server was found: the demo model would answer", fix)
        else:
            yield Finding("upstream", Verdict.OK, f"{found.name} at {found.url}")


def upstream(url: str, key: str | None, authorities: Path | None) -> Finding:
    """What one of them says."""
    found = asyncio.run(discovery.look_at(url, key=key, authorities=authorities))
    if not found.trouble:
        return Finding("upstream", Verdict.OK, f"{found.name or 'a model server'} at {url}")
    fix = discovery.container_hint(url, found.trouble) or "start it, or correct the setting upstream"
    return Finding("upstream", Verdict.WRONG, f"{url} {found.trouble}", fix)


def policies(settings: Settings) -> Finding:
    """Whether they can be loaded, with their examples."""
    try:
        loading = load(settings.policies, allow_empty=settings.allow_empty, registry=find_registry(settings))
        store = asyncio.run(loading)
    except PolicyError as error:
        more = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
        fix = f"safety-proxy check {settings.policies} says all of it"
        return Finding("policies", Verdict.WRONG, error.problems[0] + more, fix)
    except SettingsError as error:
        return Finding("policies", Verdict.WRONG, str(error))
    names = ", ".join(policy.name for policy in store.current.policies)
    return Finding("policies", Verdict.OK, f"{names} in {settings.policies}")


def keys(settings: Settings) -> Iterator[Finding]:
    """Whether the file of keys can be read."""
    try:
        store = load_keys(settings)
    except (PolicyError, SettingsError) as error:
        yield Finding("keys", Verdict.WRONG, next(iter(getattr(error, "problems", [str(error)]))))
        return
    if store is not None:
        yield Finding("keys", Verdict.OK, f"{len(store.current.keys)} in {settings.keys}")


def permissions(settings: Settings) -> Iterator[Finding]:
    """Whether others could change what is filtered and who may ask, or read what they should not."""
    if os.name != "posix":
        yield Finding("permissions", Verdict.NOTE, "not looked at on this system", "only you should be able to write")
        return
    protected = [("policies", settings.policies), ("keys", settings.keys), ("plugins", settings.plugins)]
    secret = [("tls_key", settings.tls_key), ("state_dir", settings.state_dir)]
    found = [_mode(name, path, WRITABLE_BY_OTHERS, "go-w", "change") for name, path in protected if path is not None]
    found += [_mode(name, path, READABLE_BY_OTHERS, "go-rwx", "read") for name, path in secret if path is not None]
    troubles = [one for one in found if one is not None]
    yield from troubles
    if not troubles:
        yield Finding("permissions", Verdict.OK, "nobody else can change the policies")


def _mode(name: str, path: Path, forbidden: int, change: str, verb: str) -> Finding | None:
    """What is wrong with a file's mode, or with a file of a directory; None: nothing, or it is not there."""
    for one in (path, *sorted(path.glob("*.y*ml"))) if path != SHIPPED else ():
        if one.exists() and one.stat().st_mode & forbidden:
            return Finding("permissions", Verdict.WRONG, f"others can {verb} {one} ({name})", f"chmod {change} {one}")
    return None


def clock(now: float) -> Finding:
    """Whether the clock can be right; keys expire by it, and records are dated by it."""
    says = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < BUILT:
        fix = "set it (timedatectl set-ntp true): keys expire by it, and TLS certificates are judged by it"
        return Finding("clock", Verdict.WRONG, f"{says} lies before this program was made", fix)
    return Finding("clock", Verdict.OK, says)


def disk(settings: Settings) -> Iterator[Finding]:
    """Whether records have room, and can be written."""
    for name, path in (("decision_log", settings.decision_log), ("state_dir", settings.state_dir)):
        if path is not None:
            folder = path if path.is_dir() else path.absolute().parent
            yield _room(name, folder)


def _room(name: str, folder: Path) -> Finding:
    if not folder.is_dir():
        return Finding("disk", Verdict.WRONG, f"{folder} is not there ({name})", f"mkdir -p {folder}")
    if not os.access(folder, os.W_OK):
        return Finding(
            "disk", Verdict.WRONG, f"{folder} cannot be written ({name})", f"give it to the proxy's user: {name}"
        )
    free = shutil.disk_usage(folder).free
    if free < FREE_DISK:
        return Finding("disk", Verdict.WRONG, f"{free >> 20} MiB are free in {folder} ({name})", "make room there")
    return Finding("disk", Verdict.OK, f"{free >> 20} MiB are free in {folder} ({name})")


def open_files() -> list[Finding]:
    """Whether enough connections may be open; a stream has two. Windows sets no such limit."""
    if sys.platform == "win32":
        return []
    else:
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft < OPEN_FILES:
            says = f"{soft} at most: some {soft // 2} streams"
            return [Finding("open files", Verdict.NOTE, says, "ulimit -n 65536")]
        return [Finding("open files", Verdict.OK, f"{soft} at most")]
