"""`safety-proxy conformance`: puts any guard to the test of proxy/conformance."""

from __future__ import annotations

import argparse
from pathlib import Path
from urllib.parse import urlsplit

from proxy import __version__
from proxy.conformance.command import Options, write_policy
from proxy.conformance.command import conformance as run
from proxy.conformance.dialects import DIALECTS
from proxy.errors import SettingsError


def conformance(args: argparse.Namespace) -> int:
    """Write the policy, or run the cases. Raises SettingsError."""
    if args.policy_hint is not None:
        _write(Path(args.policy_hint))
        if args.target is None:
            return 0
    if args.target is None:
        raise SettingsError("conformance needs --target URL, the guard that is to be tested")
    host, port = _listen(args.listen)
    return run(
        Options(
            target=_target(args.target),
            dialects=_dialects(args.dialect),
            host=host,
            port=port,
            folders=tuple(map(Path, args.cases)),
            patience=_seconds("--patience", args.patience, least=0.1),
            wait=_seconds("--wait", args.wait, least=0.0),
            headers=dict(map(_header, args.header)),
            timed=not args.no_timing,
            json=_path(args.json),
            junit=_path(args.junit),
            html=_path(args.html),
            version=__version__,
        )
    )


def _write(path: Path) -> None:
    try:
        write_policy(path)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written ({error.strerror})") from None


def _path(value: str | None) -> Path | None:
    """A file to be written; that it can be is asked before a run, not after it."""
    if value is None:
        return None
    if not Path(value).parent.is_dir():
        raise SettingsError(f"{value} cannot be written: there is no directory {Path(value).parent}")
    return Path(value)


def _target(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError(f"--target is an address such as http://127.0.0.1:11435 (it is {value!r})")
    return value


def _dialects(value: str) -> tuple[str, ...]:
    names = tuple(DIALECTS) if value == "all" else tuple(dict.fromkeys(name.strip() for name in value.split(",")))
    for name in names:
        if name not in DIALECTS:
            raise SettingsError(f"{name!r} is not a dialect: there are {', '.join(DIALECTS)}, or all")
    return names


def _listen(value: str) -> tuple[str, int]:
    host, _, port = value.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise SettingsError(f"--listen is HOST:PORT, such as 127.0.0.1:9300 (it is {value!r})")
    return host.strip("[]") or "127.0.0.1", int(port)


def _seconds(name: str, value: str, least: float) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not least <= seconds <= 3600:
        raise SettingsError(f"{name} is a number of seconds from {least:g} to 3600 (it is {value!r})")
    return seconds


def _header(value: str) -> tuple[str, str]:
    name, found, rest = value.partition(":")
    if not found or not name.strip() or not value.isascii() or not value.isprintable():
        raise SettingsError("--header is NAME: VALUE, such as 'Authorization: Bearer ...'")
    return name.strip(), rest.strip()
