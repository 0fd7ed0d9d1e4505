r"""A detector's pattern as two regular expressions: one that finds candidates, one that finds what may become one.

A text that comes in pieces may end within a candidate. The second expression matches every beginning of a candidate
that reaches the end of the text: for `ab{2}(?!\d)` it is `a(?:b{2}|b{0,1})?\Z`. It is made from the first one's tree,
so a detector cannot get it wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import or_

from proxy.checks.detectors.detector import UNSPACED, UNSPACED_RANGES
from proxy.matching.charsets import CharSet, category
from proxy.matching.errors import PatternError
from proxy.matching.syntax import parse
from proxy.matching.tree import Ahead, Behind, Chars, Choice, Node, Repeat, Sequence

MAX_LENGTH = 8_192
MOST_BEFORE = 4_096
PREFIXES = (8, 6, 4)
"""So many characters tell most words from the beginning of a find; as many as lead to no more than MOST_PATHS."""
MOST_PATHS = 500
LONG = 256
"""Characters of a text in which it is quicker to look for beginnings first."""
LETTERS = CharSet.of([(ord("a"), ord("z"))])
_NEVER = r"[^\s\S]"
_WORD = category("w", False)
_NAMED = {category(letter, False): rf"\{letter}" for letter in "dDsSwW"}
_NAMED[_WORD & ~CharSet.of(UNSPACED_RANGES)] = rf"[^\W{UNSPACED}]"


@dataclass(frozen=True, slots=True)
class Search:
    """A compiled pattern.

    find:       candidates
    partial:    the beginning of a candidate that reaches the end of the text
    first_char: the character that a candidate begins with
    prefix:     the first characters of a candidate, or what there is of them at the end of the text: an expression
                that finds them in few words; None where it would find them in most
    longest:    characters of the longest candidate
    lookbehind: the sets that are asked about the character before a candidate
    before:     which character stands for another one before a candidate
    """

    find: re.Pattern[str]
    partial: re.Pattern[str]
    first_char: re.Pattern[str]
    prefix: str | None
    longest: int
    lookbehind: tuple[CharSet, ...]
    before: Before

    def candidate(self, text: str, at: int) -> re.Match[str] | None:
        """The first candidate from an offset on. In a long text the places where one may begin are looked for first."""
        if self.prefix is None or len(text) - at < LONG:
            return self.find.search(text, at)
        match = self.find.match
        candidates = (match(text, place.start()) for place in _places(self.prefix).finditer(text, at))
        return next(filter(None, candidates), None)


@lru_cache(maxsize=512)
def _places(prefix: str) -> re.Pattern[str]:
    return re.compile(f"(?={prefix})")


class Before(dict[str, str]):
    """For each character one that stands for it: look-behinds tell none of those apart that it stands for."""

    def __init__(self, lookbehind: Iterable[CharSet]) -> None:
        super().__init__()
        self._lookbehind = tuple(dict.fromkeys(lookbehind))
        self._known: dict[tuple[bool, ...], str] = {}

    def __missing__(self, char: str) -> str:
        if len(self) >= MOST_BEFORE:
            self.clear()
        same = self._known.setdefault(tuple([char in chars for chars in self._lookbehind]), char)
        self[char] = same
        return same


@lru_cache(maxsize=512)
def search_for(pattern: str) -> Search:
    """Compile. PatternError for what is no pattern of the matcher's syntax, or has no longest match."""
    root = parse(pattern).root
    longest = _longest(root)
    if longest is None or longest > MAX_LENGTH:
        raise PatternError(f"a detector's pattern has a longest match of at most {MAX_LENGTH} characters")
    partial, first = re.compile(rf"(?:{_partial(root)})\Z"), re.compile(_set(_first(root)[0]))
    behind = tuple(_behind(root))
    return Search(re.compile(pattern), partial, first, _prefix(root), longest, behind, Before(behind))


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


def _prefix(root: Node) -> str | None:
    found = []
    for branch in _branches(root):
        prefix = _branch_prefix(branch)
        if prefix is None:
            return None
        found.append(prefix)
    return "|".join(filter(None, found))


