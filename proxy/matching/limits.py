"""How many matches of one rule can be open at once: what the time per character depends on in the worst case.

`a.{200}c` on a text of many a's keeps up to 200 beginnings apart, each at another place of the gap, and every character
makes a new state of them. Where the text before a gap cannot occur within it (a quoted string, a key after a fixed
prefix), or only every few characters, the gap may be longer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import or_

from proxy.matching.charsets import CharSet
from proxy.matching.errors import PatternError
from proxy.matching.nfa import Edge
from proxy.matching.tree import Chars, Choice, Node, Repeat, Sequence

MAX_OPEN = 64


def check_crowding(root: Node, roots: Iterable[Edge]) -> None:
    """PatternError when too many matches could be open at once. `roots`: the edges that a match begins with."""
    if _size(root) <= MAX_OPEN:
        return
    inside = _consumed(root)
    roots = [edge for edge in roots if edge.behind is None or edge.behind & inside]
    if not roots:
        return  # a boundary or the like: no match begins within another
    crowd = _Crowd(_distance(_prefix(root), roots))
    open_at_once = crowd.measure(root, []) / crowd.distance
    if open_at_once > MAX_OPEN:
        raise PatternError(
            f"about {open_at_once:.0f} matches could be open at once, at most {MAX_OPEN} may",
            crowd.column,
            "shorten the counted gap, let it repeat without end, or narrow its characters",
        )


def _consumed(node: Node) -> CharSet:
    """All characters that a match can have in it."""
    if isinstance(node, Chars):
        return node.set
    parts: tuple[Node, ...] = ()
    if isinstance(node, Sequence):
        parts = node.parts
    elif isinstance(node, Choice):
        parts = node.branches
    elif isinstance(node, Repeat):
        parts = (node.body,)
    return reduce(or_, map(_consumed, parts), CharSet.of(()))


def _prefix(node: Node) -> list[CharSet]:
    """The characters that every match begins with, as far as they are one set after the other."""
    if isinstance(node, Chars):
        return [node.set]
    if not isinstance(node, Sequence):
        return []
    out: list[CharSet] = []
    for part in node.parts:
        if isinstance(part, Chars):
            out.append(part.set)
        elif isinstance(part, Repeat | Choice | Sequence) and _size(part):
            break
    return out


def _distance(prefix: list[CharSet], roots: Iterable[Edge]) -> int:
    """How far apart two matches must at least begin, both of which get beyond the prefix."""
    edges = [(edge.behind, edge.target.chars) for edge in roots if edge.target is not None]
    for shift in range(1, len(prefix) + 1):
        before, rest = prefix[shift - 1], prefix[shift:]
        begins = any((b is None or before & b) and (not rest or rest[0] & chars) for b, chars in edges)
        if begins and all(later & earlier for later, earlier in zip(rest, prefix, strict=False)):
            return shift
    return len(prefix) + 1


def _size(node: Node) -> int:
    """How many characters there are to read in it, written out."""
    if isinstance(node, Chars):
        return 1
    if isinstance(node, Sequence):
        return sum(map(_size, node.parts))
    if isinstance(node, Choice):
        return max(map(_size, node.branches))
    if isinstance(node, Repeat):
        return _size(node.body) * (node.low + 1 if node.high is None else node.high)
    return 0


@dataclass
class _Crowd:
    """Counts the places that beginnings can be at, apart from each other.

    distance: of two beginnings
    column:   of the repeat with the most places
    """

    distance: int
    column: int = 1
    most: int = 0

    def measure(self, node: Node, before: list[CharSet]) -> int:
        """Places in `node`. `before`: what a match must have read already; the node's own share is added."""
        if isinstance(node, Chars):
            again = len(node.set) > 1 and all(chars & node.set for chars in before)
            before.append(node.set)
            return int(again)
        if isinstance(node, Sequence):
            return sum([self.measure(part, before) for part in node.parts])
        if isinstance(node, Choice):
            return max([self.measure(branch, list(before)) for branch in node.branches])
        if isinstance(node, Repeat):
            return self.repeat(node, before)
        return 0

    def repeat(self, node: Repeat, before: list[CharSet]) -> int:
        times = node.low + 1 if node.high is None else node.high
        places = times * self.measure(node.body, before if node.low else list(before))
        if places > self.most:
            self.most, self.column = places, node.column
        return places
