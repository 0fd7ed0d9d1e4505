"""Models are asked: where they are, in their turn, within their time; what fails says why and is not remembered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable

import pytest

from proxy.checks.guards.calls import Generated
from proxy.core.failures import CheckFailed, Reason
from proxy.server.asks.breaker import FAILURES, REST
from proxy.server.asks.desk import About
from proxy.server.backends.choice import Backends
from proxy.server.config import ServerConfig
from proxy.server.guards import models
from proxy.server.guards.judges import Judges
from proxy.server.guards.models import ModelAsker
from tests.fakes import Answer, FakeUpstream, Request, Stall, reply, reply_json
from tests.fakes.answers import Close, Wait
from tests.server.backends.several import Scripted
from tests.server.guards.asking import GUARD, about, asking, embeds, held, judged, says
from tests.server.running import WITHIN
from tests.waiting import until

pytestmark = pytest.mark.anyio


async def failure(question: Awaitable[object]) -> CheckFailed:
    """What a question fails with."""
    with pytest.raises(CheckFailed) as caught:
        await question
    return caught.value


async def test_a_guard_is_asked() -> None:
    """Its prompt goes to Ollama raw, and its reply comes back as it is."""
    async with asking(says("unsafe\nS1")) as guards:
        reply = await guards.judges.answer(judged())
        assert reply.said == (Generated("unsafe\nS1", True),)
        (body,) = guards.bodies()
        assert (body["model"], body["raw"], body["truncate"]) == (GUARD, True, False)
        assert body["prompt"] == judged().prompts[0].raw
        assert guards.results() == ["answered"]
        assert guards.told[0].seconds > 0


@pytest.mark.parametrize(
    ("kind", "path", "data"),
    [
        ("llamacpp", "/completion", {"content": "safe", "stop": True, "stop_type": "eos"}),
        ("lmstudio", "/v1/completions", {"choices": [{"text": "safe", "finish_reason": "stop"}]}),
        ("openai", "/v1/completions", {"choices": [{"text": "safe", "finish_reason": "stop"}]}),
    ],
)
async def test_each_server_in_its_dialect(kind: str, path: str, data: dict[str, object]) -> None:
    """A look at the server tells which endpoint takes a raw prompt."""
    async with asking(reply_json(data), kind) as guards:
        answer = await guards.judges.answer(judged())
        assert answer.said == (Generated("safe", True),)
        assert [one.path for one in guards.upstream.requests if one.method == "POST"] == [path]


async def test_all_prompts_of_a_question() -> None:
    """A guard that judges by one criterion is asked about each."""
    async with asking(says("No")) as guards:
        reply = await guards.judges.answer(judged(format="shieldgemma"))
        assert [said.text for said in reply.said] == ["No"] * 4
        assert len(guards.bodies()) == 4
        assert guards.results() == ["answered"]


async def test_replies_are_remembered() -> None:
    """The same question is asked once; another prompt, model or option is another question."""
    async with asking(says("safe")) as guards:
        first = await guards.judges.answer(judged())
        assert (await guards.judges.answer(judged())).said == first.said
        assert len(guards.bodies()) == 1
        assert guards.results() == ["answered", "cached"]
        for other in (judged("Other."), judged(context=4_096), judged(format="llama-guard-3-8b")):
            await guards.judges.answer(other)
        assert len(guards.bodies()) == 4


async def test_what_is_remembered_of_a_key_is_apart_from_others() -> None:
    """Nobody can tell by the time what was asked with another API key, or without one."""
    async with asking(says("safe")) as guards:
        for key in ("alice", "bob", None, "alice"):
            await guards.judges.answer(judged(), About("1", "tiny", key))
        assert guards.results() == ["answered", "answered", "answered", "cached"]


@pytest.mark.parametrize("text", ["", "I cannot help with that.", "<think>hm", "safe\nS1"])
async def test_replies_that_cannot_be_read_are_not_remembered(text: str) -> None:
    """The next one asks again: a guard that was confused once may not be twice."""
    async with asking(says(text)) as guards:
        await guards.judges.answer(judged())
        await guards.judges.answer(judged())
        assert len(guards.bodies()) == 2
        assert len(guards.judges.known) == 0


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        (reply_json({"error": "model requires more memory"}, status=500), Reason.REFUSED, "status 500"),
        (reply_json({"error": "the input length exceeds the context length"}, status=400), Reason.REFUSED, "too long"),
        (reply(b"<html>", content_type="text/html"), Reason.WRONG_ANSWER, "something else than an answer"),
        (reply_json([1]), Reason.WRONG_ANSWER, "something else than an answer"),
        (says("safe", done=False), Reason.WRONG_ANSWER, "something else than an answer"),
        (Answer((Close(),)), Reason.WRONG_ANSWER, "gave no answer ("),
        (reply([b"{", Close()]), Reason.WRONG_ANSWER, "truncated"),
    ],
)
async def test_what_goes_wrong(answer: Answer, reason: Reason, words: str) -> None:
    """Each failure has its reason and a sentence, and is not remembered."""
    async with asking(answer) as guards:
        for _ in range(2):
            failed = await failure(guards.judges.answer(judged()))
            assert (failed.check, failed.reason) == (GUARD, reason)
            assert words in str(failed)
        assert guards.results() == [reason.value] * 2
        assert len(guards.judges.known) == 0


async def test_nobody_is_there() -> None:
    """A model server that does not answer is a failure at once, not a wait."""
    async with asking(says("safe"), url="http://127.0.0.1:9") as guards:
        failed = await failure(guards.judges.answer(judged()))
        assert failed.reason is Reason.UNREACHABLE


@pytest.mark.parametrize("kind", ["judge", "topic"])
async def test_a_model_server_that_does_not_say_what_it_is(kind: str) -> None:
    """Its question is given up at the deadline too, and the model is not asked."""
    async with (
        FakeUpstream(Answer((Stall(),)), tells_models=True) as silent,
        asking(says("safe"), url=silent.url) as guards,
    ):
        deadline = 0.05  # seconds, which have to pass
        is_judge = kind == "judge"
        question = (
            guards.judges.answer(judged(timeout=deadline))
            if is_judge
            else guards.topics.answer(about(timeout=deadline))
        )
        failed = await failure(question)
        assert failed.reason is Reason.DEADLINE
        assert {request.method for request in silent.requests} == {"GET"}


async def test_a_guard_that_takes_too_long() -> None:
    """Its question is given up at the deadline, and the connection with it."""
    async with asking(Answer((Stall(),))) as guards:
        deadline = 0.05  # seconds, which have to pass
        await guards.asker.place(GUARD, WITHIN)
        failed = await failure(guards.judges.answer(judged(timeout=deadline)))
        assert failed.reason is Reason.DEADLINE
        assert "within 0.05 s" in str(failed)
        await guards.upstream.exchanges[-1].wait_client_closed()


async def test_one_question_at_a_time() -> None:
    """Others wait for their turn, in order, as one guard is loaded for one request at a time."""
    event = asyncio.Event()
    async with asking(held(event, "safe")) as guards:
        tasks = [asyncio.ensure_future(guards.judges.answer(judged(f"{i}."))) for i in range(3)]
        await until(lambda: len(guards.bodies()) == 1)
        assert not any(task.done() for task in tasks)
        event.set()
        await asyncio.gather(*tasks)
        asked = [body["prompt"].partition("Agent: ")[2][:2] for body in guards.bodies()]
        assert asked == ["0.", "1.", "2."]
        assert guards.told[-1].queued > 0


async def test_several_at_a_time_where_it_is_said() -> None:
    """`at_once` lets as many through."""
    event = asyncio.Event()
    async with asking(held(event, "safe")) as guards:
        tasks = [asyncio.ensure_future(guards.judges.answer(judged(f"{i}.", at_once=2))) for i in range(3)]
        await until(lambda: len(guards.bodies()) == 2)
        event.set()
        await asyncio.gather(*tasks)


async def test_too_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a bound on those who wait; the next one fails at once."""
    monkeypatch.setattr(models, "MOST_WAITING", 1)
    event = asyncio.Event()
    async with asking(held(event, "safe")) as guards:
        tasks = [asyncio.ensure_future(guards.judges.answer(judged(f"{i}."))) for i in range(2)]
        await until(lambda: len(guards.bodies()) == 1)
        assert (await failure(guards.judges.answer(judged("3.")))).reason is Reason.OVERLOADED
        event.set()
        await asyncio.gather(*tasks)


