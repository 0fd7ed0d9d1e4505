"""The keys in force follow their file, and a wrong file changes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from proxy.errors import KeysError
from proxy.policy.file_store import Status
from proxy.server.keys.store import KeyStore
from proxy.server.ops.policy_watcher import PolicyWatcher
from tests.server.keys.samples import written
from tests.server.running import soon

pytestmark = pytest.mark.anyio


def names(store: KeyStore) -> list[str]:
    """Whose keys are in force."""
    return [key.name for key in store.current.keys]


def test_the_first_load_has_to_succeed(tmp_path: Path) -> None:
    """A missing file, a directory and a wrong file are told with their reason."""
    for path, reason in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "it is not a file")):
        with pytest.raises(KeysError, match=f"cannot be read .{reason}.*fix the setting keys"):
            KeyStore(path).load()


async def test_an_edit_takes_effect(tmp_path: Path) -> None:
    """A file that has changed is read again; one that has not is left alone."""
    store = KeyStore(written(tmp_path / "keys.yaml", {"name": "alice"}))
    store.load()
    await store.refresh()
    assert store.status.loads == 1
    written(store.path, {"name": "alice"}, {"name": "bob"})
    told: list[Status] = []
    store.listeners.append(told.append)
    await store.refresh()
    assert names(store) == ["alice", "bob"]
    assert told == [store.status]


@pytest.mark.parametrize("text", ["version: 1\nkeys: nothing\n", "", "\xff"])
async def test_a_wrong_edit_changes_nothing(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """The old keys stay in force, the status and the log say why, and a good edit is taken at last."""
    store = KeyStore(written(tmp_path / "keys.yaml", {"name": "alice"}))
    store.load()
    store.path.write_text(text, "latin-1")
    assert not await store.reload()
    assert names(store) == ["alice"]
    assert str(store.path) in store.status.error
    assert store.status.failures == 1
    assert "the old ones stay" in caplog.text
    written(store.path, {"name": "bob"})
    await store.refresh()
    assert (names(store), store.status.error) == (["bob"], "")


async def test_a_file_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    """Nobody is let in who was not, and nobody is locked out."""
    store = KeyStore(written(tmp_path / "keys.yaml", {"name": "alice"}))
    store.load()
    store.path.unlink()
    await store.refresh()
    await store.refresh()
    assert names(store) == ["alice"]
    assert store.status.failures == 1


async def test_the_file_is_followed_like_the_policies(tmp_path: Path) -> None:
    """An edit is seen without a request to reload; so is a file that replaces it, as editors and Kubernetes do it."""
    store = KeyStore(written(tmp_path / "keys.yaml", {"name": "alice"}))
    store.load()
    changed = asyncio.Event()
    store.listeners.append(lambda _: changed.set())
    watching = asyncio.ensure_future(PolicyWatcher([store]).run())
    written(store.path, {"name": "bob"})
    await soon(changed.wait())
    assert names(store) == ["bob"]
    changed.clear()
    written(tmp_path / "new.yaml", {"name": "carl"}).replace(store.path)
    await soon(changed.wait())
    assert names(store) == ["carl"]
    watching.cancel()
    await asyncio.wait([watching])
