"""A proxy in front of the demo model, a real Prometheus that scrapes it each second, and chats that go through."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from bench.contestants import free_port
from proxy.demo.script import ANSWERS
from proxy.settings import DEMO_POLICIES
from tests.plain_http import client as sync_client
from tests.proxy_process import REPOSITORY, ProxyProcess
from tests.waiting import PATIENCE, until_elsewhere

DEPLOY = REPOSITORY / "deploy"
PROGRAM = shutil.which("prometheus")


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = sync_client()

    def ask(self, path: str, **parameters: Any) -> Any:
        """An answer of its API (prometheus.io/docs/prometheus/latest/querying/api), its data."""
        answer = self._client.get(f"{self.url}/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression gives now."""
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def close(self) -> None:
        """Close the connections to it."""
        self._client.close()

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            return self._client.get(f"{self.url}/-/ready").status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def prometheus(*admins: str, folder: Path, every: str = "1s", patient: bool = True) -> Iterator[Prometheus]:
    """Scrapes the proxies whose admin listeners these are, with the rules of deploy/prometheus. `patient`: alerts wait
    as long as they say; else they fire at once."""
    assert PROGRAM is not None
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text("utf-8"))
    config["global"] = {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every}
    for number, name in enumerate(config["rule_files"]):
        rules = (DEPLOY / "prometheus" / name).read_text("utf-8")
        own = folder / name
        own.write_text(rules if patient else re.sub(r"^( *)for: .*$", r"\1for: 0s", rules, flags=re.MULTILINE), "utf-8")
        config["rule_files"][number] = str(own)
    targets = [admin.removeprefix("http://") for admin in admins]
    config["scrape_configs"][0]["static_configs"][0]["targets"] = targets
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = [PROGRAM, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [*command, f"--web.listen-address={address}", "--log.level=warn"], stdout=output, stderr=output
        )
    try:
        server = Prometheus(f"http://{address}")
        until_elsewhere(lambda: server.is_ready() or process.poll() is not None)
        assert process.poll() is None, (folder / "output").read_text("utf-8")
        yield server
        server.close()
    finally:
        process.terminate()
        process.wait(PATIENCE)


@contextmanager
def chats(url: str, pause: float = 0.0) -> Iterator[None]:
    """Chats that go on while the block runs: rewritten, blocked, allowed, whole and streamed, refused and left."""
    over = threading.Event()
    prompts = [*(answer.prompt for answer in ANSWERS), "Hello!", "Zorblax, please"]

    def talk() -> None:
        with sync_client() as client:
            number = 0
            while not over.wait(pause):
                number += 1
                body = {"model": "demo", "stream": number % 4 != 0}
                body["messages"] = [{"role": "user", "content": prompts[number % len(prompts)]}]
                if number % 7 == 0:
                    body["messages"] = "no list"
                if number % 11 == 0:
                    with client.stream("POST", f"{url}/v1/chat/completions", json=body) as answer:
                        next(answer.iter_raw(), b"")  # and leaves
                else:
                    client.post(f"{url}/v1/chat/completions", json=body)

    threads = [threading.Thread(target=talk) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


@contextmanager
def monitored(
    folder: Path, arguments: Sequence[str] = ("--demo-pace", "2ms")
) -> Iterator[tuple[ProxyProcess, Prometheus]]:
    """All of it."""
    with ExitStack() as stack:
        proxy = stack.enter_context(ProxyProcess(upstream="demo", policies=DEMO_POLICIES, arguments=arguments))
        server = stack.enter_context(prometheus(proxy.admin_url, folder=folder))
        stack.enter_context(chats(proxy.url, 0.05))
        yield proxy, server
