"""`safety-proxy store`: records out and in, and what is forgotten."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from proxy.cli import main
from proxy.store.rows import row_of
from tests.store.samples import opened, record


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state directory with three records, of which Ann's key made one. They are of a time long ago."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with closing(opened(state)) as database:
        database.add(
            [row_of(record(1, key="ann")), row_of(record(2)), row_of(record(3, time="2020-01-01T00:00:00.000Z"))]
        )
    return state


def exported(folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The ids of all records."""
    assert main(["store", "export", "--state-dir", str(folder)]) == 0
    return [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()]


def test_an_export_is_a_decision_log(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The oldest first; another store takes it in, and says what it has had already."""
    assert exported(folder, capsys) == ["id-3", "id-1", "id-2"]
    file = tmp_path / "out.jsonl"
    assert main(["store", "export", "--state-dir", str(folder), str(file)]) == 0
    other = f"sqlite:///{tmp_path}/other.db"
    assert main(["store", "import", "--store", other, str(file)]) == 0
    assert main(["store", "import", "--store", other, str(file)]) == 0
    assert capsys.readouterr().out == "3 stored, 0 were there already\n0 stored, 3 were there already\n"


def test_a_key_is_forgotten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And a request; the rest stays."""
    assert main(["store", "forget", "--state-dir", str(folder), "--key", "ann"]) == 0
    assert main(["store", "forget", "--state-dir", str(folder), "--request", "id-2"]) == 0
    assert capsys.readouterr().out == "1 deleted\n1 deleted\n"
    assert exported(folder, capsys) == ["id-3"]


def test_prune_deletes_what_is_too_old(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the setting store_days."""
    assert main(["store", "prune", "--state-dir", str(folder), "--store-days", "9999"]) == 0
    assert capsys.readouterr().out == "0 deleted\n"
    assert main(["store", "prune", "--state-dir", str(folder), "--store-days", "1000"]) == 0
    assert capsys.readouterr().out == "1 deleted\n"


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["forget"], "forget needs what to forget: --key NAME, --request ID or --trace ID"),
        (["export", "--store", "off"], "store is off, so there are no records (setting store)"),
        (["export", "--store", "mysql://x"], "takes off, sqlite, or a URL"),
        (["prune", "--store-bytes", "1KiB"], "takes at least 8MiB"),
        (["import", "/nowhere/x.jsonl"], "/nowhere/x.jsonl cannot be read"),
        (["export", "/nowhere/x.jsonl"], "/nowhere/x.jsonl cannot be written"),
        (["burn"], "invalid choice"),
    ],
)
def test_a_mistake_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], flags: list[str], problem: str
) -> None:
    """With what is taken."""
    assert main(["store", flags[0], "--state-dir", str(folder), *flags[1:]]) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1


def test_a_line_that_is_no_record_is_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By file and number."""
    file = tmp_path / "bad.jsonl"
    file.write_text(json.dumps(record(9)) + "\n{}\n")
    assert main(["store", "import", "--state-dir", str(folder), str(file)]) == 2
    assert f"{file}:2: not a record of the decision log" in capsys.readouterr().err


def test_without_a_directory_there_is_no_store(capsys: pytest.CaptureFixture[str]) -> None:
    """The fix is named."""
    assert main(["store", "export"]) == 2
    assert "set state_dir" in capsys.readouterr().err
