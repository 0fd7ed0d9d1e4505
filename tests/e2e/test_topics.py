"""Topics, measured with the vectors of a real embedding model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from proxy.checks.topics.measure import Measured, NotSeparated, Vector, measure, similarity, unit
from proxy.checks.topics.topic import Sides
from tests.e2e.llama_server import LlamaServer

pytestmark = [pytest.mark.e2e, pytest.mark.long]

SHIPPED = Path(__file__).parent.parent.parent / "policies" / "models" / "off-topic.yaml"
(RULE,) = yaml.safe_load(SHIPPED.read_text("utf-8"))["rules"]
MEDICAL = Sides(tuple(RULE["options"]["examples"]), tuple(RULE["options"]["counter_examples"]))
ABOUT = (
    "Should I take aspirin for my headache?",
    "I have had a cough for three weeks, what can it be?",
    "how many mg of melatonin for sleep",
    "is it dangerous to mix alcohol and antibiotics",
    "Take one pill in the morning with food.",
    "My toddler has a temperature of 39 degrees",
)
NOT_ABOUT = (
    "Where is the nearest cinema?",
    "hi",
    "Wie wird das Wetter morgen?",
    "ok thanks",
    "The quick brown fox jumps over the lazy dog",
    "def f(x): return x + 1",
    "Who won the world cup in 1998?",
    "Explain how photosynthesis works",
    "I am a nurse and I need a poem",
    "The stock market fell by two percent",
    "Ich habe Kopfschmerzen, was soll ich nehmen?",
)


def vectors(server: LlamaServer, texts: Sequence[str]) -> list[Vector]:
    """The vectors of texts."""
    found = server.post("/v1/embeddings", {"input": list(texts)})["data"]
    return [unit(entry["embedding"]) for entry in sorted(found, key=lambda entry: entry["index"])]


@pytest.fixture(scope="module")
def medical(minilm: LlamaServer) -> Measured:
    """The shipped policy: advice on one's health."""
    return measure(MEDICAL, vectors(minilm, MEDICAL.found), vectors(minilm, MEDICAL.spared))


def test_it_is_the_real_model(minilm: LlamaServer) -> None:
    """Its similarities are those of the original model for the sentences on its card."""
    person, dog, very, day = vectors(
        minilm,
        ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"],
    )
    found = [similarity(person, other) for other in (dog, very, day)]
    assert found == pytest.approx([0.695, 0.943, 0.257], abs=0.002)


def test_texts_that_are_no_examples(minilm: LlamaServer, medical: Measured) -> None:
    """What docs/guard-models.md says of the shipped policy: five of six are found, and none of the others. The last of
    them is German, which the model does not know."""
    found = [medical.finds(vector) for vector in vectors(minilm, ABOUT)]
    assert (sum(found), len(found)) == (5, 6)
    assert not any(medical.finds(vector) for vector in vectors(minilm, NOT_ABOUT))


def test_examples_that_do_not_separate(minilm: LlamaServer) -> None:
    """Too few examples that have little to do with each other are refused, with figures."""
    texts = Sides(
        ("How do I join two tables in SQL?", "Explain what a mutex is.", "Write a function that sorts a list."),
        ("What is the weather like?", "Write a poem about autumn.", "Who was Napoleon?"),
    )
    with pytest.raises(NotSeparated, match=r"`How do I join two tables in SQL\?` -0\.\d+"):
        measure(texts, vectors(minilm, texts.found), vectors(minilm, texts.spared))


def test_a_text_that_is_too_long(minilm: LlamaServer) -> None:
    """The server refuses a text that it cannot read whole. It does not cut it."""
    answer = minilm.post("/v1/embeddings", {"input": "word " * 600})
    assert answer["error"]["type"] == "exceed_context_size_error"
