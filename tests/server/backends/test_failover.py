"""Backends that die in each phase of a request: who is asked then, and what the client gets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from proxy.alignment.claims import Claim
from proxy.core.types import Direction
from proxy.dialects.request import Options
from proxy.policy.plan import UNKNOWN, ChatTemplate
from proxy.policy.schema import Alignment
from proxy.server.models.chat_templates import ChatTemplates
from proxy.server.ops.records import record_of
from tests.fakes import Answer, Close, Request, Reset, Stall, Step, reply, reply_json, sse
from tests.phrases import block, flag, rewrite
from tests.server.backends.several import Scripted, die, several, who
from tests.server.running import Plan, Policies, Proxy, chunk, said
from tests.waiting import until

pytestmark = pytest.mark.anyio

SAME = {"llama3": "a"}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
BEGUN = sse(chunk("Hello"))
ends = pytest.mark.parametrize("end", [Close(), Reset()], ids=["close", "reset"])
both = pytest.mark.parametrize("stream", [True, False])


def one_that(*steps: Step) -> Scripted:
    """A model server that answers a chat so."""
    return Scripted("one", SAME, chat=Answer(steps))


def asked(script: Scripted) -> int:
    """How many chats it got."""
    return script.paths.count("POST /v1/chat/completions")


async def fails(first: Scripted, stream: bool = True, **config: Any) -> tuple[int, bytes, int]:
    """Status and body of a chat that `first` gets, and how many chats the one beside it got."""
    second = Scripted("two", SAME)
    async with several(first, second, **config) as (proxy, _):
        answer = await proxy.chat(model="llama3", stream=stream)
        exchange = await proxy.exchange()
        assert (exchange.upstream, exchange.moved_from) == ("one", ())
        assert exchange.outcome == "upstream_error"
        assert asked(first)  # over a kept connection it is sent twice, to this one
        assert answer.complete
        return answer.status, answer.body, asked(second)


@both
@ends
async def test_before_the_head(end: Step, stream: bool) -> None:
    """The request was sent, and may have been processed: nobody else gets it."""
    status, body, others = await fails(one_that(end), stream)
    assert (status, others) == (502, 0)
    assert b"upstream_" in body


@both
@ends
@pytest.mark.parametrize("begun", [b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nContent-Ty", HEAD[:-2]])
async def test_in_the_middle_of_the_head(begun: bytes, end: Step, stream: bool) -> None:
    """The same: 502, and nobody else is asked."""
    status, _, others = await fails(one_that(begun, end), stream)
    assert (status, others) == (502, 0)


@both
@ends
async def test_in_the_middle_of_the_body(end: Step, stream: bool) -> None:
    """What has come stays, and an explicit error ends it; an answer that is collected is 502."""
    first = Scripted("one", SAME, chat=reply([*BEGUN, end]))
    status, body, others = await fails(first, stream)
    assert (status, others) == (200 if stream else 502, 0)
    assert b"upstream_truncated" in body
    assert b"[DONE]" not in body


@both
async def test_in_the_middle_of_a_whole_answer(stream: bool) -> None:
    """A body of JSON that stops: nothing of it is shown, and nobody else is asked."""
    whole = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n"
    status, body, others = await fails(one_that(whole, b'{"choices": [{"message": {"content": "Hel', Close()), stream)
    assert (status, others) == (502, 0)
    assert b"Hel" not in body


@both
async def test_one_that_says_nothing(stream: bool) -> None:
    """A time-out is told as one, and nobody else is asked: it may still be at work."""
    status, body, others = await fails(one_that(Stall()), stream, first_byte_timeout=0.1)
    assert (status, others) == (504, 0)
    assert b"upstream_timeout" in body


@both
@pytest.mark.parametrize("status", [404, 429, 500, 503])
async def test_one_that_refuses(status: int, stream: bool) -> None:
    """Its answer is the client's, as with one model server."""
    first = Scripted("one", SAME, chat=reply_json({"error": "not now"}, status=status))
    assert (await fails(first, stream))[::2] == (status, 0)


