"""Verdicts that are known already, so that a text which comes again is not asked about again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from typing import Generic, TypeVar

Answer = TypeVar("Answer")
DIGEST_BYTES = 16


def key_of(*parts: str | Sequence[str]) -> bytes:
    """A digest of everything that an answer depends on: the whole prompt, the guard, its digest, its options.

    Parts are told apart by their lengths, so that no two different calls have one key (BLAKE2b, RFC 7693).
    """
    digest = blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        texts = (part,) if isinstance(part, str) else part
        digest.update(b"%d;" % len(texts))
        for text in texts:
            data = text.encode("utf-8", "surrogatepass")
            digest.update(b"%d:" % len(data))
            digest.update(data)
    return digest.digest()


class AnswerCache(Generic[Answer]):
    """A bounded cache; what was not used for longest goes first. Failures do not belong in it."""

    def __init__(self, size: int) -> None:
        """Keeps so many answers; 0: none."""
        self._size = size
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()
        self.hits = self.misses = 0

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: bytes) -> Answer | None:
        """The answer to the same question."""
        found = self._answers.get(key)
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        self._answers.move_to_end(key)
        return found

    def put(self, key: bytes, answer: Answer) -> None:
        """Keep an answer."""
        self._answers[key] = answer
        self._answers.move_to_end(key)
        while len(self._answers) > self._size:
            self._answers.popitem(last=False)

    def clear(self) -> None:
        """Forget all, as when a guard has changed."""
        self._answers.clear()
