"""What the checks found in texts of prompts, remembered: a chat app sends the whole conversation with each turn.

The texts that a model reads as one are a chain. The digest of each beginning of the chain leads to how the scans stood
there and what they had found. That depends on the checks and the text alone, so it is the same in the next request.
What becomes of a finding is decided anew each time.

The digests are keyed BLAKE2b (RFC 7693). Nobody without the key can find two texts with one digest, nor tell which
texts are remembered by looking at the digests.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import NamedTuple

from proxy.core.check import Check
from proxy.core.types import Finding

DIGEST = 16  # bytes
ENTRY = 224  # bytes that an entry takes beside its value: the key, its place in the dictionary, the order of use
SHARE = 8  # one entry takes at most this part of the memory
SWEPT = 32  # dropped entries that are freed with each use, so that no use takes long
MOST_AREAS = 256  # plans; there may be as many as models with different templates

_END = b"end"
_TEXT = b"text"
_PIECE = b"piece"


class State(NamedTuple):
    """How the scans stood at some place.

    scans:    of each scan what `save` has returned
    position: code points read so far
    found:    all findings so far
    latest:   of each rule its last finding, as the index in `found`
    """

    scans: tuple[object, ...]
    position: int
    found: tuple[Finding, ...]
    latest: tuple[int, ...]


class Result(NamedTuple):
    """What reading has led to: to the end of all texts, or to a block.

    found:   all findings
    blocked: the one that blocks
    """

    found: tuple[Finding, ...]
    blocked: Finding | None = None


class Area:
    """The part of the memory that belongs to some checks, and to whatever else keeps texts apart."""

    __slots__ = ("alive", "memory", "seed", "silent")

    def __init__(self, memory: PromptMemory, seed: bytes) -> None:
        self.memory = memory
        self.seed = seed
        self.alive = True
        self.silent = _Entry(NOTHING, ENTRY, self)  # one for all texts in which nothing is found: most texts

    def get(self, key: bytes) -> State | Result | None:
        """What is known of a beginning."""
        return self.memory.get(key)

    def put(self, key: bytes, value: State | Result) -> None:
        """Remember it, unless the checks have been dropped since."""
        if self.alive:
            self.memory.put(key, value, self)


class _Entry(NamedTuple):
    value: State | Result
    size: int
    area: Area


NOTHING = Result(())
"""All is read, and nothing is found."""


class PromptMemory:
    """Bounded in bytes; what was not used for the longest time goes first.

    key:    a secret of this process
    limit:  bytes
    size:   bytes in use, as far as they belong to the memory alone: what the compiled checks hold is not counted
    whole, begun, unknown: texts of which all was known, only a beginning, or nothing
    """

    def __init__(self, key: bytes, limit: int) -> None:
        self._hash = blake2b(key=key, digest_size=DIGEST)
        self.limit = limit
        self.size = 0
        self.whole = self.begun = self.unknown = 0
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._areas: OrderedDict[tuple[Check, ...], Area] = OrderedDict()
        self._made = 0
        self._dropped: deque[bytes] = deque()  # keys that may belong to areas that were dropped

    def __len__(self) -> int:
        return len(self._entries)

    def digest(self, *data: bytes) -> bytes:
        """Of all of the data; all but the last must be of a fixed length."""
        hashed = self._hash.copy()
        for piece in data:
            hashed.update(piece)
        return hashed.digest()

    def area(self, checks: tuple[Check, ...]) -> Area:
        """The area of these checks. Others find nothing there, since its number is never used again."""
        area = self._areas.get(checks)
        if area is None:
            if len(self._areas) >= MOST_AREAS:
                self._drop([next(iter(self._areas))])
            self._made += 1
            area = self._areas[checks] = Area(self, self.digest(self._made.to_bytes(8, "big")))
        self._areas.move_to_end(checks)
        return area

    def recall(
        self, role: str, kind: str, is_name: bool, escaped: bool, checks: tuple[Check, ...], apart: str = ""
    ) -> Recall:
        """What is known of the texts of one role and kind, as these checks read them. `apart`: what else keeps texts
        apart, such as whose they are."""
        return Recall(self.area(checks), role, kind, str(is_name), str(escaped), apart)

    def keep_only(self, checks: Iterable[Check]) -> None:
        """Drop what other checks have found: their policies are no longer in force."""
        kept = set(checks)
        self._drop([known for known in self._areas if not kept.issuperset(known)])

    def _drop(self, areas: Iterable[tuple[Check, ...]]) -> None:
        dropped = [self._areas.pop(checks) for checks in areas]
        for area in dropped:
            area.alive = False
        if dropped:
            self._dropped = deque(self._entries)

    def get(self, key: bytes) -> State | Result | None:
        """The value, which counts as used now."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry.value

    def put(self, key: bytes, value: State | Result, area: Area) -> None:
        """Remember a value, and forget others where there is no room."""
        if self._dropped:
            self._sweep()
        entry = area.silent if value == NOTHING else _Entry(value, ENTRY + footprint(value), area)
        if entry.size * SHARE > self.limit:
            return
        self._remove(key)
        self._entries[key] = entry
        self.size += entry.size
        while self.size > self.limit:
            _, entry = self._entries.popitem(last=False)
            self.size -= entry.size

    def _remove(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size -= entry.size

    def _sweep(self) -> None:
        for _ in range(min(SWEPT, len(self._dropped))):
            key = self._dropped.popleft()
            entry = self._entries.get(key)
            if entry is not None and not entry.area.alive:
                self._remove(key)


class Recall:
    """What the memory knows of the texts of one role and kind. Digests of texts that stay the same are kept.

    apart: what keeps these texts apart from others that the same checks read
    """

    def __init__(self, area: Area, *apart: str) -> None:
        self.memory = area.memory
        self.get = area.get
        self.put = area.put
        self._seed = self.memory.digest(area.seed, "\0".join(apart).encode("utf-8", "surrogatepass"))
        self._begun: dict[str, bytes] = {}
        self._digests: dict[int, tuple[str, bytes]] = {}  # by part

    def begin(self, joiner: str) -> bytes:
        """The digest of no text yet, of texts that will be read with this joiner."""
        begun = self._begun.get(joiner)
        if begun is None:
            begun = self._begun[joiner] = self.memory.digest(self._seed, joiner.encode())
        return begun

    def is_silent(self, joiner: str, text: str) -> bool:
        """Whether it is known that nothing is found in a text that stands alone."""
        silent = self.get(self.end(self.add(self.begin(joiner), 0, text))) is NOTHING
        self.memory.whole += silent
        return silent

    def add(self, before: bytes, part: int, text: str) -> bytes:
        """The digest of what was before and one more text, which is the part with this number."""
        known = self._digests.get(part)
        if known is None or known[0] is not text:
            known = self._digests[part] = text, self.memory.digest(text.encode("utf-8", "surrogatepass"))
        return self.memory.digest(before, _TEXT, known[1])

    def add_piece(self, before: bytes, text: str) -> bytes:
        """The digest of what was before and a piece of a text that goes on."""
        return self.memory.digest(before, _PIECE, text.encode("utf-8", "surrogatepass"))

    @staticmethod
    def end(before: bytes) -> bytes:
        """The key for all texts, with nothing behind them."""
        return before + _END


def footprint(value: object) -> int:
    """Bytes of a value and of what it is made of: tuples, lists, dictionaries, sets, texts and numbers.

    Other objects belong to the compiled checks, which live as long as their policies.
    """
    seen: set[int] = set()
    size = 0
    waiting: list[object] = [value]
    while waiting:
        item = waiting.pop()
        if id(item) in seen or not _is_own(item):
            continue
        seen.add(id(item))
        size += sys.getsizeof(item)
        waiting += _items(item)
    return size


def _is_own(item: object) -> bool:
    if type(item) is int:
        return item not in _SHARED_NUMBERS
    return bool(item) and (isinstance(item, tuple) or type(item) in _OWN)


def _items(item: object) -> Iterator[object]:
    if type(item) is dict:
        yield from item.keys()
        yield from item.values()
    elif isinstance(item, (tuple, list, set, frozenset)):
        yield from item


_OWN = frozenset((list, dict, set, frozenset, str, bytes, float))
_SHARED_NUMBERS = range(-5, 257)  # the interpreter has one of each
