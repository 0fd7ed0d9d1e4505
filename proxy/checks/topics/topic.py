"""What a policy says of a topic, and what is wrong in that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct

from proxy.checks.guards.gates import Gate
from proxy.checks.kinds import Remark
from proxy.checks.segments import LONGEST, SHORTEST

LEAST = 3
"""Examples on each side: with fewer nothing can be measured, as one is always held against the others."""
Example = Annotated[str, Meta(min_length=1, max_length=2_000)]
Examples = tuple[Example, ...]


class TopicOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of `topic`."""

    model: Annotated[str, Meta(min_length=1, max_length=300, description="the embedding model's name on its server")]
    examples: Annotated[Examples, Meta(min_length=1, description="texts about the subject")]
    counter_examples: Annotated[
        Examples, Meta(description="texts near it that are not about it, and everyday ones")
    ] = ()
    finds: Annotated[Literal["subject", "others"], Meta(description="text about it, or text that is not")] = "subject"
    margin: Annotated[float, Meta(ge=-1, le=1, description="instead of the measured one")] | None = None
    prefix: Annotated[str, Meta(max_length=500, description="before each text, instead of the known one")] | None = None
    gate: Annotated[Gate, Meta(description="what is judged at a time, and whether text waits")] = "segment"
    shortest: Annotated[int, Meta(ge=1, le=10_000, description="a segment has so many characters at least")] = SHORTEST
    longest: Annotated[int, Meta(ge=32, le=8_000, description="and so many at most")] = LONGEST
    parallel: Annotated[
        bool,
        Meta(description="prompts: asked while the model reads them; nothing of its answer is sent before"),
    ] = False
    keep_alive: Annotated[str, Meta(max_length=20, description="how long Ollama keeps the model loaded")] = "30m"
    timeout: Annotated[float, Meta(gt=0, le=600, description="seconds for an answer")] = 5.0
    at_once: Annotated[int, Meta(ge=1, le=64, description="questions to this model at a time")] = 1


class Sides(NamedTuple):
    """The examples of a topic, as texts or as vectors. found: what the rule is looking for; spared: what it is not."""

    found: tuple[str, ...]
    spared: tuple[str, ...]


def sides(options: TopicOptions) -> Sides:
    """What is looked for. With `finds: others` that is what the counter-examples are like."""
    both = (options.examples, options.counter_examples)
    return Sides(*both) if options.finds == "subject" else Sides(*reversed(both))


def topic_remarks(options: TopicOptions) -> Iterator[Remark]:
    """What the schema cannot tell."""
    if not options.counter_examples:
        message = "a topic needs counter-examples: how near is near enough differs between models, and is measured"
        yield Remark(("counter_examples",), message, f"write at least {LEAST} texts that are near it and not about it")
    for key in ("examples", "counter_examples"):
        given: Examples = getattr(options, key)
        if 0 < len(given) < LEAST:
            yield Remark((key,), f"{len(given)} are too few to measure anything", f"write at least {LEAST}")
        yield from _repeated(key, given)
    if options.shortest > options.longest:
        yield Remark(("shortest",), "it is more than `longest`", f"write at most {options.longest}")
    known = {_spelled(text) for text in options.examples}
    for i, text in enumerate(options.counter_examples):
        if _spelled(text) in known:
            yield Remark(("counter_examples", i), "this is one of `examples` too", "keep one of the two")


def _repeated(key: str, given: Examples) -> Iterator[Remark]:
    seen: set[str] = set()
    for i, text in enumerate(given):
        if not text.strip():
            yield Remark((key, i), "there is nothing in it", "write a text")
        elif _spelled(text) in seen:
            yield Remark((key, i), "it is there already: it would be measured against itself", "remove it")
        seen.add(_spelled(text))


def _spelled(text: str) -> str:
    return " ".join(text.casefold().split())
