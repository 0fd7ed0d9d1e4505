"""What makes a running proxy follow its files. Each trigger on real files."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.policy import files
from proxy.policy.store import PolicyStore
from proxy.server.ops.policy_watcher import DEBOUNCE, QUIET, PolicyWatcher
from tests.policy.stores import Loads, ids, policy, rename_over
from tests.waiting import PATIENCE, a_moment, until

pytestmark = pytest.mark.anyio
NEVER = 3600.0  # seconds between two polls


@asynccontextmanager
async def following(
    directory: Path, poll: float = NEVER, watch: bool = True
) -> AsyncIterator[tuple[PolicyStore, Loads, PolicyWatcher]]:
    """A store that has loaded the directory, and a watcher at work."""
    store = PolicyStore(directory, hash_key=b"key")
    await store.load()
    loads = Loads(store)
    watcher = PolicyWatcher([store], poll=poll, watch=watch)
    work = asyncio.create_task(watcher.run())
    try:
        yield store, loads, watcher
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def test_a_file_renamed_over_the_old_one(tmp_path: Path) -> None:
    """As editors and config managers save: the watch sees it."""
    rename_over(tmp_path / "a.yaml", policy("bomb"))
    async with following(tmp_path) as (store, loads, _):
        rename_over(tmp_path / "a.yaml", policy("tnt"))
        await loads.until(lambda: ids(store) == ["tnt"])


def test_what_is_waited_for_before_a_load_leaves_most_of_a_second() -> None:
    """An edit takes effect within a second: changes are gathered, and the directory is looked at until it rests."""
    assert (DEBOUNCE + QUIET) / 1000 + files.PAUSE < 0.3


async def test_a_file_emptied_and_then_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The moment in between neither unloads the policy nor counts as a failure."""
    monkeypatch.setattr(files, "PATIENCE", PATIENCE)
    looks = 0
    look = files._look

    def counted(directory: Path) -> object:
        nonlocal looks
        looks += 1
        return look(directory)

    monkeypatch.setattr(files, "_look", counted)
    path = tmp_path / "a.yaml"
    path.write_text(policy("bomb"))
    async with following(tmp_path) as (store, loads, _):
        with path.open("w") as file:
            looks = 0
            await until(lambda: looks > 2)
            assert ids(store) == ["bomb"]
            file.write(policy("tnt"))
        await loads.until(lambda: ids(store) == ["tnt"])
        assert store.status.failures == 0


async def test_a_file_that_stays_empty_for_long(tmp_path: Path) -> None:
    """The old policy stays, with an error; what is written at last takes effect."""
    path = tmp_path / "a.yaml"
    path.write_text(policy("bomb"))
    async with following(tmp_path) as (store, loads, _):
        path.write_text("")
        await loads.until(lambda: "the file is empty" in store.status.error)
        assert ids(store) == ["bomb"]
        path.write_text(policy("tnt"))
        await loads.until(lambda: ids(store) == ["tnt"])
        assert store.status.error == ""


def swap_data(directory: Path, version: str, *words: str) -> None:
    """Publish a version as Kubernetes does: a new hidden directory, then `..data` is renamed to point at it."""
    (directory / f"..{version}").mkdir()
    (directory / f"..{version}" / "a.yaml").write_text(policy(*words))
    (directory / "..data_tmp").symlink_to(f"..{version}")
    (directory / "..data_tmp").rename(directory / "..data")


async def test_a_mounted_configmap_that_changes_twice_in_a_row(tmp_path: Path) -> None:
    """The files' own links never change; the second version is the one that counts, and a third one is seen too."""
    swap_data(tmp_path, "v1", "bomb")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    async with following(tmp_path) as (store, loads, _):
        swap_data(tmp_path, "v2", "tnt")
        swap_data(tmp_path, "v3", "dynamite")
        await loads.until(lambda: ids(store) == ["dynamite"])
        swap_data(tmp_path, "v4", "fuse")
        await loads.until(lambda: ids(store) == ["fuse"])
        assert store.status.failures == 0


async def test_a_file_added_and_a_file_removed(tmp_path: Path) -> None:
    """The set is what lies in the directory."""
    (tmp_path / "a.yaml").write_text(policy("bomb"))
    async with following(tmp_path) as (store, loads, _):
        (tmp_path / "b.yaml").write_text(policy("tnt", name="more"))
        await loads.until(lambda: ids(store) == ["bomb", "tnt"])
        (tmp_path / "a.yaml").unlink()
        await loads.until(lambda: ids(store) == ["tnt"])


async def test_two_files_that_change_places(tmp_path: Path) -> None:
    """Renamed by way of a third name: in the end the whole is loaded, and there is no error in between."""
    one, two, spare = tmp_path / "a.yaml", tmp_path / "b.yaml", tmp_path / "c"
    one.write_text(policy("bomb", name="one"))
    two.write_text(policy("tnt", name="two"))
    async with following(tmp_path) as (store, loads, _):
        one.rename(spare)
        await a_moment()
        two.rename(one)
        await a_moment()
        spare.rename(two)
        await loads.until(lambda: ids(store) == ["tnt", "bomb"])
        assert store.status.failures == 0


