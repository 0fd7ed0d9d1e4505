"""What every dialect has to say for itself."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from proxy.conformance.cases import Part
from proxy.conformance.heard import Understood, events

CREATED = 1700000000
MODEL = "conformance"
NUMBERS = (7, 5)
"""Tokens of the prompt and of the answer, as the scripted server counts them."""


class Dialect(ABC):
    """One dialect.

    path:   of its requests; fields: which texts its answers have; many: several choices in one answer
    type:   of a stream
    sane:   how an answer ends that nobody has ended early
    """

    name: ClassVar[str]
    path: ClassVar[str]
    fields: ClassVar[frozenset[str]]
    many: ClassVar[bool] = False
    type: ClassVar[str] = "text/event-stream"
    sane: ClassVar[tuple[str, ...]] = ("stop", "length")

    @abstractmethod
    def request(self, turns: Sequence[tuple[str, str]], stream: bool) -> dict[str, Any]:
        """A request with the roles and texts of a conversation."""

    @abstractmethod
    def stream(self, parts: Sequence[Part], finish: str) -> list[bytes]:
        """The events of an answer, its end among them."""

    @abstractmethod
    def whole(self, parts: Sequence[Part], finish: str) -> Any:
        """The same answer as one JSON."""

    @abstractmethod
    def error(self, message: str) -> Any:
        """The body of an error."""

    @abstractmethod
    def is_error(self, body: Any) -> bool:
        """Whether a client of the dialect finds its message in the body of an error."""

    @abstractmethod
    def hear(self, event: Any, told: Understood) -> None:
        """Add what an event says. Raises LookupError, TypeError, AttributeError for what no client could read."""

    @abstractmethod
    def hear_whole(self, body: Any, told: Understood) -> None:
        """Add what one JSON says. Raises as `hear`."""

    def understood(self, body: bytes, stream: bool) -> Understood:
        """What a client understands of an answer with the status 200."""
        told = Understood()
        found, told.odd = events(body) if stream else _one(body)
        for event in found:
            try:
                self.hear(event, told) if stream else self.hear_whole(event, told)
            except (LookupError, TypeError, AttributeError) as error:
                told.odd = told.odd or f"{type(error).__name__}: {error} in {json.dumps(event)[:300]}"
        return told


def _one(body: bytes) -> tuple[list[Any], str]:
    try:
        return [json.loads(body)], ""
    except ValueError:
        return [], body[:300].decode("utf-8", "replace") or "an empty body"


def joined_by_key(parts: Sequence[Part], field: str, choice: int = 0, call: int = 0) -> str:
    """All of a text."""
    return "".join(part.text for part in parts if (part.field, part.choice, part.call) == (field, choice, call))


def calls_of(parts: Sequence[Part], choice: int = 0) -> list[int]:
    """The tool calls of a choice."""
    return sorted({part.call for part in parts if part.field == "arguments" and part.choice == choice})


def choices_of(parts: Sequence[Part]) -> list[int]:
    """The choices of an answer."""
    return sorted({part.choice for part in parts}) or [0]


def tool(call: int) -> str:
    """The name of a tool."""
    return ("get_weather", "send_mail", "search")[call % 3]


def sse(data: Mapping[str, Any] | str, named: bool = False) -> bytes:
    """An event."""
    if isinstance(data, str):
        return f"data: {data}\n\n".encode()
    name = f"event: {data['type']}\n" if named else ""
    return f"{name}data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()
