"""Where the line runs between the examples of a topic, and on which side of it a text is.

A text's score is its greatest similarity to what is looked for, less its greatest similarity to what is spared. The
greatest, because a few examples of a subject are seldom like each other: the mean would say that nothing is.

Vectors are tuples of floats, and a product takes 10 to 20 microseconds in plain Python, for 384 and 768 numbers: some
milliseconds for a segment and fifty examples, beside an embedding that takes longer. A library is not worth it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, sqrt
from operator import mul
from statistics import fmean
from typing import NamedTuple

from proxy.checks.topics.topic import Sides

Vector = tuple[float, ...]
SHOWN = 3
"""Examples that a refusal names."""
LONGEST_SHOWN = 60


class Near(NamedTuple):
    """How near a text is. found, spared: greatest similarity to an example on that side, from -1 to 1."""

    found: float
    spared: float

    @property
    def score(self) -> float:
        """How much nearer it is to what is looked for."""
        return self.found - self.spared


class Measured(NamedTuple):
    """A topic whose examples have been measured.

    found, spared: their vectors
    margin:        a text with a greater score is found
    lowest:        the lowest score of an example that is to be found, held against the others
    highest:       the highest score of one that is to be spared
    """

    found: tuple[Vector, ...]
    spared: tuple[Vector, ...]
    margin: float
    lowest: float
    highest: float

    def near(self, vector: Vector) -> Near:
        """How near a text is to both sides."""
        return Near(_greatest(vector, self.found), _greatest(vector, self.spared))

    def finds(self, vector: Vector) -> bool:
        """Whether a text is on the side that is looked for."""
        return self.near(vector).score > self.margin


class NotSeparated(ValueError):
    """The examples do not lie on two sides of any line. The text has the figures and what to do."""


def unit(numbers: Sequence[float]) -> Vector:
    """A vector of length 1. Raises ValueError for one that has no direction."""
    length = sqrt(sum(map(mul, numbers, numbers)))
    if not isfinite(length) or length == 0:
        raise ValueError("the vector has no direction: it is empty, zero or not finite")
    return tuple([number / length for number in numbers])


def similarity(one: Vector, other: Vector) -> float:
    """The cosine of the angle between two vectors of length 1. Raises ValueError when their lengths differ."""
    if len(one) != len(other):
        raise ValueError(f"vectors of {len(one)} and of {len(other)} numbers cannot be compared")
    product: float = sum(map(mul, one, other))
    return product


def measure(texts: Sides, found: Sequence[Vector], spared: Sequence[Vector], margin: float | None = None) -> Measured:
    """Hold each example against all others. Raises NotSeparated.

    margin: what the policy says; None: the measured one, in the middle between the lowest score that has to be found
            and the highest one that must not be, or 0 where that is higher: a text that is like neither side has a
            score near 0, and is not found
    """
    on = [_greatest(one, _without(found, i)) - _greatest(one, spared) for i, one in enumerate(found)]
    off = [_greatest(one, found) - _greatest(one, _without(spared, i)) for i, one in enumerate(spared)]
    lowest, highest = min(on), max(off)
    line = (lowest + max(highest, 0.0)) / 2 if margin is None else margin
    if not highest <= line < lowest:
        raise NotSeparated(_refusal(texts, on, off, margin))
    return Measured(tuple(found), tuple(spared), line, lowest, highest)


def _greatest(vector: Vector, others: Sequence[Vector]) -> float:
    return max([similarity(vector, other) for other in others], default=-1.0)


def _without(vectors: Sequence[Vector], i: int) -> list[Vector]:
    return [vector for j, vector in enumerate(vectors) if j != i]


def _refusal(texts: Sides, on: list[float], off: list[float], margin: float | None) -> str:
    """Why there is no line, with the examples that are in the way: those that overlap, or lie behind the margin."""
    low, high = (max(0.0, *off), min(on)) if margin is None else (margin, margin)
    missed = sorted((score, text) for score, text in zip(on, texts.found, strict=True) if score <= low)
    caught = [(score, text) for score, text in zip(off, texts.spared, strict=True) if score > high or score >= min(on)]
    told = f"scores of what has to be found go from {min(on):.3f} (mean {fmean(on):.3f}), "
    told += f"of what has not up to {max(off):.3f} (mean {fmean(off):.3f})"
    if margin is not None:
        told += f", and the margin is {margin:.3f}"
    in_the_way = [*missed[:SHOWN], *sorted(caught, reverse=True)[:SHOWN]]
    named = ", ".join(f"{_shown(text)} {score:+.3f}" for score, text in in_the_way)
    return f"its examples do not lie on two sides: {told}; in the way: {named}"


def _shown(text: str) -> str:
    one_line = " ".join(text.split())
    return f"`{one_line if len(one_line) <= LONGEST_SHOWN else one_line[: LONGEST_SHOWN - 3] + '...'}`"
