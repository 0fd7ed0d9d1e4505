"""npm's packages, installed into the project from a lock that names no address."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "node"
LOCK: Final = FOLDER / "package-lock.json"
STAMP: Final = FOLDER / "node_modules" / ".installed"
INSTALL: Final = ("npm", "ci", "--prefer-offline", "--fetch-retries=0", "--fetch-timeout=20000")
INSTALL_SECONDS: Final = 600
OLDEST: Final = 20
"""The first major version of Node that all the packages run on."""


def missing() -> str:
    """Why the packages cannot be used here; empty if they can. Installs them if need be."""
    return _too_little() or ("" if installed() else _install())


def _too_little() -> str:
    """What of Node is not on this machine."""
    if not (shutil.which("node") and shutil.which("npm")):
        return "node and npm are not on this machine"
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST:
        return f"node is {version}, and the packages need {OLDEST} or newer"
    return ""


def installed() -> bool:
    """Whether the packages that the lock names are there."""
    return STAMP.exists() and STAMP.read_text() == _wanted()


def _wanted() -> str:
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


def _install() -> str:
    try:
        done = subprocess.run(INSTALL, cwd=FOLDER, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"npm ci took more than {INSTALL_SECONDS} s"
    if done.returncode != 0:
        return f"npm ci failed: {' '.join(done.stderr.split())[:200]}"
    STAMP.write_text(_wanted())
    return ""


def versions() -> dict[str, str]:
    """The version of each package that the lock names."""
    packages = json.loads(LOCK.read_text("utf-8"))["packages"]
    return {path.removeprefix("node_modules/"): about["version"] for path, about in packages.items() if path}


def main() -> None:
    """Install before the tests run: they would do it without a word."""
    why = _too_little()
    if not why and not installed():
        print(f"installing {len(versions())} JavaScript packages into {STAMP.parent}, once", flush=True)
        why = _install()
    if why:
        print(f"the JavaScript clients are not tested: {why}")


if __name__ == "__main__":
    main()
