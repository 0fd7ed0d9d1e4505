"""What upstream and load client agree on: the model's name says how an answer is to come, and where its stamp stands.

A proxy writes a request anew and may drop fields that it does not know, but the model's name it has to hand on.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, fields, replace
from functools import cache
from pydoc_data.topics import topics
from typing import Self

PREFIX = "bench"
STAMP = re.compile(rb'"created": ?(\d{10,})')
"""The send time of a stamped event: CLOCK_MONOTONIC in nanoseconds, where a model server tells the time in seconds."""
TEXT_MARKS = (b'"content":"', b'"content": "')
"""One of them stands once in every event of text, and in no other; how often they come is how many events came."""
EVENT_BEGINS = b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"'
"""So does every event of text; one that does not was written anew on its way."""

_PROSE = re.compile(r"[A-Za-z ,.;:'()\"!?-]{30,}")
_TOKEN = re.compile(r" ?[^\W\d_]{1,6}|\n|[^\n]")


@dataclass(frozen=True, slots=True)
class Pace:
    """How a streamed answer comes. As a model's name: `bench:n=200:rate=50`.

    n:     events of text
    rate:  writes a second; 0: as fast as they are taken
    batch: events in a write
    stamp: 1: each event carries its send time, so no two of them begin alike; 0: as model servers do it, where events
           of one second differ only in their text
    wait:  milliseconds from the answer's head to its first event
    big:   characters in one event that comes first, 0: there is none; BIG_TEXTS[what] is what they are
    """

    n: int = 9
    rate: int = 0
    batch: int = 1
    stamp: int = 1
    wait: int = 0
    big: int = 0
    what: int = 0

    def model(self) -> str:
        """The model's name."""
        return ":".join((PREFIX, *(f"{f.name}={getattr(self, f.name)}" for f in fields(self))))

    @classmethod
    def of(cls, model: str) -> Self:
        """From a model's name, with the defaults for what it does not say. A provider's name before it is let be."""
        pairs = (part.split("=") for part in model.rpartition("/")[2].split(":")[1:])
        return replace(cls(), **{key: int(value) for key, value in pairs})


@cache
def tokens() -> tuple[str, ...]:
    """English prose, cut as a model's tokens are: 4 characters on average, most of them with their space in front.

    It is the lines without code in the documentation that comes with every Python: 50,000 tokens, 2,700 different ones.
    """
    lines = (line.strip() for name in sorted(topics) for line in topics[name].splitlines())
    return tuple(_TOKEN.findall(" ".join(line for line in lines if _PROSE.fullmatch(line))))


BIG_TEXTS = ("prose", "nothing but matches", "nothing but &")


def big_text(pace: Pace) -> str:
    """The text of the event that comes first. Addresses match the detector of e-mail."""
    if pace.what == 0:
        return prompt(pace.big)
    text = ("bob.smith@example.org ", "&")[pace.what - 1]
    return (text * (pace.big // len(text) + 1))[: pace.big]


@cache
def prompt(size: int) -> str:
    """Prose of about so many characters for a question."""
    prose = tokens()
    shuffled = random.Random(7).choices(prose, k=max(1, size // 4))
    return "".join(shuffled)[: max(size, 8)]
