"""Cases from the field, rebuilt: the door. What operators see of a start, of a wrong model server, of first failures.

The ids are those of the table of cases; each docstring says what is right.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy.errors import PolicyError
from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from tests import plain_http
from tests.fakes import FakeUpstream, reply, reply_json, sse
from tests.phrases import block
from tests.policies import COPIES
from tests.proxy_process import REPOSITORY, ProxyProcess
from tests.server.running import Policies, Proxy, chat_body, running, said

CHAT = "/v1/chat/completions"
NOWHERE = "http://127.0.0.1:9"
NONE_OF_THEM = "answers, but is none of Ollama, LM Studio, llama.cpp: GET /v1/models gave 404"
MARKERS = (COPIES / "chat-markers.yaml").read_text("utf-8")
WORDS = "version: 1\npolicy: house\nrules: [{id: a, words: [zorblax], action: block}]\n"


@contextmanager
def plain_web_server(folder: Path) -> Iterator[str]:
    """`python -m http.server`, which is no model server."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            port = re.search(r"port (\d+)", process.stdout.readline())
            assert port is not None
            yield f"http://127.0.0.1:{port[1]}"
        finally:
            process.kill()


def served(policies: Path, upstream: str, *arguments: str, requests: tuple[str, ...] = ()) -> tuple[str, list[str]]:
    """All that a proxy wrote, and the bodies with which it answered a chat and a GET of these paths."""
    with ProxyProcess(upstream=upstream, policies=policies, arguments=arguments) as proxy:
        bodies = [
            plain_http.post(proxy.url + path, json=chat_body()).text
            if path == CHAT
            else plain_http.get(proxy.url + path).text
            for path in requests
        ]
    return proxy.log_text(), bodies


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A directory with one policy, which knows nothing of chat markers."""
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "house.yaml").write_text(WORDS, "utf-8")
    return folder


# n04: the first failure raises an alert


async def scraped(proxy: Proxy, name: str, **labels: str) -> float | None:
    """A series as Prometheus reads it; None if it is not there."""
    text = (await proxy.client.get(f"{proxy.admin_url}/metrics")).text
    for line in text.splitlines():
        found = re.fullmatch(rf"safety_proxy_{name}(?:{{(.*)}})? (\S+)", line)
        if found and dict(re.findall(r'(\w+)="([^"]*)"', found[1] or "")) == labels:
            return float(found[2])
    return None


@pytest.mark.anyio
async def test_n04_a_model_server_that_is_down_raises_the_alert() -> None:
    """`increase(safety_proxy_upstream_errors_total{reason="connect"}[5m]) > 0` fires: the series was there at 0."""
    async with running(NOWHERE) as proxy:
        assert await scraped(proxy, "upstream_errors_total", upstream=NOWHERE, reason="connect") == 0
        for _ in range(3):
            assert (await proxy.chat()).status == 502
        await proxy.exchange(2)
        assert await scraped(proxy, "upstream_errors_total", upstream=NOWHERE, reason="connect") == 3


@pytest.mark.anyio
async def test_n04_a_check_that_fails_raises_the_alert() -> None:
    """`increase(safety_proxy_internal_errors_total[5m]) > 0` fires, whatever the kind of failure."""

    class Broken:
        hold = 0

        def open(self) -> Broken:
            return self

        def feed(self, text: str, final: bool = False) -> None:
            raise LookupError("broken")

    async with (
        FakeUpstream(reply(sse(*said("Hello")))) as upstream,
        running(upstream, Policies(output=[Broken()])) as proxy,
    ):
        assert await scraped(proxy, "internal_errors_total") == 0
        await proxy.chat()
        await proxy.exchange()
        assert await scraped(proxy, "internal_errors_total") == 1


@pytest.mark.anyio
async def test_n04_requests_nobody_could_read_begin_at_0() -> None:
    """What can come of a request before its model is known is there from the start."""
    async with running(NOWHERE) as proxy:
        unread = {"endpoint": CHAT, "model": "", "stream": "false"}
        outcomes = ("rejected", "client_cancelled", "upstream_error", "proxy_error")
        for outcome in outcomes:
            assert await scraped(proxy, "requests_total", outcome=outcome, **unread) == 0
        await proxy.chat(messages=7)
        await proxy.exchange()
        assert await scraped(proxy, "requests_total", outcome="rejected", **unread) == 1


@pytest.mark.anyio
async def test_n04_what_a_model_can_come_to_begins_with_its_first_request() -> None:
    """The first block, error or cut prompt of a model that has answered before is seen to rise."""
    answers = [reply(sse(*said("Hello"))), reply_json({"error": "no"}, status=500)]
    async with FakeUpstream(answers) as upstream, running(upstream, Policies(input=[block("BAD")])) as proxy:
        await proxy.chat()
        await proxy.exchange()
        labels = {"endpoint": CHAT, "model": "tiny", "stream": "true"}
        assert await scraped(proxy, "requests_total", outcome="allowed", **labels) == 1
        assert await scraped(proxy, "requests_total", outcome="upstream_error", **labels) == 0
        assert await scraped(proxy, "requests_total", outcome="blocked", **labels) == 0
        assert await scraped(proxy, "prompt_truncated_total", model="tiny") == 0
        await proxy.chat()
        await proxy.chat(content="BAD")
        await proxy.exchange(2)
        assert await scraped(proxy, "requests_total", outcome="upstream_error", **labels) == 1
        assert await scraped(proxy, "requests_total", outcome="blocked", **labels) == 1


@pytest.mark.anyio
async def test_n04_every_alert_has_its_series_at_the_start() -> None:
    """Each counter whose increase is an alert is exposed at 0 by a proxy that has not served anything yet; those of a
    model's name wait for the model."""
    rules = (REPOSITORY / "deploy/prometheus/alerts.yml").read_text("utf-8")
    alerts = re.findall(r"increase\(safety_proxy_(\w+)(?:\{([^}]*)\})?\[", rules)
    assert len(alerts) >= 5
    async with running(NOWHERE) as proxy:
        text = (await proxy.client.get(f"{proxy.admin_url}/metrics")).text
        for name, labels in alerts:
            if name != "prompt_truncated_total":
                wanted = set(re.findall(r'(\w+)="([^"]*)"', labels))
                found = re.findall(rf"^safety_proxy_{name}(\{{.*\}})? 0\.0$", text, re.MULTILINE)
                assert any(wanted <= set(re.findall(r'(\w+)="([^"]*)"', series)) for series in found), name


