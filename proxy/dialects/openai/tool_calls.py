"""Which tool call a piece belongs to: told apart as careful clients do it, by the id first and by the index second.

Model servers differ: some number every call 0, some give no index, or null, some repeat the name or the id with every
piece. A call that is taken for another is merged with it, and then a client can run neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.dialects.openai.chunk import GIVEN

_MARK = re.compile(r'["{}\[\]]|\\.', re.DOTALL)
_LITERALS = ("null", "true", "false")
_LONGEST_LITERAL = 5


@dataclass(slots=True)
class Piece:
    """What a delta brings of one call; an id, an index or a name that says nothing is None. `kind` says what is called:
    a function, or a custom tool, which takes any text."""

    id: str | None
    index: int | None
    name: str | None
    arguments: str
    kind: str = "function"

    @classmethod
    def of(cls, call: Mapping[str, Any]) -> Piece:
        """A cleaned call of a delta."""
        kind = "custom" if "custom" in call else "function"
        called = call.get(kind) or {}
        name, arguments = called.get("name") or None, called.get(GIVEN[kind]) or ""
        return cls(call.get("id") or None, call.get("index"), name, arguments, kind)


@dataclass(slots=True, eq=False)
class Call:
    """One call of a choice. number: its order, which is its index for the client; index: the upstream's."""

    number: int
    kind: str = "function"
    index: int | None = None
    id: str | None = None
    name: str = ""
    arguments: JsonEnd = field(default_factory=lambda: JsonEnd())

    def take(self, piece: Piece) -> Piece:
        """The piece is part of this call; what of it is new: an id and a name may be told again and again."""
        self.arguments.feed(piece.arguments)
        if piece.id is None and piece.name is None:
            return piece
        name = piece.name if piece.name != self.name else None
        new = Piece(piece.id if self.id is None else None, piece.index, name, piece.arguments)
        self.id = self.id or new.id
        self.index = self.index if piece.index is None else piece.index
        self.name += new.name or ""
        return new


class JsonEnd:
    """Whether a JSON text in pieces is complete. It is looked at only when somebody asks, each piece once."""

    __slots__ = ("_begun", "_depth", "_head", "_in_string", "_rest")

    def __init__(self) -> None:
        self._rest: list[str] = []  # pieces not looked at yet
        self._head = ""  # of a text that is neither an object nor an array nor a string
        self._depth = 0
        self._in_string = False
        self._begun = False

    def feed(self, piece: str) -> None:
        """Read on."""
        if piece:
            self._rest.append(piece)

    @property
    def begun(self) -> bool:
        """Whether there is any of it."""
        return bool(self._rest) or self._begun

    @property
    def complete(self) -> bool:
        """Whether it is a whole JSON value, as far as its brackets and quotes tell."""
        self._look()
        if self._head:
            return self._head in _LITERALS
        return self._begun and not self._depth and not self._in_string

    @property
    def half_said(self) -> bool:
        """Whether it has begun and more must follow."""
        return self.begun and not self.complete

    def _look(self) -> None:
        text = "".join(self._rest)
        self._rest.clear()
        stripped = text if self._begun else text.lstrip()
        if not stripped:
            return
        if self._head or not (self._begun or stripped[0] in '{["'):
            self._head = (self._head + stripped)[: _LONGEST_LITERAL + 1].rstrip()
        self._begun = True
        if (len(text) - len(text.rstrip("\\"))) % 2:  # half an escape
            self._rest.append("\\")
            text = text[:-1]
        for mark in _MARK.finditer(text):
            self._step(mark[0])

    def _step(self, mark: str) -> None:
        if mark == '"':
            self._in_string = not self._in_string
        elif not self._in_string and mark in ("{", "["):
            self._depth += 1
        elif not self._in_string and mark in ("}", "]"):
            self._depth -= 1


class Calls:
    """The calls of one choice.

    A call is known by its id, then by its index, then as the last one. A new id begins a new call. So does a name: next
    to another piece of the same delta, after another name's arguments have begun, or after complete arguments.
    """

    def __init__(self) -> None:
        self._count = 0
        self._by_id: dict[str, Call] = {}
        self._by_index: dict[int, Call] = {}
        self._latest: list[Call] = []  # of the last delta that had any

    def take(self, pieces: Sequence[Piece]) -> Iterator[tuple[Call, Piece]]:
        """The pieces of one delta: what is new in each, with its call."""
        if len(pieces) == 1 and len(self._latest) == 1 and _goes_on(pieces[0], self._latest[0]):
            yield self._latest[0], self._latest[0].take(pieces[0])  # most pieces of most calls
            return
        found: list[Call] = []
        for place, piece in enumerate(pieces):
            call = self._known(piece, place if len(pieces) > 1 else -1)
            if call is None or _begins_another(piece, call, here=call in found):
                call = Call(self._count, piece.kind)
                self._count += 1
            self._remember(call, piece)
            found.append(call)
            yield call, call.take(piece)
        self._latest = found or self._latest

    def _known(self, piece: Piece, place: int) -> Call | None:
        """The call that a piece seems to go on with."""
        if piece.id is not None and piece.id in self._by_id:
            return self._by_id[piece.id]
        if piece.index is not None and piece.index in self._by_index:
            return self._by_index[piece.index]
        if not self._latest:
            return None
        last = self._latest[place if place < len(self._latest) else -1]
        if piece.index is None:
            return last
        only_arguments = piece.id is None and piece.name is None
        return last if only_arguments and not last.arguments.complete else None  # some count the pieces, not the calls

    def _remember(self, call: Call, piece: Piece) -> None:
        if piece.id is not None:
            self._by_id[piece.id] = call
        if piece.index is not None:
            self._by_index[piece.index] = call


def _goes_on(piece: Piece, call: Call) -> bool:
    """Whether a piece says of itself that it is more of the arguments of the call before it."""
    return piece.id is None and piece.name is None and piece.index is not None and piece.index == call.index


def _begins_another(piece: Piece, call: Call, here: bool) -> bool:
    """Whether the piece begins a call of its own instead of going on with `call`; `here`: which its delta has named."""
    if here and (piece.name or call.arguments.complete):
        return True
    if piece.id is not None and call.id is not None and piece.id != call.id:
        return piece.name is not None or not call.arguments.half_said  # some give each piece an id of its own
    if not piece.name:
        return False
    if piece.name == call.name:
        return bool(piece.arguments) and call.arguments.complete
    numbered = piece.index is not None or piece.id is not None
    moved = piece.index is not None and call.index is not None and piece.index != call.index
    is_piece_of_name = numbered and not moved and not call.arguments.begun
    return bool(call.name) and not is_piece_of_name
