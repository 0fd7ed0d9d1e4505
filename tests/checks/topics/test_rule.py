"""Rules that ask for the vector of a text: what they ask, what it means, and the laws of all checks."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import convert

from proxy.checks.asking import AskingRule, Spot
from proxy.checks.topics.measure import Vector, measure, unit
from proxy.checks.topics.rule import TOPIC_KIND, TopicQuestion, TopicQuestions, TopicReply
from proxy.checks.topics.topic import TopicOptions
from proxy.core.check import NO_TURN
from proxy.core.types import Action, Rule
from proxy.testing import check_laws

ABOUT = ["Boil the eggs.", "Bake the bread.", "Fry the fish."]
OTHERS = ["Sing a song.", "Buy a hammer.", "Read the news."]
FOOD = ("egg", "bread", "fish", "soup")


def topic(action: Action = Action.BLOCK, **options: Any) -> AskingRule:
    """A rule about cooking."""
    written = {"model": "nomic-embed-text", "examples": ABOUT, "counter_examples": OTHERS} | options
    made = TOPIC_KIND.make(Rule("p", "topic", action), convert(written, TopicOptions))
    assert isinstance(made, AskingRule)
    return made


def questions(**options: Any) -> TopicQuestions:
    """What it asks."""
    found = topic(**options).questions
    assert isinstance(found, TopicQuestions)
    return found


def vector(text: str) -> Vector:
    """A model that knows food from all else."""
    return unit([1.0 + any(word in text for word in FOOD) * 3, 1.0 + (not any(word in text for word in FOOD)) * 3])


def answer(question: Any) -> TopicReply:
    """What it says to a question."""
    found, spared = question.subject.examples
    measured = measure(
        question.subject.examples, [*map(vector, found)], [*map(vector, spared)], question.subject.margin
    )
    return TopicReply(vector(question.text), measured)


@pytest.mark.parametrize("gate", ["segment", "start", "whole", "after"])
@pytest.mark.parametrize("action", Action)
def test_it_obeys_the_laws(action: Action, gate: str) -> None:
    """With each action and each gate, whatever the order of the answers."""
    rule = topic(action, gate=gate, shortest=8, longest=40)
    check_laws(
        rule, ["", "Hi.", "Good day to you. Now take the fish and fry it. That was all."], cuts=4, replies=answer
    )


def test_what_is_asked() -> None:
    """A segment on one line, with the prefix of its model; equal topics are equal questions."""
    found = questions()
    question = found.question(NO_TURN, "", " Boil\n the soup. ")
    assert question == TopicQuestion(found.subject, "Boil the soup.")
    assert found.subject.prefix == "classification: "
    other = found.question(NO_TURN, "", "a\ud800")
    assert other is not None
    assert other.text == "a\ufffd"
    assert questions(prefix="x: ").subject.prefix == "x: "
    assert questions().subject == found.subject


@pytest.mark.parametrize("text", ["", " \n", "---\n", "🎉"])
def test_texts_about_nothing(text: str) -> None:
    """Nobody is asked about a text without a letter or a digit."""
    assert questions().question(NO_TURN, "", text) is None


def test_only_the_beginning() -> None:
    """`start`: what follows the beginning is not asked about."""
    assert questions(gate="start").question(NO_TURN, "Hi.", "More.") is None


@pytest.mark.parametrize(
    ("finds", "text", "wanted"),
    [
        ("subject", "A soup of beans", True),
        ("subject", "A hammer", False),
        ("others", "A soup of beans", False),
        ("others", "A hammer", True),
    ],
)
def test_what_is_found(finds: str, text: str, wanted: bool) -> None:
    """A refused subject, or what is none of the allowed ones."""
    found = questions(finds=finds)
    spots = list(found.spots(text, answer(found.question(NO_TURN, "", text))))
    assert spots == ([Spot(0, len(text))] if wanted else [])


def test_no_vector() -> None:
    """Anything else is no answer."""
    with pytest.raises(ValueError, match="no vector"):
        list(questions().spots("x", "y"))
