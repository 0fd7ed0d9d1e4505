"""Which files of a directory are policies, and waiting until a save is done."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.errors import PolicyError
from proxy.policy import files
from proxy.policy.document import MAX_BYTES
from proxy.policy.files import read_directory, settled


def names(directory: Path) -> list[str]:
    """The base names of what is read."""
    return [source.base for source in read_directory(directory)]


def test_only_visible_files_with_known_endings_are_read(tmp_path: Path) -> None:
    """Hidden files, editors' copies, other endings and subdirectories are none of ours."""
    for name in (
        "b.yaml",
        "a.yml",
        "c.json",
        "D.YAML",
        "w.txt",
        ".x.yaml",
        "b.yaml~",
        "#b.yaml#",
        "b.yaml.bak",
        "README.md",
    ):
        (tmp_path / name).write_text("x")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "d.yaml").write_text("x")
    assert names(tmp_path) == ["D.YAML", "a.yml", "b.yaml", "c.json", "w.txt"]


def test_kubernetes_symlinks_are_followed(tmp_path: Path) -> None:
    """A ConfigMap's files are links through `..data`; the hidden directories themselves are not read."""
    (tmp_path / "..2024_1").mkdir()
    (tmp_path / "..2024_1" / "a.yaml").write_text("text")
    (tmp_path / "..data").symlink_to("..2024_1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    assert [(s.name, s.data) for s in read_directory(tmp_path)] == [(str(tmp_path / "a.yaml"), b"text")]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A directory that is not there, a dangling link and a thing that is no file are errors; nothing hangs."""
    with pytest.raises(PolicyError, match=r"nowhere: cannot be read \(No such file or directory\)"):
        read_directory(tmp_path / "nowhere")
    (tmp_path / "a.yaml").symlink_to("gone.yaml")
    (tmp_path / "b.yaml").mkdir()
    os.mkfifo(tmp_path / "c.yaml")
    with pytest.raises(PolicyError) as caught:
        read_directory(tmp_path)
    assert [problem.rpartition(": cannot")[2] for problem in caught.value.problems] == [
        " be read (No such file or directory): fix or remove it",
        " be read (not a file): fix or remove it",
        " be read (not a file): fix or remove it",
    ]


def test_of_a_huge_file_no_more_is_read_than_shows_that_it_is_huge(tmp_path: Path) -> None:
    """A sparse file of 1 GiB costs 16 MiB."""
    with (tmp_path / "a.yaml").open("wb") as file:
        file.truncate(1 << 30)
    assert len(read_directory(tmp_path)[0].data) == MAX_BYTES + 1


class Clock:
    """What `settled` takes for the time. `writes` is called at each pause, with its number."""

    def __init__(self, writes: Callable[[int], object] = lambda pause: None) -> None:
        self._writes = writes
        self.pauses = 0
        self.passed = 0.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.passed

    def sleep(self, seconds: float) -> None:
        """Nobody waits."""
        self.pauses += 1
        self.passed += seconds
        self._writes(self.pauses)


def settled_by(monkeypatch: pytest.MonkeyPatch, clock: Clock, directory: Path) -> bytes:
    """What the only file of a directory holds once that has settled."""
    monkeypatch.setattr(files, "time", clock)
    (source,) = settled(directory)
    return source.data


def test_a_file_that_is_still_being_written_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Emptied now, written piece by piece: what is read is the end of it, as soon as nothing more comes."""
    path = tmp_path / "a.yaml"
    path.write_text("")
    clock = Clock(lambda pause: path.write_text("done"[: max(pause - 2, 0)]))
    assert settled_by(monkeypatch, clock, tmp_path) == b"done"
    assert clock.pauses == 7


def test_a_file_that_stays_empty_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience ends, and whoever reads it says what is wrong."""
    (tmp_path / "a.yaml").write_text("")
    clock = Clock()
    assert settled_by(monkeypatch, clock, tmp_path) == b""
    assert clock.passed == pytest.approx(files.PATIENCE, abs=2 * files.PAUSE)


def test_a_file_that_never_rests_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who writes all the time does not keep the rest from being loaded."""
    path = tmp_path / "a.yaml"
    path.write_text("0")
    clock = Clock(lambda pause: path.write_text(str(pause)))
    assert settled_by(monkeypatch, clock, tmp_path) == str(clock.pauses).encode()
    assert clock.passed == pytest.approx(files.PATIENCE, abs=2 * files.PAUSE)


def test_a_directory_that_cannot_be_read_is_told_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could have been in the middle of being replaced; then the error stands."""
    clock = Clock()
    with pytest.raises(PolicyError, match="cannot be read"):
        settled_by(monkeypatch, clock, tmp_path / "nowhere")
    assert clock.passed >= files.PATIENCE
