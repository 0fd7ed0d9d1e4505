"""A span of a text that is hidden, while it may still grow, and what stands in its place."""

from __future__ import annotations

from hashlib import blake2b

from proxy.core.types import Replacement, Rule

TAG_BYTES = 4


class HiddenSpan:
    """A hidden span that may still grow. `rule` gives the label: the first rule in file order; None: no label.

    insert: if not empty, nothing is hidden; this text is inserted into the span
    """

    __slots__ = ("_hidden", "end", "insert", "rule", "start")

    def __init__(self, start: int, end: int, rule: Rule | None) -> None:
        self.start, self.end, self.rule = start, end, rule
        self.insert = rule.replacement.insert if rule is not None else ""
        self._hidden: blake2b | None = None  # of the text swallowed so far

    def merged(self, other: HiddenSpan) -> HiddenSpan:
        """This span and an overlapping newer one as one. Only the earliest span of a gate has swallowed text."""
        if bool(self.insert) is not bool(other.insert):
            return other if self.insert else self  # hiding wins: it breaks up the match too
        self.start, self.end = min(self.start, other.start), max(self.end, other.end)
        if self.rule is None or (other.rule is not None and other.rule.order < self.rule.order):
            self.rule = other.rule or self.rule
        self._hidden = self._hidden or other._hidden
        return self

    def swallow(self, text: str) -> None:
        """Text of this span that nobody will see."""
        if text:
            self._hidden = self._hidden or blake2b()
            self._hidden.update(text.encode("utf-8", "surrogatepass"))

    def label(self, length: int) -> str:
        """What stands in its place; `length`: the characters of it that a reader would have read."""
        return "" if self.rule is None else _stand_in(self.rule.replacement, length, self._hidden)


def _stand_in(replacement: Replacement, length: int, hidden: blake2b | None) -> str:
    if replacement.mask:
        return replacement.mask * length
    if replacement.hash_key:
        value = hidden.digest() if hidden else b""
        return f"[{replacement.text}:{blake2b(value, key=replacement.hash_key, digest_size=TAG_BYTES).hexdigest()}]"
    return replacement.text
