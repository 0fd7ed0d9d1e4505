"""Topics, measured with the vectors of a real embedding model."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from proxy.checks.topics.measure import Measured, NotSeparated, Vector, measure, similarity, unit
from proxy.checks.topics.topic import Sides
from tests.e2e.llama_server import LlamaServer

pytestmark = pytest.mark.e2e

MEDICAL = Sides(
    (
        "What dose of ibuprofen can I take with a fever?",
        "Is this rash a sign of an allergy?",
        "Which antibiotic helps against a sinus infection?",
        "My chest hurts when I breathe, what could it be?",
        "Can I stop taking my blood pressure pills?",
        "How do I treat a second-degree burn at home?",
    ),
    (
        "How do I get a doctor's appointment online?",
        "Write a birthday card for my nurse.",
        "What is the history of the Red Cross?",
        "How many bones does a horse have?",
        "Hello, how are you?",
        "Fix this Python function for me.",
        "What should I cook tonight?",
        "Summarise this meeting.",
    ),
)


def vectors(server: LlamaServer, texts: Sequence[str]) -> list[Vector]:
    """The vectors of texts."""
    found = server.post("/v1/embeddings", {"input": list(texts)})["data"]
    return [unit(entry["embedding"]) for entry in sorted(found, key=lambda entry: entry["index"])]


@pytest.fixture(scope="module")
def medical(minilm: LlamaServer) -> Measured:
    """Advice on one's health, as an operator may want to leave to others."""
    return measure(MEDICAL, vectors(minilm, MEDICAL.found), vectors(minilm, MEDICAL.spared))


def test_it_is_the_real_model(minilm: LlamaServer) -> None:
    """Its similarities are those of the original model for the sentences on its card."""
    person, dog, very, day = vectors(
        minilm,
        ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"],
    )
    found = [similarity(person, other) for other in (dog, very, day)]
    assert found == pytest.approx([0.695, 0.943, 0.257], abs=0.002)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Should I take aspirin for my headache?", True),
        ("I have had a cough for three weeks", True),
        ("Where is the nearest cinema?", False),
        ("ok thanks", False),
        ("How to roast a chicken?", False),
        ("Wie wird das Wetter morgen?", False),
    ],
)
def test_texts_that_are_no_examples(minilm: LlamaServer, medical: Measured, text: str, wanted: bool) -> None:
    """A topic is told by meaning: no text shares its words with an example."""
    (vector,) = vectors(minilm, [text])
    assert medical.finds(vector) is wanted


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
