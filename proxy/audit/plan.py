"""What an audit asks, and how: its sides and its options. Both stand in its file, so that it can go on as it began."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from proxy.audit.prompts import Prompt

Format = Literal["chat", "completion"]


class Side(NamedTuple):
    """One column of the report: a model, asked in one way.

    name:     of the column; unique
    model:    as the model server lists it
    way:      how it is asked: `direct`, `through the policies`, `through the policies of DIR`, `through URL`
    format:   chat, or completion for a model without a chat template
    policies: "direct" for none; else what tells whether they are the same ones: the revision, or the proxy's URL
    status, why, digest: what the model claims to be (docs/alignment.md)
    """

    name: str
    model: str
    way: str
    format: Format = "chat"
    policies: str = ""
    status: str = "unknown"
    why: str = ""
    digest: str = ""

    @property
    def is_direct(self) -> bool:
        """No policy stands between."""
        return not self.policies


class Options(NamedTuple):
    """How each prompt is asked.

    seed:   of the first repeat; each later one has the next number. None: the model server chooses
    system: the system prompt; "": none
    """

    repeats: int = 1
    temperature: float = 0.0
    seed: int | None = 1
    max_tokens: int = 512
    system: str = ""


class Question(NamedTuple):
    """One thing to ask."""

    side: Side
    prompt: Prompt
    repeat: int

    @property
    def key(self) -> tuple[str, str, int]:
        """As that of the reply to it."""
        return self.side.name, self.prompt.id, self.repeat


def questions(sides: Sequence[Side], prompts: Sequence[Prompt], repeats: int) -> Iterator[Question]:
    """All of them, one model after the other: a model server may have to load each."""
    for model in dict.fromkeys(side.model for side in sides):
        for repeat in range(1, repeats + 1):
            for prompt in prompts:
                yield from (Question(side, prompt, repeat) for side in sides if side.model == model)
