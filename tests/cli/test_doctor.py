"""`safety-proxy doctor`: what is wrong is said with what to do, and makes the exit code 1."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from proxy.cli import doctor, main
from proxy.cli.doctor import Verdict
from proxy.demo.backend import DemoBackend
from proxy.values import Address

FREE = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
POLICY = """
version: 1
policy: house
rules:
  - id: words.one
    words: ["quibblefrog"]
    action: block
"""

needs_modes = pytest.mark.skipif(os.name != "posix", reason="Windows has no modes")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the developer's own settings counts."""
    monkeypatch.chdir(tmp_path)
    for key in [key for key in os.environ if key.startswith("SAFETY_PROXY_")]:
        monkeypatch.delenv(key)


@pytest.fixture(name="policies")
def fixture_policies(tmp_path: Path) -> Path:
    """A directory with one policy, which only its owner may change."""
    folder = tmp_path / "policies"
    folder.mkdir(mode=0o755)
    (folder / "house.yaml").write_text(POLICY, "utf-8")
    (folder / "house.yaml").chmod(0o644)
    return folder


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """The exit code, and what is printed."""
    code = main(["doctor", *map(str, arguments)])
    return code, capsys.readouterr().out


def test_a_healthy_installation(policies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every line begins with ok or note, and the exit code is 0."""
    with DemoBackend(0) as backend:
        code, out = said(capsys, *FREE, "--upstream", backend.url, "--policies", policies)
    assert code == 0, out
    assert "nothing is wrong" in out
    for about in (
        "python",
        "event loop",
        "settings",
        "listen",
        "admin",
        "upstream",
        "policies",
        "permissions",
        "clock",
    ):
        assert f" {about} " in out


def test_a_port_that_is_taken(policies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named, with its setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        code, out = said(capsys, "--listen", where, "--admin", "off", "--upstream", "demo", "--policies", policies)
    assert code == 1
    assert f"wrong listen       {where}" in out
    assert "setting listen" in out


def test_a_model_server_that_does_not_answer(policies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its address and what to do."""
    code, out = said(capsys, *FREE, "--upstream", "127.0.0.1:9", "--policies", policies)
    assert code == 1
    assert "wrong upstream     http://127.0.0.1:9 does not answer" in out
    assert "-> start it, or correct the setting upstream" in out


def test_an_edit_that_is_wrong(policies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The place in the file, and the command that says all of it."""
    (policies / "house.yaml").write_text(POLICY.replace("words:", "wrods:"), "utf-8")
    code, out = said(capsys, *FREE, "--upstream", "demo", "--policies", policies)
    assert code == 1
    assert "wrong policies" in out
    assert "house.yaml:" in out
    assert f"safety-proxy check {policies}" in out


def test_a_setting_that_is_wrong(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, and what rests on settings is not looked at."""
    monkeypatch.setenv("SAFETY_PROXY_UPSTRAEM", "x")
    code, out = said(capsys)
    assert code == 1
    assert "UPSTRAEM" in out
    assert "1 thing is wrong" in out


def test_an_open_listener_without_keys(policies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As at the start, which would be refused."""
    arguments = ("--listen", "0.0.0.0:0", "--admin", "off", "--upstream", "demo", "--policies", policies)
    code, out = said(capsys, *arguments)
    assert code == 1
    assert "wrong access" in out
    assert "safety-proxy key new" in out


def test_a_wrong_file_of_keys(policies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The place in it."""
    (tmp_path / "keys.yaml").write_text("version: 2\n", "utf-8")
    code, out = said(capsys, *FREE, "--upstream", "demo", "--policies", policies, "--keys", tmp_path / "keys.yaml")
    assert code == 1
    assert "wrong keys" in out
    assert "keys.yaml" in out


@needs_modes
def test_policies_that_others_can_change(policies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever can write them decides what is filtered; the command that ends it is printed."""
    (policies / "house.yaml").chmod(0o666)
    code, out = said(capsys, *FREE, "--upstream", "demo", "--policies", policies)
    assert code == 1
    assert f"-> chmod go-w {policies / 'house.yaml'}" in out


@needs_modes
def test_a_key_that_others_can_read(policies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The key of the certificate is a secret."""
    (tmp_path / "key.pem").write_text("x", "utf-8")
    (tmp_path / "key.pem").chmod(0o644)
    files = ("--tls-certificate", tmp_path / "cert.pem", "--tls-key", tmp_path / "key.pem")
    code, out = said(capsys, *FREE, "--upstream", "demo", "--policies", policies, *files)
    assert code == 1
    assert f"-> chmod go-rwx {tmp_path / 'key.pem'}" in out


def test_a_log_without_a_folder(policies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The start would fail; the folder is named."""
    log = tmp_path / "none" / "log.jsonl"
    code, out = said(capsys, *FREE, "--upstream", "demo", "--policies", policies, "--decision-log", log)
    assert code == 1
    assert f"-> mkdir -p {tmp_path / 'none'}" in out


def test_a_full_disk(
    tmp_path: Path, policies: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less room than a day's log needs is wrong."""
    monkeypatch.setattr(doctor, "FREE_DISK", 2**62)
    log = tmp_path / "log.jsonl"
    code, out = said(capsys, *FREE, "--upstream", "demo", "--policies", policies, "--decision-log", log)
    assert code == 1
    assert "MiB are free" in out


def test_an_old_python_and_a_wrong_clock() -> None:
    """Neither can be had in a test; the judgements can."""
    assert doctor.python((3, 10)).verdict is Verdict.WRONG
    assert doctor.python((3, 11)).verdict is Verdict.OK
    assert doctor.clock(0.0).verdict is Verdict.WRONG
    assert doctor.clock(doctor.BUILT).verdict is Verdict.OK


def test_a_port_that_only_root_may_have_or_an_address_that_is_not_here() -> None:
    """The system's own reason is told."""
    found = doctor.port("listen", Address("192.0.2.1", 1))
    assert found.verdict is Verdict.WRONG
    assert "192.0.2.1:1: " in found.says
