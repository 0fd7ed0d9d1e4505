"""Plug-ins in a running proxy: what they find acts in streams and prompts, and what they do wrong goes by on_error."""

from __future__ import annotations

import logging
from itertools import count
from typing import Any, cast

import pytest

from proxy.checks.kinds import CheckKind
from proxy.checks.plugin_pass import Budget
from proxy.checks.registry import Plugin, Registry, make_registry
from proxy.core.check import Progress
from proxy.core.failures import CheckFailed, Failures, Reason
from proxy.core.types import Finding, Rule
from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from proxy.server.exchange.record import Exchange
from proxy.server.ops.plugin_log import INTERVAL, PluginLog
from proxy.server.ops.records import record_of
from tests.checks.plugin_checks import Odd, Scripted, Word
from tests.fakes import FakeUpstream, reply, sse
from tests.server.running import Answer, Policies, running, said

pytestmark = pytest.mark.anyio

SECRET = "zorblax"
POLICY = """
version: 1
policy: house
on_error: {on_error}
rules:
  - {{id: odd, check: odd, action: {action}, directions: [{where}]}}
  - {{id: secret, words: [{secret}], action: rewrite, replacement: "[secret]"}}
"""


class Clock:
    """Time that checks take."""

    now = 0.0

    def __call__(self) -> tuple[float, float]:
        return 0.0, Clock.now


def registry_of(make: Any) -> Registry:
    """A registry with the kind `odd`, whose checks this makes."""
    kind = CheckKind("odd", "does something odd", make, version="0.7")
    return make_registry([Plugin(kind, "file odd.py", "0.7")], Budget(0.05, Clock()))


def policies_of(
    registry: Registry, on_error: str = "block", action: str = "block", where: str = "input, output"
) -> Policies:
    """The policy, compiled."""
    text = POLICY.format(on_error=on_error, action=action, secret=SECRET, where=where)
    return cast(Policies, compile_policies([Source("p.yaml", text.encode())], hash_key=b"k", registry=registry))


def odd(rule: Rule, do: Any) -> Odd:
    """A check that does nothing wrong before it has to do with an answer: the policy can be loaded."""

    def feed(scan: Scripted, text: str, final: bool) -> Any:
        return do(scan, text, final, rule) if LIVE else Progress(scan.read)

    return Odd(feed)


LIVE: list[bool] = []


@pytest.fixture(autouse=True)
def _live() -> Any:
    """Checks behave until the test has loaded its policy."""
    LIVE.clear()
    yield
    LIVE.clear()


def sleeps(scan: Scripted, text: str, final: bool, rule: Rule) -> Progress:
    """Nobody's processor, but everybody's time."""
    Clock.now += 3.0
    return Progress(scan.read)


def changes_its_answer(scan: Scripted, text: str, final: bool, rule: Rule) -> Progress:
    """A find that is not there when the text is read again, character by character."""
    found = (Finding(scan.read - 1, scan.read, rule),) if "Zor" in text else ()
    return Progress(scan.read, found)


def raises_at_the_third(scan: Scripted, text: str, final: bool, rule: Rule) -> Progress:
    """With the text in its message."""
    if scan.feeds == 3:
        raise RuntimeError(f"cannot read {text} {SECRET}")
    return Progress(scan.read)


def text_of(answer: Answer) -> str:
    """What a chat app shows."""
    events = [event for event in answer.events() if isinstance(event, dict)]
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in events)


HOSTILE = {
    "holds for ever": (lambda scan, text, final, rule: Progress(0), "undecided"),
    "raises at the third feed": (raises_at_the_third, "raised"),
    "returns rubbish": (lambda scan, text, final, rule: {"verdict": "fine"}, "wrong_answer"),
    "sleeps": (sleeps, "time"),
    "changes its answer": (changes_its_answer, "wrong_answer"),
    "goes back": (lambda scan, text, final, rule: Progress(scan.read if scan.feeds < 3 else 0), "watermark"),
}
ANSWER = said("Hello ", "there, ", "Zor", "blax", " is ", "the name.")


async def test_the_time_of_a_plug_in_stands_in_the_record_and_the_metrics() -> None:
    """What its check took on the processor, for the prompt and all of the answer, under its name."""
    kind = CheckKind("odd", "does something odd", lambda rule, _: odd(rule, lambda scan, *_: Progress(scan.read)))
    ticks = count()
    registry = make_registry([Plugin(kind, "file odd.py", "0.7")], Budget(1e9, lambda: (float(next(ticks)), 0.0)))
    async with (
        FakeUpstream(reply(sse(*ANSWER))) as upstream,
        running(upstream, policies_of(registry), registry=registry) as proxy,
    ):
        await proxy.chat()
        exchange = await proxy.exchange()
        assert record_of(exchange)["checks"]["odd"] == exchange.check_seconds["odd"] >= 2
        assert proxy.metric("check_duration_seconds_count", check="odd") == 1
        assert proxy.metric("check_duration_seconds_sum", check="odd") == exchange.check_seconds["odd"]


@pytest.mark.parametrize(("do", "reason"), HOSTILE.values(), ids=list(HOSTILE))
@pytest.mark.parametrize("where", ["input", "output"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_hostile_check_blocks(
    do: Any, reason: str, stream: bool, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With a proper end, a notice like any other, a count by name, and a line in the log without any text."""
    caplog.set_level(logging.INFO)
    registry = registry_of(lambda rule, _: odd(rule, do))
    policies = policies_of(registry, where=where)
    async with FakeUpstream(reply(sse(*ANSWER))) as upstream, running(upstream, policies, registry=registry) as proxy:
        LIVE.append(True)
        prompt = [{"role": "user", "content": [{"type": "text", "text": text} for text in (*"abc", "Hi Zorro")]}]
        answer = await proxy.chat(messages=prompt, stream=stream)
        assert answer.complete
        assert answer.status == (400 if where == "input" else 200)
        body = answer.body.lower()
        assert SECRET.encode() not in body
        assert (await proxy.exchange()).outcome == "blocked"
        assert proxy.metric("check_errors_total", check="odd", reason=reason, on_error="block") == 1
    lines = [record.getMessage() for record in caplog.records if "the check odd" in record.getMessage()]
    assert len(lines) == 1
    assert lines[0].endswith(": the text was blocked")
    assert SECRET not in caplog.text


@pytest.mark.parametrize(("do", "reason"), HOSTILE.values(), ids=list(HOSTILE))
async def test_with_on_error_allow_the_answer_passes_and_the_other_rules_hold(do: Any, reason: str) -> None:
    """Only the check that failed is out; what another rule hides stays hidden."""
    registry = registry_of(lambda rule, _: odd(rule, do))
    policies = policies_of(registry, "allow", where="output")
    async with FakeUpstream(reply(sse(*ANSWER))) as upstream, running(upstream, policies, registry=registry) as proxy:
        LIVE.append(True)
        answer = await proxy.chat(content="Hi")
        text = text_of(answer)
        assert text == "Hello there, [secret] is the name."
        assert answer.complete
        assert proxy.metric("check_errors_total", check="odd", reason=reason, on_error="allow") == 1


@pytest.mark.parametrize("on_error", ["block", "allow"])
async def test_a_check_that_takes_too_long_is_asked_once_for_a_request(on_error: str) -> None:
    """However many texts the request has: a slow plug-in must not keep everybody waiting for each of them."""
    made: list[Odd] = []

    def make(rule: Rule, _: Any) -> Odd:
        made.append(odd(rule, sleeps))
        return made[-1]

    registry = registry_of(make)
    policies = policies_of(registry, on_error)
    tool = {"type": "function", "function": {"name": "look_up", "description": "Looks up.", "parameters": {}}}
    messages = [{"role": role, "content": f"text {i}"} for i in range(20) for role in ("user", "assistant")]
    messages.append({"role": "user", "content": "the last one"})
    async with FakeUpstream(reply(sse(*ANSWER))) as upstream, running(upstream, policies, registry=registry) as proxy:
        before = sum(len(check.opened) for check in made)
        LIVE.append(True)
        Clock.now = 0.0
        answer = await proxy.chat(messages=messages, tools=[tool] * 20)
        assert answer.complete
        assert answer.status == (200 if on_error == "allow" else 400)
        assert Clock.now == 3.0
        assert sum(len(check.opened) for check in made) == before + 1


async def test_what_a_plug_in_finds_acts_in_prompts_answers_and_calls() -> None:
    """As a rule of the proxy's own kinds does."""
    registry = registry_of(lambda rule, _: Word(rule, "bomb"))
    policies = policies_of(registry, action="rewrite")
    answer_with = said("a bo", "mb, b", "omb")
    async with (
        FakeUpstream(reply(sse(*answer_with))) as upstream,
        running(upstream, policies, registry=registry) as proxy,
    ):
        answer = await proxy.chat(content="my bomb here")
        text = text_of(answer)
        assert text == "a [removed], [removed]"
        sent = (await upstream.exchange()).request.json()
        assert sent["messages"][-1]["content"] == "my [removed] here"
        refused = await proxy.client.post(f"{proxy.url}/v1/moderations", json={"input": "a bomb"})
        assert refused.json()["results"][0]["categories"]["house/odd"]


async def test_plug_ins_are_named_in_status_and_metrics() -> None:
    """With version and origin."""
    registry = registry_of(lambda rule, _: Word(rule))
    async with running("http://127.0.0.1:1", policies_of(registry), registry=registry) as proxy:
        status = (await proxy.client.get(f"{proxy.admin_url}/admin/status")).json()
        assert status["plugins"] == [{"check": "odd", "version": "0.7", "origin": "file odd.py", "named_by": "check"}]
        assert proxy.metric("plugin_info", check="odd", version="0.7", origin="file odd.py") == 1


def failed(reason: Reason, on_error: str = "block") -> Exchange:
    """An exchange in which a check has failed."""
    failures = Failures()
    failures.note(CheckFailed("odd", reason, "raised ValueError in odd:3"), on_error)
    return Exchange("/v1/chat/completions", id="c0ffee", plugin_failures=failures)


def test_the_log_names_a_failure_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Each check and reason has a line at once; what came since is counted in the next one."""
    now = [0.0]
    log = PluginLog(lambda: now[0])
    for at, exchange in [
        (0.0, failed(Reason.RAISED)),
        (1.0, failed(Reason.RAISED)),
        (2.0, failed(Reason.TIME)),
        (3.0, failed(Reason.RAISED, "allow")),
        (INTERVAL - 1, failed(Reason.RAISED)),
        (INTERVAL, failed(Reason.RAISED)),
        (INTERVAL + 1, Exchange("/v1/chat/completions")),
    ]:
        now[0] = at
        log.end(exchange)
    head = "request c0ffee: the check odd raised ValueError in odd:3: "
    assert [record.getMessage() for record in caplog.records] == [
        f"{head}the text was blocked",
        f"{head}the text was blocked",
        f"{head}the text passed unjudged",
        f"{head}the text was blocked, and 2 more since the last line",
    ]
