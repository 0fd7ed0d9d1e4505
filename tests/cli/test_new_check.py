"""`safety-proxy new-check` writes a package that works as it is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli.arguments import main
from tests.waiting import PATIENCE

ROOT = Path(__file__).parent.parent.parent


def run(*command: object, path: Path | None = None, cwd: Path = ROOT) -> str:
    """What a command prints; it has to succeed. `path`: more to import from."""
    places = [str(place) for place in (path, ROOT) if place is not None]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "SAFETY_"))}
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env={**environment, "PYTHONPATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that the command has written."""
    folder = tmp_path_factory.mktemp("new") / "loud"
    assert main(["new-check", "loud", str(folder)]) == 0
    return folder


def test_its_tests_pass_as_written(package: Path) -> None:
    """With nothing but pytest and the proxy."""
    assert "2 passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=package)


def test_its_policy_passes_as_written(package: Path) -> None:
    """The examples too."""
    printed = run("-m", "proxy", "test", package / "policies", "--plugins", package / "src")
    assert "2 examples, 0 failed" in printed


def test_it_is_typed_and_tidy(package: Path) -> None:
    """Its author starts with a clean slate."""
    run("-m", "mypy", "--strict", "--cache-dir", package / ".mypy", package / "src")
    run("-m", "ruff", "check", "--no-cache", "--isolated", "--line-length", "120", ".", cwd=package)


def test_installed_it_is_found_without_a_setting(package: Path, tmp_path: Path) -> None:
    """pip installs it; its entry point leads the proxy to it."""
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target"]
    run(*install, tmp_path, package)
    kinds = json.loads(run("-m", "proxy", "checks", "--json", path=tmp_path))
    (loud,) = [kind for kind in kinds if kind["origin"] != "built in"]
    assert (loud["name"], loud["version"], loud["origin"]) == ("loud", "0.1.0", "package safety-proxy-loud")
    assert "letters" in json.dumps(loud["options"])
    assert "files: 1, rules: 1" in run("-m", "proxy", "check", package / "policies", path=tmp_path)


@pytest.mark.parametrize("name", ["Loud", "1st", "loud-er", "import", "x" * 41, "../x", ""])
def test_a_name_that_cannot_be_one_is_told(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is written."""
    assert main(["new-check", name, str(tmp_path / "new")]) == 2
    assert "cannot be a check's name: write small letters, digits and _" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["words", "email", "turn_markers", "length", "matcher"])
def test_a_name_that_is_taken_is_told(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a check or a detector of the proxy."""
    assert main(["new-check", name, str(tmp_path / "new")]) == 2
    assert "is a check or a detector of the proxy; choose another name" in capsys.readouterr().err


def test_what_is_there_is_not_overwritten(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody may have changed it."""
    assert main(["new-check", "loud", str(package)]) == 2
    assert "is there already; choose another directory" in capsys.readouterr().err


def test_checks_lists_the_built_in_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with one line, and a line for each option."""
    assert main(["checks"]) == 0
    out = capsys.readouterr().out
    assert "words: whole words or phrases in any case, in any script (check, built in, " in out
    assert '  match: where a match of a pattern ends (default "longest")\n' in out
    assert "  words: whole words, any case (needed)\n" in out


def test_a_plug_in_that_cannot_be_used_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For every command that looks for plug-ins, with exit code 2."""
    (tmp_path / "bad.py").write_text("1 / 0")
    for command in (["checks"], ["check", "policies"], ["explain", "policies", "x"], ["test", "policies"]):
        assert main([*command, "--plugins", str(tmp_path)]) == 2
        assert capsys.readouterr().err.startswith(f"safety-proxy: plug-in {tmp_path / 'bad.py'}: it cannot be imported")
