"""Make a virtual environment, install a lock file and this project into it, and say each step.

    python3 tools/install.py .venv requirements/run.lock

A line for each package, with its size, before it is fetched: whoever waits sees for what, and a log stays readable.
When pip fails, all that it said is shown.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

VENV_PARTS = ("venv", "ensurepip")  # Debian and Ubuntu have the second in a package of its own
NO_VENV = """{python} has no {missing}, which makes virtual environments. On Debian and Ubuntu:
    apt-get install python3-venv
or take another Python: make ... PYTHON=python3.12"""
FETCHED = re.compile(r"\s*(?:Downloading|Using cached) (\S+\.(?:whl|tar\.gz|zip)) \(([^)]+)\)")
UNPACKED = re.compile(r"Installing collected packages: (.*)")
PIP = ("-u", "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar", "off")


class InstallError(Exception):
    """What went wrong, and what helps."""


def missing_parts(names: Iterable[str] = VENV_PARTS) -> list[str]:
    """Which of the modules that make virtual environments are not there."""
    return [name for name in names if importlib.util.find_spec(name) is None]


def steps(lines: Iterable[str]) -> Iterator[str]:
    """What pip's lines say to somebody who waits."""
    for line in lines:
        if fetched := FETCHED.match(line):
            name, version = fetched[1].rsplit("/", 1)[-1].split("-")[:2]
            yield f"  {name} {re.sub(r'[.](tar[.]gz|zip)$', '', version)} ({fetched[2]})"
        elif (unpacked := UNPACKED.match(line)) and (others := unpacked[1].count(",")):
            yield f"  unpacking {others + 1} packages ..."


def pip(python: Path, *arguments: str) -> None:
    """Run pip and tell its steps. InstallError with all of its words if it fails."""
    said: list[str] = []

    def lines(process: subprocess.Popen[str]) -> Iterator[str]:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            yield line

    command = [str(python), *PIP, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for step in steps(lines(process)):
            print(step, flush=True)
    if process.returncode != 0:
        raise InstallError(f"pip could not install it:\n{''.join(said)}")


def install(folder: Path, lock: Path) -> None:
    """All of it. Raises InstallError."""
    if missing := missing_parts():
        raise InstallError(NO_VENV.format(python=sys.executable, missing=missing[0]))
    print(f"making {folder} with Python {sys.version.split()[0]}, once", flush=True)
    made = subprocess.run([sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise InstallError(f"{folder} could not be made:\n{made.stdout}{made.stderr}")
    python = folder / "bin" / "python"
    print(f"installing what {lock} names", flush=True)
    pip(python, "--require-hashes", "-r", str(lock))
    print("installing safety-proxy itself", flush=True)
    pip(python, "--no-deps", "--no-build-isolation", "-e", ".")


def main() -> None:
    """Install, or end with a sentence."""
    folder, lock = map(Path, sys.argv[1:])
    try:
        install(folder, lock)
    except InstallError as error:
        sys.exit(f"install: {error}")


if __name__ == "__main__":
    main()
