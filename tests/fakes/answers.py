"""What a fake upstream plays: answers as steps on the bare socket, and ways to build them and to cut them."""

from __future__ import annotations

import asyncio
import enum
import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

LAST_CHUNK: Final = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Wait:
    """Go on when `event` is set; the test fails when that takes too long."""

    event: asyncio.Event


@dataclass(frozen=True, slots=True)
class Stall:
    """Say nothing until `released` is set (None: never), the client goes away, or the fake is closed."""

    released: asyncio.Event | None = None


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection in the orderly way (FIN)."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Tear the connection down (RST)."""


Step = bytes | Wait | Stall | Close | Reset


class Framing(enum.Enum):
    """How the end of a body is told."""

    LENGTH = "Content-Length"
    CHUNKED = "Transfer-Encoding: chunked"
    CLOSE = "the connection's end"


END: Final[dict[Framing, tuple[Step, ...]]] = {
    Framing.LENGTH: (),
    Framing.CHUNKED: (LAST_CHUNK,),
    Framing.CLOSE: (Close(),),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What is played on the socket, the head included. The connection stays open unless a step ends it."""

    steps: tuple[Step, ...]

    def resplit(self, split: Callable[[bytes], Iterable[bytes]]) -> Answer:
        """The same bytes on the wire, cut into writes by `split`; other steps stay where they are."""
        steps: list[Step] = []
        for are_bytes, run in itertools.groupby(self.steps, key=lambda step: isinstance(step, bytes)):
            pieces = list(run)
            steps += split(b"".join(piece for piece in pieces if isinstance(piece, bytes))) if are_bytes else pieces
        return Answer(tuple(steps))


def reply(
    body: bytes | Iterable[Step] = b"",
    *,
    status: int = 200,
    content_type: str = "text/event-stream",
    headers: Iterable[tuple[str, str]] = (),
    framing: Framing = Framing.CHUNKED,
) -> Answer:
    """An answer whose head is one write and whose every piece of `body` is one more (and one chunk, if chunked).

    A body that ends with `Stall`, `Close` or `Reset` is left without its end.
    """
    steps: list[Step] = [body] if isinstance(body, bytes) else list(body)
    fields = [("Content-Type", content_type), *headers]
    if framing is Framing.LENGTH:
        fields.append(("Content-Length", str(sum(len(step) for step in steps if isinstance(step, bytes)))))
    elif framing is Framing.CHUNKED:
        fields.append(("Transfer-Encoding", "chunked"))
        steps = [chunk(step) if isinstance(step, bytes) else step for step in steps if step != b""]
    else:
        fields.append(("Connection", "close"))
    cut = bool(steps) and isinstance(steps[-1], Stall | Close | Reset)
    return Answer((head(status, fields), *steps, *(() if cut else END[framing])))


def reply_json(value: object, *, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """A plain JSON answer with its length."""
    body = _compact(value).encode()
    return reply(body, status=status, content_type="application/json", headers=headers, framing=Framing.LENGTH)


def head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """The status line and the headers, with the blank line after them."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers)]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """One chunk of the chunked transfer coding (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def sse(*events: object, newline: str = "\n") -> list[bytes]:
    """Server-sent events: text stands as it is, everything else as JSON; a pair is (event name, data)."""
    return [_sse_event(event, newline) for event in events]


def _sse_event(event: object, newline: str) -> bytes:
    name, data = event if isinstance(event, tuple) else (None, event)
    text = data if isinstance(data, str) else _compact(data)
    lines = [f"event: {name}"] if name else []
    return "".join(line + newline for line in [*lines, f"data: {text}", ""]).encode()


def ndjson(*values: object) -> list[bytes]:
    """One line of JSON for each value, as Ollama's own API streams."""
    return [f"{_compact(value)}\n".encode() for value in values]


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def split_at(data: bytes, *offsets: int) -> list[bytes]:
    """`data` cut at these offsets; pieces that would be empty are left out."""
    edges = [0, *sorted(offsets), len(data)]
    return [piece for piece in (data[start:end] for start, end in itertools.pairwise(edges)) if piece]


def byte_by_byte(data: bytes) -> list[bytes]:
    """Every byte by itself."""
    return split_at(data, *range(len(data)))


def every(size: int) -> Callable[[bytes], list[bytes]]:
    """A cutter into pieces of `size` bytes, for `Answer.resplit`."""
    return lambda data: split_at(data, *range(0, len(data), size))


def several_per_write(pieces: Sequence[bytes], count: int) -> list[bytes]:
    """The pieces joined `count` at a time, so that one read finds several events."""
    return [b"".join(pieces[start : start + count]) for start in range(0, len(pieces), count)]
