"""`safety-proxy pause` and `resume`, against a proxy in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from proxy.cli.arguments import main
from proxy.demo.backend import DemoBackend
from tests.plain_http import post
from tests.policies import COPIES
from tests.proxy_process import ProxyProcess
from tests.server.keys.samples import secret, written
from tests.test_cli import serving, value


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No safety-proxy.toml of the developer's is read."""
    monkeypatch.chdir(tmp_path)


def ask(proxy: ProxyProcess) -> int:
    """The status of a request for generation."""
    body = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
    return post(f"{proxy.base_url}/chat/completions", json=body).status_code


def test_a_running_proxy_is_paused_and_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A restart in between does not resume it."""
    with DemoBackend(0) as backend:
        arguments = ("--state-dir", str(tmp_path / "state"))
        with ProxyProcess(upstream=backend.url, policies=COPIES, arguments=arguments) as proxy:
            assert ask(proxy) == 200
            assert main(["pause", "--message", "Back at nine.", "--admin", proxy.admin_url.partition("://")[2]]) == 0
            assert capsys.readouterr().out == "paused: Back at nine.\n"
            assert ask(proxy) == 503
        with ProxyProcess(upstream=backend.url, policies=COPIES, arguments=arguments) as proxy:
            assert ask(proxy) == 503
            assert "paused since before the start: Back at nine. (safety-proxy resume)" in proxy.log_text()
            assert main(["resume", "--admin", proxy.admin_url.partition("://")[2]]) == 0
            assert capsys.readouterr().out == "resumed\n"
            assert ask(proxy) == 200


def test_elsewhere_than_on_the_loopback_it_shows_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without admin_key the sentence of the listener is told, with the setting; with TLS its own certificate is what
    is trusted."""
    certificate = tmp_path / "cert.pem"
    issued = trustme.CA().issue_cert("proxy.example")
    issued.private_key_and_cert_chain_pem.write_to_path(str(certificate))
    keys = written(tmp_path / "keys.yaml", {"name": "ann", "admin": True})
    arguments = ("--keys", keys, "--admin", "0.0.0.0:0", "--tls-certificate", certificate, "--policies", COPIES)
    with DemoBackend(0) as backend, serving("--upstream", backend.url, *arguments) as (_, lines):
        admin = value(lines, "admin").partition("://")[2]
        assert "with a key" in "\n".join(lines)
        monkeypatch.setenv("SAFETY_PROXY_TLS_CERTIFICATE", str(certificate))
        assert main(["pause", "--admin", admin]) == 2
        assert "A key is needed" in capsys.readouterr().err
        (tmp_path / "key").write_text(secret("ann"))
        monkeypatch.setenv("SAFETY_PROXY_ADMIN_KEY_FILE", str(tmp_path / "key"))
        assert main(["pause", "--admin", admin]) == 0
        said = capsys.readouterr().out
        assert said.startswith("paused: The models are paused by their operator\nit ends with a restart")


def test_where_no_proxy_is(capsys: pytest.CaptureFixture[str]) -> None:
    """One line with the setting."""
    assert main(["pause", "--admin", "127.0.0.1:9"]) == 2
    assert "no proxy answers at 127.0.0.1:9" in capsys.readouterr().err
    assert main(["resume", "--admin", "off"]) == 2
    assert "admin is off" in capsys.readouterr().err


def test_what_is_no_proxy_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Another server at that address."""
    with DemoBackend(0) as backend:
        assert main(["pause", "--admin", backend.url.partition("://")[2]]) == 2
    assert "is it a safety-proxy?" in capsys.readouterr().err
