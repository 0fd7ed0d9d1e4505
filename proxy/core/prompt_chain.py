"""The way along a prompt's texts, as the memory knows it: a digest at the end of each text, and within long ones."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple

from proxy.core.prompt_memory import Recall, Result, State

PIECE = 16_384  # code points between two places of a long text at which its scans are remembered
HASHED = 65_536  # code points that are hashed before other streams may run; the hash reads some 900 MB a second
WALKED = 256  # texts that are hashed, or places that are looked up, before other streams may run


class Known(NamedTuple):
    """What is known of the texts.

    part, inside: where the scans stand: so many characters into this text; at its beginning the joiner is still unread
    value:        how they stand, or what they have found up to a block in this text or those before it
    """

    part: int
    inside: int
    value: State | Result


class Chain:
    """The digests of all beginnings of some texts. The texts may change; `cut` tells where."""

    def __init__(self, recall: Recall, joiner: str, parts: Sequence[str]) -> None:
        self.memory = recall.memory
        self._recall = recall
        self._parts = parts
        self._ends = [recall.begin(joiner)]  # before each part, and behind the last one
        self._pieces: tuple[int, list[bytes]] = (-1, [])  # of one part, one behind each of its whole pieces

    def cut(self, part: int) -> None:
        """This part has another text now."""
        del self._ends[part + 1 :]
        self._pieces = (-1, [])

    def read(self) -> Iterator[int]:
        """Hash what has not been hashed. Yields, now and then, so many characters."""
        hashed = walked = 0
        while len(self._ends) <= len(self._parts):
            part = len(self._ends) - 1
            self._ends.append(self._recall.add(self._ends[-1], part, self._parts[part]))
            hashed += len(self._parts[part])
            walked += 1
            if hashed >= HASHED or walked >= WALKED:
                yield HASHED
                hashed = walked = 0

    def whole(self) -> Result | None:
        """What reading all of the texts has led to, if that is known. All must have been hashed."""
        known = self._recall.get(self._recall.end(self._ends[len(self._parts)]))
        return known if isinstance(known, Result) else None

    def longest(self, after: int) -> Generator[int, None, Known | None]:
        """The longest beginning of which something is known, if it ends behind so many parts. Yields as `read` does."""
        part = len(self._parts)
        known: State | Result | None = None
        while part > after and (known := self._recall.get(self._ends[part])) is None:
            part -= 1
            if part and part % WALKED == 0:
                yield HASHED
        found = None if known is None else Known(part, 0, known)
        if part < len(self._parts) and not isinstance(known, Result):
            for piece in self._known_pieces(part):
                found = piece
                if piece.inside % HASHED == 0:
                    yield HASHED
        return found

    def _known_pieces(self, part: int) -> Iterator[Known]:
        """What is known within a part, piece after piece, until nothing is."""
        for inside in range(PIECE, len(self._parts[part]), PIECE):
            known = self._recall.get(self.at(part, inside))
            if known is None:
                return
            yield Known(part, inside, known)
            if isinstance(known, Result):
                return

    def at(self, part: int, inside: int) -> bytes:
        """The digest of what stands before a part, and of the pieces of its own that end at `inside`."""
        while len(self._ends) <= part:
            i = len(self._ends) - 1
            self._ends.append(self._recall.add(self._ends[-1], i, self._parts[i]))
        if not inside:
            return self._ends[part]
        if self._pieces[0] != part:
            self._pieces = part, []
        pieces, text = self._pieces[1], self._parts[part]
        while len(pieces) * PIECE < inside:
            done = len(pieces) * PIECE
            before = pieces[-1] if pieces else self._ends[part]
            pieces.append(self._recall.add_piece(before, text[done : done + PIECE]))
        return pieces[inside // PIECE - 1]

    def keep(self, part: int, inside: int, value: State | Result) -> None:
        """Remember how the scans stand at a place, or what has blocked before it."""
        self._recall.put(self.at(part, inside), value)

    def keep_whole(self, result: Result) -> None:
        """Remember what reading all of the texts has led to."""
        self._recall.put(self._recall.end(self.at(len(self._parts), 0)), result)
