"""`safety-proxy init DIR`: a directory of policies of one's own, copied from those that come with the proxy."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

import yaml

from proxy.errors import SettingsError
from proxy.settings import DEMO_POLICIES, SHIPPED, nearest

SCHEMA = Path(__file__).parent.parent / "policy" / "policy.schema.json"
_SCHEMA_LINE = re.compile(r"\A# yaml-language-server: \$schema=.*\n")


class Choice(NamedTuple):
    """A policy that can be copied.

    standard: it is part of what runs without any setting
    asks:     it asks a model, which the model server has to have: so it has to be chosen by name
    """

    name: str
    path: Path
    about: str
    standard: bool
    asks: bool = False

    @property
    def text(self) -> str:
        """Its file, as it is to be written: line 1 tells editors where the schema is."""
        line = f"# yaml-language-server: $schema={SCHEMA}\n"
        return _SCHEMA_LINE.sub(lambda _: line, self.path.read_text("utf-8"))


def choices() -> dict[str, Choice]:
    """By name: those of the default directory first."""
    folders = (SHIPPED, SHIPPED / "more", SHIPPED / "models", DEMO_POLICIES)
    found = (_choice(path) for folder in folders for path in sorted(folder.glob("*.yaml")))
    return {choice.name: choice for choice in found}


def _choice(path: Path) -> Choice:
    about = yaml.safe_load(path.read_text("utf-8")).get("description", "")
    return Choice(path.stem, path, str(about), path.parent == SHIPPED, path.parent.name == "models")


def init(args: argparse.Namespace) -> int:
    """Copy. Raises SettingsError for a name that nobody knows, and for a file that is there and differs."""
    known = choices()
    if args.list:
        sys.stdout.writelines(_line(choice) for choice in known.values())
        return 0
    if args.directory is None:
        raise SettingsError("a directory is needed (safety-proxy init DIR)")
    chosen = _chosen(args.names, args.all, known)
    if not chosen:
        print("nothing chosen, nothing written")
        return 0
    folder = Path(args.directory).expanduser()
    _refuse_others(folder, chosen)
    _write(folder, chosen)
    print(f"start with them: safety-proxy serve --policies {args.directory}")
    return 0


def _chosen(names: Sequence[str], all_: bool, known: dict[str, Choice]) -> list[Choice]:
    if all_:
        return [one for one in known.values() if not one.asks]
    if not names and sys.stdin.isatty() and sys.stdout.isatty():
        return ask(known.values(), sys.stdin, sys.stdout)
    for name in names:
        if name not in known:
            raise SettingsError(
                f"there is no policy {name!r}{nearest(name, known)} (safety-proxy init --list shows all)"
            )
    return [known[name] for name in dict.fromkeys(names)] or [one for one in known.values() if one.standard]


def ask(known: Iterable[Choice], read: TextIO, write: TextIO) -> list[Choice]:
    """Ask for each policy whether it is wanted; an empty answer means what stands in capitals."""
    chosen = []
    for choice in known:
        write.write(f"{choice.name}: {choice.about} [{'Y/n' if choice.standard else 'y/N'}] ")
        write.flush()
        answer = read.readline().strip().lower()
        if answer.startswith("y") or (not answer and choice.standard):
            chosen.append(choice)
    return chosen


def _refuse_others(folder: Path, chosen: Iterable[Choice]) -> None:
    """A file that somebody has changed is never overwritten."""
    for choice in chosen:
        path = folder / choice.path.name
        try:
            changed = path.exists() and path.read_text("utf-8") != choice.text
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path} cannot be read ({error})") from None
        if changed:
            raise SettingsError(f"{path} is there already and differs; move it away, or choose another directory")


def _write(folder: Path, chosen: Iterable[Choice]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for choice in chosen:
            path = folder / choice.path.name
            there = path.exists()
            if not there:
                path.write_text(choice.text, "utf-8")
            print(f"{path}{': there already' if there else ''}")
    except OSError as error:
        raise SettingsError(f"{folder} cannot be written ({error.strerror or error})") from None


def _line(choice: Choice) -> str:
    mark = " (runs by default)" if choice.standard else " (asks a model; not in --all)" if choice.asks else ""
    return f"{choice.name:<14}  {choice.about}{mark}\n"
