"""Two and four proxies behind a real HAProxy on one machine: that it is right, not how fast it is."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests import plain_http
from tests.deploy.reverse_proxies import front, program
from tests.deploy.test_reverse_proxies import CHAT, COMMENT_EVERY, Model, body, data
from tests.fakes import Answer, Wait, reply, sse
from tests.policies import COPIES
from tests.proxy_process import ProxyProcess, ProxyProcessError
from tests.server.running import chunk, said
from tests.waiting import PATIENCE, until_elsewhere

pytestmark = [
    pytest.mark.long,
    pytest.mark.replicas,
    pytest.mark.skipif(program("haproxy") is None, reason="haproxy is not installed (Debian's package of that name)"),
]

STREAMS = 8
TEXT = "Hello there, world. "


class Replicas(NamedTuple):
    """Proxies that share nothing but the model server, each with a directory of policies of its own."""

    proxies: list[ProxyProcess]
    folders: list[Path]
    client: httpx.Client
    model: Model

    def metric(self, index: int, name: str) -> list[str]:
        """The lines of a metric of one of them."""
        text = plain_http.get(f"{self.proxies[index].admin_url}/metrics").text
        return [line for line in text.splitlines() if line.startswith(name)]

    def running(self, index: int) -> int:
        """How many requests are under way in one of them."""
        return sum(
            int(float(line.rpartition(" ")[2])) for line in self.metric(index, "safety_proxy_requests_in_flight{")
        )

    def revisions(self) -> set[str]:
        """The policies in force, by their digests, as the alert for version skew counts them."""
        lines = [line for index in range(len(self.proxies)) for line in self.metric(index, "safety_proxy_policy_info{")]
        return {found[1] for line in lines if line.endswith(" 1.0") and (found := re.search(r'sha256="(\w+)"', line))}


class Streams:
    """Streams that have all begun, and stand still until they are let go on."""

    def __init__(self, replicas: Replicas) -> None:
        self.texts: list[str] = []
        self.broken = 0
        self._replicas = replicas
        self._gate = asyncio.Event()
        self._begun = threading.Semaphore(0)
        first, second = sse(chunk(TEXT[:13])), sse(chunk(TEXT[13:]), chunk(finish="stop"), "[DONE]")
        replicas.model.answer = reply([*first, Wait(self._gate), *second])
        self._threads = [threading.Thread(target=self._read) for _ in range(STREAMS)]
        for thread in self._threads:
            thread.start()
        for _ in self._threads:
            assert self._begun.acquire(timeout=PATIENCE)

    def go_on(self) -> None:
        """Let them go on."""
        self._replicas.model.server.set(self._gate)

    def finish(self) -> None:
        """Let them go on to their ends."""
        self.go_on()
        for thread in self._threads:
            thread.join()

    def _read(self) -> None:
        text, ended = "", False
        try:
            with self._replicas.client.stream("POST", CHAT, json=body()) as answer:
                for line in answer.iter_lines():
                    if not text and data(line):
                        self._begun.release()
                    text += data(line)
                    ended = ended or line == "data: [DONE]"
        except httpx.TransportError:
            pass  # as of a stream whose proxy was killed
        if ended:
            self.texts.append(text)
        else:
            self.broken += 1


@pytest.fixture(name="replicas", params=[2, 4])
def fixture_replicas(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Replicas]:
    """All of them running, and found ready by HAProxy."""
    model = Model()
    with model.server, ExitStack() as stack:
        folders = [tmp_path / f"policies{number}" for number in range(request.param)]
        proxies = []
        for folder in folders:
            shutil.copytree(COPIES, folder)
            arguments = ["--keep-alive", COMMENT_EVERY, "--grace", f"{PATIENCE:g}s"]
            proxy = ProxyProcess(upstream=model.server.url, policies=folder, arguments=arguments)
            proxies.append(proxy.__enter__())
            stack.callback(_end, proxy)
        client = stack.enter_context(front("haproxy", tmp_path / "haproxy", proxies))
        yield Replicas(proxies, folders, client, model)


def _end(proxy: ProxyProcess) -> None:
    """End it with SIGTERM, unless a test has ended it already."""
    try:
        assert proxy.pid
    except ProxyProcessError:
        return
    proxy.__exit__(None, None, None)


def answer(text: str = "Hello") -> Answer:
    """A stream that is sent at once."""
    return reply(sse(*said(text)))


def served(replicas: Replicas, requests: int = STREAMS) -> set[int]:
    """The statuses of requests one after the other."""
    replicas.model.answer = answer()
    return {replicas.client.post(CHAT, json=body()).status_code for _ in range(requests)}


def all_but(replicas: Replicas, index: int) -> Sequence[int]:
    """The others."""
    return [number for number in range(len(replicas.proxies)) if number != index]


def test_streams_are_shared_and_a_reload_breaks_none(replicas: Replicas) -> None:
    """Every proxy has some of the streams; SIGHUP reaches all of them while they run, and each text is whole."""
    streams = Streams(replicas)
    assert all(replicas.running(index) for index in range(len(replicas.proxies)))
    for proxy in replicas.proxies:
        os.kill(proxy.pid, signal.SIGHUP)
    for index in range(len(replicas.proxies)):
        until_elsewhere(partial(_has_reloaded, replicas, index))
    streams.finish()
    assert (streams.texts, streams.broken) == ([TEXT] * STREAMS, 0)


def _has_reloaded(replicas: Replicas, index: int) -> bool:
    (line,) = replicas.metric(index, 'safety_proxy_policy_reloads_total{result="success"}')
    return float(line.rpartition(" ")[2]) >= 2  # the first was at the start


POLICY = """
version: 1
policy: rolled
rules:
  - id: words.rolled
    words: ["quibblefrog"]
    action: rewrite
    replacement: "[rolled]"
    examples:
      hits: ["Quibblefrog."]
      misses: ["quibble"]
