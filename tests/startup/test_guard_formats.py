"""Formats of guards are found at the start, and one that cannot be used stops it with a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.errors import SettingsError
from proxy.settings import Settings
from proxy.startup.guard_formats import SHIPPED, find_formats
from proxy.startup.plugins import find_registry
from tests.checks.guards.formats import FORMATS


def own(folder: Path, name: str = "my-guard", text: str | None = None) -> Path:
    """A directory with one format, made of a shipped one."""
    written = (SHIPPED / "rubric.yaml").read_text("utf-8").replace("format: rubric", f"format: {name}")
    (folder / f"{name}.yaml").write_text(written if text is None else text, "utf-8")
    return folder


def test_shipped_formats_are_there() -> None:
    """All of them, without any setting."""
    assert find_formats().keys() == FORMATS.keys()
    assert find_registry(Settings()).formats.keys() == FORMATS.keys()


def test_formats_of_ones_own(tmp_path: Path) -> None:
    """The setting names a directory, whose formats stand beside the shipped ones."""
    formats = find_registry(Settings(guard_formats=own(tmp_path))).formats
    assert formats.keys() == {*FORMATS, "my-guard"}


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    """An own format cannot replace a shipped one."""
    with pytest.raises(SettingsError, match="there is a second format `rubric`"):
        find_formats(own(tmp_path, "rubric"))


def test_a_file_that_cannot_be_parsed(tmp_path: Path) -> None:
    """It is named with line and column."""
    folder = own(tmp_path, text="format: [")
    with pytest.raises(SettingsError, match=r"my-guard\.yaml:\d+:\d+: not YAML"):
        find_formats(folder)


def test_no_directory(tmp_path: Path) -> None:
    """A directory that is not there stops the start."""
    with pytest.raises(SettingsError, match=r"the setting guard_formats: .*missing cannot be read \(No such file"):
        find_formats(tmp_path / "missing")
