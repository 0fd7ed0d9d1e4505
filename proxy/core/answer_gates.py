"""What a guard knows of its plan and of its gates, whichever they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from proxy.core.askers import Asked
from proxy.core.check import Check
from proxy.core.types import Channel, Finding, Kind, Rule


class Plan(Protocol):
    """Which checks apply to an answer: made from the policies for one model, key and direction."""

    def checks(self, kind: Kind, escaped: bool = False) -> Iterable[Check]:
        """The checks for text of this kind; `escaped`: for text that is JSON source."""

    @property
    def admitted(self) -> set[tuple[Kind, str]]:
        """Short texts that passed as they are, remembered for the next answer; kept small by the guard."""


class AnyGate(Protocol):
    """Gate, WholeGate or ArgumentsGate."""

    blocked: Finding | None
    more: dict[Rule, int]

    @property
    def findings(self) -> list[Finding]:
        """What rules found."""

    @property
    def held(self) -> int:
        """Characters that wait for a verdict."""

    def feed(self, text: str, final: bool = False) -> str:
        """Read on; return what may go out now."""

    def take_asks(self) -> list[Asked]:
        """The questions that have arisen since the last call."""

    def take_dropped(self) -> list[int]:
        """The keys of questions that need no answer any more, since the last call."""

    def answer(self, key: int, reply: object) -> str:
        """A question is answered; return what may go out now."""

    def give_up(self) -> None:
        """Nothing of the text will be sent any more: no answer is needed."""


class Question(NamedTuple):
    """A question of an answer's checks, and the gate that has asked it."""

    channel: Channel
    gate: AnyGate
    asked: Asked

    @property
    def name(self) -> tuple[int, int]:
        """Tells it from all others of the guard."""
        return id(self.gate), self.asked.key
