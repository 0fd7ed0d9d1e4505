r"""A detector's pattern as two regular expressions: one that finds candidates, one that finds what may become one.

A text that comes in pieces may end within a candidate. The second expression matches every beginning of a candidate
that reaches the end of the text: for `ab{2}(?!\d)` it is `a(?:b{2}|b{0,1})?\Z`. It is made from the first one's tree,
so a detector cannot get it wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from operator import or_

from proxy.matching.charsets import CharSet, category
from proxy.matching.errors import PatternError
from proxy.matching.syntax import parse
from proxy.matching.tree import Ahead, Behind, Chars, Choice, Node, Repeat, Sequence

MAX_LENGTH = 8_192
MOST_BEFORE = 4_096
_NEVER = r"[^\s\S]"
_WORD = category("w", False)
_NAMED = {category(letter, False): rf"\{letter}" for letter in "dDsSwW"}


@dataclass(frozen=True, slots=True)
class Search:
    """A compiled pattern.

    find:       candidates
    partial:    the beginning of a candidate that reaches the end of the text
    first_char: the character that a candidate begins with
    longest:    characters of the longest candidate
    lookbehind: the sets that are asked about the character before a candidate
    known:      what `canonical_before` has answered
    """

    find: re.Pattern[str]
    partial: re.Pattern[str]
    first_char: re.Pattern[str]
    longest: int
    lookbehind: tuple[CharSet, ...]
    known: dict[str, str] = field(default_factory=dict)

    def canonical_before(self, char: str) -> str:
        """Of the characters that no look-behind tells from this one, always the same."""
        same = self.known.get(char)
        if same is None:
            if len(self.known) >= MOST_BEFORE:
                self.known.clear()
            same = self.known[char] = _canonical(self.lookbehind, char)
        return same


@lru_cache(maxsize=512)
def search_for(pattern: str) -> Search:
    """Compile. PatternError for what is no pattern of the matcher's syntax, or has no longest match."""
    root = parse(pattern).root
    longest = _longest(root)
    if longest is None or longest > MAX_LENGTH:
        raise PatternError(f"a detector's pattern has a longest match of at most {MAX_LENGTH} characters")
    partial, first = re.compile(rf"(?:{_partial(root)})\Z"), re.compile(_set(_first(root)[0]))
    return Search(re.compile(pattern), partial, first, longest, tuple(_behind(root)))


def _canonical(sets: tuple[CharSet, ...], char: str) -> str:
    signature = [char in chars for chars in sets]
    return next((known for known in _SAMPLES if [known in chars for chars in sets] == signature), char)


_SAMPLES = [chr(code) for code in range(128)]


def _longest(node: Node) -> int | None:
    if isinstance(node, Chars):
        return 1
    if isinstance(node, Repeat):
        body = _longest(node.body)
        return None if body is None or node.high is None else body * node.high
    if isinstance(node, Sequence):
        return _total(map(_longest, node.parts))
    if isinstance(node, Choice):
        lengths = [_longest(branch) for branch in node.branches]
        return None if None in lengths else max(length or 0 for length in lengths)
    return 0


def _first(node: Node) -> tuple[CharSet, bool]:
    """The characters that the node can begin with, and whether it can be empty."""
    if isinstance(node, Chars):
        return node.set, False
    if isinstance(node, Repeat):
        chars, empty = _first(node.body)
        return chars, empty or not node.low
    if isinstance(node, Choice):
        firsts = [_first(branch) for branch in node.branches]
        return reduce(or_, (chars for chars, _ in firsts)), any(empty for _, empty in firsts)
    found = CharSet.of(())
    for part in node.parts if isinstance(node, Sequence) else ():
        chars, empty = _first(part)
        found |= chars
        if not empty:
            return found, False
    return found, True


def _total(lengths: Iterable[int | None]) -> int | None:
    known = list(lengths)
    return None if None in known else sum(length or 0 for length in known)


def _behind(node: Node) -> list[CharSet]:
    if isinstance(node, Behind):
        return [node.set]
    if isinstance(node, Sequence):
        return [chars for part in node.parts for chars in _behind(part)]
    if isinstance(node, Choice):
        return [chars for branch in node.branches for chars in _behind(branch)]
    return _behind(node.body) if isinstance(node, Repeat) else []


# -- what the expressions are written with


def _whole(node: Node) -> str:
    """The node as it is, where all of it has to be there."""
    if isinstance(node, Chars):
        return _set(node.set)
    if isinstance(node, Behind):
        return _look("<", node.set)
    if isinstance(node, Ahead):
        return rf"(?:{_look('', node.set)}|\Z)"
    if isinstance(node, Sequence):
        return "".join(map(_whole, node.parts))
    if isinstance(node, Choice):
        return "(?:" + "|".join(map(_whole, node.branches)) + ")"
    body = _set(node.body.set) if isinstance(node.body, Chars) else f"(?:{_whole(node.body)})"
    return f"{body}{{{node.low},{node.high}}}"


def _partial(node: Node) -> str:
    """Every beginning of the node, all of it included, with at least the first character."""
    if isinstance(node, Sequence):
        return _sequence(node.parts)
    if isinstance(node, Choice):
        return "|".join(f"(?:{_partial(branch)})" for branch in node.branches)
    if isinstance(node, Repeat):
        return _repeat(node)
    return _whole(node)


def _sequence(parts: tuple[Node, ...]) -> str:
    if not parts:
        return ""
    first, rest = parts[0], _sequence(parts[1:])
    if isinstance(first, Chars | Behind | Ahead):
        return (
            f"{_whole(first)}(?:{rest})?" if rest and not isinstance(first, Behind) else _whole(first) + f"(?:{rest})"
        )
    return f"{_whole(first)}(?:{rest})?|(?:{_partial(first)})" if rest else _partial(first)


def _repeat(node: Repeat) -> str:
    high = node.high or 0
    if isinstance(node.body, Chars):
        return f"{_set(node.body.set)}{{0,{high}}}"
    return f"(?:{_whole(node.body)}){{0,{high - 1}}}(?:{_partial(node.body)})?" if high else ""


def _look(direction: str, chars: CharSet) -> str:
    """A look-around at one character; the edge of the text counts as the set says."""
    if chars.edge:
        outside = ~chars
        return f"(?{direction}!{_set(outside)})" if outside else ""
    return f"(?{direction}={_set(chars)})"


def _set(chars: CharSet) -> str:
    named = _NAMED.get(chars)
    if named:
        return named
    if not chars.ranges:
        return _NEVER
    if chars & _WORD is _WORD:
        return r"[\w" + "".join(map(_range, (chars & ~_WORD).ranges)) + "]"
    return "[" + "".join(map(_range, chars.ranges)) + "]"


def _range(bounds: tuple[int, int]) -> str:
    first, last = bounds
    return _code(first) if first == last else f"{_code(first)}-{_code(last)}"


def _code(code: int) -> str:
    return f"\\U{code:08x}"
