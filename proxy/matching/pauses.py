"""Pauses: long computations call a function now and then, in which whoever runs them may let others have their turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
Pause = Callable[[], None]
SLICE = 250


def no_pause() -> None:
    """For those who have nobody to wait for."""


def pausing(values: Iterable[T], pause: Pause, size: int = SLICE) -> Iterator[T]:
    """The values, with a pause after every `size` of them."""
    rest = iter(values)
    while some := list(islice(rest, size)):
        yield from some
        pause()