async def test_a_list_of_words_that_changes(tmp_path: Path) -> None:
    """A words_file is part of the policy that names it."""
    (tmp_path / "a.yaml").write_text("version: 1\npolicy: p\nrules: [{id: a, words_file: w.txt, action: block}]\n")
    (tmp_path / "w.txt").write_text("bomb\n")
    async with following(tmp_path) as (store, loads, _):
        before = store.current.revision
        (tmp_path / "w.txt").write_text("bomb\ntnt\n")
        await loads.until(lambda: store.current.revision != before)


async def test_a_broken_file_and_its_fix(tmp_path: Path) -> None:
    """The old set stays until the file is right again."""
    (tmp_path / "a.yaml").write_text(policy("bomb"))
    async with following(tmp_path) as (store, loads, _):
        rename_over(tmp_path / "a.yaml", policy("tnt") + "mode: strict\n")
        await loads.until(lambda: "`strict` cannot be `mode`" in store.status.error)
        assert ids(store) == ["bomb"]
        rename_over(tmp_path / "a.yaml", policy("tnt"))
        await loads.until(lambda: ids(store) == ["tnt"])


async def test_sighup_loads_again(tmp_path: Path) -> None:
    """Changed or not, and without ending the process."""
    (tmp_path / "a.yaml").write_text(policy("bomb"))
    async with following(tmp_path, watch=False) as (store, loads, watcher):
        with watcher.reload_on_sighup():
            os.kill(os.getpid(), signal.SIGHUP)
            await loads.until(lambda: store.status.loads == 2)
            (tmp_path / "a.yaml").write_text(policy("tnt"))
            os.kill(os.getpid(), signal.SIGHUP)
            await loads.until(lambda: ids(store) == ["tnt"])


async def test_an_explicit_reload_beside_the_watch(tmp_path: Path) -> None:
    """Whoever asks gets the answer when it has happened."""
    (tmp_path / "a.yaml").write_text(policy("bomb"))
    async with following(tmp_path) as (store, _, _):
        (tmp_path / "a.yaml").write_text(policy("tnt"))
        assert await store.reload() is True
        assert ids(store) == ["tnt"]


async def test_a_file_system_that_tells_nothing(tmp_path: Path) -> None:
    """The poll sees changes by their content, also when size and time stay the same."""
    path = tmp_path / "a.yaml"
    path.write_text(policy("bomb"))
    times = path.stat()
    async with following(tmp_path, poll=0.05, watch=False) as (store, loads, _):
        path.write_text(policy("boom"))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        await loads.until(lambda: ids(store) == ["boom"])


async def test_a_directory_that_is_itself_replaced(tmp_path: Path) -> None:
    """The poll sees it, and the watch goes on with the new one."""
    directory = tmp_path / "policies"
    for name, word in (("policies", "bomb"), ("new", "tnt")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.yaml").write_text(policy(word))
    async with following(directory, poll=0.05) as (store, loads, _):
        directory.rename(tmp_path / "old")
        (tmp_path / "new").rename(directory)
        await loads.until(lambda: ids(store) == ["tnt"])
        (directory / "a.yaml").write_text(policy("fuse"))
        await loads.until(lambda: ids(store) == ["fuse"])


async def test_a_directory_that_is_gone_and_comes_back(tmp_path: Path) -> None:
    """Meanwhile the old set stays, with an error."""
    directory = tmp_path / "policies"
    directory.mkdir()
    (directory / "a.yaml").write_text(policy("bomb"))
    async with following(directory, poll=0.05) as (store, loads, _):
        directory.rename(tmp_path / "away")
        await loads.until(lambda: "cannot be read" in store.status.error)
        assert ids(store) == ["bomb"]
        (tmp_path / "away").rename(directory)
        (directory / "a.yaml").write_text(policy("tnt"))
        await loads.until(lambda: ids(store) == ["tnt"])


async def test_two_directories_are_followed_each_on_its_own(tmp_path: Path) -> None:
    """The active set and a shadow set."""
    stores = []
    for name in ("active", "shadow"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.yaml").write_text(policy("bomb"))
        stores.append(PolicyStore(tmp_path / name, hash_key=b"key", shadow=name == "shadow"))
        await stores[-1].load()
    loads = Loads(stores[1])
    work = asyncio.create_task(PolicyWatcher(stores, poll=NEVER).run())
    try:
        rename_over(tmp_path / "shadow" / "a.yaml", policy("tnt"))
        await loads.until(lambda: ids(stores[1]) == ["tnt"])
        assert ids(stores[0]) == ["bomb"]
        assert stores[1].current.shadow
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
