r"""A detector's pattern as regular expressions: one that finds candidates, others that find what may become one.

A text that comes in pieces may end within a candidate. The second expression matches every beginning of a candidate
that reaches the end of the text: for `ab{2}(?!\d)` it is `a(?:b{2}|b{0,1})?\Z`. It is made from the first one's tree,
so a detector cannot get it wrong.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial, reduce
from operator import or_
from typing import NamedTuple

from proxy.checks.detectors.detector import UNSPACED, UNSPACED_RANGES
from proxy.matching.charsets import LAST, CharSet, category
from proxy.matching.errors import PatternError
from proxy.matching.syntax import parse
from proxy.matching.tree import Ahead, Behind, Chars, Choice, Node, Repeat, Sequence

MAX_LENGTH = 8_192
MOST_BEFORE = 4_096
PREFIXES = (8, 6, 4)
"""So many characters tell most words from the beginning of a find; as many as lead to no more than MOST_PATHS."""
MOST_PATHS = 500
MOST_WRITTEN = 20_000
"""Characters of an expression for them, if there is a shorter one."""
LONG = 256
"""Characters of a text in which it is quicker to look for beginnings first."""
SHORT = 512
"""Characters of a candidate beyond which its beginnings are looked for apart from those of others."""
MOST_REACH = 256
SPARSE = 3
"""Part of a text that is at most searched where a candidate may begin; if it is more, all of it is searched."""
LETTERS = CharSet.of([(ord("a"), ord("z"))])
_NEVER = r"[^\s\S]"
_WORD = category("w", False)
SOME_OF_WORD = tuple(map(ord, "0Aa_\u00e9\u4e00"))
"""Without these a set has not all of them; to know that it has takes long."""
_NAMED = {category(letter, False): rf"\{letter}" for letter in "dDsSwW"}
TRACES = (
    CharSet.of([(0, 0x08), (0x0E, 0x1F), (0x7F, LAST)]),
    CharSet.chars("@%"),
    CharSet.chars("!<"),
    CharSet.chars(":"),
    category("d", False),
)
"""Sets of characters that are rare in most texts, the rarest first."""
_NAMED[_WORD & ~CharSet.of(UNSPACED_RANGES)] = rf"[^\W{UNSPACED}]"


class Beginnings(NamedTuple):
    """An expression for the beginnings of some candidates that reach the end of the text; the longest one's length."""

    pattern: re.Pattern[str]
    longest: int


class Trace(NamedTuple):
    """Every candidate has one of these characters among so many first ones."""

    chars: re.Pattern[str]
    reach: int


@dataclass(frozen=True, slots=True)
class Search:
    """A compiled pattern.

    find:       candidates
    partials:   the beginning of a candidate that reaches the end of the text, of short and of long candidates
    first_char: the character that a candidate begins with
    prefix:     the first characters of a candidate, or what there is of them at the end of the text: an expression
                that finds them in few words; None where it would find them in most
    trace:      what every candidate has and few texts have much of
    longest:    characters of the longest candidate
    lookbehind: the sets that are asked about the character before a candidate
    before:     which character stands for another one before a candidate
    ends_at_breaks: what can stand at the end of a text can stand at a line break
    """

    find: re.Pattern[str]
    partials: tuple[Beginnings, ...]
    first_char: re.Pattern[str]
    prefix: str | None
    trace: Trace | None
    longest: int
    lookbehind: tuple[CharSet, ...]
    before: Before
    ends_at_breaks: bool

    def begun(self, text: str, at: int) -> int | None:
        """Where the first candidate begins, from an offset on, that the next text may complete, or change."""
        end = len(text)
        if self.trace is not None and end - at > LONG:
            at = max(at, end - self.longest)
            trace = self.trace.chars.search(text, at)
            at = max(at, (end if trace is None else trace.start()) - self.trace.reach + 1)
        first = None
        for pattern, longest in self.partials:
            match = pattern.search(text, max(at, end - longest))
            if match is not None and (first is None or match.start() < first):
                first = match.start()
        return first

    def finder(self, text: str) -> Callable[[str, int], re.Match[str] | None]:
        """Finds the first candidate of this text from an offset on."""
        if len(text) < LONG:
            return self.find.search
        spans = None if self.trace is None else _spans(self.trace, text)
        if spans is not None:
            return partial(self._within, spans)
        return self.find.search if self.prefix is None else self.candidate

    def candidate(self, text: str, at: int) -> re.Match[str] | None:
        """The first candidate from an offset on. In a long text the places where one may begin are looked for first."""
        if self.prefix is None or len(text) - at < LONG:
            return self.find.search(text, at)
        match = self.find.match
        candidates = (match(text, place.start()) for place in _places(self.prefix).finditer(text, at))
        return next(filter(None, candidates), None)

    def _within(self, spans: list[tuple[int, int]], text: str, at: int) -> re.Match[str] | None:
        """The first candidate that begins in one of these spans."""
        for start, end in spans[bisect_right(spans, at, key=_end) :]:
            for place in self._begins(text, max(at, start), end):
                match = self.find.match(text, place)
                if match is not None:
                    return match
        return None

    def _begins(self, text: str, start: int, end: int) -> Iterable[int]:
        """Where in a span a candidate may begin."""
        if self.prefix is None:
            return range(start, end)
        places = _places(self.prefix).finditer(text, start, end + PREFIXES[0])
        return (place.start() for place in places if place.start() < end)


