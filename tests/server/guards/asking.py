"""Guards and embedding models on scripted model servers, asked as a rule would ask them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from msgspec import convert

from proxy.checks.asking import AskingRule
from proxy.checks.guards.judge import GuardQuestion, JudgeOptions, judge_kind
from proxy.checks.topics.rule import TOPIC_KIND, TopicQuestion
from proxy.checks.topics.topic import TopicOptions
from proxy.core.check import NO_TURN
from proxy.core.types import Action, Rule
from proxy.server.backends.choice import Backends
from proxy.server.config import ServerConfig, UpstreamConfig
from proxy.server.guards.judges import Judges
from proxy.server.guards.models import Asked, ModelAsker
from proxy.server.guards.topics import Topics
from tests.checks.guards.formats import FORMATS
from tests.fakes import Answer, FakeUpstream, Request, Wait, reply_json
from tests.server.backends.several import Scripted

GUARD, MINILM = "guard:1b", "all-minilm"
RULE = Rule("p", "r", Action.BLOCK)
FOOD = ("egg", "bread", "fish", "soup")


@dataclass
class Asking:
    """What a test asks with. told: each question, as it is counted."""

    asker: ModelAsker
    judges: Judges
    topics: Topics
    upstream: FakeUpstream
    told: list[Asked] = field(default_factory=list)

    def bodies(self) -> list[Any]:
        """Of the requests to models so far."""
        return [json.loads(one.body) for one in self.upstream.requests if one.method == "POST"]

    def results(self) -> list[str]:
        """How they ended."""
        return [one.result for one in self.told]


@asynccontextmanager
async def asking(
    answer: Answer | Callable[[Request], Answer],
    kind: str = "ollama",
    url: str = "",
    loaded: Callable[[], Answer] | None = None,
    tell: Callable[[Asked], None] | None = None,
) -> AsyncIterator[Asking]:
    """A model server of a kind with both models. `url`: it is looked for there instead. `loaded`: what it says to the
    question which models it has loaded. `tell`: is told of each question."""
    script = Scripted("one", {GUARD: "digest", MINILM: "other"}, kind, answer)

    def answers(request: Request) -> Answer:
        return loaded() if loaded is not None and request.path == "/api/ps" else script(request)

    async with FakeUpstream(answers, tells_models=True) as upstream:
        config = ServerConfig(
            upstream=url or upstream.url, upstreams=(UpstreamConfig(url=url or upstream.url, name="one"),)
        )
        backends = Backends(config, lambda _: True)
        told: list[Asked] = []
        asker = ModelAsker(backends, "judge", tell or told.append)
        judges = Judges(asker)
        topics = Topics(ModelAsker(backends, "topic", told.append))
        try:
            yield Asking(asker, judges, topics, upstream, told)
        finally:
            await judges.aclose()
            await topics.aclose()
            await backends.aclose()


def says(text: str, **more: Any) -> Answer:
    """A guard's reply in Ollama's dialect."""
    return reply_json({"response": text, "done": True, "done_reason": "stop"} | more)


def held(event: asyncio.Event, text: str) -> Answer:
    """The same when an event is set."""
    return Answer((Wait(event), *says(text).steps))


def embeds(request: Request) -> Answer:
    """An embedding model that knows food from all else, in Ollama's dialect."""
    texts = json.loads(request.body)["input"]
    return reply_json({"embeddings": [[4, 1] if any(word in text for word in FOOD) else [1, 4] for text in texts]})


def judged(text: str = "Take flour.", **options: Any) -> GuardQuestion:
    """The question of a rule of `judge` about a segment."""
    written = {"format": "llama-guard-3-1b", "model": GUARD} | options
    rule = judge_kind(FORMATS).make(RULE, convert(written, JudgeOptions))
    assert isinstance(rule, AskingRule)
    question = rule.questions.question(NO_TURN, "", text)
    assert isinstance(question, GuardQuestion)
    return question


def about(text: str = "A soup.", **options: Any) -> TopicQuestion:
    """The question of a rule of `topic` about a segment."""
    examples = ["Boil the egg.", "Bake the bread.", "Fry the fish."]
    others = ["Sing a song.", "Buy a hammer.", "Read the news."]
    written = {"model": MINILM, "examples": examples, "counter_examples": others} | options
    rule = TOPIC_KIND.make(RULE, convert(written, TopicOptions))
    assert isinstance(rule, AskingRule)
    question = rule.questions.question(NO_TURN, "", text)
    assert isinstance(question, TopicQuestion)
    return question
