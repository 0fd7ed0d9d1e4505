"""The units of deploy/ for systemd and launchd, held against systemd's own tool and Python's reader of plists."""

from __future__ import annotations

import configparser
import plistlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from proxy.settings import ROWS, variable
from proxy.values import seconds
from tests.deploy.stack import DEPLOY
from tests.waiting import PATIENCE

UNIT = DEPLOY / "systemd/safety-proxy.service"
ANALYZE = shutil.which("systemd-analyze")
EXPOSURE = 2.0

needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="there is no systemd-analyze (Debian's package systemd)")


def analyze(*arguments: str) -> str:
    """What systemd-analyze says; it has to be content."""
    assert ANALYZE is not None
    done = subprocess.run([ANALYZE, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_systemd
def test_the_unit_is_right(tmp_path: Path) -> None:
    """systemd knows every key of it, once its program is there; a misspelt key would be named."""
    text = UNIT.read_text("utf-8").replace("/opt/safety-proxy/bin/safety-proxy", "/bin/true")
    (tmp_path / UNIT.name).write_text(text, "utf-8")
    said = analyze("verify", "--recursive-errors=no", str(tmp_path / UNIT.name))
    assert UNIT.name not in said, said


@needs_systemd
def test_the_unit_is_hardened() -> None:
    """Its exposure, as systemd measures it, is at most 2.0 of 10; a plain unit has more than 8."""
    said = analyze("security", "--offline=true", f"--threshold={EXPOSURE * 10:.0f}", str(UNIT))
    found = re.search(r"exposure level for \S+: ([\d.]+)", said)
    assert found is not None
    assert float(found[1]) <= EXPOSURE


def _unit() -> dict[str, list[str]]:
    """The keys of [Service]; a key may come several times."""
    section = UNIT.read_text("utf-8").partition("[Service]")[2].partition("[Install]")[0]
    found: dict[str, list[str]] = {}
    for line in section.splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def _environment() -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in _unit()["Environment"])


def test_the_variables_of_the_services_are_settings() -> None:
    """A misspelt one would stop the start."""
    agent: dict[str, Any] = plistlib.loads((DEPLOY / "launchd/safety-proxy.plist").read_bytes())
    known = {variable(name) for name in ROWS}
    assert set(_environment()) <= known
    assert set(agent["EnvironmentVariables"]) <= known


def test_a_service_is_not_killed_before_its_grace_is_over() -> None:
    """systemd and launchd wait longer for the end than running answers may take."""
    agent: dict[str, Any] = plistlib.loads((DEPLOY / "launchd/safety-proxy.plist").read_bytes())
    assert int(_unit()["TimeoutStopSec"][0]) > seconds(_environment()["SAFETY_PROXY_GRACE"]) + 5
    assert agent["ExitTimeOut"] > seconds(agent["EnvironmentVariables"]["SAFETY_PROXY_GRACE"]) + 5


def test_the_unit_reads_as_an_ini_file() -> None:
    """With its three sections, and nothing outside them."""
    reader = configparser.RawConfigParser(strict=False, interpolation=None)
    reader.read_string(UNIT.read_text("utf-8"))
    assert reader.sections() == ["Unit", "Service", "Install"]
    assert reader["Service"]["Type"] == "notify"
