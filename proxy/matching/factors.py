"""What every match of a pattern contains: the quick look (look.py) searches for it before the automaton reads.

A factor is a set of short literals. Every match has one of them, near its beginning. It is worked out from the
pattern's tree, over a text that is simpler than the real one: characters that make no difference are written alike.
Look-around is left out, which only adds matches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from math import log2
from typing import NamedTuple

from proxy.matching.charsets import LAST, CharSet, case_classes, category
from proxy.matching.tree import Chars, Choice, Node, Repeat, Sequence

MOST_LITERALS = 256
MOST_REACH = 256
MOST_UNROLLED = 8
LEAST_SCORE = 1.3
ENOUGH = 6.0
"""A score that needs no better."""
FEW = 64
"""Characters of the largest set that is looked at one by one."""
OTHER = "?"
_COMMON = frozenset(" ,.-_/():;'\"=")


class Alphabet(NamedTuple):
    """A way to write a text so that fewer characters differ. One character each, so offsets stay.

    image:   how a character is written
    classes: of sets with many characters, those that are written alike, each with how
    letter:  how much a letter tells
    """

    name: str
    image: Callable[[str], str]
    classes: Callable[[], tuple[tuple[CharSet, str], ...]]
    letter: float


class Factor(NamedTuple):
    """What every match contains.

    literals: every match contains one of them
    reach:    wholly within so many characters from its beginning
    score:    how rarely ordinary text does
    """

    literals: frozenset[str]
    reach: int
    score: float


@cache
def _same() -> dict[str, str]:
    """A character for all that (?i) takes for the same; only where it is not itself."""
    found = {}
    for code, same in case_classes().items():
        lower = next((chr(other) for other in same if chr(other).isalpha()), chr(same[0])).lower()[0]
        if chr(code) != lower:
            found[chr(code)] = lower
    return found


def plain_image(char: str) -> str:
    """Case taken out, any digit as 0, any white space as a blank."""
    if char.isspace():
        return " "
    if char.isdecimal():
        return "0"
    return _same().get(char, char)


def shape_image(char: str) -> str:
    """Only what kind of character it is; signs of ASCII as they are, and everything else alike."""
    if char.isspace():
        return " "
    if char.isdecimal():
        return "0"
    if char > "\x7f":
        return OTHER
    if char.isalpha():
        return "A" if char.isupper() else "a"
    return char


def _plain_classes() -> tuple[tuple[CharSet, str], ...]:
    return (category("d"), "0"), (category("s"), " ")


def _shape_classes() -> tuple[tuple[CharSet, str], ...]:
    ranges = {"A": (0x41, 0x5A), "a": (0x61, 0x7A), OTHER: (0x80, LAST)}
    return (*_plain_classes(), *((CharSet.of([codes]), image) for image, codes in ranges.items()))


PLAIN = Alphabet("plain", plain_image, _plain_classes, 0.6)
SHAPE = Alphabet("shape", shape_image, _shape_classes, 0.2)


def factor_of(root: Node, alphabet: Alphabet) -> Factor | None:
    """The most telling factor of a pattern; None when there is none that tells enough."""
    found = _Finder(alphabet).best(root)
    return found if found is not None and found.score >= LEAST_SCORE else None


class _Finder:
    """Looks for factors in one alphabet."""

    def __init__(self, alphabet: Alphabet) -> None:
        self._alphabet = alphabet
        self._images: dict[CharSet, frozenset[str] | None] = {}

    def best(self, node: Node) -> Factor | None:
        """The best factor of a node."""
        if isinstance(node, Choice):
            return self._of_each(node.branches)
        if isinstance(node, Repeat) and node.low:
            return self._along(_unrolled(node))
        if isinstance(node, Sequence):
            return self._along([part for child in node.parts for part in _unrolled(child)])
        return self._along([node]) if isinstance(node, Chars) else None

    def _of_each(self, branches: Iterable[Node]) -> Factor | None:
        """Every branch has one: together they are one of the choice."""
        found = [self.best(branch) for branch in branches]
        if not found or None in found:
            return None
        each = [factor for factor in found if factor is not None]
        literals = frozenset[str]().union(*(factor.literals for factor in each))
        if len(literals) > MOST_LITERALS:
            return None
        return Factor(literals, max(factor.reach for factor in each), self._score(literals))

    def _along(self, parts: list[Node]) -> Factor | None:
        """The best one that begins at any of the parts."""
        best: Factor | None = None
        before = 0
        for at, part in enumerate(parts):
            inner = None if isinstance(part, Chars) else self.best(part)
            for found in (self._from(parts, at), inner):
                if found is None or before + found.reach > MOST_REACH:
                    continue
                if best is None or found.score > best.score:
                    best = found._replace(reach=before + found.reach)
            length = longest(part)
            enough = best is not None and best.score >= ENOUGH
            if enough or length is None or before + length > MOST_REACH:
                break
            before += length
        return best

    def _from(self, parts: list[Node], at: int) -> Factor | None:
        """The best one that begins at this part and goes on over the following ones."""
        best: Factor | None = None
        literals = frozenset(("",))
        for part in parts[at:]:
            following = self._spelled(part)
            if following is None or len(literals) * len(following) > MOST_LITERALS:
                break
            literals = frozenset(first + second for first in literals for second in following)
            if len(literals) > MOST_LITERALS:
                break
            if "" not in literals:
                found = Factor(literals, max(map(len, literals)), self._score(literals))
                if best is None or found.score > best.score:
                    best = found
                if found.score >= ENOUGH:
                    break
        return best

    def _spelled(self, node: Node) -> frozenset[str] | None:
        """All that a node can be, if that is little."""
        if isinstance(node, Chars):
            return self._image(node.set)
        if isinstance(node, Choice):
            return _union([self._spelled(branch) for branch in node.branches])
        if isinstance(node, Sequence):
            return self._product(node.parts)
        if isinstance(node, Repeat):
            if node.high is None or node.high > MOST_UNROLLED:
                return None
            return _union([self._product((node.body,) * count) for count in range(node.low, node.high + 1)])
        return frozenset(("",))

    def _product(self, nodes: Iterable[Node]) -> frozenset[str] | None:
        out = frozenset(("",))
        for node in nodes:
            following = self._spelled(node)
            if following is None or len(out) * len(following) > MOST_LITERALS:
                return None
            out = frozenset(first + second for first in out for second in following)
        return out

    def _image(self, chars: CharSet) -> frozenset[str] | None:
        if chars not in self._images:
            self._images[chars] = self._written(chars)
        return self._images[chars]

    def _written(self, chars: CharSet) -> frozenset[str] | None:
        """How the characters of a set are written; None for too many, and for a set without any."""
        chars = chars.inside()
        found = set()
        for class_, image in self._alphabet.classes():
            if chars & class_:
                found.add(image)
                chars = chars & ~class_
        if len(chars) > FEW:
            return None
        found |= {self._alphabet.image(chr(code)) for a, b in chars.ranges for code in range(a, b + 1)}
        return frozenset(found) if 0 < len(found) <= MOST_LITERALS else None

    def _score(self, literals: frozenset[str]) -> float:
        """How much the least telling one tells; many tell less."""
        return min(sum(map(self._weight, literal)) for literal in literals) - 0.1 * log2(len(literals))

    def _weight(self, char: str) -> float:
        if char.isdecimal():
            return 0.5
        if char.isalpha():
            return self._alphabet.letter
        return 0.4 if char in _COMMON else 1.6


def longest(node: Node) -> int | None:
    """Characters of the longest text that the node matches; None: there is none."""
    if isinstance(node, Chars):
        return 1
    if isinstance(node, Sequence):
        return _sum(map(longest, node.parts))
    if isinstance(node, Choice):
        lengths = [longest(branch) for branch in node.branches]
        return None if None in lengths else max((length or 0 for length in lengths), default=0)
    if isinstance(node, Repeat):
        body = longest(node.body)
        if node.high is None or body is None:
            return 0 if body == 0 or node.high == 0 else None
        return body * node.high
    return 0


def _sum(lengths: Iterable[int | None]) -> int | None:
    known = list(lengths)
    return None if None in known else sum(length or 0 for length in known)


def _unrolled(node: Node) -> list[Node]:
    """A repeat as the times that have to be, and the rest; a sequence as its parts."""
    if isinstance(node, Sequence):
        return [part for child in node.parts for part in _unrolled(child)]
    if not isinstance(node, Repeat) or not node.low:
        return [node]
    times = min(node.low, MOST_UNROLLED)
    high = None if node.high is None else node.high - times
    rest = [] if high == 0 else [Repeat(node.body, node.low - times, high, node.column)]
    return _unrolled(node.body) * times + rest


def _union(sets: list[frozenset[str] | None]) -> frozenset[str] | None:
    out = frozenset[str]()
    for some in sets:
        if some is None:
            return None
        out |= some
    return out if len(out) <= MOST_LITERALS else None