@both
@pytest.mark.parametrize("transport", ["own", "httpx"])
async def test_one_that_cannot_be_reached(stream: bool, transport: str) -> None:
    """Nothing was sent, so the next one gets the request. The client sees nothing of it."""
    first, second = Scripted("one", SAME), Scripted("two", SAME)
    async with several(first, second, transport=transport) as (proxy, upstreams):
        await proxy.server.runtime.probe.look()
        await die(proxy, upstreams[0])
        answer = await proxy.chat(model="llama3", stream=stream)
        assert answer.status == 200
        assert b"two" in answer.body
        exchange = await proxy.exchange()
        assert exchange.moved_from == (("one", "connect"),)
        assert exchange.outcome == "allowed"
        record = record_of(exchange)["upstream"]
        assert record["name"] == "two"
        assert record["moved_from"] == [{"name": "one", "error": "connect"}]
        assert [backend.running for backend in proxy.server.runtime.backends.all] == [0, 0]


async def test_nobody_can_be_reached() -> None:
    """The error of the last one, each asked once."""
    scripts = [Scripted(name, SAME) for name in ("one", "two", "three")]
    async with several(*scripts) as (proxy, upstreams):
        await proxy.server.runtime.probe.look()
        for upstream in upstreams:
            await die(proxy, upstream)
        answer = await proxy.chat(model="llama3")
        assert answer.status == 502
        assert answer.json()["error"]["code"] == "upstream_connect"
        exchange = await proxy.exchange()
        assert [name for name, _ in exchange.moved_from] == ["one", "two"]
        assert exchange.upstream == "three"
        assert proxy.metric("upstream_errors_total", upstream="three", reason="connect") == 1


async def test_a_kept_connection_that_broke_is_no_failed_connection() -> None:
    """The request was sent over it, and there is no new one: it may have been processed, so nobody else gets it."""
    upstreams: list[Any] = []

    def vanish(_: Request) -> Answer:
        upstreams[0].stop_listening()
        return Answer((Close(),))

    first, second = Scripted("one", SAME), Scripted("two", SAME)
    async with several(first, second) as (proxy, started):
        upstreams += started
        assert await who(proxy, "llama3") == "one"
        first.chat = vanish
        answer = await proxy.chat(model="llama3")
        assert answer.status == 502
        exchange = await proxy.exchange(1)
        assert (exchange.upstream, exchange.moved_from, asked(first), asked(second)) == ("one", (), 2, 0)


async def test_nothing_moves_once_the_client_has_been_sent_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment that keeps the stream alive commits it: its headers belong to the policies of this backend."""
    first, second = Scripted("one", SAME), Scripted("two", SAME)
    async with several(first, second, options=Options(allow_cloud_models=True)) as (proxy, upstreams):
        await proxy.server.runtime.probe.look()
        await die(proxy, upstreams[0])
        backend = proxy.server.runtime.backends.all[0]
        connect = backend.upstream.open

        async def late(method: bytes, path: bytes, *rest: Any) -> Any:
            proxy.later(20.0)
            await until(lambda: proxy.seen.begun[0].status)
            return await connect(method, path, *rest)

        monkeypatch.setattr(backend.upstream, "open", late)
        answer = await proxy.chat(model="llama3")
        assert (answer.status, asked(second)) == (200, 0)
        assert answer.events()[-1]["error"]["code"] == "upstream_connect"


async def test_a_question_before_the_prompt_that_fails() -> None:
    """Where it runs could not be asked, and no prompt was sent: the next one gets it."""
    first, second = Scripted("one", SAME), Scripted("two", SAME)
    async with several(first, second) as (proxy, _):
        await proxy.server.runtime.probe.look()
        first.told = Answer((Close(),))
        assert await who(proxy, "llama3") == "two"
        exchange = await proxy.exchange()
        assert [name for name, _ in exchange.moved_from] == ["one"]
        assert asked(first) == 0


@dataclass
class ByModel(Policies):
    """Other policies for a model without a chat template, and for an unaligned one."""

    base: Policies = field(default_factory=Policies)

    def plan(
        self,
        direction: Direction,
        *,
        model: str,
        role: str | None = None,
        template: ChatTemplate = UNKNOWN,
        key: str | None = None,
        added: tuple[str, ...] = (),
        alignment: str = "unknown",
    ) -> Plan:
        """By the template and the status."""
        if template.exists is False or alignment == "unaligned":
            return self.base.plan(direction, model=model, role=role)
        return super().plan(direction, model=model, role=role)


class Fixed(ChatTemplates):
    """What is known of a chat template."""

    def __init__(self, exists: bool) -> None:
        self._template = ChatTemplate(frozenset(), exists=exists)

    def get(self, name: str) -> ChatTemplate:
        """Always the same."""
        return self._template


@asynccontextmanager
async def moved(policies: ByModel, second: Scripted) -> AsyncIterator[Proxy]:
    """A proxy whose first backend, with a chat template, is gone; the second one has none."""
    async with several(Scripted("one", SAME), second, policies=policies) as (proxy, upstreams):
        for backend, exists in zip(proxy.server.runtime.backends.all, (True, False), strict=True):
            backend.models = backend.models._replace(templates=Fixed(exists))
        await proxy.server.runtime.probe.look()
        await die(proxy, upstreams[0])
        yield proxy


async def test_the_policies_are_those_of_the_backend_that_answers() -> None:
    """The first one's would have let the word pass."""
    policies = ByModel(looks_at_templates=True, base=Policies(output=[block("FORBIDDEN")]))
    async with moved(policies, Scripted("two", SAME, chat=reply(sse(*said("a FORBIDDEN word"))))) as proxy:
        answer = await proxy.chat(model="llama3")
        assert "FORBIDDEN" not in answer.text()
        assert "Stopped by test." in answer.text()


