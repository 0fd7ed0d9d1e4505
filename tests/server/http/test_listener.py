"""Where the proxy listens: TLS, unix sockets, inherited sockets, behind reverse proxies, and on asyncio's own loop."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from proxy.errors import SettingsError
from proxy.server.http.listener import Listener, ListenerOptions, bound_host
from proxy.server.http.request import Receive, Scope, Send
from tests.fakes import FakeUpstream, reply, sse
from tests.proxy_process import PROGRAM, REPOSITORY
from tests.server.running import chat_body, events, running, said, text
from tests.waiting import PATIENCE

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority of the tests' own."""
    return trustme.CA()


async def test_tls(authority: trustme.CA, tmp_path: Path) -> None:
    """With a certificate both listeners speak https, streams and early errors included."""
    pem = tmp_path / "server.pem"
    authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(str(pem))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with (
        FakeUpstream(lambda _: reply(sse(*said("Hello")))) as upstream,
        running(upstream, tls_certificate=pem, max_body=1000) as proxy,
        httpx.AsyncClient(verify=context, timeout=PATIENCE) as http,
    ):
        base = proxy.url.replace("http://", "https://")
        assert text(events((await http.post(base + CHAT, json=chat_body())).content)) == "Hello"
        assert (await http.post(base + CHAT, json=chat_body("x" * 2000))).status_code == 413
        assert (await http.get(proxy.admin_url.replace("http://", "https://") + "/healthz")).status_code == 200


async def test_a_key_with_a_password(authority: trustme.CA, tmp_path: Path) -> None:
    """Without the password the start ends with a sentence; nobody is asked on the terminal. With it https is spoken."""
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "server.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    plain = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"open sesame")
    key.write_bytes(
        plain.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption),
    )
    with pytest.raises(SettingsError, match=r"the TLS key in .*key\.pem has a password.*tls_key_password"):
        async with running("http://127.0.0.1:9", tls_certificate=certificate, tls_key=key):
            pass
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with (
        running(
            "http://127.0.0.1:9", tls_certificate=certificate, tls_key=key, tls_key_password="open sesame"
        ) as proxy,
        httpx.AsyncClient(verify=context, timeout=PATIENCE) as http,
    ):
        assert (await http.get(proxy.admin_url.replace("http://", "https://") + "/healthz")).status_code == 200


async def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    """It stops the start with the settings' names."""
    pem = tmp_path / "server.pem"
    pem.write_text("not a certificate")
    for path in (pem, tmp_path / "missing.pem"):
        with pytest.raises(SettingsError, match="tls_certificate"):
            async with running("http://127.0.0.1:9", tls_certificate=path):
                pass


async def test_a_unix_socket(tmp_path: Path) -> None:
    """It takes requests there, and its file is gone afterwards."""
    path = tmp_path / "proxy.sock"
    async with FakeUpstream(reply(sse(*said("Hello")))) as upstream, running(upstream, listen=(f"unix:{path}", 0)):
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=PATIENCE) as http:
            assert text(events((await http.post(CHAT, json=chat_body())).content)) == "Hello"
    assert not path.exists()


async def test_a_unix_socket_that_was_left_behind(tmp_path: Path) -> None:
    """A socket of a proxy that is gone is replaced. One that is in use is an error, and stays."""
    path = tmp_path / "proxy.sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
        with_old = (f"unix:{path}", 0)
        old.listen()
        with pytest.raises(SettingsError, match="in use"):
            async with running("http://127.0.0.1:9", listen=with_old):
                pass
        assert path.exists()
    async with running("http://127.0.0.1:9", listen=with_old):
        assert path.is_socket()


async def test_an_inherited_socket() -> None:
    """`fd:N` is a socket that somebody else has bound; its address is told."""
    with socket.create_server(("127.0.0.1", 0)) as given:
        listen = (f"fd:{given.fileno()}", 0)
        assert bound_host(listen) == "127.0.0.1"
        async with FakeUpstream(reply(sse(*said("Hello")))) as upstream, running(upstream, listen=listen) as proxy:
            assert proxy.server.bound.listen == given.getsockname()
            assert (await proxy.chat()).text() == "Hello"


async def test_an_inherited_socket_that_is_none() -> None:
    """It stops the start."""
    with pytest.raises(SettingsError, match="fd:99999 is not a socket"):
        async with running("http://127.0.0.1:9", listen=("fd:99999", 0)):
            pass