def _branches(node: Node) -> list[tuple[Node, ...]]:
    """The node as a choice of sequences, none of which begins with a choice."""
    if isinstance(node, Choice):
        return [parts for branch in node.branches for parts in _branches(branch)]
    if not isinstance(node, Sequence):
        return [(node,)]
    if not node.parts or not isinstance(node.parts[0], Choice | Sequence):
        return [node.parts]
    first, *rest = node.parts
    return [parts for branch in _branches(first) for parts in _branches(Sequence((*branch, *rest)))]


def _branch_prefix(parts: tuple[Node, ...]) -> str | None:
    behind = _whole(parts[0]) if parts and isinstance(parts[0], Behind) else ""
    paths = next(filter(None, (_paths(Sequence(parts), most) for most in PREFIXES)), None)
    if paths is None or any(path and not LETTERS & ~path[0] for path in paths):
        return None
    return f"{behind}(?:{_tree(paths)})"


def _tree(paths: Iterable[tuple[CharSet, ...]]) -> str:
    """An expression for paths, each of which may end early with the text."""
    groups: dict[CharSet, list[tuple[CharSet, ...]]] = {}
    for first, *rest in filter(None, paths):
        groups.setdefault(first, []).append(tuple(rest))
    branches = (_set(first) + (f"(?:{_tree(rest)}|\\Z)" if all(rest) else "") for first, rest in groups.items())
    return "|".join(branches)


def _paths(node: Node, most: int) -> frozenset[tuple[CharSet, ...]] | None:
    """The sets that a match of the node can begin with, one for each of its first characters; None: too many."""
    if isinstance(node, Chars):
        return frozenset(((node.set,),))
    found: frozenset[tuple[CharSet, ...]] | None = frozenset(((),))
    if isinstance(node, Choice):
        every = [_paths(branch, most) for branch in node.branches]
        return None if None in every else _few(path for paths in every for path in paths or ())
    if isinstance(node, Sequence):
        for part in node.parts:
            found = _joined(found, _paths(part, most), most)
    if isinstance(node, Repeat):
        body, repeated = _paths(node.body, most), found
        found = repeated if not node.low else None
        for count in range(1, min(most, node.high or 0) + 1):
            repeated = _joined(repeated, body, most)
            if repeated is None:
                return None
            if count >= min(node.low, most):
                found = _few((*(found or ()), *repeated))
    return found


def _joined(
    begun: frozenset[tuple[CharSet, ...]] | None, more: frozenset[tuple[CharSet, ...]] | None, most: int
) -> frozenset[tuple[CharSet, ...]] | None:
    if begun is None or more is None:
        return None
    return _few((path + rest)[:most] for path in begun for rest in (more if len(path) < most else ((),)))


def _few(paths: Iterable[tuple[CharSet, ...]]) -> frozenset[tuple[CharSet, ...]] | None:
    few: set[tuple[CharSet, ...]] = set()
    for path in paths:
        few.add(path)
        if len(few) > MOST_PATHS:
            return None
    return frozenset(few)


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


@lru_cache(maxsize=4096)
def _set(chars: CharSet) -> str:
    named = _NAMED.get(chars)
    if named:
        return named
    if not chars.ranges:
        return _NEVER
    first, last = chars.ranges[0]
    if len(chars.ranges) == 1 and first == last:
        return _code(first)
    inside, outside = _members(chars), _members(~chars)
    return f"[^{outside}]" if outside and len(outside) < len(inside) else f"[{inside}]"


def _members(chars: CharSet) -> str:
    """What stands between the brackets of a set."""
    word, rest = (r"\w", chars & ~_WORD) if chars & _WORD is _WORD else ("", chars)
    return word + "".join(map(_range, rest.ranges))


def _range(bounds: tuple[int, int]) -> str:
    first, last = bounds
    return _code(first) if first == last else f"{_code(first)}-{_code(last)}"


def _code(code: int) -> str:
    """A character within a set, as short as can be: to read the expression takes most of the time to compile it."""
    char = chr(code)
    if char.isascii() and char.isalnum():
        return char
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