async def test_a_question_that_is_given_up() -> None:
    """It leaves its turn to the next one, whether it was asked already or waited."""
    event = asyncio.Event()
    answers = [Answer((Stall(),)), held(event, "safe")]
    async with asking(lambda _: answers.pop(0)) as guards:
        first, second, third = (asyncio.ensure_future(guards.judges.answer(judged(f"{i}."))) for i in range(3))
        await until(lambda: len(guards.bodies()) == 1)
        second.cancel()
        first.cancel()
        await asyncio.wait([first, second])
        await until(lambda: len(guards.bodies()) == 2)
        event.set()
        await third
        assert sorted(guards.results()) == ["answered", "cancelled", "cancelled"]


async def test_a_topic_is_asked() -> None:
    """The examples are measured once, in one request; then each segment is one more."""
    async with asking(embeds) as guards:
        reply = await guards.topics.answer(about("A soup."))
        assert reply.measured.finds(reply.vector)
        other = await guards.topics.answer(about("A hammer."))
        assert not other.measured.finds(other.vector)
        assert [len(body["input"]) for body in guards.bodies()] == [6, 1, 1]
        assert all(body["truncate"] is False for body in guards.bodies())
        await guards.topics.answer(about("A soup."))
        assert len(guards.bodies()) == 3
        assert guards.results()[-1] == "cached"


async def test_examples_that_do_not_separate() -> None:
    """Each question fails with the figures; the model is not asked for the examples again."""
    async with asking(
        lambda request: reply_json({"embeddings": [[1, 1]] * len(json.loads(request.body)["input"])})
    ) as guards:
        for _ in range(2):
            failed = await failure(guards.topics.answer(about()))
            assert failed.reason is Reason.REFUSED
            assert "do not lie on two sides" in str(failed)
        assert len(guards.bodies()) == 1


