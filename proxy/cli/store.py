"""`safety-proxy store export|import|prune|forget`: the stored records of exchanges, also while a proxy runs."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TextIO

from sqlalchemy.exc import SQLAlchemyError

from proxy.cli.config import effective_settings
from proxy.errors import SettingsError
from proxy.store.database import OWNER_ONLY, Database, Limits, open_database
from proxy.store.rows import BadRecord, Row, row_of
from proxy.store.upkeep import bring_in, export, forget, prune


def store(args: argparse.Namespace) -> int:
    """Do it. Raises SettingsError if there is no store, or it cannot be used."""
    settings = effective_settings(args).settings
    if settings.store == "off":
        raise SettingsError("store is off, so there are no records (setting store)")
    limits = Limits(settings.store_days, settings.store_bytes)
    try:
        with closing(open_database(settings.store, settings.state_dir, limits.size)) as database:
            _ACTIONS[args.action](database, limits, args)
    except SQLAlchemyError as error:
        raise SettingsError(f"store: {getattr(error, 'orig', None) or error}") from None
    return 0


def _export(database: Database, _: Limits, args: argparse.Namespace) -> None:
    """Raises SettingsError for a file that is there already, or cannot be written."""
    if args.file == "-":
        for line in export(database):
            print(line)
        return
    try:
        descriptor = os.open(args.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in export(database))
    except OSError as error:
        raise SettingsError(f"{args.file} cannot be written ({error.strerror or error}): name a new file") from None


def _import(database: Database, _: Limits, args: argparse.Namespace) -> None:
    new, known = bring_in(database, (row for name in args.files for row in _rows(name)))
    print(f"{new} stored, {known} were there already")


def _prune(database: Database, limits: Limits, _: argparse.Namespace) -> None:
    print(f"{prune(database, limits, round(time.time() * 1000))} deleted")


def _forget(database: Database, _: Limits, args: argparse.Namespace) -> None:
    if not (args.key or args.request or args.trace):
        raise SettingsError("forget needs what to forget: --key NAME, --request ID or --trace ID")
    print(f"{forget(database, key=args.key, request=args.request, trace=args.trace)} deleted")


def _rows(name: str) -> Iterator[Row]:
    """The records of a file. Raises SettingsError with the line."""
    if name == "-":
        yield from _rows_of(sys.stdin, "standard input")
        return
    try:
        with Path(name).open(encoding="utf-8") as lines:
            yield from _rows_of(lines, name)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise SettingsError(f"{name} cannot be read ({reason})") from None


def _rows_of(lines: TextIO, name: str) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        try:
            yield row_of(json.loads(line))
        except (ValueError, BadRecord) as error:
            raise SettingsError(f"{name}:{number}: {error}; what came before is stored") from None


_ACTIONS: dict[str, Callable[[Database, Limits, argparse.Namespace], None]] = {
    "export": _export,
    "import": _import,
    "prune": _prune,
    "forget": _forget,
}
