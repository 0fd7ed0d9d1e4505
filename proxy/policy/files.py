"""A directory of policies, read as one whole."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from proxy.errors import PolicyError
from proxy.policy.document import MAX_BYTES, POLICY_SUFFIXES, WORDS_SUFFIX, Source

MODELS_FILE = "models.yaml"
"""A file in a directory of policies that is none: see `proxy.policy.models_file`."""
Look = TypeVar("Look")
SUFFIXES = (*POLICY_SUFFIXES, WORDS_SUFFIX)
PAUSE = 0.05  # seconds between two reads
PATIENCE = 0.6  # seconds until a directory that keeps changing is read as it is


def read_directory(directory: Path) -> tuple[Source, ...]:
    """Every *.yaml, *.yml, *.json and *.txt in the directory itself, by name, but for models.yaml and hidden files.

    Raises PolicyError when the directory or one of the files cannot be read.
    """
    try:
        paths = sorted(path for path in directory.iterdir() if _is_ours(path.name))
    except OSError as error:
        raise PolicyError([f"{directory}: cannot be read ({error.strerror}): give a directory of policies"]) from None
    sources, problems = [], []
    for path in paths:
        try:
            sources.append(Source(str(path), _content(path)))
        except OSError as error:
            problems.append(f"{path}: cannot be read ({error.strerror or error}): fix or remove it")
    if problems:
        raise PolicyError(problems)
    return tuple(sources)


def settled(directory: Path) -> tuple[Source, ...]:
    """The directory once two reads in a row give the same, so that a half-finished save is not loaded.

    Blocks for PAUSE at least, PATIENCE at most. Raises PolicyError as `read_directory`.
    """
    now = at_rest(lambda: _look(directory), _is_whole)
    if isinstance(now, PolicyError):
        raise now
    return now


def _is_whole(look: tuple[Source, ...] | PolicyError) -> bool:
    """Whether there is something in each file."""
    return not isinstance(look, PolicyError) and all(source.data for source in look)


def _look(directory: Path) -> tuple[Source, ...] | PolicyError:
    try:
        return read_directory(directory)
    except PolicyError as error:
        return error


def _is_ours(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".") and name != MODELS_FILE


def settled_file(path: Path) -> Source | None:
    """One file, once two reads in a row give the same; None where there is none. Raises PolicyError.

    Blocks as long as `settled`.
    """
    return at_rest(lambda: read_file(path), lambda now: now is None or bool(now.data))


def at_rest(look: Callable[[], Look], is_whole: Callable[[Look], bool]) -> Look:
    """What two looks in a row give, if it is whole: so a half-finished save is not loaded. What still changes after
    PATIENCE is taken as it is. Blocks for PAUSE at least."""
    until = time.monotonic() + PATIENCE
    before = look()
    while True:
        time.sleep(PAUSE)
        now = look()
        if (now == before and is_whole(now)) or time.monotonic() > until:
            return now
        before = now


def read_file(path: Path) -> Source | None:
    """One file as it is now; None where there is none. Raises PolicyError when it cannot be read."""
    try:
        return Source(str(path), _content(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PolicyError([f"{path}: cannot be read ({error.strerror or error}): fix or remove it"]) from None


def _content(path: Path) -> bytes:
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("not a file")
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)
