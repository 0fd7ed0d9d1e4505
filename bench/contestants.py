"""The contestants: each is a proxy in a process of its own on the loopback, in front of the same upstream."""

from __future__ import annotations

import contextlib
import getpass
import grp
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from bench.rules import write_policy
from tests.proxy_process import ProxyProcess

REPOSITORY = Path(__file__).resolve().parents[1]
PEERS = REPOSITORY / ".venv-peers"
START_SECONDS = 30.0
STOP_SECONDS = 10.0

DIRECT, NGINX, NAIVE = "direct", "nginx", "naive"
NONE, STARTER, EMAIL = "no rules", "starter policy", "100 rules and e-mail"
HUNDRED, THOUSAND = "100 rules", "1000 rules"
LITELLM, LITELLM_FILTER = "LiteLLM", "LiteLLM, content filter"
OURS = (NONE, STARTER, HUNDRED, EMAIL, THOUSAND)

NGINX_CONFIG = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; {user}
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000; client_max_body_size 32m; client_body_buffer_size 1m;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream model {{ server 127.0.0.1:{upstream}; keepalive 2048; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_read_timeout 600s; }}
  }}
}}
"""

LITELLM_CONFIG = """
model_list:
  - model_name: "*"
    litellm_params: {{model: "openai/*", api_base: "http://127.0.0.1:{upstream}/v1", api_key: none, max_retries: 0}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
litellm_settings: {{telemetry: false}}
general_settings: {{dangerously_permit_weak_or_unset_master_key: true}}
{guard}
"""
LITELLM_GUARD = """
guardrails:
  - guardrail_name: bench
    litellm_params:
      guardrail: litellm_content_filter
      mode: [pre_call, post_call]
      default_on: true
      patterns:
        - {pattern_type: prebuilt, pattern_name: us_ssn, action: BLOCK}
        - {pattern_type: prebuilt, pattern_name: visa, action: BLOCK}
        - {pattern_type: prebuilt, pattern_name: aws_access_key, action: BLOCK}
        - {pattern_type: prebuilt, pattern_name: github_token, action: BLOCK}
      blocked_words:
        - {keyword: zorblaxium, action: BLOCK}
        - {keyword: the forbidden phrase, action: BLOCK}
"""


class Unavailable(Exception):
    """A contestant cannot take part on this machine. The message says why."""


@dataclass(frozen=True)
class Running:
    """A running contestant. No `pids`: there is no proxy in between."""

    name: str
    port: int
    pids: tuple[int, ...] = ()
    admin: str = ""
    policies: Path | None = None


Start = Callable[[int, Path], AbstractContextManager[Running]]
"""The upstream's port and a directory for files in; a contestant out. Raises Unavailable."""


@contextmanager
def upstream() -> Generator[Running]:
    """The fake model server."""
    command = [sys.executable, "-m", "bench.upstream"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Running("upstream", int(process.stdout.readline()), (process.pid,))
        finally:
            process.stdin.close()


@contextmanager
def direct(upstream_port: int, _: Path) -> Generator[Running]:
    """Nothing in between."""
    yield Running(DIRECT, upstream_port)


@contextmanager
def nginx(upstream_port: int, folder: Path) -> Generator[Running]:
    """One worker that passes on what comes: the least that a proxy can cost."""
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if program is None:
        raise Unavailable("nginx is not installed (Debian's package nginx-light is enough)")
    folder.mkdir()
    port = free_port()
    user = f"user {getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name};" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(NGINX_CONFIG.format(folder=folder, upstream=upstream_port, port=port, user=user))
    command = [program, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]
    with running(command, port, folder) as process:
        yield Running(NGINX, port, (process.pid, *children(process.pid)))


@contextmanager
def naive(upstream_port: int, folder: Path) -> Generator[Running]:
    """bench/naive.py"""
    folder.mkdir()
    port = free_port()
    target = f"http://127.0.0.1:{upstream_port}"
    command = [sys.executable, "-m", "bench.naive", "--port", str(port), "--upstream", target]
    with running(command, port, folder) as process:
        yield Running(NAIVE, port, (process.pid,))


def starter_policies(folder: Path) -> Path:
    """The default of the first versions, which the tables have gone on with."""
    folder.mkdir()
    for name in ("chat-markers.yaml", "more/starter.yaml"):
        shutil.copy(REPOSITORY / "policies" / name, folder)
    return folder


@contextmanager
def ours(name: str, upstream_port: int, folder: Path) -> Generator[Running]:
    """This project's proxy as its users start it."""
    counts = {NONE: 0, HUNDRED: 100, EMAIL: 100, THOUSAND: 1000}
    starter = name == STARTER
    policies = starter_policies(folder) if starter else write_policy(folder, counts[name], name == EMAIL)
    arguments = ["--allow-empty", "true"] if name == NONE else []
    target = f"http://127.0.0.1:{upstream_port}"
    with ProxyProcess(upstream=target, policies=policies, arguments=arguments) as process:
        port = urlsplit(process.url).port
        assert port is not None
        yield Running(name, port, (process.pid,), process.admin_url, policies)


@contextmanager
def litellm(guard: bool, upstream_port: int, folder: Path) -> Generator[Running]:
    """LiteLLM's proxy from `make bench-peers`, with its own content filter or without."""
    program = PEERS / "bin" / "litellm"
    if not program.exists():
        raise Unavailable("LiteLLM is not installed (make bench-peers)")
    folder.mkdir()
    port = free_port()
    config = folder / "litellm.yaml"
    config.write_text(LITELLM_CONFIG.format(upstream=upstream_port, guard=LITELLM_GUARD if guard else ""))
    command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    quiet = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
    with running(command, port, folder, quiet, seconds=120) as process:
        yield Running(LITELLM_FILTER if guard else LITELLM, port, (process.pid, *children(process.pid)))


CONTESTANTS: dict[str, Start] = {
    DIRECT: direct,
    NGINX: nginx,
    NAIVE: naive,
    **{name: partial(ours, name) for name in OURS},
    LITELLM: partial(litellm, False),
    LITELLM_FILTER: partial(litellm, True),
}


@contextmanager
def running(
    command: list[str], port: int, folder: Path, extra: dict[str, str] | None = None, seconds: float = START_SECONDS
) -> Generator[subprocess.Popen[bytes]]:
    """A process that listens on the port. Raises Unavailable, with its last line of output, if it does not."""
    log = folder / "output"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=os.environ | (extra or {}),
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
        )
        try:
            _wait_for(process, port, seconds, log)
            yield process
        finally:
            _end(process)


def _wait_for(process: subprocess.Popen[bytes], port: int, seconds: float, log: Path) -> None:
    until = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    said = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it wrote nothing"]
    raise Unavailable(f"{Path(process.args[0]).name} did not start: {said[0][:200]}")  # type: ignore[index,arg-type]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """One that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def children(pid: int) -> Iterator[int]:
    """The processes that this one has started."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        yield from map(int, (task / "children").read_text().split())
