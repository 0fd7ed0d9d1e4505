"""Install a wheel into an empty virtual environment, as pipx and uv tool do, and try what was installed.

python -m tools.try_wheel dist/safety_proxy-0.1.0-py3-none-any.whl
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path
from tempfile import TemporaryDirectory

COMMANDS = (
    ["--version"],
    ["init", "my-policies", "--all"],
    ["check", "my-policies"],
    ["completion", "bash"],
    ["config"],
)
TIMEOUT = 300.0  # seconds for each command; pip may have to fetch


def try_wheel(wheel: Path) -> None:
    """Ends this program with what was said at the first command that fails."""
    with TemporaryDirectory() as folder:
        home = Path(folder)
        venv.create(home / "venv", with_pip=True)
        programs = home / "venv" / ("Scripts" if os.name == "nt" else "bin")
        _run(
            home, programs / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet", wheel.resolve()
        )
        for command in COMMANDS:
            _run(home, programs / "safety-proxy", *command)
            print(f"safety-proxy {' '.join(command)}: done")
        _run(home, programs / "python", "-m", "proxy", "doctor", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
        print("python -m proxy doctor: done")


def _run(home: Path, program: Path, *arguments: object) -> None:
    """Nothing of the repository can be imported there."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(program), *map(str, arguments)]
    done = subprocess.run(
        command, cwd=home, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        try_wheel(Path(name))
