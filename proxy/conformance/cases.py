"""What is asked: the cases, read from YAML files, and the exchanges that each of them means."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from proxy.conformance.secrets import SECRETS, Secret, fill

FOLDER = Path(__file__).parent / "cases"
"""The cases that come with it."""

Cut = Literal["none", "every", "letters"]
Field = Literal["content", "reasoning", "refusal", "arguments", "logprobs"]


class CasesError(Exception):
    """A file of cases cannot be used. The message names the file, the place and the reason."""


class Part(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A piece of what the scripted server says.

    choice: of several answers; call: of several tool calls, by its place
    repeat: how often it is said
    """

    text: str
    field: Field = "content"
    choice: int = 0
    call: int = 0
    repeat: int = 1


class Expect(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What has to come of it.

    end:       proper: the answer is well-formed and has its end, or the request is refused in the dialect's form;
               told: nobody can take it for a whole answer; refused: a 4xx in the dialect's form; any
    same:      the client understands what it understands without the guard
    keeps:     of `content`, what stands before the secret reaches the client, and what stands behind it when the rule
               does not block
    parses:    this field is JSON at the end
    arrives:   the client has text while the model server is still at work
    cancelled: the model server sees its connection close before it has said all
    unseen:    nothing of the secret reaches the model server
    asked:     keys of the request as the model server has to receive them
    goes_on:   a next message in the same conversation is answered
    """

    end: Literal["proper", "told", "refused", "any"] = "proper"
    same: bool = False
    keeps: bool = False
    parses: Field | None = None
    arrives: bool = False
    cancelled: bool = False
    unseen: bool = False
    asked: dict[str, Any] = {}
    goes_on: bool = False


class Case(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One row of the report.

    says:     what is right, in a sentence; source: where that is written, or whom it has happened to
    secrets:  it is carried out with each of them in turn
    cut:      where the parts with a secret are cut: at every place in two, or into letters
    stream:   the kinds of clients: true for one that streams
    send:     what the scripted server says, in the dialect
    raw:      bytes that it sends in the place of that, each a piece of its own; `{secret}` and Python's escapes count
    status, type: of such an answer
    then:     what it does at the end: end the answer properly, close in the middle, break the framing, go on for ever
    leaves:   the client leaves after the first text
    prompt:   what the client asks; body: bytes that it sends in the place of a request
    extra:    more keys of the request; method, path: in the place of the dialect's own
    """

    id: str
    says: str
    group: Literal["leaks", "blocks", "fidelity", "streaming", "prompts", "cancellation", "upstream", "bad input"]
    source: str = ""
    dialects: tuple[str, ...] = ()
    secrets: tuple[Literal["word", "email", "card", "key"], ...] = ()
    cut: Cut = "none"
    stream: tuple[bool, ...] = (True,)
    send: tuple[Part, ...] = ()
    finish: Literal["stop", "length"] = "stop"
    raw: tuple[str, ...] = ()
    status: int = 200
    type: str = ""
    then: Literal["end", "close", "wait", "cut", "forever"] = "end"
    leaves: bool = False
    prompt: str = "Hello"
    body: str | None = None
    extra: dict[str, Any] = {}
    method: str = "POST"
    path: str = ""
    expect: Expect = Expect()


class Exchange(msgspec.Struct, frozen=True):
    """One exchange of a case: with this secret, cut in this way, for this kind of client."""

    case: Case
    stream: bool
    secret: Secret | None = None
    parts: tuple[Part, ...] = ()
    cut: str = "whole"

    @property
    def name(self) -> str:
        """What tells it from the case's others."""
        secret = f"{self.secret.name}, " if self.secret else ""
        return f"{secret}{self.cut}, {'streaming' if self.stream else 'not streaming'}"


def load(folders: Iterable[Path]) -> list[Case]:
    """All cases of some directories, in the order of their files. Raises CasesError."""
    cases: list[Case] = []
    for folder in folders:
        files = sorted(path for path in folder.glob("*") if path.suffix in (".yaml", ".yml", ".json"))
        if not files:
            raise CasesError(f"{folder} has no files of cases (*.yaml, *.json)")
        for path in files:
            cases += _read(path)
    _refuse_doubles(cases)
    return cases


def _read(path: Path) -> list[Case]:
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=list[Case])
    except OSError as error:
        raise CasesError(f"{path} cannot be read ({error.strerror})") from None
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise CasesError(f"{path}: {' '.join(str(error).split())}") from None


def _refuse_doubles(cases: list[Case]) -> None:
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise CasesError(f"two cases have the id {case.id}: give one of them another")
        seen.add(case.id)


def exchanges(case: Case) -> Iterator[Exchange]:
    """All exchanges of a case."""
    for stream in case.stream:
        for secret in _secrets(case):
            whole = [msgspec.structs.replace(part, text=fill(part.text, secret)) for part in case.send]
            for cut, parts in _cuts(whole, case, secret):
                yield Exchange(case, stream, secret, tuple(parts), cut)


def _secrets(case: Case) -> list[Secret | None]:
    return [SECRETS[name] for name in case.secrets] or [None]


def _cuts(parts: list[Part], case: Case, secret: Secret | None) -> Iterator[tuple[str, list[Part]]]:
    repeated = [part for part in parts for _ in range(part.repeat)]
    if case.cut == "none" or secret is None:
        yield "whole", repeated
        return
    if case.cut == "letters":
        yield "letter by letter", [one for part in repeated for one in _pieces(part, range(1, len(part.text)))]
        return
    for at in range(1, len(secret.text)):
        yield f"cut after {at}", [one for part in repeated for one in _halves(part, secret, at)]


def _halves(part: Part, secret: Secret, at: int) -> Iterator[Part]:
    start = part.text.find(secret.text)
    return _pieces(part, [start + at] if start >= 0 else [])


def _pieces(part: Part, places: Iterable[int]) -> Iterator[Part]:
    edges = [0, *places, len(part.text)]
    for start, stop in itertools.pairwise(edges):
        yield msgspec.structs.replace(part, text=part.text[start:stop])