async def test_a_prompt_is_judged_for_the_backend_that_gets_it() -> None:
    """What the second one's policies refuse is not sent to it, though the first one's had passed it."""
    second = Scripted("two", SAME)
    async with moved(ByModel(looks_at_templates=True, base=Policies(input=[block("FORBIDDEN")])), second) as proxy:
        answer = await proxy.chat(model="llama3", content="a FORBIDDEN word")
        assert answer.status == 400
        assert (await proxy.exchange()).outcome == "blocked"
        assert asked(second) == 0


async def test_what_the_first_ones_policies_changed_is_as_it_was() -> None:
    """The prompt is read anew, so nothing of the first judgement stays, neither in it nor in the counts."""
    second = Scripted("two", SAME)
    policies = ByModel(
        looks_at_templates=True, input=[rewrite("secret"), flag("word")], base=Policies(input=[flag("word")])
    )
    async with moved(policies, second) as proxy:
        assert await who(proxy, "llama3", content="a secret word") == "two"
        exchange = await proxy.exchange()
        assert exchange.outcome == "allowed"
        assert [finding.rule.id for _, finding in exchange.findings] == ["flag.word"]


@both
async def test_the_system_prompt_is_put_in_once(stream: bool) -> None:
    """The operator's text does not pile up from one backend to the next."""
    bodies: list[Any] = []

    def chat(request: Request) -> Answer:
        bodies.append(request.json())
        return reply(sse(*said("two")))

    policies = ByModel(looks_at_templates=True, prompt=("Be kind.", ""), base=Policies())
    async with moved(policies, Scripted("two", SAME, chat=chat)) as proxy:
        assert (await proxy.chat(model="llama3", stream=stream)).status == 200
        assert [message["content"] for message in bodies[0]["messages"]] == ["Be kind.", "Hello"]


@pytest.mark.parametrize(
    ("first", "second", "counts"),
    [
        ("unaligned", "unknown", "unaligned"),
        ("base", "unknown", "base"),
        ("instruct", "unknown", "unknown"),
        ("unaligned", "instruct", "instruct"),
        ("instruct", "unaligned", "unaligned"),
    ],
)
async def test_the_worse_of_both_counts_until_it_is_known(
    first: Alignment, second: Alignment, counts: Alignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the model is on the one that answers, as soon as that is known. Until then it is no better than it was on
    the one that is gone."""
    two = Scripted("two", SAME, chat=reply(sse(*said("a FORBIDDEN word"))))
    policies = ByModel(looks_at_alignment=True, base=Policies(output=[block("FORBIDDEN")]))
    async with several(Scripted("one", SAME), two, policies=policies) as (proxy, upstreams):
        for backend, status in zip(proxy.server.runtime.backends.all, (first, second), strict=True):
            monkeypatch.setattr(backend.models.alignments, "known", lambda _, status=status: Claim(status))
        await proxy.server.runtime.probe.look()
        await die(proxy, upstreams[0])
        answer = await proxy.chat(model="llama3")
        exchange = await proxy.exchange()
        assert (exchange.alignment, exchange.moved_from) == (counts, (("one", "connect"),))
        assert ("FORBIDDEN" in answer.text()) is (counts != "unaligned")
