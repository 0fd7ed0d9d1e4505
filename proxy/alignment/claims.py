"""A model's status, and what it is concluded from.

Names and metadata are self-declared: `ollama cp` renames anything. So a status is a claim. An operator who has looked
at a model says so in models.yaml (`proxy.policy.models_file`).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any, Final, Literal, NamedTuple

from proxy.policy.schema import Alignment

Kind = Literal["chat", "completion", "embedding", "guard"]
"""What a model is made for: to talk, to go on with a text, to give numbers for it, or to judge it."""

WORST_FIRST: Final[tuple[Alignment, ...]] = ("unaligned", "base", "instruct")
MAX_EVIDENCE = 20


class Signal(IntEnum):
    """Where evidence comes from, the strongest first.

    REVIEW: models.yaml. METADATA: of the model's file. LIST: whether the model server lists it at all
    """

    REVIEW = 0
    METADATA = 1
    TEMPLATE = 2
    CAPABILITIES = 3
    NAME = 4
    LIST = 5

    @property
    def word(self) -> str:
        """As tables and JSON show it."""
        return "models.yaml" if self is Signal.REVIEW else self.name.lower()


class Evidence(NamedTuple):
    """One thing that is known of a model.

    says:   the status that it speaks for; None: it is shown, and does not vote
    reason: why, in words of our own: nothing that a model server has written stands in it
    """

    signal: Signal
    says: Alignment | None
    reason: str

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {"signal": self.signal.word, "says": self.says, "reason": self.reason}


class Claim(NamedTuple):
    """What a model claims to be.

    local:    it runs beside the model server, not on a machine elsewhere
    digest:   of the model, as Ollama has it; "": the model server has none
    evidence: the strongest first
    """

    status: Alignment = "unknown"
    kind: Kind = "chat"
    local: bool = True
    digest: str = ""
    evidence: tuple[Evidence, ...] = ()

    @property
    def disagree(self) -> bool:
        """Whether its signals speak for more than one status."""
        return len({one.says for one in self.evidence if one.says is not None}) > 1

    @property
    def why(self) -> str:
        """The evidence that decided, in one line; and what speaks against it."""
        deciding = [one for one in self.evidence if one.says == self.status]
        if self.status == "unknown":
            deciding = [one for one in self.evidence if one.says is None]
        told = "; ".join(f"{one.signal.word}: {one.reason}" for one in deciding[:2])
        against = next((one for one in self.evidence if one.says not in (None, self.status)), None)
        if against is not None:
            told += f" (but {against.signal.word}, for {against.says}: {against.reason})"
        return told or "nothing says what it is"


def claim(evidence: Iterable[Evidence], kind: Kind = "chat", *, local: bool = True, digest: str = "") -> Claim:
    """What follows from the evidence: the worst status that any of it speaks for; `unknown` where none does."""
    ordered = sorted(dict.fromkeys(evidence), key=lambda one: one.signal)[:MAX_EVIDENCE]
    return Claim(conclude(ordered), kind, local, digest, tuple(ordered))


def conclude(evidence: Iterable[Evidence]) -> Alignment:
    """The worst status that is spoken for."""
    spoken = {one.says for one in evidence}
    return next((status for status in WORST_FIRST if status in spoken), "unknown")


NOT_LISTED: Final = Claim(evidence=(Evidence(Signal.LIST, None, "the model server does not list it"),))
NOT_LOOKED_AT: Final = Claim(evidence=(Evidence(Signal.LIST, None, "nobody has looked at it yet"),))
SILENT: Final = Claim(evidence=(Evidence(Signal.LIST, None, "the model server has not said what it is"),))
