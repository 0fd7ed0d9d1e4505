"""What is shipped for nginx, Caddy and HAProxy, in the real programs, with TLS, in front of a running proxy."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.settings import Settings
from tests.deploy.reverse_proxies import FOLDER, NAMES, SILENCE, front, program
from tests.fakes import Answer, FakeUpstreamThread, Request, Stall, Wait, reply, reply_json, sse
from tests.policies import COPIES
from tests.proxy_process import ProxyProcess
from tests.server.running import chunk, said

CHAT = "/v1/chat/completions"
WORDS = ["one", "two", "three", "four", "five"] * 10
COMMENT_EVERY = "100ms"
MORE_COMMENTS_THAN_THE_TIME_OUT = 15
FILES = {"nginx": "nginx.conf", "caddy": "Caddyfile", "haproxy": "haproxy.cfg"}


class Model:
    """A model server whose next answer is set by the test."""

    def __init__(self) -> None:
        self.answer: Answer = reply_json({})
        self.server = FakeUpstreamThread(lambda _: self.answer)

    @property
    def last(self) -> Request:
        """The request that came last."""
        return self.server.requests[-1]


@pytest.fixture(name="model", scope="module")
def fixture_model() -> Iterator[Model]:
    """One for all tests."""
    model = Model()
    with model.server:
        yield model


@pytest.fixture(name="proxy", scope="module")
def fixture_proxy(model: Model) -> Iterator[ProxyProcess]:
    """It says something often, so that a short time-out shows what a long one would."""
    arguments = ["--keep-alive", COMMENT_EVERY, "--proxy-headers-from", "127.0.0.1"]
    with ProxyProcess(upstream=model.server.url, policies=COPIES, arguments=arguments) as proxy:
        yield proxy


@pytest.fixture(name="client", scope="module", params=NAMES)
def fixture_client(
    request: pytest.FixtureRequest, proxy: ProxyProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """Talks TLS with each of them."""
    if program(request.param) is None:
        pytest.skip(f"{request.param} is not installed (Debian's package of that name)")
    with front(request.param, tmp_path_factory.mktemp("front") / request.param, [proxy]) as client:
        yield client


@pytest.fixture(name="impatient", params=NAMES)
def fixture_impatient(request: pytest.FixtureRequest, proxy: ProxyProcess, tmp_path: Path) -> Iterator[httpx.Client]:
    """The same, with a time-out of a second in the place of minutes."""
    if program(request.param) is None:
        pytest.skip(f"{request.param} is not installed (Debian's package of that name)")
    with front(request.param, tmp_path / request.param, [proxy], SILENCE) as client:
        yield client


def body(**more: Any) -> dict[str, Any]:
    """A request for a stream."""
    return {"model": "tiny", "stream": True, "messages": [{"role": "user", "content": "Hello"}], **more}


def data(line: str) -> str:
    """The text of an event's line; empty for anything else."""
    event = json.loads(line[6:]) if line.startswith("data: {") else {}
    return "".join(str(choice["delta"].get("content") or "") for choice in event.get("choices", []))


def test_a_stream_passes_event_by_event(client: httpx.Client, model: Model) -> None:
    """The model sends the next event only when the one before has arrived at the client."""
    words = ["one ", "two ", "three "]
    gates = [asyncio.Event() for _ in words]
    steps: list[Any] = [*sse(chunk(delta={"role": "assistant"}))]
    for word, gate in zip(words, gates, strict=True):
        steps += [*sse(chunk(word)), Wait(gate)]
    model.answer = reply([*steps, *sse(chunk(finish="stop"), "[DONE]")])
    arrived = []
    with client.stream("POST", CHAT, json=body()) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if text := data(line):
                arrived.append(text)
                model.server.set(gates[len(arrived) - 1])
    assert arrived == words
    assert line == "" or line == "data: [DONE]"


def test_long_silences_pass(impatient: httpx.Client, model: Model) -> None:
    """A model that thinks for longer than the time-out is waited for: the proxy's comments keep the stream alive."""
    awake = asyncio.Event()
    model.answer = reply([Stall(awake), *sse(*said("Hello"))])
    comments, texts = 0, []
    with impatient.stream("POST", CHAT, json=body()) as answer:
        for line in answer.iter_lines():
            comments += line.startswith(":")
            if comments == MORE_COMMENTS_THAN_THE_TIME_OUT:
                model.server.set(awake)
            texts.append(data(line))
    assert "".join(texts) == "Hello"


def test_a_client_that_leaves_stops_the_model(client: httpx.Client, model: Model) -> None:
    """The reverse proxy closes its connection too, and so the model server's is closed."""
    model.answer = reply([*sse(chunk("Hello there, ")), Stall()])
    before = len(model.server.requests)
    with client.stream("POST", CHAT, json=body()) as answer:
        assert next(text for line in answer.iter_lines() if (text := data(line))).startswith("Hello")
    model.server.wait_client_closed(before)


def test_a_large_prompt_passes(client: httpx.Client, model: Model) -> None:
    """More than the megabyte that nginx takes by default."""
    model.answer = reply_json({**chunk(), "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}}]})
    text = "so far so good " * 100_000
    answer = client.post(CHAT, json=body(stream=False, messages=[{"role": "user", "content": text}]))
    assert answer.status_code == 200, answer.text
    assert json.loads(model.last.body)["messages"][0]["content"] == text


def test_streams_at_once_keep_apart(client: httpx.Client, model: Model) -> None:
    """Several streams over the kept connections: each client has its own answer, whole."""
    model.answer = reply(sse(*said(*(f"{word} " for word in WORDS))))
    found: list[str] = []

    def ask() -> None:
        with client.stream("POST", CHAT, json=body()) as answer:
            found.append("".join(map(data, answer.iter_lines())))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["".join(f"{word} " for word in WORDS)] * 8


@pytest.mark.parametrize("name", NAMES)
def test_time_outs_are_longer_than_the_proxys(name: str) -> None:
    """Minutes in the shipped file: at least first_byte_timeout, so that the proxy is who gives up, and says why."""
    text = (FOLDER / FILES[name]).read_text("utf-8")
    minutes = [int(found) for found in re.findall(r"(?:read_timeout|header_timeout|client|server) +(\d+)m\b", text)]
    assert minutes
    assert min(minutes) * 60 > Settings().first_byte_timeout
