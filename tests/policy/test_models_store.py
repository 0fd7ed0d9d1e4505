"""The models.yaml in force: edits are followed, wrong ones change nothing."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from proxy.cli.arguments import main
from proxy.errors import PolicyError
from proxy.policy.files import read_directory
from proxy.policy.models_store import ModelsStore

pytestmark = pytest.mark.anyio

ONE = "version: 1\nmodels:\n  - {model: m, status: instruct}\n"
POLICY = "version: 1\npolicy: p\nrules: [{id: r, words: [w], action: flag}]\n"


def statuses(store: ModelsStore) -> list[str]:
    """Of the entries in force."""
    return [one.status for one in store.current.entries]


async def test_a_file_beside_the_policies_is_found(tmp_path: Path) -> None:
    """It need not be there, and is no policy."""
    store = ModelsStore.beside(tmp_path)
    await store.load()
    assert statuses(store) == []
    (tmp_path / "models.yaml").write_text(ONE, "utf-8")
    (tmp_path / "p.yaml").write_text(POLICY, "utf-8")
    await store.refresh()
    assert statuses(store) == ["instruct"]
    assert [source.base for source in read_directory(tmp_path)] == ["p.yaml"]
    (tmp_path / "models.yaml").unlink()
    await store.refresh()
    assert statuses(store) == []


async def test_a_named_file_has_to_be_there(tmp_path: Path) -> None:
    """Else the start is refused, and a running proxy keeps what it had."""
    path = tmp_path / "own.yaml"
    store = ModelsStore.beside(tmp_path, path)
    with pytest.raises(PolicyError, match="there is no such file: write it, or leave the setting models_file out"):
        await store.load()
    path.write_text(ONE, "utf-8")
    await store.load()
    path.unlink()
    assert not await store.reload()
    assert statuses(store) == ["instruct"]


async def test_a_wrong_edit_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log says what is wrong and where, once for each edit; listeners are told of every attempt."""
    path = tmp_path / "models.yaml"
    path.write_text(ONE, "utf-8")
    store = ModelsStore.beside(tmp_path)
    await store.load()
    failures = []
    store.listeners.append(lambda status: failures.append(status.failures))
    path.write_text(ONE.replace("instruct", "instructed"), "utf-8")
    with caplog.at_level(logging.ERROR, "safety_proxy.policies"):
        await store.refresh()
        await store.refresh()
    assert statuses(store) == ["instruct"]
    assert caplog.text.count("models.yaml:3:24: model m: `instructed` cannot be `status`") == 1
    path.write_text(ONE.replace("instruct", "base"), "utf-8")
    await store.refresh()
    assert (statuses(store), store.status.error) == (["base"], "")
    assert failures == [1, 1]


async def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A directory in its place, for one."""
    (tmp_path / "models.yaml").mkdir()
    store = ModelsStore.beside(tmp_path)
    with pytest.raises(PolicyError, match=r"models\.yaml: cannot be read \(not a file\)"):
        await store.load()
    assert not await store.reload()


def test_check_reads_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`safety-proxy check` tells what is wrong in it beside what is wrong in the policies."""
    (tmp_path / "p.yaml").write_text(POLICY, "utf-8")
    (tmp_path / "models.yaml").write_text(ONE, "utf-8")
    assert main(["check", str(tmp_path)]) == 0
    assert "files: 1, rules: 1, models: 1, revision" in capsys.readouterr().out
    (tmp_path / "models.yaml").write_text("version: 2\n", "utf-8")
    (tmp_path / "p.yaml").write_text(POLICY.replace("flag", "flog"), "utf-8")
    assert main(["check", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert "p.yaml:3:" in told
    assert "models.yaml:1:10: `2` cannot be `version`" in told