# n05: a model server that is none


def test_n05_a_web_server_is_told_as_what_it_is(house: Path, tmp_path: Path) -> None:
    """Banner, log and errors: its URL, what it was asked, the status of its answer, and that it is no model server."""
    with plain_web_server(tmp_path) as url:
        log, (chat, models) = served(house, url, requests=(CHAT, "/v1/models"))
    banner = log.partition("safety-proxy ")[2]
    assert f"upstream  {url}\n          {NONE_OF_THEM}\n" in banner
    assert "does not answer yet" not in log
    lines = [line.partition(" WARNING ")[2] for line in log.splitlines() if " WARNING " in line]
    assert f"the model server at {url} {NONE_OF_THEM}" in lines
    page = "and a web page: something else may be at its address"
    assert [line for line in lines if f"POST {url}{CHAT}: The model server answered with status 501 {page}" in line]
    assert f"GET {url}/v1/models: The model server answered with status 404 {page} (status_4xx)" in lines
    assert f"The model server answered with status 501 {page}" in chat
    assert f"The model server answered with status 404 {page}" in models


def test_n05_a_model_server_that_is_not_there_yet_is_told_as_before(house: Path) -> None:
    """It may come up later: banner and log say so, and each failed request is logged with its URL."""
    log, (chat,) = served(house, NOWHERE, requests=(CHAT,))
    assert "          does not answer yet; requests get 502 until it does\n" in log
    assert "WARNING the model server at http://127.0.0.1:9 does not answer yet; requests get 502 until it does\n" in log
    assert f": POST http://127.0.0.1:9{CHAT}: The model server cannot be reached; is it running?" in log
    assert "cannot be reached" in chat


