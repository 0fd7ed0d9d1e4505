"""nginx, Caddy and HAProxy, run with the files of deploy/reverse-proxies on free ports of the loopback."""

from __future__ import annotations

import getpass
import grp
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import trustme

from bench.contestants import free_port
from tests.deploy.stack import DEPLOY
from tests.proxy_process import ProxyProcess
from tests.waiting import PATIENCE, until_elsewhere

FOLDER = DEPLOY / "reverse-proxies"
NAMES = ("nginx", "caddy", "haproxy")
SHIPPED = "11m"  # the time-out of the files
SILENCE = "1s"  # in its place: after so long without a byte the reverse proxy gives up
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


def program(name: str) -> str | None:
    """Where it is installed."""
    return shutil.which(name, path=PATH)


class Certificate(NamedTuple):
    """A certificate for localhost, as files; and what trusts it."""

    chain: Path
    key: Path
    both: Path
    trust: ssl.SSLContext


def certificate(folder: Path) -> Certificate:
    """A new one."""
    authority = trustme.CA()
    made = authority.issue_cert("localhost")
    chain, key, both = folder / "chain.pem", folder / "key.pem", folder / "both.pem"
    for blob in made.cert_chain_pems:
        blob.write_to_path(chain, append=True)
    made.private_key_pem.write_to_path(key)
    both.write_bytes(made.private_key_pem.bytes() + chain.read_bytes())
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(trust)
    return Certificate(chain, key, both, trust)


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """The text with each first replaced by its second; each first has to be there."""
    for old, new in pairs:
        assert old in text, f"{old} is not in the file any more: change this test with it"
        text = text.replace(old, new)
    return text


def _address(url: str) -> str:
    return url.removeprefix("http://")


def _nginx(folder: Path, port: int, cert: Certificate, proxies: Sequence[ProxyProcess], silence: str) -> list[str]:
    text = replaced(
        (FOLDER / "nginx.conf").read_text("utf-8"),
        ("127.0.0.1:11435", _address(proxies[0].url)),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/chat.example.com.pem", str(cert.chain)),
        ("/etc/ssl/chat.example.com.key", str(cert.key)),
        (f"proxy_read_timeout {SHIPPED}", f"proxy_read_timeout {silence}"),
    )
    user = f"user {getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name};" if os.geteuid() == 0 else ""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    whole = f"worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/log; {user}\n"
    whole += f"events {{}}\nhttp {{ access_log off; {places}\n{text}}}\n"
    (folder / "nginx.conf").write_text(whole, "utf-8")
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "log")]


def _caddy(folder: Path, port: int, cert: Certificate, proxies: Sequence[ProxyProcess], silence: str) -> list[str]:
    text = replaced(
        (FOLDER / "Caddyfile").read_text("utf-8"),
        ("127.0.0.1:11435 {", f"{_address(proxies[0].url)} {{"),
        ("chat.example.com {", f"https://localhost:{port} {{\n\tbind 127.0.0.1\n\ttls {cert.chain} {cert.key}"),
        (f"response_header_timeout {SHIPPED}", f"response_header_timeout {silence}"),
    )
    options = f"{{\n\tadmin off\n\tauto_https off\n\tstorage file_system {folder}/storage\n}}\n"
    (folder / "Caddyfile").write_text(options + text, "utf-8")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def _haproxy(folder: Path, port: int, cert: Certificate, proxies: Sequence[ProxyProcess], silence: str) -> list[str]:
    text = (FOLDER / "haproxy.cfg").read_text("utf-8")
    text, servers = text[: text.index("    server one")], text[text.index("    server one") :]
    assert re.fullmatch(r"(    server \w+ 127\.0\.0\.1:\d+ port \d+\n)+", servers)
    for number, proxy in enumerate(proxies):
        text += f"    server s{number} {_address(proxy.url)} port {proxy.admin_url.rpartition(':')[2]}\n"
    text = replaced(
        text,
        ("bind :443", f"bind 127.0.0.1:{port}"),
        ("/etc/haproxy/chat.example.com.pem", str(cert.both)),
        (f"timeout client {SHIPPED}", f"timeout client {silence}"),
        (f"timeout server {SHIPPED}", f"timeout server {silence}"),
        ("inter 2s", "inter 100ms"),
        ("maxconn 10000", "maxconn 500"),
    )
    (folder / "haproxy.cfg").write_text(text, "utf-8")
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


Command = Callable[[Path, int, Certificate, Sequence[ProxyProcess], str], list[str]]
COMMANDS: dict[str, Command] = {"nginx": _nginx, "caddy": _caddy, "haproxy": _haproxy}


def _takes_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


@contextmanager
def front(name: str, folder: Path, proxies: Sequence[ProxyProcess], silence: str = SHIPPED) -> Iterator[httpx.Client]:
    """A client that talks TLS with the reverse proxy of that name, which stands in front of these proxies and gives
    up after such a silence."""
    folder.mkdir()
    port, cert = free_port(), certificate(folder)
    file, *arguments = COMMANDS[name](folder, port, cert, proxies, silence)
    found = program(file)
    assert found is not None
    home = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen([found, *arguments], cwd=folder, env=home, stdout=output, stderr=output)
    try:
        until_elsewhere(lambda: _takes_connections(port) or process.poll() is not None)
        assert process.poll() is None, (folder / "output").read_text("utf-8")
        with httpx.Client(base_url=f"https://localhost:{port}", verify=cert.trust, timeout=PATIENCE) as client:
            yield client
    finally:
        process.terminate()
        process.wait(PATIENCE)
