"""`check: http` in a running proxy: the service of the docs, Presidio's format, and services that fail."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import httpx
import jsonschema
import pytest
import yaml

from proxy.checks.http_check import HttpQuestion, HttpService
from proxy.core.failures import CheckFailed, Reason
from proxy.core.steps import in_one_go
from proxy.core.types import Action, Kind
from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from proxy.server.asks.breaker import FAILURES, REST
from proxy.server.asks.desk import About
from proxy.server.asks.http import MAX_ANSWER, QUEUE, HttpAnswerer
from proxy.server.exchange.transcript import Text
from proxy.server.ops.recorded_texts import recorded
from tests.checks.questions import asking
from tests.fakes import FakeUpstream, reply, reply_json, sse
from tests.server.running import Policies, Proxy, running, said, soon

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "http-checks.md").read_text("utf-8")
OPENAPI: dict[str, Any] = yaml.safe_load((DOCS / "http-check.openapi.yaml").read_text("utf-8"))
ANSWER = said("I know Ada ", "Lovelace well. ", "She is here")


def blocks_of(language: str) -> list[str]:
    """The code blocks of the page."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def policies_of(text: str) -> Policies:
    """A policy, compiled."""
    return cast(Policies, compile_policies([Source("p.yaml", text.encode())], hash_key=b"k"))


def use(proxy: Proxy, transport: httpx.AsyncBaseTransport) -> None:
    """Let services be asked over this."""
    proxy.server.runtime.desk.answerers[HttpQuestion] = HttpAnswerer(transport=transport)


def schema(name: str) -> dict[str, Any]:
    """A schema of the OpenAPI file."""
    return {**OPENAPI["components"]["schemas"][name], "$schema": "https://json-schema.org/draft/2020-12/schema"}


Handler = Callable[[httpx.Request], httpx.Response] | Callable[[httpx.Request], Awaitable[httpx.Response]]


def service(handler: Any) -> httpx.MockTransport:
    """Answers requests with a function."""
    return httpx.MockTransport(handler)


@pytest.mark.parametrize("stream", [True, False])
async def test_the_service_of_the_docs_as_printed(stream: bool) -> None:
    """With the policy of the docs: what it finds is replaced, in answers and in prompts."""
    names: dict[str, Any] = {}
    exec(blocks_of("python")[0], names)
    async with (
        FakeUpstream(reply(sse(*ANSWER))) as upstream,
        running(upstream, policies_of(blocks_of("yaml")[0])) as proxy,
    ):
        use(proxy, httpx.ASGITransport(names["app"]))
        answer = await proxy.chat(content="Who is Ada Lovelace?", stream=stream)
        whole = answer.text() if stream else answer.json()["choices"][0]["message"]["content"]
        assert whole == "I know [name] well. She is here"
        sent = (await upstream.exchange()).request.json()
        assert sent["messages"][-1]["content"] == "Who is [name]?"
        assert (await proxy.exchange()).outcome == "rewritten"


async def test_the_openapi_file_says_what_is_sent_and_what_is_understood() -> None:
    """Each question fits the schema, and so does an answer that is understood."""
    seen: list[dict[str, Any]] = []

    def look(request: httpx.Request) -> httpx.Response:
        seen.append(json.loads(request.content))
        answer = {"findings": [{"start": 0, "end": 1, "label": "X"}], "more": 1}
        jsonschema.validate(answer, schema("Answer"))
        return httpx.Response(200, json=answer)

    text = blocks_of("yaml")[0].replace("hold: sentence", "hold: sentence, context: 50").replace("rewrite", "flag")
    text = text.replace('    replacement: "[name]"\n', "")
    async with FakeUpstream(reply(sse(*ANSWER))) as upstream, running(upstream, policies_of(text)) as proxy:
        use(proxy, service(look))
        answer = await proxy.chat(content="Who?")
        assert answer.text() == "I know Ada Lovelace well. She is here"
        exchange = await proxy.exchange()
    for question in seen:
        jsonschema.validate(question, schema("Question"))
        assert (question["request_id"], question["model"], question["policy"]) == (exchange.id, "tiny", "names/people")
    assert [one["direction"] for one in seen][:2] == ["input", "output"]
    assert seen[1]["context"] == [{"role": "user", "text": "Who?"}]
    assert {tuple(sorted(one)) for one in seen} == {tuple(sorted(schema("Question")["properties"]))}


