"""A real PostgreSQL server for tests, on a unix socket of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import until_elsewhere

DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
USER = "postgres"


@contextmanager
def postgresql() -> Iterator[str]:
    """Its URL, while it runs. Skips the test where there is no server."""
    program = DEBIAN[-1] if DEBIAN else None
    if program is None or (os.geteuid() == 0 and not _has_user()):
        pytest.skip("PostgreSQL's server is not there (Debian: postgresql)")
    user = USER if os.geteuid() == 0 else None  # it does not run as root
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a socket's path is short
    if user is not None:
        shutil.chown(folder, user)
    data = folder / "data"
    try:
        options = ["-A", "trust", "-U", USER, "--no-sync", "-E", "UTF8", "--locale", "C"]
        make: list[str | Path] = [program / "initdb", "-D", data, *options]
        subprocess.run(make, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)
        serve: list[str | Path] = [program / "postgres", "-D", data, "-k", folder, "-h", "", "-F"]
        server = subprocess.Popen(serve, user=user, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until_elsewhere(lambda: "ready" in _status(data))
            yield f"postgresql://{USER}@/postgres?host={folder}"
        finally:
            server.terminate()  # a smart shutdown would wait for clients; those are gone
            server.wait()
    finally:
        shutil.rmtree(folder)


def _status(data: Path) -> str:
    file = data / "postmaster.pid"
    return file.read_text() if file.exists() else ""


def _has_user() -> bool:
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return False
    return True
