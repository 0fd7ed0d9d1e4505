"""The formats of guard models are read here, once, at the start: those of the proxy, and the operator's own."""

from __future__ import annotations

from pathlib import Path

from proxy.checks.guards.format import Format
from proxy.errors import SettingsError
from proxy.policy.document import POLICY_SUFFIXES, Source, lines_of
from proxy.policy.guard_formats import read_formats

SHIPPED = Path(__file__).parent.parent / "guard_formats"


def find_formats(own: Path | None = None) -> dict[str, Format]:
    """All formats by name. `own`: a directory with more of them. Raises SettingsError when one cannot be used."""
    read = read_formats([*_sources(SHIPPED), *(_sources(own) if own is not None else ())])
    if read.problems:
        raise SettingsError("\n".join(lines_of(read.problems)))
    return read.formats


def _sources(folder: Path) -> list[Source]:
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix in POLICY_SUFFIXES and path.name[0] != ".")
        return [Source(str(path), path.read_bytes()) for path in files]
    except OSError as error:
        message = f"{error.filename} cannot be read ({error.strerror}): give a directory of formats, one file for each"
        raise SettingsError(f"the setting guard_formats: {message}") from None