def _end(span: tuple[int, int]) -> int:
    return span[1]


@lru_cache(maxsize=16)
def _spans(trace: Trace, text: str) -> list[tuple[int, int]] | None:
    """Where in a text candidates may begin; None: in so much of it that it does not help to know."""
    reach = trace.reach
    found = _found(trace.chars, text)
    if len(found) * reach > len(text):
        return None
    spans: list[tuple[int, int]] = []
    for at in found:
        if spans and at - reach < spans[-1][1]:
            spans[-1] = (spans[-1][0], at + 1)
        else:
            spans.append((max(0, at + 1 - reach), at + 1))
    return spans if sum(end - start for start, end in spans) * SPARSE < len(text) else None


@lru_cache(maxsize=8)
def _found(chars: re.Pattern[str], text: str) -> list[int]:
    return [match.start() for match in chars.finditer(text)]


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
    first, behind = re.compile(_set(_first(root)[0])), tuple(_behind(root))
    find, partials = re.compile(pattern), tuple(_beginnings(root))
    ends = all(look.set.has(ord("\n")) for look in _looks(root) if look.set.edge)
    return Search(find, partials, first, _prefix(root), _trace(root), longest, behind, Before(behind), ends)


def _beginnings(root: Node) -> Iterator[Beginnings]:
    """One expression for all that is short, and one for what is long."""
    parts = _by_length(root)
    for group in ([part for part in parts if _is_short(part)], [part for part in parts if not _is_short(part)]):
        if group:
            node = Choice(tuple(group))
            yield Beginnings(re.compile(rf"(?:{_partial(node)})\Z"), _longest(node) or 0)


def _is_short(node: Node) -> bool:
    return (_longest(node) or 0) <= SHORT


def _by_length(node: Node) -> list[Node]:
    """Nodes that together match what the node does, the short ones apart from the long ones."""
    if _is_short(node):
        return [node]
    if isinstance(node, Choice):
        every = [part for branch in node.branches for part in _by_length(branch)]
        short = tuple(part for part in every if _is_short(part))
        long = tuple(part for part in every if not _is_short(part))
        return [Choice(parts) for parts in (short, long) if parts]
    if isinstance(node, Sequence):
        for i, part in enumerate(node.parts):
            found = _by_length(part)
            if len(found) > 1:
                before, after = node.parts[:i], node.parts[i + 1 :]
                return [Sequence((*before, one, *after)) for one in found]
    return [node]


def _trace(root: Node) -> Trace | None:
    """The first set that every candidate has a character of, near its beginning."""
    for chars in TRACES:
        reach = _within(root, ~chars)
        if reach is not None and reach <= MOST_REACH:
            return Trace(re.compile(_set(chars)), reach)
    return None


def _within(node: Node, others: CharSet) -> int | None:
    """Among how many first characters of a match there is one that is none of the others; None: not in every match."""
    if isinstance(node, Chars):
        return None if node.set & others else 1
    if isinstance(node, Repeat):
        return _within(node.body, others) if node.low else None
    if isinstance(node, Choice):
        return _in_each(node.branches, others)
    return _along(node.parts, others) if isinstance(node, Sequence) else None


def _in_each(branches: Iterable[Node], others: CharSet) -> int | None:
    most = None
    for branch in branches:
        reach = _within(branch, others)
        if reach is None:
            return None
        most = max(most or 0, reach)
    return most


def _along(parts: tuple[Node, ...], others: CharSet) -> int | None:
    before, least = 0, None
    for part in parts:
        reach = _within(part, others)
        if reach is not None and (least is None or before + reach < least):
            least = before + reach
        before += _longest(part) or 0
    return least


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
    best: str | None = None
    for most in reversed(PREFIXES):
        paths = _paths(Sequence(parts), most)
        if paths is None:  # then more characters lead to more paths
            break
        if any(path and not LETTERS & ~path[0] for path in paths):
            return None
        tree = _tree(paths)
        if best is None or len(tree) <= MOST_WRITTEN:
            best = tree
    return None if best is None else f"{behind}(?:{best})"


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


def _behind(node: Node) -> Iterator[CharSet]:
    return (look.set for look in _looks(node) if isinstance(look, Behind))


def _looks(node: Node) -> Iterator[Behind | Ahead]:
    """The look-around in a node."""
    if isinstance(node, Behind | Ahead):
        yield node
    elif isinstance(node, Repeat):
        yield from _looks(node.body)
    elif isinstance(node, Sequence | Choice):
        for part in node.parts if isinstance(node, Sequence) else node.branches:
            yield from _looks(part)


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
    has_word = all(map(chars.has, SOME_OF_WORD)) and chars & _WORD is _WORD
    word, rest = (r"\w", chars & ~_WORD) if has_word else ("", chars)
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
