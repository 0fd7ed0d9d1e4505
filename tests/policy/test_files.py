"""Which files of a directory are policies, and waiting until a save is done."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from proxy.errors import PolicyError
from proxy.policy.files import read_directory, settled
from proxy.policy.source import MAX_BYTES


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


def test_a_file_that_is_still_being_written_is_waited_for(tmp_path: Path) -> None:
    """Emptied now, written a moment later: what is read is the end of it."""
    path = tmp_path / "a.yaml"
    path.write_text("")
    writer = threading.Timer(0.15, path.write_text, ["done"])
    writer.start()
    assert settled(tmp_path)[0].data == b"done"
    writer.join()


def test_a_file_that_stays_empty_is_taken_as_it_is(tmp_path: Path) -> None:
    """Patience ends, and whoever reads it says what is wrong."""
    (tmp_path / "a.yaml").write_text("")
    assert settled(tmp_path)[0].data == b""


def test_a_directory_that_cannot_be_read_is_told_after_a_while(tmp_path: Path) -> None:
    """It could have been in the middle of being replaced; then the error stands."""
    with pytest.raises(PolicyError, match="cannot be read"):
        settled(tmp_path / "nowhere")
