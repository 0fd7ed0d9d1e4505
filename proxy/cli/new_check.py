"""`safety-proxy new-check NAME`: a package with a check of one's own, which works as it is written."""

from __future__ import annotations

import argparse
import keyword
import re
from pathlib import Path
from string import Template

from proxy.checks.registry import BUILT_IN_ONLY, TAKEN
from proxy.errors import SettingsError

FILES = Path(__file__).with_name("new_check_files")
PLACES = {
    "README.md.txt": "README.md",
    "pyproject.toml.txt": "pyproject.toml",
    "check.py.txt": "src/$module.py",
    "test.py.txt": "tests/test_$name.py",
    "policy.yaml.txt": "policies/$name.yaml",
}
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)


def new_check(args: argparse.Namespace) -> int:
    """Write it. Raises SettingsError for a name that cannot be one, and for a directory that is not empty."""
    name: str = args.name
    taken = {*BUILT_IN_ONLY.entries, *TAKEN}
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise SettingsError(f"{name!r} cannot be a check's name: write small letters, digits and _, at most 40")
    if name in taken:
        raise SettingsError(f"{name!r} is a check or a detector of the proxy; choose another name")
    folder = Path(args.directory or name).expanduser()
    for path, text in _files(name).items():
        _write(folder / path, text)
    print(f"{folder} holds a check that works; its README.md says how to go on")
    return 0


def _files(name: str) -> dict[str, str]:
    """The files of the package, by their places in it."""
    names = {"name": name, "module": f"safety_proxy_{name}", "dashed": name.replace("_", "-")}
    return {
        Template(place).substitute(names): Template((FILES / file).read_text("utf-8")).substitute(names)
        for file, place in PLACES.items()
    }


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise SettingsError(f"{path} is there already; choose another directory") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be written ({error.strerror or error})") from None
    print(path)