@pytest.mark.anyio
async def test_n05_lists_that_fail_again_and_again_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Apps ask for them all the time; after one that came the next failure is news again."""
    answers = [
        *[reply(b"<html>", status=404, content_type="text/html")] * 3,
        reply_json({"object": "list", "data": []}),
        reply(b"<html>", status=404, content_type="text/html"),
    ]
    async with FakeUpstream(answers) as upstream, running(upstream) as proxy:
        for status in (404, 404, 404, 200, 404):
            assert (await proxy.client.get(f"{proxy.url}/v1/models")).status_code == status
        assert sum(f"GET {upstream.url}/v1/models: " in message for message in caplog.messages) == 2


@pytest.mark.anyio
async def test_n05_a_name_that_is_no_model_is_no_failure_of_the_model_server(caplog: pytest.LogCaptureFixture) -> None:
    """What clients ask for does not fill the log."""
    async with (
        FakeUpstream(lambda _: reply_json({"error": "not found"}, status=404)) as upstream,
        running(upstream) as proxy,
    ):
        assert (await proxy.client.get(f"{proxy.url}/v1/models/nobody")).status_code == 404
        assert (await proxy.client.post(f"{proxy.url}/api/show", json={"model": "nobody"})).status_code == 404
        assert not caplog.messages


# n09: errors of a policy file all at once


def problems(text: str) -> list[str]:
    """What is wrong with a policy file."""
    with pytest.raises(PolicyError) as caught:
        compile_policies([Source("policies/house.yaml", text.encode())], hash_key=b"key")
    return caught.value.problems


def test_n09_an_unknown_key_and_a_bad_pattern_in_one_rule() -> None:
    """Both are told, in one go."""
    rule = "{id: twice, pattern: '(\\w)\\1', colour: red, action: block}"
    found = problems(f"version: 1\npolicy: house\nrules: [{rule}]\n")
    assert len(found) == 2
    assert "unknown key `colour`" in "".join(found)
    assert "back-references are not supported" in "".join(found)


def test_n09_a_useless_key_and_a_bad_pattern_in_one_rule() -> None:
    """The kind: whatever is wrong beside it, what a rule looks for is looked at."""
    rule = "{id: limits.x, pattern: '(\\w)\\1', message: No., action: rewrite, fold: maybe}"
    found = "\n".join(problems(f"version: 1\npolicy: house\nrules: [{rule}]\n"))
    for part in ("back-references", "`message` means nothing", "`fold` has to be true or false", "`limits.` is for"):
        assert part in found


def test_n09_a_misspelt_source_is_one_problem() -> None:
    """What a rule looks for is then unknown: nothing more can be said of it."""
    found = problems("version: 1\npolicy: house\nrules: [{id: a, wrods: [b], action: block}]\n")
    assert len(found) == 1
    assert "did you mean `words`?" in found[0]


# r11: a start without a rule on chat markers


def test_r11_a_start_without_a_rule_on_markers_is_told(house: Path) -> None:
    """One line: that prompts can forge turns, and how to prevent it."""
    log, _ = served(house, NOWHERE)
    (line,) = [line for line in log.splitlines() if "forge turns" in line]
    assert str(house) in line
    assert "detector: turn_markers" in line
    assert "action: rewrite" in line
    assert "chat-markers.yaml" in line


def test_r11_the_rule_that_the_line_names_is_enough(house: Path) -> None:
    """With it, as with the shipped file, nothing is told."""
    rule = "{id: turns, detector: turn_markers, action: rewrite, directions: [input]}"
    (house / "turns.yaml").write_text(f"version: 1\npolicy: turns\nrules: [{rule}]\n", "utf-8")
    assert "forge turns" not in served(house, NOWHERE)[0]
    (house / "turns.yaml").write_text(MARKERS, "utf-8")
    assert "forge turns" not in served(house, NOWHERE)[0]


@pytest.mark.parametrize(
    "policy",
    [
        "mode: monitor\nrules: [{id: a, detector: turn_markers, action: rewrite}]",
        "rules: [{id: a, detector: turn_markers, action: flag}]",
        "rules: [{id: a, detector: turn_markers, action: rewrite, directions: [output]}]",
        "applies_to: {directions: [output]}\nrules: [{id: a, detector: chat_markers, action: block}]",
        "rules: [{id: a, detector: channel_markers, action: rewrite}]",
    ],
)
def test_r11_a_rule_that_leaves_turn_markers_in_prompts_is_none(policy: str) -> None:
    """It watches, looks at answers, or looks at other markers."""
    source = Source("a.yaml", f"version: 1\npolicy: a\n{policy}\n".encode())
    assert not compile_policies([source], hash_key=b"key").guards_turns


# The admin listener


def test_an_admin_listener_that_others_can_reach_is_told(house: Path) -> None:
    """In the banner and in the log: who can reach it needs no key."""
    log, _ = served(house, NOWHERE, "--admin", "0.0.0.0:0", "--allow-anonymous", "true")
    told = re.findall(r"listening on 0\.0\.0\.0:\d+: other machines can reach it, and see metrics", log)
    assert len(told) == 2
    assert re.search(r" WARNING admin: listening on 0\.0\.0\.0:", log)


def test_an_admin_listener_of_this_machine_is_not(house: Path) -> None:
    """The default needs no warning."""
    assert "without a key" not in served(house, NOWHERE)[0]
