"""A look at the models that rules ask, at the start and after an edit: is each there, does it answer, what did it cost.

A model that does not answer now is a warning, and never keeps the proxy from starting or an edit from taking effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from proxy.checks.asking import AskingRule
from proxy.checks.guards.judge import GuardQuestion, JudgeQuestions, read
from proxy.checks.topics.rule import Subject, TopicQuestions
from proxy.core.check import Turn
from proxy.core.failures import CheckFailed
from proxy.core.types import Direction
from proxy.server.guards.judges import Judges
from proxy.server.guards.models import ModelAsker
from proxy.server.guards.topics import Topics

HELLO = "Hello, how are you?"
LOADED = "/api/ps"


class Seen(NamedTuple):
    """What was seen. is_fine: nothing has to be done."""

    text: str
    is_fine: bool = False


class Probe:
    """Asks each model that rules name a harmless question."""

    def __init__(self, asker: ModelAsker, judges: Judges, topics: Topics) -> None:
        self._asker = asker
        self._judges = judges
        self._topics = topics

    async def look(self, rules: Iterable[AskingRule]) -> list[Seen]:
        """What was seen of the models of these rules, each once."""
        known = list(rules)
        seen = [await self._guard(name, question) for name, question in _questions(known)]
        seen += [[await self._topic(name, subject)] for name, subject in _subjects(known)]
        return [one for several in seen for one in several]

    async def _guard(self, rule: str, question: GuardQuestion) -> list[Seen]:
        model = question.options.model
        try:
            before = await self._loaded(model, question.timeout)
            reply = await self._judges.answer(question)
            after = await self._loaded(model, question.timeout)
        except CheckFailed as failed:
            return [Seen(f"rule {rule}: the guard {model} {failed.detail}; until it answers, on_error applies")]
        verdicts, errors = read(reply)
        if errors:
            format_name = question.guard.format
            told = f"rule {rule}: the guard {model} does not answer as `{format_name}`: {errors[0]}"
            return [Seen(f"{told}; is it that model, and is `{format_name}` its format?")]
        seen = Seen(f"rule {rule}: the guard {model} answers ({verdicts[0].level} for a greeting)", is_fine=True)
        return [seen, *_unloaded(model, before, after)]

    async def _topic(self, rule: str, subject: Subject) -> Seen:
        try:
            measured = await self._topics.measure(subject)
        except CheckFailed as failed:
            return Seen(f"rule {rule}: the model {subject.model} {failed.detail}; until then, on_error applies")
        told = f"examples from {measured.lowest:.3f}, counter-examples up to {measured.highest:.3f}"
        return Seen(f"rule {rule}: margin {measured.margin:.3f} on {subject.model} ({told})", is_fine=True)

    async def _loaded(self, model: str, seconds: float) -> set[str]:
        """The models that Ollama has loaded, on the server that has this one; empty for another server."""
        place = await self._asker.place(model, seconds)
        if place.api != "ollama":
            return set()
        listed = (await place.backend.api.get(LOADED)).get("models")
        entries = listed if isinstance(listed, list) else []
        return {str(entry["name"]) for entry in entries if isinstance(entry, dict) and "name" in entry}


def _unloaded(model: str, before: set[str], after: set[str]) -> Iterator[Seen]:
    gone = sorted(before - after)
    if gone:
        told = f"asking the guard {model} made Ollama unload {', '.join(gone)}: both do not fit at once"
        hint = "take a smaller guard, run it on a second server, or raise OLLAMA_MAX_LOADED_MODELS"
        yield Seen(f"{told}, so each request will load them anew; {hint}")


def _questions(rules: Iterable[AskingRule]) -> Iterator[tuple[str, GuardQuestion]]:
    """A question to each guard, about the first thing that it judges."""
    known: set[tuple[str, str]] = set()
    for rule in rules:
        asks = rule.questions
        if not isinstance(asks, JudgeQuestions) or (asks.options.model, asks.guard.format) in known:
            continue
        known.add((asks.options.model, asks.guard.format))
        direction = Direction.INPUT if "prompt" in asks.guard.judges else Direction.OUTPUT
        question = asks.question(Turn(direction), "", HELLO)
        if question is not None:
            yield rule.rule.name, question


def _subjects(rules: Iterable[AskingRule]) -> Iterator[tuple[str, Subject]]:
    known: set[Subject] = set()
    for rule in rules:
        if isinstance(rule.questions, TopicQuestions) and rule.questions.subject not in known:
            known.add(rule.questions.subject)
            yield rule.rule.name, rule.questions.subject
