"""The directory of what survives a restart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxy.errors import SettingsError
from proxy.server.state.directory import StateDirectory


def mode(path: Path) -> int:
    """The permissions of a file or directory."""
    return path.stat().st_mode & 0o777


def test_it_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """A directory that is not there is made with mode 0700, and its files have mode 0600."""
    state = StateDirectory.open(tmp_path / "a" / "state")
    state.write("x.json", {"a": 1})
    assert mode(state.path) == 0o700
    assert mode(state.path / "x.json") == 0o600


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Also by the next process; and a file that is removed is none."""
    StateDirectory.open(tmp_path / "state").write("x.json", {"a": ["ü", 1]})
    state = StateDirectory.open(tmp_path / "state")
    assert state.read("x.json") == {"a": ["ü", 1]}
    state.remove("x.json")
    state.remove("x.json")
    assert state.read("x.json") is None
    assert list(state.path.iterdir()) == []


@pytest.mark.parametrize("bits", [0o750, 0o705, 0o777])
def test_a_directory_that_others_can_read_is_refused(tmp_path: Path, bits: int) -> None:
    """The message says how to close it."""
    tmp_path.chmod(bits)
    with pytest.raises(SettingsError, match=rf"can be read by others than its owner: chmod 700 {tmp_path}"):
        StateDirectory.open(tmp_path)


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    """It is told at the start."""
    (tmp_path / "x").write_text("")
    with pytest.raises(SettingsError, match=r"state_dir .*x cannot be written \(File exists\)"):
        StateDirectory.open(tmp_path / "x")


def test_a_directory_that_cannot_be_written_is_told_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only file system, or another owner: one sentence with the reason and the fix."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    tmp_path.chmod(0o700)
    with pytest.raises(SettingsError, match=r"cannot be written \(Permission denied\): give a directory"):
        StateDirectory.open(tmp_path)


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"a": ', b"\xff"])
def test_a_file_that_is_no_object_is_told(tmp_path: Path, content: bytes) -> None:
    """Nobody guesses what it may have said."""
    state = StateDirectory.open(tmp_path / "state")
    (state.path / "x.json").write_bytes(content)
    with pytest.raises(SettingsError, match="is not what the proxy has written: remove it"):
        state.read("x.json")


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk loses nothing that was there, and leaves no half of a file."""
    state = StateDirectory.open(tmp_path / "state")
    state.write("x.json", {"a": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        state.write("x.json", {"a": 2})
    assert state.read("x.json") == {"a": 1}
    assert [path.name for path in state.path.iterdir()] == ["x.json"]
