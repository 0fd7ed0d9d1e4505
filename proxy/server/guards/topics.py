"""Topics: asks an embedding model for vectors, and measures each topic's examples once for each build of the model."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from functools import partial

from proxy.checks.guards.cache import AnswerCache, key_of
from proxy.checks.topics.calls import embedding_call, vectors
from proxy.checks.topics.measure import Measured, NotSeparated, Vector, measure
from proxy.checks.topics.rule import Subject, TopicQuestion, TopicReply
from proxy.core.failures import CheckFailed, Reason
from proxy.server.asks.desk import apart_of
from proxy.server.guards.models import ModelAsker, Place

MOST_KNOWN = 2_048
"""Vectors that are remembered: of 768 numbers each takes 25 kB."""
AT_A_TIME = 16
"""Examples in one request."""


class Topics:
    """Answers a TopicQuestion with a TopicReply. `about` is the exchange, of which a model is told nothing. Vectors are
    remembered for each API key by itself, those of the examples for all."""

    def __init__(self, asker: ModelAsker, most_known: int = MOST_KNOWN) -> None:
        self._asker = asker
        self.known = AnswerCache[Vector](most_known)
        self._measured: dict[tuple[Subject, str], Measured | NotSeparated] = {}
        self._measuring: dict[tuple[Subject, str], asyncio.Task[Measured | NotSeparated]] = {}

    async def answer(self, data: Hashable, about: object = None) -> TopicReply:
        """See proxy.server.asks.desk.Answerer."""
        assert isinstance(data, TopicQuestion)
        place = await self._asker.place(data.subject.model, data.subject.timeout)
        measured = _separated(data.subject, await self._examples(data.subject, place))
        (vector,) = await self._vectors(data.subject, place, [data.text], apart_of(about))
        if len(vector) != len(measured.found[0]):
            self._measured.clear()  # the model was exchanged under its name
            raise CheckFailed(data.subject.model, Reason.WRONG_ANSWER, "answers with vectors of another length")
        return TopicReply(vector, measured)

    async def measure(self, subject: Subject) -> Measured:
        """Measure a topic. Raises CheckFailed when its model does not answer, or its examples do not separate."""
        return _separated(subject, await self.examples(subject))

    async def examples(self, subject: Subject) -> Measured | NotSeparated:
        """The same, but examples that do not separate are no failure."""
        return await self._examples(subject, await self._asker.place(subject.model, subject.timeout))

    async def aclose(self) -> None:
        """See Answerer."""
        for task in self._measuring.values():
            task.cancel()
        self.known.clear()
        self._measured.clear()

    async def _examples(self, subject: Subject, place: Place) -> Measured | NotSeparated:
        """Those who ask at the same time wait for one measurement, and for no other topic's."""
        key = subject, f"{place.backend.name} {place.digest}"
        found = self._measured.get(key)
        if found is None:
            task = self._measuring.get(key)
            if task is None:
                task = self._measuring[key] = asyncio.create_task(self._measure(subject, place))
                task.add_done_callback(partial(self._is_measured, key))
            found = await asyncio.shield(task)
        return found

    def _is_measured(self, key: tuple[Subject, str], task: asyncio.Task[Measured | NotSeparated]) -> None:
        del self._measuring[key]
        if not task.cancelled() and task.exception() is None:
            self._measured[key] = task.result()

    async def _measure(self, subject: Subject, place: Place) -> Measured | NotSeparated:
        texts = [*subject.examples.found, *subject.examples.spared]
        got: list[Vector] = []
        for at in range(0, len(texts), AT_A_TIME):
            got += await self._vectors(subject, place, texts[at : at + AT_A_TIME])
        count = len(subject.examples.found)
        try:
            return measure(subject.examples, got[:count], got[count:], subject.margin)
        except NotSeparated as refused:
            return refused
        except ValueError as error:
            raise CheckFailed(subject.model, Reason.WRONG_ANSWER, f"gave no answer: {error}") from None

    async def _vectors(self, subject: Subject, place: Place, texts: Sequence[str], apart: str = "") -> list[Vector]:
        model = (place.backend.name, subject.model, place.digest, subject.prefix)
        keys = [key_of(*model, apart, text) for text in texts]
        known = {key: vector for key in keys if (vector := self.known.get(key)) is not None}
        missing = [(key, text) for key, text in zip(keys, texts, strict=True) if key not in known]
        if not missing:
            self._asker.cached(subject.model)
            return [known[key] for key in keys]
        async with self._asker.turn(subject.model, subject.at_once, subject.timeout):
            made = embedding_call(place.api, subject.model, [text for _, text in missing], subject.prefix)
            status, value = await place.post(made)
            got = vectors(made.path, status, value, len(missing))
        for (key, _), vector in zip(missing, got, strict=True):
            known[key] = vector
            self.known.put(key, vector)
        return [known[key] for key in keys]


def _separated(subject: Subject, found: Measured | NotSeparated) -> Measured:
    if isinstance(found, NotSeparated):
        raise CheckFailed(subject.model, Reason.REFUSED, f"cannot tell the topic apart: {found}")
    return found