"""


def test_a_policy_change_rolls_through(replicas: Replicas) -> None:
    """One after the other gets the edit while streams run. Meanwhile two revisions are in force, which the metric of
    the alert shows; afterwards one is. A request is judged by one of them, never by a mixture, and none fails."""
    streams = Streams(replicas)
    assert len(replicas.revisions()) == 1
    for number, folder in enumerate(replicas.folders):
        (folder / "rolled.yaml").write_text(POLICY, "utf-8")
        until_elsewhere(partial(replicas.metric, number, 'safety_proxy_policy_info{policy="rolled"'))
        is_last = number == len(replicas.folders) - 1
        assert len(replicas.revisions()) == (1 if is_last else 2)
        replicas.model.answer = answer("Quibblefrog. ")
        for _ in range(2 * len(replicas.folders)):
            text = "".join(map(data, replicas.client.post(CHAT, json=body()).text.splitlines()))
            assert text in ({"[rolled]. "} if is_last else {"[rolled]. ", "Quibblefrog. "})
    streams.finish()
    assert (streams.texts, streams.broken) == ([TEXT] * STREAMS, 0)


def test_a_proxy_that_stops_finishes_its_streams(replicas: Replicas) -> None:
    """SIGTERM: HAProxy sends it nothing new, no request fails, and its streams go on to their ends."""
    streams = Streams(replicas)
    assert replicas.running(0) > 0
    os.kill(replicas.proxies[0].pid, signal.SIGTERM)
    until_elsewhere(lambda: plain_http.get(f"{replicas.proxies[0].admin_url}/readyz").status_code == 503)
    assert served(replicas) == {200}
    streams.finish()
    assert (streams.texts, streams.broken) == ([TEXT] * STREAMS, 0)


def test_a_proxy_that_is_killed_breaks_its_own_streams_only(replicas: Replicas) -> None:
    """SIGKILL: as many streams break as it had, and a client can tell; the others are whole, new ones are served."""
    streams = Streams(replicas)
    lost = replicas.running(0)
    assert 0 < lost < STREAMS
    assert sum(replicas.running(index) for index in all_but(replicas, 0)) == STREAMS - lost
    os.kill(replicas.proxies[0].pid, signal.SIGKILL)
    with pytest.raises(ProxyProcessError, match="code -9"):
        replicas.proxies[0].__exit__(None, None, None)
    assert served(replicas) == {200}
    streams.finish()
    assert (streams.texts, streams.broken) == ([TEXT] * (STREAMS - lost), lost)
