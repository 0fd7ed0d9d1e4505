"""Questions that an exchange has asked before: what an answer looks like whose segments are repeated."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Hashable
from dataclasses import replace

import pytest

from proxy.core.types import Action
from proxy.server.asks.asker import BESIDE, Asker
from proxy.server.asks.desk import About, Desk
from tests.checks.questions import Finds, asking
from tests.fakes import FakeUpstream, reply, sse
from tests.server.running import Policies, chunk, running, soon
from tests.waiting import until

pytestmark = pytest.mark.anyio

WORDS = ("Yes.", " No.", " .")  # the last is not asked about
FIELDS = ("reasoning_content", "content")


class Slow:
    """Finds nothing, and takes some turns of the event loop for it."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    async def answer(self, data: Hashable, about: About) -> object:
        """See Answerer."""
        for _ in range(self._rng.randint(0, 6)):
            await asyncio.sleep(0)
        return ()

    async def aclose(self) -> None:
        """See Answerer."""


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("stream", [True, False])
async def test_text_with_a_known_answer_stays_in_its_place(seed: int, stream: bool) -> None:
    """A segment whose answer is known already leaves behind what stands before it, never ahead of it."""
    rng = random.Random(seed)
    texts = {field: "".join(rng.choices(WORDS, k=rng.randint(0, 8))) for field in FIELDS}
    events = [chunk(delta={field: piece}) for field in FIELDS for piece in _pieces(rng, texts[field])]
    parts = sse(*events, chunk(finish="stop"), "[DONE]")
    reads = [b"".join(parts[at : at + 4]) for at in range(0, len(parts), 4)]
    policies = Policies(output=[replace(asking(Action.BLOCK), questions=Finds(skip=" ."))])
    async with FakeUpstream(reply(reads)) as upstream, running(upstream, policies) as proxy:
        proxy.server.runtime.desk.answerers[str] = Slow(rng)
        answer = await proxy.chat(stream=stream)
    assert answer.complete
    for field in FIELDS:
        got = answer.text(field=field) if stream else answer.json()["choices"][0]["message"].get(field) or ""
        assert got == texts[field]
    if stream:
        assert answer.events()[-2]["choices"][0]["finish_reason"] == "stop"


def _pieces(rng: random.Random, text: str) -> list[str]:
    cuts = sorted({0, len(text), *(rng.randint(0, len(text)) for _ in range(5))})
    return [text[start:end] for start, end in itertools.pairwise(cuts)]


async def test_questions_that_are_given_up_before_they_begin_leave_room_for_others() -> None:
    """Whoever asks and drops in one turn of the event loop can go on asking."""
    asker = Asker(Desk({str: Slow(random.Random(0))}), About())
    for index in range(BESIDE):
        asker.ask(index, f"question {index}")
    asker.drop(range(BESIDE))
    asker.ask("last", "one more")
    await soon(asker.wait())
    assert asker.take() == [("last", ())]


async def test_an_answer_that_is_known_is_not_announced() -> None:
    """Whoever asks is about to send what stands before it: it can be taken, and nobody is called."""
    told: list[str] = []
    asker = Asker(Desk({str: Slow(random.Random(0))}), About())
    asker.on_answer = lambda: told.append("called")
    asker.ask("first", "the same")
    await soon(asker.wait())
    assert (asker.take(), told) == ([("first", ())], ["called"])
    asker.ask("second", "the same")
    assert (asker.take(), told) == ([("second", ())], ["called"])


async def test_answers_to_what_was_given_up_stand_for_no_other() -> None:
    """A prompt is judged for another model server after the first one failed: what was asked for the first may still
    be answered, and is no answer to what is asked now."""
    asker = Asker(Desk({str: Slow(random.Random(0))}), About())
    given_up = asyncio.ensure_future(asker.answers(["one", "two"]))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up])
    await until(lambda: bool(asker._answers))
    assert set(await soon(asker.answers(["three"]))) == {"three"}
    asker.close()
