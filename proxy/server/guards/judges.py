"""Guard models: sends the prompts of a question, one after the other, and keeps the replies that can be read."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from time import perf_counter

from proxy.checks.guards.cache import AnswerCache, key_of
from proxy.checks.guards.calls import Generated, call, generated
from proxy.checks.guards.judge import GuardQuestion, GuardReply, read
from proxy.checks.guards.verdict import Verdict, VerdictError
from proxy.server.asks.desk import apart_of
from proxy.server.guards.models import ModelAsker, Place

MOST_KNOWN = 4_096
"""Replies that are remembered."""


class Judges:
    """Answers a GuardQuestion with a GuardReply. `about` is the exchange, of which a guard is told nothing. Replies are
    remembered for each API key by itself, so that nobody can tell by the time what others have asked."""

    def __init__(
        self,
        asker: ModelAsker,
        judged: Callable[[str, Verdict | VerdictError], None] = lambda *_: None,
        most_known: int = MOST_KNOWN,
    ) -> None:
        """`judged`: is told what a guard says of each prompt that it was asked about."""
        self._asker = asker
        self._judged = judged
        self.known = AnswerCache[tuple[Generated, ...]](most_known)

    async def answer(self, data: Hashable, about: object = None) -> GuardReply:
        """See proxy.server.asks.desk.Answerer."""
        assert isinstance(data, GuardQuestion)
        model, began = data.options.model, perf_counter()
        place = await self._asker.place(model, data.timeout)
        key = key_of(apart_of(about), *_parts(data, place))
        known = self.known.get(key)
        if known is not None:
            self._asker.cached(model)
            return GuardReply(data, known)
        async with self._asker.turn(model, data.at_once, data.timeout, began):
            said = [await self._generate(data, place, i) for i in range(len(data.prompts))]
        reply = GuardReply(data, tuple(said))
        verdicts, errors = read(reply)
        for verdict in verdicts:
            self._judged(model, verdict)
        for error in errors:
            self._judged(model, error)
        if not errors:
            self.known.put(key, reply.said)
        return reply

    async def aclose(self) -> None:
        """See Answerer."""
        self.known.clear()

    @staticmethod
    async def _generate(question: GuardQuestion, place: Place, i: int) -> Generated:
        made = call(place.api, question.guard.reply, question.prompts[i], question.options)
        status, value = await place.post(made)
        return generated(made.path, status, value)


def _parts(question: GuardQuestion, place: Place) -> Iterator[str | list[str]]:
    """All that a reply depends on."""
    yield [place.backend.name, question.options.model, place.digest, question.guard.format, question.judged]
    yield [str(question.options), str(question.guard.reply.tokens), *question.guard.reply.stop]
    for prompt in question.prompts:
        yield [prompt.raw, prompt.category, *(part for message in prompt.messages for part in message)]
