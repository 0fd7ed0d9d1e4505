"""How an upstream of a dialect speaks, and what a client of it understands; the tests of all dialects drive it."""

from __future__ import annotations

import json
import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

from proxy.core.check import Check, Progress
from proxy.core.guard import Guard
from proxy.core.types import Action, Finding, Rule
from proxy.dialects.answer import Answer
from proxy.dialects.base import Dialect
from proxy.dialects.request import Options
from tests.dialects.golden_files import Golden, golden
from tests.phrases import PhrasePlan

BAD = "NEVERSAID"
NOTICE = "<stopped here>"
WORDS = "All that is clean. "
GARBAGE = b"data: NEVERSAID\n\n\xff\xfe{]"
ODD: Sequence[Any] = (None, [1], True, {}, 7, [], "odd", ["a", {}], -1.5, {"type": {}}, 1e300, {"id": []}, "")
OWN = ("input", "arguments", "parameters")  # free JSON: a call's arguments, a tool's schema
Deltas = Sequence[tuple[str, str]]  # field and text


def notice(finding: Finding) -> str:
    """What stands for a policy's message."""
    return NOTICE


@dataclass
class Told:
    """What a client of a dialect understands.

    texts:  by choice and field, put together from the deltas (or as they stand in a whole answer)
    finish: how the answer ended in the dialect's words, by choice; empty: it has no proper end
    failed: an error was told
    """

    texts: dict[tuple[int, str], str] = field(default_factory=dict)
    finish: dict[int, str] = field(default_factory=dict)
    failed: bool = False

    def say(self, key: tuple[int, str], text: str | None) -> None:
        """Add to a text; nothing may be said of a choice after its end."""
        if text:
            assert key[0] not in self.finish, f"text after the end: {text!r}"
            self.texts[key] = self.texts.get(key, "") + text

    def of(self, name: str) -> str:
        """All text of a field, over all choices, calls and blocks."""
        return "".join(text for (_, key), text in self.texts.items() if key == name or key.endswith(f".{name}"))


@dataclass(frozen=True)
class Stream:
    """A golden stream. identical: when no rule minds it, it passes byte for byte; else its meaning stays (`why`).

    asks: what its request asked for besides
    """

    name: str
    identical: bool = True
    why: str = ""
    asks: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    @property
    def golden(self) -> Golden:
        """The captured answer."""
        return golden(self.name)


class Wire(ABC):
    """One dialect, seen from outside.

    streamed: fields that are released as they come; `whole` ones only when they are complete
    content:  the field in which a person reads the notice
    finish:   how an ordinary answer ends, and `blocked` one that a rule has ended
    gap:      what stands between two events, and `lead` before the JSON of one
    odd, failing: an event of an unknown type, and one that tells of an error with `%b` in it
    """

    dialect: ClassVar[Dialect]
    streams: ClassVar[tuple[Stream, ...]]
    streamed: ClassVar[tuple[str, ...]]
    whole: ClassVar[tuple[str, ...]] = ()
    content: ClassVar[str] = "content"
    finish: ClassVar[str]
    blocked: ClassVar[str]
    gap: ClassVar[bytes] = b"\n\n"
    lead: ClassVar[bytes] = b"data: "
    asks: Mapping[str, Any] = MappingProxyType({})
    odd: ClassVar[tuple[bytes, ...]] = (
        b'event: response.new_thing\ndata: {"type":"response.new_thing","delta":"unheard of","choices":[]}',
        b": unheard of",
    )
    failing: ClassVar[bytes] = b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"%b"}}'

    def kind(self, name: str) -> str:
        """What a field is to its reader: several may be thinking."""
        return "thinking" if name.startswith(("reasoning", "thinking", "summary")) else name

    @abstractmethod
    def request(self, **extra: Any) -> bytes:
        """A client's request."""

    @abstractmethod
    def json_mode(self) -> dict[str, Any]:
        """The keys that ask for JSON."""

    @abstractmethod
    def speak(self, deltas: Deltas) -> bytes:
        """An upstream's stream."""

    @abstractmethod
    def speak_whole(self, deltas: Deltas) -> bytes:
        """The same as one JSON answer."""

    @abstractmethod
    def read(self, data: bytes) -> Told:
        """What a streaming client understands; it checks that the stream is well-formed and agrees with itself."""

    @abstractmethod
    def read_whole(self, data: bytes) -> Told:
        """What a client that waits for the whole understands."""

    # -- driving

    def answer(self, checks: Iterable[Check] = (), **extra: Any) -> Answer:
        """The answer of an exchange."""
        request = self.dialect.parse(self.request(**{**self.asks, **extra}), Options())
        return self.dialect.answer(request, Guard(PhrasePlan(tuple(checks)), request.json_content), notice)

    def stream(self, pieces: Iterable[bytes], *checks: Check, **extra: Any) -> tuple[Answer, bytes]:
        """Carry a stream to a streaming client; the answer and all bytes."""
        answer = self.answer(checks, stream=True, **extra)
        out = b"".join(answer.feed(piece) for piece in pieces)
        return answer, out + answer.finish()

    def collect(self, pieces: Iterable[bytes], *checks: Check, **extra: Any) -> tuple[Answer, bytes]:
        """Carry a stream to a client that waits; the answer and its body, b"" if it failed."""
        answer = self.answer(checks, stream=False, **extra)
        for piece in pieces:
            assert answer.feed(piece) == b""
        assert answer.finish() == b""
        return answer, b"" if answer.failed else answer.result()

    def whole_to(self, body: bytes, *checks: Check, stream: bool) -> tuple[Answer, Told]:
        """Carry one JSON answer to a client of either kind."""
        answer = self.answer(checks, stream=stream)
        out = answer.whole(body)
        if stream:
            return answer, self.read(out)
        return answer, Told(failed=True) if answer.failed else self.read_whole(answer.result())


class Late:
    """A check that needs the whole text, and blocks it at the end."""

    hold = None

    def __init__(self) -> None:
        self._size = 0

    def open(self) -> Late:
        """A fresh scan."""
        return Late()

    def feed(self, text: str, final: bool = False) -> Progress:
        """Nothing is decided before the end."""
        self._size += len(text)
        if not (final and self._size):
            return Progress(0)
        return Progress(0, (Finding(0, self._size, Rule("test", "late", Action.BLOCK)),))


def cuts(data: bytes, seed: int) -> list[bytes]:
    """`data` in random pieces."""
    generator = random.Random(seed)
    places = sorted(generator.randrange(len(data)) for _ in range(generator.randrange(1, 40)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def letters(name: str, text: str) -> Deltas:
    """One delta for each character."""
    return [(name, letter) for letter in text]


def told_in(name: str, text: str) -> str:
    """A text as it stands in a field: arguments are JSON."""
    return json.dumps({"a": text}) if name == "arguments" else text