async def test_presidio_as_in_the_docs() -> None:
    """A card number ends the answer, a name is replaced, a date is let be."""

    def analyze(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        assert set(asked) == {"text", "language"}
        found = [
            {"start": m.start(), "end": m.end(), "score": 0.9, "entity_type": kind}
            for kind, word in (("PERSON", "Anna"), ("DATE_TIME", "today"), ("CREDIT_CARD", "4111"))
            for m in re.finditer(word, asked["text"])
        ]
        return httpx.Response(200, json=found)

    stream = said("Anna was here today, and she is well. ", "Her card is 4111, and so on.")
    async with (
        FakeUpstream(reply(sse(*stream))) as upstream,
        running(upstream, policies_of(blocks_of("yaml")[1])) as proxy,
    ):
        use(proxy, service(analyze))
        answer = await proxy.chat()
        assert answer.text().startswith("[removed] was here today, and she is well. Her card is \n\nThis answer was")


def refuses(request: httpx.Request) -> httpx.Response:
    """Nobody listens."""
    raise httpx.ConnectError("refused", request=request)


async def hangs(request: httpx.Request) -> httpx.Response:
    """Never answers."""
    await asyncio.Event().wait()
    raise AssertionError


FAILING: dict[str, tuple[Any, str]] = {
    "dead": (refuses, "unreachable"),
    "slow": (hangs, "deadline"),
    "an error": (lambda _: httpx.Response(500, text="oh"), "refused"),
    "overloaded": (lambda _: httpx.Response(429), "overloaded"),
    "garbled": (lambda _: httpx.Response(200, text="<html>"), "wrong_answer"),
    "too long": (lambda _: httpx.Response(200, content=b" " * (MAX_ANSWER + 1)), "wrong_answer"),
    "no findings": (lambda _: httpx.Response(200, json={"safe": True}), "wrong_answer"),
    "outside of the text": (
        lambda _: httpx.Response(200, json={"findings": [{"start": 0, "end": 10_000}]}),
        "finding",
    ),
}


@pytest.mark.parametrize(("handler", "reason"), FAILING.values(), ids=list(FAILING))
@pytest.mark.parametrize("on_error", ["block", "allow"])
@pytest.mark.parametrize("where", ["input", "output"])
async def test_a_service_that_fails_goes_by_on_error(handler: Any, reason: str, on_error: str, where: str) -> None:
    """Counted by name and reason; nothing leaves that nobody has judged, unless the policy says so."""
    text = (
        blocks_of("yaml")[0].replace("on_error: block", f"on_error: {on_error}").replace("timeout: 2", "timeout: 0.01")
    )
    text = text.replace("    http: {", f"    directions: [{where}]\n    http: {{")
    async with FakeUpstream(reply(sse(*ANSWER))) as upstream, running(upstream, policies_of(text)) as proxy:
        use(proxy, service(handler))
        answer = await proxy.chat(content="Who is it?")
        assert answer.complete
        exchange = await proxy.exchange()
        if on_error == "allow":
            assert answer.text() == "I know Ada Lovelace well. She is here"
            assert exchange.outcome == "allowed"
        else:
            assert b"Ada" not in answer.body
            assert answer.status == (400 if where == "input" else 200)
            assert exchange.outcome == "blocked"
        assert proxy.metric("check_errors_total", check="http", reason=reason, on_error=on_error) == 1


async def test_an_earlier_text_without_an_answer_is_replaced() -> None:
    """A conversation goes on when the service minds a text of an earlier turn."""

    def look(request: httpx.Request) -> httpx.Response:
        text = json.loads(request.content)["text"]
        return httpx.Response(200, json={"findings": [{"start": 0, "end": 3}] if "bad" in text else []})

    text = blocks_of("yaml")[0].replace("rewrite", "block").replace('    replacement: "[name]"\n', "")
    messages = [
        {"role": "user", "content": "bad things"},
        {"role": "assistant", "content": "no"},
        {"role": "user", "content": "good things"},
    ]
    async with FakeUpstream(reply(sse(*said("Yes.")))) as upstream, running(upstream, policies_of(text)) as proxy:
        use(proxy, service(look))
        assert (await proxy.chat(messages=messages)).status == 200
        sent = (await upstream.exchange()).request.json()["messages"]
        assert "bad" not in sent[0]["content"]
        assert [one["content"] for one in sent[1:]] == ["no", "good things"]
        refused = await proxy.chat(messages=[*messages, {"role": "user", "content": "bad"}])
        assert refused.status == 400


# -- one service


def question(text: str = "text", **how: Any) -> HttpQuestion:
    """About a text."""
    made = HttpService("judge", "http://127.0.0.1:1/", **how)
    return HttpQuestion(made, "", "p/r", "output", "content", "assistant", text, "", (), "en")


async def failure_of(asking: Awaitable[object]) -> Reason:
    """Why there is no answer."""
    with pytest.raises(CheckFailed) as caught:
        await soon(asking)
    assert caught.value.check == "judge"
    return caught.value.reason


async def test_what_was_not_sent_is_tried_once_more() -> None:
    """And what was sent is not."""
    calls: list[int] = []

    def flaky(request: httpx.Request) -> httpx.Response:
        calls.append(1)
        if len(calls) == 1:
            raise httpx.ConnectError("refused", request=request)
        if len(calls) == 3:
            raise httpx.ReadError("broken", request=request)
        return httpx.Response(200, json={"findings": []})

    answerer = HttpAnswerer(transport=service(flaky))
    assert await answerer.answer(question(), About()) == {"findings": []}
    assert await failure_of(answerer.answer(question(), About())) is Reason.UNREACHABLE
    assert len(calls) == 3
    await answerer.aclose()


async def test_a_service_that_keeps_failing_is_left_alone_and_asked_again() -> None:
    """One question finds out; the others wait for what it finds."""
    now = [100.0]
    up = [False]
    calls: list[int] = []

    def look(request: httpx.Request) -> httpx.Response:
        calls.append(1)
        return httpx.Response(200 if up[0] else 500, json={"findings": []})

    answerer = HttpAnswerer(lambda: now[0], service(look))
    for _ in range(FAILURES):
        assert await failure_of(answerer.answer(question(), About())) is Reason.REFUSED
    assert await failure_of(answerer.answer(question(), About())) is Reason.RESTING
    assert len(calls) == FAILURES
    now[0] += REST
    assert await failure_of(answerer.answer(question(), About())) is Reason.REFUSED
    assert await failure_of(answerer.answer(question(), About())) is Reason.RESTING
    now[0] += REST
    up[0] = True
    for _ in range(3):
        assert await answerer.answer(question(), About()) == {"findings": []}


async def test_only_so_many_are_asked_at_once_and_so_many_wait() -> None:
    """Each service has its own bounds."""
    go_on, running_now, most = asyncio.Event(), [0], [0]
    busy = asyncio.Semaphore(0)

    async def look(request: httpx.Request) -> httpx.Response:
        running_now[0] += 1
        most[0] = max(most[0], running_now[0])
        busy.release()
        await go_on.wait()
        running_now[0] -= 1
        return httpx.Response(200, json={"findings": []})

    answerer = HttpAnswerer(transport=service(look))
    asked = [asyncio.ensure_future(answerer.answer(question(beside=2), About())) for _ in range(2 + QUEUE)]
    await soon(busy.acquire())
    await soon(busy.acquire())
    assert await failure_of(answerer.answer(question(beside=2), About())) is Reason.OVERLOADED
    other = asyncio.ensure_future(answerer.answer(question(beside=3), About()))
    await soon(busy.acquire())
    go_on.set()
    assert await soon(asyncio.gather(*asked, other)) == [{"findings": []}] * (3 + QUEUE)
    assert most[0] == 3


async def test_texts_that_others_judge_are_not_recorded_masked() -> None:
    """What they would find in them is not known when the record is written."""
    text = Text("assistant", Kind.CONTENT, checks=(asking(Action.FLAG),))
    text.add("my secret.")
    assert in_one_go(recorded(text, "masked"))["text"] is None
    assert in_one_go(recorded(text, "full"))["text"] == "my secret."


async def test_a_connection_is_used_again() -> None:
    """Over a real socket, for one question after the other."""
    async with FakeUpstream(lambda _: reply_json({"findings": []})) as upstream:
        answerer = HttpAnswerer()
        service_ = HttpService("judge", f"{upstream.url}/check")
        for text in ("one", "two", "three"):
            asked = question(text)._replace(service=service_)
            assert await soon(answerer.answer(asked, About("id", "tiny"))) == {"findings": []}
        assert upstream.connections == 1
        assert [request.json()["text"] for request in upstream.requests] == ["one", "two", "three"]
        await answerer.aclose()