def test_sockets_of_a_service_manager(tmp_path: Path) -> None:
    """LISTEN_FDS and LISTEN_PID (systemd, sd_listen_fds): the first is the chat listener, the second the operators'."""
    (tmp_path / "p.yaml").write_text("version: 1\npolicy: p\nrules: [{id: a, words: [x], action: block}]\n")
    code = (
        "import os, sys\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2')\n"
        "os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4)\n"
        "os.execv(sys.argv[3], sys.argv[3:])\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as chat, socket.create_server(("127.0.0.1", 0)) as admin:
        fds = [os.dup(chat.fileno()), os.dup(admin.fileno())]
        high = [os.dup2(fd, 100 + i) for i, fd in enumerate(fds)]
        command = [*PROGRAM, "serve", "--upstream", "http://127.0.0.1:9", "--policies", str(tmp_path)]
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, high), *command],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            pass_fds=high,
            stdout=subprocess.PIPE,
            text=True,
        )
        for fd in (*fds, *high):
            os.close(fd)
        try:
            assert process.stdout is not None
            banner = [process.stdout.readline() for _ in range(4)]
            assert f"127.0.0.1:{chat.getsockname()[1]}/v1" in "".join(banner)
            assert f"127.0.0.1:{admin.getsockname()[1]}" in "".join(banner)
        finally:
            process.terminate()
            process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.mark.parametrize(("trusted", "scheme"), [(("127.0.0.1",), "https"), (("192.0.2.1",), "http"), ((), "http")])
async def test_headers_of_reverse_proxies(trusted: tuple[str, ...], scheme: str) -> None:
    """X-Forwarded-For and -Proto are believed from the addresses that were named, and from no other."""
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    listener = Listener(app, ("127.0.0.1", 0), ListenerOptions(proxy_headers_from=trusted))
    await listener.start()
    try:
        headers = {"x-forwarded-for": "198.51.100.7", "x-forwarded-proto": "https"}
        async with httpx.AsyncClient(timeout=PATIENCE) as http:
            await http.get(f"http://127.0.0.1:{listener.address[1]}/", headers=headers)
    finally:
        listener.close()
        await listener.finish(5.0)
    assert scopes[0]["scheme"] == scheme
    assert (scopes[0]["client"][0] == "198.51.100.7") == (scheme == "https")


@pytest.mark.parametrize(("believed", "client"), [("127.0.0.1", "198.51.100.7"), ("192.0.2.1", "127.0.0.1")])
async def test_an_exchange_knows_the_client_of_a_reverse_proxy(believed: str, client: str) -> None:
    """What the log calls the client is the address that a believed reverse proxy gives. Nobody else is believed."""
    async with (
        FakeUpstream(reply(sse(*said("Hello")))) as upstream,
        running(upstream, proxy_headers_from=(believed,)) as proxy,
        httpx.AsyncClient(timeout=PATIENCE) as http,
    ):
        await http.post(proxy.url + CHAT, json=chat_body(), headers={"x-forwarded-for": "198.51.100.7"})
        await proxy.seen.first()
        assert proxy.seen.begun[0].client == client


async def test_a_path_below_a_reverse_proxy() -> None:
    """With root_path a path is found whether the reverse proxy has taken the prefix off or not."""
    async with (
        FakeUpstream(lambda _: reply(sse(*said("Hello")))) as upstream,
        running(upstream, root_path="/guard") as proxy,
        httpx.AsyncClient(timeout=PATIENCE) as http,
    ):
        for path in (CHAT, f"/guard{CHAT}"):
            assert text(events((await http.post(proxy.url + path, json=chat_body())).content)) == "Hello"
        assert (await http.post(f"{proxy.url}/other{CHAT}", json=chat_body())).status_code == 404


def test_without_uvloop(tmp_path: Path) -> None:
    """Where uvloop is not installed, as on Windows, the proxy runs on asyncio's own loop, signals included."""
    (tmp_path / "p.yaml").write_text("version: 1\npolicy: p\nrules: [{id: a, words: [x], action: block}]\n")
    code = "import sys; sys.modules['uvloop'] = None; from proxy.cli import main; sys.exit(main())"
    listen = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", "demo", "--policies", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", *listen],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        base = process.stdout.readline().split()[1]
        answer = httpx.post(f"{base}/chat/completions", json=chat_body("Hello!", stream=False), timeout=30)
        assert "demo model" in answer.json()["choices"][0]["message"]["content"]
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0
