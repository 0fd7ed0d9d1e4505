"""The data base: steps, a broken file, and what is taken out of it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, text

from proxy.errors import SettingsError
from proxy.store.database import FILE_NAME, Limits, open_database, url_of
from proxy.store.queries import Filter, page
from proxy.store.rows import BadRecord, row_of
from proxy.store.schema import STEPS, VERSIONS, Step, migrate
from proxy.store.upkeep import bring_in, export, forget, prune, used
from tests.store.samples import MIB, START, finding, opened, record

DAY = 24 * 3600


def test_a_new_data_base_has_all_steps(tmp_path: Path) -> None:
    """It begins with the newest tables, and opening it again changes nothing."""
    for _ in range(2):
        with closing(opened(tmp_path)) as database, database.read() as connection:
            assert list(connection.scalars(select(VERSIONS.c.number))) == [step.number for step in STEPS]


def test_an_older_data_base_gets_the_steps_that_it_lacks(tmp_path: Path) -> None:
    """Each once, in order, and its records stay."""
    made: list[int] = []

    def add_column(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE exchanges ADD COLUMN note VARCHAR"))
        made.append(2)

    steps = (*STEPS, Step(2, add_column))
    with closing(opened(tmp_path)) as database:
        database.add([row_of(record())])
        for _ in range(2):
            with database.write() as connection:
                migrate(connection, steps)
        with database.read() as connection:
            assert connection.scalar(text("SELECT count(note IS NULL) FROM exchanges")) == 1
    assert made == [2]


def test_a_data_base_of_a_newer_proxy_is_refused(tmp_path: Path) -> None:
    """It may have what this one would destroy."""
    with closing(opened(tmp_path)) as database, database.write() as connection:
        connection.execute(VERSIONS.insert().values(number=99))
    with pytest.raises(SettingsError, match="a newer version of the proxy has made it"):
        opened(tmp_path)


@pytest.mark.parametrize("damage", ["not a data base at all " * 500, None])
def test_a_broken_file_is_put_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str | None) -> None:
    """The log names it, and a new one begins: a proxy serves on."""
    file = tmp_path / FILE_NAME
    with closing(opened(tmp_path)) as database:
        database.add([row_of(record(number, model=f"m{number}")) for number in range(500)])
    found = file.read_bytes()
    half = len(found) // 2
    file.write_bytes(damage.encode() if damage else found[:half] + b"\xa5" * 8192 + found[half + 8192 :])
    with caplog.at_level(logging.ERROR), closing(opened(tmp_path)) as database, database.read() as connection:
        assert page(connection, Filter()) == []
    (aside,) = [path for path in tmp_path.iterdir() if ".broken-" in path.name]
    assert aside.name in caplog.text


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such bits")
def test_only_the_owner_reads_the_file(tmp_path: Path) -> None:
    """Whatever the umask is."""
    before = os.umask(0)
    try:
        with closing(opened(tmp_path)) as database:
            database.add([row_of(record())])
            assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}
    finally:
        os.umask(before)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With the reason and the fix."""
    with pytest.raises(SettingsError, match=r"cannot be written .*: give a directory"):
        opened(tmp_path / "nowhere")
    with pytest.raises(SettingsError, match="set state_dir"):
        url_of("sqlite", None)


def test_what_is_too_old_is_deleted(tmp_path: Path) -> None:
    """To the millisecond, with its findings."""
    with closing(opened(tmp_path)) as database:
        database.add([row_of(record(number * DAY, findings=[finding()])) for number in range(4)])
        now = round((START + 3 * DAY) * 1000)
        assert prune(database, Limits(2, 64 * MIB), now) == 1
        assert [json.loads(line)["id"] for line in export(database)] == [f"id-{n * DAY}" for n in (1, 2, 3)]
        with database.read() as connection:
            assert connection.scalar(text("SELECT count(*) FROM findings")) == 3


def test_what_is_too_much_is_deleted_oldest_first(tmp_path: Path) -> None:
    """The newest stay, and the file keeps its size."""
    with closing(opened(tmp_path)) as database:
        rows = [row_of(record(number, padding="x" * 5000)) for number in range(1000)]
        database.add(rows)
        gone = prune(database, Limits(30, 2 * MIB), round(START * 1000))
        assert 0 < gone < 1000
        assert used(database) <= 2 * MIB
        with database.read() as connection:
            assert page(connection, Filter(), size=1)[0].id == "id-999"
    assert (tmp_path / FILE_NAME).stat().st_size < 4 * MIB


@pytest.mark.parametrize("what", [{"key": "ann"}, {"request": "id-1"}, {"trace": "t1"}])
def test_what_is_forgotten_is_not_in_the_file(tmp_path: Path, what: dict[str, str]) -> None:
    """Neither as a record nor in a page that is free; the others stay."""
    with closing(opened(tmp_path)) as database:
        database.add([row_of(record(1, key="ann", trace_id="t1", texts="zorbla" + "xium")), row_of(record(2))])
        assert forget(database, **what) == 1
        assert [json.loads(line)["id"] for line in export(database)] == ["id-2"]
        assert forget(database, **what) == 0
        assert not any(b"zorblaxium" in path.read_bytes() for path in tmp_path.iterdir())


def test_an_export_can_be_imported(tmp_path: Path) -> None:
    """Record for record, and a second time nothing is new."""
    (tmp_path / "other").mkdir()
    with closing(opened(tmp_path)) as database, closing(opened(tmp_path / "other")) as other:
        database.add([row_of(record(number, findings=[finding()], model="\ud800\0x")) for number in range(450)])
        lines = list(export(database))
        rows = [row_of(json.loads(line)) for line in lines]
        assert bring_in(other, rows) == (450, 0)
        assert bring_in(other, rows) == (0, 450)
        assert list(export(other)) == lines


@pytest.mark.parametrize("bad", [{}, [], "x", 7, {"id": "x", "time": "yesterday"}, record(findings=[{"policy": 1}])])
def test_what_is_no_record_is_refused(bad: object) -> None:
    """With the reason."""
    with pytest.raises(BadRecord, match="not a record of the decision log"):
        row_of(bad)


KILLED = """
import os, sys
from pathlib import Path
from proxy.store.rows import row_of
from tests.store.samples import opened, record
database = opened(Path(sys.argv[1]))
for number in range(100_000):
    database.add([row_of(record(number, padding="x" * 3000))])
    os.write(1, f"{number}\\n".encode())
"""


def test_a_killed_process_loses_nothing_that_was_stored(tmp_path: Path) -> None:
    """Whatever it was doing: what it has said is stored is there, and the file is whole."""
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    said = [int(process.stdout.readline()) for _ in range(200)]
    process.kill()
    said += [int(line) for line in process.stdout.read().splitlines()]
    process.stdout.close()
    process.wait()
    with closing(opened(tmp_path)) as database:
        stored = [json.loads(line)["id"] for line in export(database)]
    assert stored[: len(said)] == [f"id-{number}" for number in said]
    assert not [path for path in tmp_path.iterdir() if ".broken-" in path.name]


def test_another_data_base_can_be_named(tmp_path: Path) -> None:
    """A file by its URL; a server gets the driver that the extra brings."""
    with closing(open_database(f"sqlite:///{tmp_path}/mine.db", None, MIB)) as database:
        database.add([row_of(record())])
    assert (tmp_path / "mine.db").exists()
    assert url_of("postgresql://h/d", None).drivername == "postgresql+psycopg"
