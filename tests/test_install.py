"""`make run` and `make test` on a new machine: what is said while they install, and what if they cannot."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.waiting import PATIENCE
from tools import install
from tools.install import InstallError, steps

ROOT = Path(__file__).parent.parent
PIP_SAYS = """\
Collecting anyio==4.16.0 (from -r requirements/run.lock (line 1))
  Downloading anyio-4.16.0-py3-none-any.whl.metadata (4.1 kB)
  Downloading anyio-4.16.0-py3-none-any.whl (134 kB)
Collecting orjson==3.13.0 (from -r requirements/run.lock (line 220))
  Using cached orjson-3.13.0-cp311-cp311-manylinux_2_17_x86_64.whl (130 kB)
Collecting odd==1.0 (from -r requirements/run.lock (line 300))
  Downloading odd-1.0.tar.gz (1.2 MB)
Installing collected packages: orjson, odd, anyio
Successfully installed anyio-4.16.0 odd-1.0 orjson-3.13.0
"""


def test_each_package_is_a_line_with_its_size() -> None:
    """Fetched or from the cache; what pip says beside that nobody has to read."""
    assert list(steps(PIP_SAYS.splitlines(keepends=True))) == [
        "  anyio 4.16.0 (134 kB)",
        "  orjson 3.13.0 (130 kB)",
        "  odd 1.0 (1.2 MB)",
        "  unpacking 3 packages ...",
    ]


def python(folder: Path, code: str) -> Path:
    """A `python3` that runs `code` first."""
    program = folder / "python3"
    body = textwrap.dedent(code)
    program.write_text(
        f"#!{sys.executable}\nimport runpy, sys\n{body}\nsys.argv.pop(0)\n"
        'if sys.argv[0] == "-c":\n    exec(sys.argv[1])\nelse:\n    runpy.run_path(sys.argv[0], run_name="__main__")\n'
    )
    program.chmod(0o755)
    return program


def make(target: str, folder: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    """`make TARGET` with virtual environments of its own."""
    command = ["make", target, f"RUN={folder / 'run'}", f"DEV={folder / 'dev'}", *settings]
    env = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.mark.parametrize("target", ["run", "check"])
def test_a_python_that_is_too_old_is_told(tmp_path: Path, target: str) -> None:
    """Which one is needed, which one is there, and how another one is named; nothing is made."""
    old = python(tmp_path, "sys.version_info = (3, 9, 2, 'final', 0); sys.version = '3.9.2 (default)'")
    done = make(target, tmp_path, f"PYTHON={shlex.quote(str(old))}")
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed; this is 3.9.2 (set PYTHON=...)" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["python3"]


@pytest.mark.parametrize("target", ["run", "check"])
def test_a_python_that_is_not_there_is_told(tmp_path: Path, target: str) -> None:
    """In the same words."""
    done = make(target, tmp_path, f"PYTHON={tmp_path / 'none'}")
    assert done.returncode != 0
    assert f"{tmp_path / 'none'} is not there: Python 3.11 or newer is needed (set PYTHON=...)" in done.stderr


@pytest.mark.parametrize("target", ["run", "check"])
def test_a_python_without_venv_is_told(tmp_path: Path, target: str) -> None:
    """As Debian's is without python3-venv: the package is named, and no half of an environment is left."""
    code = """
        import importlib.util
        found = importlib.util.find_spec
        importlib.util.find_spec = lambda name: None if name == "ensurepip" else found(name)
    """
    done = make(target, tmp_path, f"PYTHON={python(tmp_path, code)}")
    assert done.returncode != 0
    assert "has no ensurepip" in done.stderr
    assert "apt-get install python3-venv" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["python3"]


def test_an_environment_and_its_steps(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step is told before it is taken, in lines without a spinner; a failure of pip shows all that it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    lock = tmp_path / "run.lock"
    lock.write_text("no-such-package==1.0 --hash=sha256:" + "0" * 64 + "\n")
    with pytest.raises(InstallError) as caught:
        install.install(tmp_path / "venv", lock)
    out, _ = capfd.readouterr()
    assert out.splitlines()[0].startswith(f"making {tmp_path / 'venv'} with Python 3.")
    assert out.splitlines()[1] == f"installing what {lock} names"
    assert "no-such-package" in str(caught.value)
    assert "\r" not in out
    assert "\b" not in out