async def test_examples_are_measured_when_the_model_is_back() -> None:
    """A failure is not remembered."""
    broken = [reply_json({"error": "no"}, status=500)]
    async with asking(lambda request: broken.pop() if broken else embeds(request)) as guards:
        assert (await failure(guards.topics.answer(about()))).reason is Reason.REFUSED
        reply = await guards.topics.answer(about())
        assert reply.measured.finds(reply.vector)


def answered_with(count: int) -> Answer:
    """So many vectors."""
    return reply_json({"embeddings": [[1, 0]] * count})


@pytest.mark.parametrize("count", [0, 5])
async def test_too_few_vectors(count: int) -> None:
    """A response that is not about all texts is none."""

    def answer(_: Request) -> Answer:
        return answered_with(count)

    async with asking(answer) as guards:
        assert (await failure(guards.topics.answer(about()))).reason is Reason.WRONG_ANSWER


async def test_a_guard_that_fails_again_and_again_is_left_alone() -> None:
    """After five failures in a row nobody asks it, until the rest is over; one question then finds out, and an answer
    makes it as good as before."""
    now = [0.0]
    fails = True

    def answer(_: Request) -> Answer:
        return reply_json({}, status=500) if fails else says("safe")

    async with asking(answer) as guards:
        guards.asker._clock = lambda: now[0]
        for number in range(FAILURES):
            assert (await failure(guards.judges.answer(judged(f"Text {number}.")))).reason is Reason.REFUSED
        assert (await failure(guards.judges.answer(judged("One more.")))).reason is Reason.RESTING
        assert len(guards.bodies()) == FAILURES
        now[0] += REST
        assert (await failure(guards.judges.answer(judged("Is it back?")))).reason is Reason.REFUSED
        assert (await failure(guards.judges.answer(judged("No.")))).reason is Reason.RESTING
        now[0] += REST
        fails = False
        for text in ("Is it back?", "It is."):
            assert (await guards.judges.answer(judged(text))).said == (Generated("safe", True),)
        assert guards.results()[-4:] == ["refused", "resting", "answered", "answered"]


async def test_those_who_wait_for_a_turn_are_no_failures() -> None:
    """A guard that is slow, and answers, is asked on, however many give up waiting for it."""
    gate = asyncio.Event()
    async with asking(held(gate, "safe")) as guards:
        first = asyncio.ensure_future(guards.judges.answer(judged("First.")))
        await until(lambda: bool(guards.bodies()))
        deadline = 0.01  # seconds, which have to pass
        for number in range(FAILURES + 1):
            late = await failure(guards.judges.answer(judged(f"Text {number}.", timeout=deadline)))
            assert late.reason is Reason.DEADLINE
        gate.set()
        await first
        assert (await guards.judges.answer(judged("Last."))).said


async def test_topics_are_measured_beside_each_other() -> None:
    """A model that does not answer about one topic keeps nobody waiting for another; and those who ask at the same time
    wait for one measurement."""
    gate = asyncio.Event()

    def answer(request: Request) -> Answer:
        texts = json.loads(request.body)["input"]
        return (
            embeds(request)
            if "Boil the egg." in texts or len(texts) == 1
            else Answer((Wait(gate), *embeds(request).steps))
        )

    async with asking(answer) as guards:
        others = {"examples": ["Fry the egg.", "Bake the bread.", "Fry the fish."], "at_once": 8}
        waiting = [asyncio.ensure_future(guards.topics.answer(about("A song.", **others))) for _ in range(3)]
        await until(lambda: bool(guards.bodies()))
        assert await guards.topics.answer(about("A soup.", at_once=8))
        assert not any(one.done() for one in waiting)
        gate.set()
        await asyncio.gather(*waiting)
        measured = [body["input"] for body in guards.bodies() if "Fry the egg." in body["input"]]
        assert len(measured) == 1


async def test_another_model_under_the_same_name_is_asked_anew() -> None:
    """llama.cpp gives no digest; what it says of the model's size tells it from another one."""
    sizes = [1_000]
    script = Scripted("one", {GUARD: ""}, "llamacpp", reply_json({"content": "safe", "stop": True, "stop_type": "eos"}))

    def server(request: Request) -> Answer:
        if request.path == "/v1/models":
            one = {"id": GUARD, "object": "model", "owned_by": "llamacpp", "meta": {"n_params": sizes[0]}}
            return reply_json({"object": "list", "data": [one]})
        return script(request)

    async with FakeUpstream(server, tells_models=True) as upstream:
        backends = Backends(ServerConfig(upstream=upstream.url), lambda _: True)
        judges = Judges(ModelAsker(backends, "judge"))
        for size, asked in ((1_000, 1), (1_000, 1), (2_000, 2)):
            sizes[0] = size
            await backends.all[0].look()
            await judges.answer(judged())
            assert sum(one.method == "POST" and one.path == "/completion" for one in upstream.requests) == asked
        await judges.aclose()
        await backends.aclose()
