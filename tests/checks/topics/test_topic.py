"""Topics: what a policy can say of one, and where the line between its examples runs."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, isclose, radians, sin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import convert

from proxy.checks.topics.measure import NotSeparated, Vector, measure, similarity, unit
from proxy.checks.topics.models import MODELS, embedding_model, prefix_of
from proxy.checks.topics.topic import Sides, TopicOptions, sides, topic_remarks

ABOUT = ("Boil the eggs.", "Bake the bread.", "Fry the fish.")
OTHERS = ("Sing a song.", "Buy a hammer.", "Read the news.")
ANGLES = st.lists(st.integers(-180, 180), min_size=2, max_size=6)


def at(degrees: Sequence[float]) -> list[Vector]:
    """Vectors in a plane, at these angles: they are as similar as the cosine of the angle between them."""
    return [(cos(radians(angle)), sin(radians(angle))) for angle in degrees]


def named(found: int, spared: int) -> Sides:
    """So many texts on each side."""
    return Sides(tuple(f"found {i}" for i in range(found)), tuple(f"spared {i}" for i in range(spared)))


def remarks_on(**options: object) -> list[tuple[tuple[str | int, ...], str, str]]:
    """What is wrong in the options of a topic."""
    topic = convert({"model": "all-minilm", "examples": ABOUT, "counter_examples": OTHERS} | options, TopicOptions)
    return [(remark.path, remark.message, remark.hint) for remark in topic_remarks(topic)]


def test_a_topic_as_it_should_be() -> None:
    """Three examples on each side are enough to load."""
    assert remarks_on() == []


def test_counter_examples_are_needed() -> None:
    """A topic without them is an error with its place, the reason and what to do."""
    ((path, message, hint),) = remarks_on(counter_examples=())
    assert path == ("counter_examples",)
    assert "differs between models" in message
    assert hint == "write at least 3 texts that are near it and not about it"


@pytest.mark.parametrize(
    ("options", "path", "message"),
    [
        ({"examples": ABOUT[:2]}, ("examples",), "2 are too few to measure anything"),
        ({"counter_examples": OTHERS[:1]}, ("counter_examples",), "1 are too few to measure anything"),
        ({"examples": (*ABOUT, " boil  THE eggs.")}, ("examples", 3), "it is there already"),
        ({"examples": (*ABOUT, " \n")}, ("examples", 3), "there is nothing in it"),
        ({"counter_examples": (*OTHERS, ABOUT[1])}, ("counter_examples", 3), "this is one of `examples` too"),
        ({"shortest": 700}, ("shortest",), "it is more than `longest`"),
    ],
)
def test_wrong_examples(options: dict[str, object], path: tuple[str | int, ...], message: str) -> None:
    """Examples that tell nothing are named with their place."""
    ((where, told, hint),) = remarks_on(**options)
    assert (where, told.startswith(message)) == (path, True)
    assert hint


def test_sides() -> None:
    """A refused subject is what is looked for; of allowed ones it is what the counter-examples are like."""
    topic = TopicOptions("m", ABOUT, OTHERS)
    assert sides(topic) == Sides(ABOUT, OTHERS)
    assert sides(TopicOptions("m", ABOUT, OTHERS, finds="others")) == Sides(OTHERS, ABOUT)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("nomic-embed-text:latest", "classification: "),
        ("text-embedding-nomic-embed-text-v1.5", "classification: "),
        ("embeddinggemma:300m", "task: classification | query: "),
        ("all-minilm", ""),
        ("my-own-model", ""),
    ],
)
def test_prefixes(name: str, prefix: str) -> None:
    """A model is known by its name on any server, and gets the prefix that it was trained with."""
    assert prefix_of(name) == prefix


def test_models_are_told_apart() -> None:
    """The more special name comes first, and no name is given twice."""
    names = [name for model in MODELS for name in model.names]
    assert len(set(names)) == len(names)
    assert all(embedding_model(name) is model for model in MODELS for name in model.names)


def test_the_line() -> None:
    """It runs in the middle between the two sides, or between 0 and what has to be found."""
    measured = measure(named(3, 3), at([0, 10, 20]), at([90, 100, 110]))
    assert measured.highest < 0 < measured.margin < measured.lowest
    assert isclose(measured.margin, measured.lowest / 2)
    assert [measured.finds(vector) for vector in at([5, 30, 60, 95, 200])] == [True, True, False, False, False]
    near = measured.near(at([10])[0])
    assert isclose(near.found, 1)
    assert isclose(near.score, near.found - cos(radians(80)))


def test_neither_side() -> None:
    """A text that is as far from one side as from the other is not found."""
    measured = measure(
        named(3, 3), [unit((1, 0.1 * i, 0)) for i in range(3)], [unit((0.1 * i, 1, 0)) for i in range(3)]
    )
    assert measured.finds((1.0, 0.0, 0.0))
    assert not measured.finds((0.0, 0.0, 1.0))


def test_an_own_margin() -> None:
    """The policy's margin counts, as long as the policy's examples lie on their sides of it."""
    found, spared = at([0, 10, 20]), at([90, 100, 110])
    assert measure(named(3, 3), found, spared, 0.1).margin == 0.1
    with pytest.raises(NotSeparated, match=r"and the margin is 0\.990; in the way: `found 2` \+0\.\d+"):
        measure(named(3, 3), found, spared, 0.99)


def test_a_topic_that_does_not_separate() -> None:
    """It is refused with the figures, and the examples that are in the way."""
    with pytest.raises(NotSeparated) as caught:
        measure(named(3, 3), at([0, 10, 95]), at([90, 100, 110]))
    text = str(caught.value)
    assert text.startswith("its examples do not lie on two sides: scores of what has to be found go from -0.")
    assert "`found 2` -0." in text
    assert "`found 0`" not in text


def test_long_examples_are_cut() -> None:
    """A refusal shows an example on one line, and not all of a long one."""
    texts = Sides(("a\nb " + "x" * 100, "b", "c"), ("d", "e", "f"))
    with pytest.raises(NotSeparated, match=r"`a b x{53}\.\.\.`"):
        measure(texts, at([95, 0, 10]), at([90, 100, 110]))


@given(ANGLES, ANGLES)
def test_separated_examples_are_judged_right(found: list[int], spared: list[int]) -> None:
    """If there is a line, each example lies on its side of it, also when it is held against the others only; the order
    of the examples changes nothing."""
    try:
        measured = measure(named(len(found), len(spared)), at(found), at(spared))
    except NotSeparated:
        with pytest.raises(NotSeparated):
            measure(named(len(found), len(spared)), at(found[::-1]), at(spared[::-1]))
        return
    assert all(measured.finds(vector) for vector in at(found))
    assert not any(measured.finds(vector) for vector in at(spared))
    again = measure(named(len(found), len(spared)), at(found[::-1]), at(spared[::-1]))
    assert isclose(again.margin, measured.margin)
    assert measured.highest <= measured.margin < measured.lowest


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8))
def test_unit(numbers: list[float]) -> None:
    """A vector is brought to the length 1; one without a direction is refused."""
    if not any(abs(number) > 1e-100 for number in numbers):
        with pytest.raises(ValueError, match="no direction"):
            unit([0.0 for _ in numbers])
        return
    assert isclose(similarity(unit(numbers), unit(numbers)), 1, rel_tol=1e-9)


@pytest.mark.parametrize("numbers", [(), (0.0, 0.0), (float("nan"), 1.0), (float("inf"), 1.0)])
def test_no_direction(numbers: tuple[float, ...]) -> None:
    """What a broken model gives is no vector."""
    with pytest.raises(ValueError, match="no direction"):
        unit(numbers)


def test_other_models() -> None:
    """Vectors of two models are not compared."""
    with pytest.raises(ValueError, match="vectors of 1 and of 2 numbers"):
        similarity((1.0,), (1.0, 0.0))
