"""The decision log as a file: rotated by size and age, read by its owner only, and never in the way."""

from __future__ import annotations

import json
import logging
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import SettingsError
from proxy.server.exchange.record import Exchange
from proxy.server.ops.drops import Drops
from proxy.server.ops.record_file import RecordFile

EXCHANGE = Exchange("/v1/chat/completions")


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        """Seconds since 1970."""
        return self.now


def sink(path: Path, **more: Any) -> RecordFile:
    """A file without bounds that matter."""
    return RecordFile(path, more.pop("drops", Drops()), **{"size": 1 << 30, "age": 1e9, "keep": 3, **more})


def records(path: Path) -> list[Any]:
    """What is in a file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_record_a_line(tmp_path: Path) -> None:
    """In UTF-8, appended to what is there, and the file is its owner's alone."""
    path = tmp_path / "decisions.jsonl"
    for number in range(2):
        file = sink(path)
        file.write({"n": number, "text": "zwei\nZeilen \u00fc \ud800"}, EXCHANGE)
        file.close()
    assert [one["n"] for one in records(path)] == [0, 1]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_half_a_line_of_a_program_that_was_killed_spoils_no_record(tmp_path: Path) -> None:
    """The next record begins on a line of its own."""
    path = tmp_path / "decisions.jsonl"
    path.write_text('{"n": 0}\n{"half', "utf-8")
    file = sink(path)
    file.write({"n": 1}, EXCHANGE)
    file.close()
    assert path.read_text("utf-8") == '{"n": 0}\n{"half\n{"n":1}\n'


def test_a_file_that_is_too_large_is_put_aside(tmp_path: Path) -> None:
    """No record is cut or lost at the turn, and so many old files are kept."""
    path = tmp_path / "decisions.jsonl"
    file = sink(path, size=300, keep=2)
    for number in range(40):
        file.write({"n": number, "fill": "x" * 50}, EXCHANGE)
    file.close()
    files = sorted(tmp_path.iterdir())
    assert [one.name for one in files] == ["decisions.jsonl", "decisions.jsonl.1", "decisions.jsonl.2"]
    assert all(one.stat().st_size <= 300 for one in files)
    kept = [one["n"] for name in reversed(files) for one in records(name)]
    assert kept == list(range(40 - len(kept), 40))


def test_a_file_that_is_too_old_is_put_aside(tmp_path: Path) -> None:
    """Its age is that of its first record, also after a restart."""
    path, clock = tmp_path / "decisions.jsonl", Clock()
    file = sink(path, age=3600, clock=clock)
    file.write({"time": "1970-01-12T13:46:40.000Z"}, EXCHANGE)
    file.close()
    clock.now += 3599
    file = sink(path, age=3600, clock=clock)
    file.write({"n": 2}, EXCHANGE)
    assert len(records(path)) == 2
    clock.now += 1
    file.write({"n": 3}, EXCHANGE)
    file.close()
    assert records(path) == [{"n": 3}]
    assert len(records(tmp_path / "decisions.jsonl.1")) == 2


def test_a_file_that_cannot_be_put_aside_is_written_on(tmp_path: Path) -> None:
    """Something stands in the place of the old file: no record is lost for that."""
    path, drops = tmp_path / "decisions.jsonl", Drops()
    blocked = tmp_path / "decisions.jsonl.1"
    blocked.mkdir()
    (blocked / "file").touch()
    file = sink(path, drops=drops, size=100, keep=1)
    for number in range(5):
        file.write({"n": number, "fill": "x" * 80}, EXCHANGE)
    file.close()
    assert [one["n"] for one in records(path)] == list(range(5))
    assert drops.take() == {}


def test_a_file_that_cannot_be_opened_ends_the_start(tmp_path: Path) -> None:
    """With the setting's name, the reason and the fix."""
    place = r"decision_log: .*none.decisions\.jsonl cannot be written \(No such file or directory\): name a file"
    with pytest.raises(SettingsError, match=place):
        sink(tmp_path / "none" / "decisions.jsonl")


