"""The check `topic`: asks for the vector of a text, segment by segment, and on which side of a topic's line it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from proxy.checks.asking import AskingRule, Splitter, Spot
from proxy.checks.guards.gates import gate_hold, splitter
from proxy.checks.guards.neutral import sound
from proxy.checks.kinds import CheckKind
from proxy.checks.topics.measure import Measured, Vector
from proxy.checks.topics.models import prefix_of
from proxy.checks.topics.topic import Sides, TopicOptions, sides, topic_remarks
from proxy.core.check import Turn
from proxy.core.types import Rule


class Subject(NamedTuple):
    """A topic as an embedding model is asked about it. Equal ones are measured once.

    examples:   its texts on both sides
    margin:     the policy's own; None: the measured one
    keep_alive: for Ollama
    timeout:    seconds for an answer
    at_once:    questions to this model at a time
    """

    model: str
    prefix: str
    examples: Sides
    margin: float | None
    keep_alive: str
    timeout: float
    at_once: int


class TopicQuestion(NamedTuple):
    """A question about one segment. It is answered with a TopicReply."""

    subject: Subject
    text: str


class TopicReply(NamedTuple):
    """The vector of the text, and the examples of its topic, measured with the same model."""

    vector: Vector
    measured: Measured


@dataclass(frozen=True)
class TopicQuestions:
    """What a rule of `topic` asks. See proxy.checks.asking.Questions."""

    subject: Subject
    options: TopicOptions

    @property
    def hold(self) -> int | None:
        """See Questions."""
        return gate_hold(self.options.gate, self.options.longest)

    def split(self) -> Splitter:
        """See Questions."""
        return splitter(self.options.gate, self.options.shortest, self.options.longest)

    def question(self, turn: Turn, before: str, text: str) -> TopicQuestion | None:
        """See Questions. A text without a letter or a digit is about nothing: its vector would say something all the
        same."""
        is_late = self.options.gate == "start" and len(before) > len(turn.before)
        if is_late or not any(map(str.isalnum, text)):
            return None
        return TopicQuestion(self.subject, " ".join(sound(text).split()))

    def spots(self, text: str, reply: object) -> Iterable[Spot]:
        """See Questions."""
        if not isinstance(reply, TopicReply):
            raise ValueError("it is no vector")
        return (Spot(0, len(text)),) if reply.measured.finds(reply.vector) else ()

    def told(self, reply: object) -> Iterator[str]:
        """For people: how near the text is to both sides, and where the line runs."""
        assert isinstance(reply, TopicReply)
        near, margin = reply.measured.near(reply.vector), reply.measured.margin
        found = "over" if near.score > margin else "not over"
        shown = f"{near.found:.3f} to what is looked for, {near.spared:.3f} to what is spared"
        yield f"similarity {shown}: {near.score:+.3f}, {found} the margin {margin:.3f}"


def _topic(rule: Rule, options: TopicOptions) -> AskingRule:
    prefix = prefix_of(options.model) if options.prefix is None else options.prefix
    subject = Subject(
        options.model,
        prefix,
        sides(options),
        options.margin,
        options.keep_alive,
        options.timeout,
        options.at_once,
    )
    questions = TopicQuestions(subject, options)
    return AskingRule(rule, options.model, questions, after=options.gate == "after", parallel=options.parallel)


TOPIC_KIND = CheckKind(
    "topic",
    "finds text about a subject, or about others, by its likeness to examples",
    _topic,
    TopicOptions,
    remarks=topic_remarks,
)
