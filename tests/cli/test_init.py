"""`safety-proxy init` writes a directory of policies, and never over a file that somebody has changed."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from proxy.cli import init
from proxy.cli.arguments import main
from proxy.cli.init import ask, choices
from proxy.policy.compile import compile_policies
from proxy.policy.files import read_directory
from tests.policies import as_shipped


@pytest.fixture(autouse=True)
def _shipped(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped policies, as nobody has edited them."""
    monkeypatch.setattr(init, "SHIPPED", as_shipped(tmp_path_factory.mktemp("root") / "policies"))


def names(folder: Path) -> list[str]:
    """The files in a directory."""
    return sorted(path.name for path in folder.iterdir())


def test_without_names_and_terminal_the_default_is_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What runs without any setting; the last line says how to start with it."""
    folder = tmp_path / "own"
    assert main(["init", str(folder)]) == 0
    assert names(folder) == ["chat-markers.yaml", "secrets.yaml"]
    assert capsys.readouterr().out.splitlines()[-1] == f"start with them: safety-proxy serve --policies {folder}"


def test_the_named_ones_are_copied(tmp_path: Path) -> None:
    """And can be loaded as they are."""
    assert main(["init", str(tmp_path), "personal-data", "prompts"]) == 0
    assert names(tmp_path) == ["personal-data.yaml", "prompts.yaml"]
    assert len(compile_policies(read_directory(tmp_path), hash_key=b"key").policies) == 2


def test_all_are_copied(tmp_path: Path) -> None:
    """`--all`, but for those that ask a model, which may not be there."""
    assert main(["init", str(tmp_path), "--all"]) == 0
    asking = {name for name, choice in choices().items() if choice.asks}
    assert asking == {"harmful", "off-topic"}
    assert {*names(tmp_path)} == {f"{name}.yaml" for name in choices().keys() - asking}


def test_those_that_ask_a_model_are_copied_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the list says what they are."""
    assert main(["init", str(tmp_path), "harmful"]) == 0
    assert names(tmp_path) == ["harmful.yaml"]
    assert main(["init", "--list"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("harmful")]
    assert line.endswith("(asks a model; not in --all)")


def test_a_changed_file_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is written at all then; an unchanged one is let be."""
    assert main(["init", str(tmp_path), "starter"]) == 0
    assert main(["init", str(tmp_path), "starter"]) == 0
    assert "starter.yaml: there already" in capsys.readouterr().out
    (tmp_path / "starter.yaml").write_text("mine", "utf-8")
    assert main(["init", str(tmp_path), "secrets", "starter"]) == 2
    assert "starter.yaml is there already and differs" in capsys.readouterr().err
    assert names(tmp_path) == ["starter.yaml"]


def test_an_unknown_name_is_told_with_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2."""
    assert main(["init", str(tmp_path), "secret"]) == 2
    assert "there is no policy 'secret'" in capsys.readouterr().err


def test_no_directory_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    """Unless the list is wanted."""
    assert main(["init"]) == 2
    assert "a directory is needed" in capsys.readouterr().err


def test_the_list_says_what_each_does(capsys: pytest.CaptureFixture[str]) -> None:
    """And which ones run by default."""
    assert main(["init", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(choices())
    assert [line.split()[0] for line in lines if line.endswith("(runs by default)")] == ["chat-markers", "secrets"]


def test_on_a_terminal_it_asks() -> None:
    """An empty answer means the default, the end of the input too."""
    out = io.StringIO()
    chosen = ask(choices().values(), io.StringIO("\nn\ny\n"), out)
    assert [one.name for one in chosen] == ["chat-markers", "house-words"]
    assert out.getvalue().count("[Y/n]") == 2
