"""Files of keys for tests, made of keys that are made at run time."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml


def secret(name: str) -> str:
    """The key that a client of this name shows."""
    return f"key-of-{name}"


def digest(name: str) -> str:
    """What stands in the file for it."""
    return sha256(secret(name).encode()).hexdigest()


def bearer(name: str) -> dict[str, str]:
    """The headers of a request with the key."""
    return {"authorization": f"Bearer {secret(name)}"}


def written(path: Path, *specs: dict[str, Any]) -> Path:
    """A file with these keys; each spec has a name and what else is wanted."""
    keys = [{"name": spec["name"], "sha256": digest(spec["name"])} | spec for spec in specs]
    path.write_text(yaml.safe_dump({"version": 1, "keys": keys}, sort_keys=False), "utf-8")
    return path
