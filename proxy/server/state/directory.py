"""The directory `state_dir`: it is made and looked at once, at the start; then files are read and replaced in it."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import orjson

from proxy.errors import SettingsError

OTHERS = stat.S_IRWXG | stat.S_IRWXO
MAX_BYTES = 1024 * 1024  # bytes of one file


class StateDirectory:
    """A directory of JSON files. A file is replaced as a whole, so a crash leaves the old one or the new one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def open(cls, path: Path) -> Self:
        """Make the directory if it is not there, for its owner alone. Raises SettingsError if it cannot be used."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=0o700, exist_ok=True)
            _refuse_readable_by_others(path)
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError as error:
            fix = "give a directory that the proxy can write"
            raise SettingsError(f"state_dir {path} cannot be written ({error.strerror or error}): {fix}") from None
        return cls(path)

    def read(self, name: str) -> dict[str, Any] | None:
        """The object in a file; None: there is no such file. Raises SettingsError for a file that cannot be read."""
        path = self.path / name
        try:
            with path.open("rb") as file:
                found = orjson.loads(file.read(MAX_BYTES))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SettingsError(f"{path} cannot be read ({error.strerror or error}): fix or remove it") from None
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise SettingsError(f"{path} is not what the proxy has written: remove it")
        return found

    def write(self, name: str, value: dict[str, Any]) -> None:
        """Replace a file. Raises OSError; then the old one stays."""
        descriptor, temporary = tempfile.mkstemp(dir=self.path, prefix=f".{name}.")  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(orjson.dumps(value))
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self.path / name)
        except BaseException:
            with suppress(OSError):
                Path(temporary).unlink()
            raise

    def remove(self, name: str) -> None:
        """Remove a file, if it is there. Raises OSError."""
        (self.path / name).unlink(missing_ok=True)


def _refuse_readable_by_others(path: Path) -> None:
    """Raise SettingsError for a directory that others can read. Windows has no such bits."""
    found = path.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise SettingsError(f"state_dir {path} is not a directory: give another path")
    if os.name == "posix" and found.st_mode & OTHERS:
        raise SettingsError(f"state_dir {path} can be read by others than its owner: chmod 700 {path}")
