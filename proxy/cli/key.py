"""`safety-proxy key new NAME`: a key, which is shown once, and its entry for the file of keys, with its digest."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from proxy.cli.config import effective_settings
from proxy.errors import SettingsError
from proxy.policy.document import Source
from proxy.server.keys.reading import read_keys

PREFIX = "sp-"
RANDOM_BYTES = 32  # no dictionary has such a key, so SHA-256 without salt and rounds keeps it
BEGINNING = "version: 1\nkeys:\n"


def key(args: argparse.Namespace) -> int:
    """Make a key. Raises SettingsError or KeysError, and then nothing has been written or shown."""
    token = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    entry = _entry(args, sha256(token.encode()).hexdigest())
    read_keys(Source("the new entry", (BEGINNING + entry).encode()))
    if not args.write:
        print(token)
        print(f"\nIt is shown this once. Its entry for the file of keys:\n\n{entry}", end="", file=sys.stderr)
        return 0
    path = effective_settings(args).settings.keys
    if path is None:
        raise SettingsError("--write needs a file: name it with --keys FILE, or set keys")
    _append(path, entry)
    print(token)
    print(f"It is shown this once. Its digest is in {path}, as the key {args.name}", file=sys.stderr)
    return 0


def _entry(args: argparse.Namespace, digest: str) -> str:
    more = [f"    {name}: true\n" for name in ("admin", "scrape") if getattr(args, f"for_{name}")]
    if args.expires:
        more.append(f"    expires: '{args.expires}'\n")
    return f"  - name: '{args.name}'\n    sha256: '{digest}'\n" + "".join(more)


def _append(path: Path, entry: str) -> None:
    """Add an entry. The file is replaced as a whole, and only by one that can be read."""
    try:
        before = path.read_text("utf-8") if path.exists() else BEGINNING
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{path} cannot be read ({getattr(error, 'strerror', None) or 'it is not UTF-8'})"
        ) from None
    text = before + ("" if before.endswith("\n") else "\n") + entry
    read_keys(Source(str(path), text.encode()))
    try:
        _replace(path.resolve(), text)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written ({error.strerror or error})") from None


def _replace(path: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        if path.exists():
            Path(temporary).chmod(path.stat().st_mode & 0o777)
        Path(temporary).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise
