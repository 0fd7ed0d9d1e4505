"""Answers and prompts behind guards and topics, whole: policy files, a scripted Ollama with all models, a client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from proxy.checks.guards.judge import GuardQuestion
from proxy.checks.registry import make_registry
from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from proxy.policy.policyset import PolicySet
from proxy.server.guards.judges import Judges
from proxy.server.ops.records import record_of
from tests.checks.guards.formats import FORMATS
from tests.fakes import Answer, FakeUpstream, Request, Stall, reply, reply_json, sse
from tests.fakes.answers import Wait
from tests.server.backends.several import Scripted
from tests.server.guards.asking import GUARD, MINILM, embeds, says
from tests.server.running import Proxy, chat_body, running, said
from tests.waiting import until

pytestmark = pytest.mark.anyio

REGISTRY = make_registry(formats=FORMATS)
JUDGE = f"check: judge, options: {{format: llama-guard-3-1b, model: '{GUARD}', shortest: 4"
SENTENCES = ("Take the flour. ", "Add the poison. ", "Stir it well.")
TOPIC = f"""check: topic, options: {{model: {MINILM}, shortest: 4,
  examples: [Boil the egg., Bake the bread., Fry the fish.],
  counter_examples: [Sing a song., Buy a hammer., Read the news.]}}"""


def policies(*rules: str, on_error: str = "block") -> PolicySet:
    """A policy file with these rules."""
    lines = "".join(f"  - {{id: r{i}, {rule}}}\n" for i, rule in enumerate(rules))
    text = f"version: 1\npolicy: p\non_error: {on_error}\nrules:\n{lines}"
    return compile_policies([Source("p.yaml", text.encode())], hash_key=b"key", registry=REGISTRY)


class Models:
    """An Ollama with a chat model, a guard and an embedding model.

    verdicts: of the guard, by a word of the text that it judges; else it is safe
    prompts:  what the guard was asked
    """

    def __init__(self, chat: Iterable[Any], verdict: Callable[[str], Answer]) -> None:
        self._chat = chat
        self._verdict = verdict
        self.prompts: list[str] = []

    def __call__(self, request: Request) -> Answer:
        """See Scripted."""
        body = json.loads(request.body)
        if request.path == "/api/embed":
            return embeds(request)
        if request.path == "/api/generate" and body["model"] == GUARD:
            self.prompts.append(body["prompt"])
            return self._verdict(body["prompt"])
        return reply(self._chat)


def minds(word: str, category: str = "S1") -> Callable[[str], Answer]:
    """A guard that finds a word unsafe, in what it judges."""
    return lambda prompt: says(f"unsafe\n{category}" if word in prompt.partition("<BEGIN CONV")[2] else "safe")


@asynccontextmanager
async def guarded(models: Models, rules: PolicySet, **config: Any) -> AsyncIterator[tuple[Proxy, FakeUpstream]]:
    """A proxy with these policies in front of these models."""
    script = Scripted("one", {"m": "a", GUARD: "b", MINILM: "c"}, "ollama", models)
    async with FakeUpstream(script) as upstream, running(upstream, cast(Any, rules), **config) as proxy:
        yield proxy, upstream


async def chat(proxy: Proxy, text: str = "Hello", **more: Any) -> Any:
    """One chat request."""
    return await proxy.chat(model="m", messages=[{"role": "user", "content": text}], **more)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_ends_before_the_segment_that_a_guard_minds(stream: bool) -> None:
    """The sentence before it is there, nothing of it is, and the guard saw the conversation."""
    models = Models(sse(*said(*SENTENCES)), minds("poison"))
    async with guarded(models, policies(f"{JUDGE}}}, action: block, directions: [output]")) as (proxy, _):
        answer = await chat(proxy, "How do I bake?", stream=stream)
        assert b"Take the flour." in answer.body
        assert b"poison" not in answer.body
        assert b"Stir" not in answer.body
        assert (await proxy.exchange()).outcome == "blocked"
    assert "User: How do I bake?\n\nAgent: Take the flour.\n\n<END" in models.prompts[0]
    assert any("Agent: Take the flour. Add the poison.\n\n<END" in prompt for prompt in models.prompts)


async def test_an_answer_that_a_guard_does_not_mind() -> None:
    """It is what it was, and its metrics tell of the guard."""
    models = Models(sse(*said(*SENTENCES)), minds("nothing of that"))
    async with guarded(models, policies(f"{JUDGE}}}, action: block, directions: [output]")) as (proxy, _):
        answer = await chat(proxy)
        assert answer.text() == "".join(SENTENCES)
        assert "x-safety-proxy-judged" not in answer.headers
        assert (await proxy.exchange()).outcome == "allowed"
        assert proxy.metric("guard_requests_total", guard=GUARD, result="answered") == 3
        assert proxy.metric("guard_verdicts_total", guard=GUARD, level="safe", category="") == 3
        assert proxy.metric("requests_total", endpoint="/v1/chat/completions", model=GUARD, outcome="allowed") == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_the_record_says_what_the_guard_said(stream: bool) -> None:
    """Each verdict stands in the decision record with its guard, also the one that ended the answer, and how long the
    guard took in all; the time is a metric by its name."""
    models = Models(sse(*said(*SENTENCES)), minds("poison"))
    async with guarded(models, policies(f"{JUDGE}}}, action: block, directions: [output]")) as (proxy, _):
        await chat(proxy, stream=stream)
        record = record_of(await proxy.exchange())
        verdicts = [(one["check"], one["kind"], one["level"], one["categories"]) for one in record["check_answers"]]
        assert verdicts[:2] == [(GUARD, "judge", "safe", []), (GUARD, "judge", "unsafe", ["S1"])]
        assert record["check_answers_total"] == len(verdicts)
        assert list(record["checks"]) == [GUARD]
        assert record["checks"][GUARD] > 0
        assert proxy.metric("check_duration_seconds_count", check=GUARD) == 1


async def test_the_shipped_map_flags_what_guards_are_often_wrong_about() -> None:
    """S6 does not end an answer; with the policy's word it does."""
    for options, wanted in (("", "".join(SENTENCES)), (", categories: {S6: block}", "Take the flour.")):
        models = Models(sse(*said(*SENTENCES)), minds("poison", "S6"))
        async with guarded(models, policies(f"{JUDGE}{options}}}, action: block, directions: [output]")) as (proxy, _):
            answer = await chat(proxy)
            assert answer.text().partition("\n\nStopped")[0].partition("\n\n")[0] == wanted
            action = "block" if options else "flag"
            labels = {"policy": "p", "rule": "r0", "direction": "output", "action": action}
            assert proxy.metric("findings_total", **labels) >= 1


async def test_a_prompt_that_a_guard_minds_is_not_sent() -> None:
    """The model is not asked."""
    models = Models(sse(*said(*SENTENCES)), minds("poison"))
    rule = f"{JUDGE}, gate: whole}}, action: block, directions: [input], roles: [user]"
    async with guarded(models, policies(rule)) as (proxy, upstream):
        answer = await chat(proxy, "Where is the poison?")
        assert answer.status == 400
        assert not [one for one in upstream.requests if one.path == "/v1/chat/completions"]
    assert "User: Where is the poison?\n\n<END" in models.prompts[0]


@pytest.mark.parametrize(
    "verdict",
    [
        says(""),
        says("I cannot help with that."),
        says("<think>hm"),
        says("safe\nS1"),
        says("saf", done_reason="length"),
        reply_json({"error": "out of memory"}, status=500),
        reply(b"<html>", content_type="text/html"),
    ],
)
@pytest.mark.parametrize(("on_error", "wanted"), [("block", ""), ("allow", "".join(SENTENCES))])
async def test_a_guard_that_says_nothing_usable(verdict: Answer, on_error: str, wanted: str) -> None:
    """Its texts go by on_error, and it is counted by its name."""
    models = Models(sse(*said(*SENTENCES)), lambda _: verdict)
    rules = policies(f"{JUDGE}}}, action: block, directions: [output]", on_error=on_error)
    async with guarded(models, rules) as (proxy, _):
        answer = await chat(proxy)
        assert answer.text() == wanted or (not wanted and "flour" not in answer.text())
        failed = [{"check": GUARD, "reason": reason, "on_error": on_error} for reason in ("wrong_answer", "refused")]
        assert sum(proxy.metric("check_errors_total", **labels) for labels in failed) == 1


async def test_a_guard_that_does_not_answer_in_time() -> None:
    """The deadline is its failure, not the client's wait."""
    models = Models(sse(*said(*SENTENCES)), lambda _: Answer((Stall(),)))
    rules = policies(f"{JUDGE}, timeout: 0.05}}, action: block, directions: [output]", on_error="allow")
    async with guarded(models, rules) as (proxy, _):
        assert (await chat(proxy)).text() == "".join(SENTENCES)
        assert proxy.metric("check_errors_total", check=GUARD, reason="deadline", on_error="allow") == 1


async def test_a_client_that_leaves_stops_its_guard() -> None:
    """The question is given up, as its record says, and the connection to the guard is closed."""
    models = Models(sse(*said(*SENTENCES)), lambda _: Answer((Stall(),)))
    rules = policies(f"{JUDGE}}}, action: block, directions: [output]")
    async with guarded(models, rules) as (proxy, upstream):
        async with proxy.wire() as wire:
            await wire.post("/v1/chat/completions", chat_body(model="m"))
            await until(lambda: len(models.prompts) == 1)
        (asked,) = [one for one in upstream.exchanges if one.request.path == "/api/generate"]
        await asked.wait_client_closed()
        assert proxy.metric("guard_requests_total", guard=GUARD, result="cancelled") >= 1
        record = record_of(await proxy.exchange())
        assert {(one["check"], one["result"], one["level"]) for one in record["check_answers"]} == {
            (GUARD, "cancelled", None)
        }


async def test_what_has_its_verdict_flows_while_the_model_goes_on() -> None:
    """The first sentence is out while the third has not been said yet."""
    event = asyncio.Event()
    chunks = sse(*said(*SENTENCES))
    models = Models([*chunks[:3], Wait(event), *chunks[3:]], minds("nothing of that"))
    rules = policies(f"{JUDGE}}}, action: block, directions: [output]")
    async with guarded(models, rules) as (proxy, _), proxy.wire() as wire:
        await wire.post("/v1/chat/completions", chat_body(model="m"))
        await wire.until(b"Take the flour.")
        assert b"Stir" not in wire.received
        event.set()
        assert (await wire.answer()).text() == "".join(SENTENCES)


async def test_after_lets_text_out_before_its_verdict() -> None:
    """By its name only: text is there before the guard has said anything, and the answer ends when it has."""
    verdict = asyncio.Event()
    chunks = sse(*said(*SENTENCES))
    held = Answer((Wait(verdict), *says("unsafe\nS1").steps))
    models = Models([*chunks[:-2], Stall()], lambda prompt: held if "poison" in prompt else says("safe"))
    rules = policies(f"{JUDGE}, gate: after}}, action: block, directions: [output]")
    async with guarded(models, rules) as (proxy, _), proxy.wire() as wire:
        await wire.post("/v1/chat/completions", chat_body(model="m"))
        await wire.until(b"Stir it well.")
        verdict.set()
        answer = await wire.answer()
        assert answer.headers["x-safety-proxy-judged"] == "after"
        assert (await proxy.exchange()).outcome == "blocked"
        assert proxy.metric("judged_after_total") == 1


async def test_a_topic_in_an_answer() -> None:
    """A sentence about a refused subject ends the answer."""
    models = Models(sse(*said("Good day to you. ", "Now boil the soup. ", "Bye.")), minds(""))
    async with guarded(models, policies(f"{TOPIC}, action: block, directions: [output]")) as (proxy, upstream):
        answer = await chat(proxy)
        assert "Good day to you." in answer.text()
        assert "soup" not in answer.text()
        asked = [json.loads(one.body)["input"] for one in upstream.requests if one.path == "/api/embed"]
        assert [len(texts) for texts in asked][:2] == [6, 1]


async def test_two_rules_with_one_guard_ask_once() -> None:
    """Equal questions of one exchange are one question."""
    models = Models(sse(*said("Take the flour.")), minds("nothing of that"))
    rule = f"{JUDGE}}}, directions: [output]"
    async with guarded(models, policies(f"{rule}, action: block", f"{rule}, action: flag")) as (proxy, _):
        await chat(proxy)
    assert len(models.prompts) <= 2


async def test_many_streams_with_one_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    """One question at a time goes to the guard; each stream gets its own whole answer, or its own block."""
    models = Models(sse(*said(*SENTENCES)), minds("number 7"))
    most, now = 0, 0

    def count(asked: int) -> None:
        nonlocal most, now
        now += asked
        most = max(most, now)

    rules = policies(f"{JUDGE}}}, action: block, directions: [output]")
    async with guarded(models, rules) as (proxy, _):
        judges = proxy.server.runtime.desk.answerers[GuardQuestion]
        assert isinstance(judges, Judges)
        generate = judges._generate

        async def counted(*arguments: Any) -> Any:
            count(1)
            try:
                return await generate(*arguments)
            finally:
                count(-1)

        monkeypatch.setattr(judges, "_generate", counted)
        answers = await asyncio.gather(*(chat(proxy, f"This is number {i}.") for i in range(64)))
    texts = [answer.text() for answer in answers]
    blocked = [i for i, text in enumerate(texts) if text != "".join(SENTENCES)]
    assert blocked == [7]
    assert most == 1


@pytest.mark.parametrize("text", ["Where is the poison?", "Where is the flour?"])
async def test_moderations_ask_guards(text: str) -> None:
    """What a guard minds stands in its rule's category; no chat model is asked."""
    models = Models([], minds("poison"))
    async with guarded(models, policies(f"{JUDGE}}}, action: block")) as (proxy, upstream):
        answer = await proxy.client.post(f"{proxy.url}/v1/moderations", json={"input": text})
        (result,) = answer.json()["results"]
        assert result["flagged"] is ("poison" in text)
        assert result["categories"]["p/r0"] is ("poison" in text)
        assert all(request.path != "/v1/chat/completions" for request in upstream.requests)


async def test_moderations_say_that_a_guard_has_failed() -> None:
    """With `on_error: block` the text counts as minded, by the check that failed."""
    models = Models([], lambda _: reply_json({}, status=500))
    async with guarded(models, policies(f"{JUDGE}}}, action: block")) as (proxy, _):
        answer = await proxy.client.post(f"{proxy.url}/v1/moderations", json={"input": "Hello"})
        (result,) = answer.json()["results"]
        assert result["flagged"]
        assert result["categories"]["internal/check_failed"]