def test_a_full_disk_loses_records_and_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each lost record is counted; the log tells of the first, and that it goes on again."""
    drops, path = Drops(), tmp_path / "decisions.jsonl"
    file = sink(path, drops=drops)
    stream = file._handler.stream
    caplog.set_level(logging.WARNING)
    file._handler.stream = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115 - it is closed below
    for _ in range(3):
        file.write({"n": 1}, EXCHANGE)
    assert drops.take() == {"file": 3}
    broken, file._handler.stream = file._handler.stream, stream
    with pytest.raises(OSError, match="No space"):
        broken.close()
    file.write({"n": 2}, EXCHANGE)
    file.close()
    assert records(path) == [{"n": 2}]
    assert [record.message.partition(": ")[2].split(" ", 1)[1] for record in caplog.records] == [
        "cannot be written, and records are lost",
        "can be written again",
    ]


def test_a_file_that_is_too_old_on_a_full_disk_is_written_on(tmp_path: Path) -> None:
    """Closing a file fails on a full disk, and closes it: the records that come once there is room are written."""
    path, clock, drops = tmp_path / "decisions.jsonl", Clock(), Drops()
    file = sink(path, drops=drops, age=3600, clock=clock)
    file.write({"n": 1}, EXCHANGE)
    assert file._handler.stream is not None
    file._handler.stream.close()
    file._handler.stream = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115 - the rotation closes it
    file.write({"n": 2}, EXCHANGE)
    clock.now += 3600
    file.write({"n": 3}, EXCHANGE)
    file.close()
    assert drops.take() == {"file": 1}
    assert records(path) == [{"n": 1}, {"n": 3}]


@pytest.mark.parametrize("moved", [True, False])
def test_a_file_that_somebody_moves_or_deletes_begins_anew(tmp_path: Path, moved: bool) -> None:
    """The next record is in a file of the name that was set, also where the age was over."""
    path, clock, drops = tmp_path / "decisions.jsonl", Clock(), Drops()
    file = sink(path, drops=drops, age=3600, clock=clock)
    file.write({"n": 1}, EXCHANGE)
    clock.now += 3600
    if moved:
        path.rename(tmp_path / "elsewhere")
    else:
        path.unlink()
    file.write({"n": 2}, EXCHANGE)
    file.close()
    assert records(path) == [{"n": 2}]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert drops.take() == {}
    assert not (tmp_path / "decisions.jsonl.1").exists()


def test_a_folder_that_is_gone_loses_records_until_it_is_back(tmp_path: Path) -> None:
    """Each is counted."""
    folder, drops = tmp_path / "log", Drops()
    folder.mkdir()
    file = sink(folder / "decisions.jsonl", drops=drops)
    (folder / "decisions.jsonl").unlink()
    folder.rmdir()
    for number in range(2):
        file.write({"n": number}, EXCHANGE)
    folder.mkdir()
    file.write({"n": 2}, EXCHANGE)
    file.close()
    assert drops.take() == {"file": 2}
    assert records(folder / "decisions.jsonl") == [{"n": 2}]


def test_the_end_on_a_full_disk_is_no_failure() -> None:
    """What could not be written is counted once, and the program ends as ever."""
    drops = Drops()
    file = sink(Path("/dev/full"), drops=drops)
    file.write({"n": 1}, EXCHANGE)
    file.close()
    assert drops.take() == {"file": 1}


def test_a_pipe_takes_records_too(tmp_path: Path) -> None:
    """As /dev/stdout in a container may be one: it is never put aside."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    file = sink(path, size=1, age=0)
    for number in range(2):
        file.write({"n": number}, EXCHANGE)
    file.close()
    assert os.read(reader, 100) == b'{"n":0}\n{"n":1}\n'
    os.close(reader)
    assert list(tmp_path.iterdir()) == [path]
