"""A pattern's tree as a nondeterministic finite automaton without empty moves, pruned to what can still match.

Built as Thompson's automaton, then reduced to its items (Glushkov's positions): an item is a set of characters that
may come next, and where reading one of them leads. One-character look-around costs nothing at run time: what has to
come next narrows an item's set, what has to have come before is a condition on an edge, known when it is taken.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from proxy.matching.charsets import CharSet
from proxy.matching.errors import PatternError
from proxy.matching.tree import Ahead, Behind, Chars, Choice, Node, Repeat, Sequence

MAX_NODES = 5_000
MAX_EDGES = 100_000
_TOO_LARGE = "the pattern needs too many states"
_SMALLER = "repeat less often, or without end"


class Item:
    """A place in a rule.

    chars:   what may come next; with `ends`, what has to come next (or the text's edge) to make a match that ends here
    ends:    nothing is read any more: the match is complete, if what follows allows it
    targets: the items that reading one of `chars` leads to, whatever it is
    accepts: reading one of `chars` completes a match, whatever follows
    edges:   the same under a condition on the character that was read: (set, item; None completes a match)
    """

    __slots__ = ("accepts", "chars", "edges", "ends", "owner", "targets")

    def __init__(self, chars: CharSet, ends: bool) -> None:
        self.chars = chars
        self.ends = ends
        self.targets: frozenset[Item] = frozenset()
        self.accepts = False
        self.edges: tuple[Edge, ...] = ()
        self.owner: Any = None  # the compiled rule it belongs to

    def followers(self) -> Iterable[Item]:
        """All items that an edge leads to."""
        if not self.edges:
            return self.targets
        return {*self.targets, *(edge.target for edge in self.edges if edge.target is not None)}

    def completes(self) -> bool:
        """May a match be complete here, or after one more character?"""
        return self.ends or self.accepts or any(edge.target is None for edge in self.edges)


class Edge(NamedTuple):
    """A way on: open when the character read last is in `behind` (None: always); without a target it accepts.

    past_invisible: of a root: up to MOST_INVISIBLE invisible characters behind that one are looked through
    """

    behind: CharSet | None
    target: Item | None
    past_invisible: bool = False


class Fragment(NamedTuple):
    """One pattern's automaton.

    roots:   where a match may begin; `behind` is about the character before it
    items:   all that can be reached and can still lead to a match
    longest: characters of the longest match, None when there is none
    holds:   the most characters read while a match was still open; None when there is no such number
    """

    roots: tuple[Edge, ...]
    items: tuple[Item, ...]
    longest: int | None
    holds: int | None


def build(root: Node) -> Fragment:
    """The automaton of a pattern, without items when it can never match.

    PatternError when it is too large, or can match the empty text.
    """
    graph = _Graph()
    closures = _Closures(graph, graph.add(root, graph.node(None, ())))
    roots = closures.roots()
    if any(edge.target is None or edge.target.ends for edge in roots):
        raise PatternError("the pattern can match the empty text", 1, "make one character of it mandatory")
    reached = _reached(edge.target for edge in roots if edge.target is not None)
    live = _live(reached)
    roots = tuple(edge for edge in roots if edge.target in live)
    if len(live) < len(reached):
        for item in live:
            item.targets = frozenset(t for t in item.targets if t in live)
            item.edges = tuple(e for e in item.edges if e.target is None or e.target in live)
    return Fragment(roots, tuple(live), *_lengths(roots, live))


class _Graph:
    """Thompson's automaton: a node tests a character, tests a neighbour, or only branches. The accepting node is 0."""

    def __init__(self) -> None:
        self.labels: list[Chars | Behind | Ahead | None] = []
        self.outs: list[tuple[int, ...]] = []

    def node(self, label: Chars | Behind | Ahead | None, outs: tuple[int, ...], column: int = 1) -> int:
        if len(self.labels) >= MAX_NODES:
            raise PatternError(_TOO_LARGE, column, f"at most {MAX_NODES:,}; {_SMALLER}")
        self.labels.append(label)
        self.outs.append(outs)
        return len(self.labels) - 1

    def add(self, tree: Node, then: int, column: int = 1) -> int:
        """The node where `tree` begins when `then` is where it goes on."""
        if isinstance(tree, Sequence):
            for part in reversed(tree.parts):
                then = self.add(part, then, column)
            return then
        if isinstance(tree, Choice):
            return self.node(None, tuple(self.add(branch, then, column) for branch in tree.branches), column)
        if isinstance(tree, Repeat):
            return self.repeat(tree, then)
        return self.node(tree, (then,), column)

    def repeat(self, tree: Repeat, then: int) -> int:
        if tree.high is None:
            loop = self.node(None, (), tree.column)
            self.outs[loop] = (self.add(tree.body, loop, tree.column), then)
            then = loop
        else:
            end = then
            for _ in range(tree.high - tree.low):
                then = self.node(None, (self.add(tree.body, then, tree.column), end), tree.column)
        for _ in range(tree.low):
            then = self.add(tree.body, then, tree.column)
        return then


class _Closures:
    """From nodes to items: what can be read next from a node, through all empty moves."""

    def __init__(self, graph: _Graph, start: int) -> None:
        self.graph = graph
        self.start = start
        self.items: dict[tuple[int, CharSet | None], Item] = {}
        self.todo: list[tuple[Item, int]] = []
        self.steps = 0

    def roots(self) -> tuple[Edge, ...]:
        """The edges that a match begins with. Fills in every item that can be reached."""
        roots = tuple(self.edges(self.start))
        while self.todo:
            item, node = self.todo.pop()
            self.connect(item, self.edges(node))
        return roots

    def connect(self, item: Item, edges: Iterable[Edge]) -> None:
        """Sort an item's edges: those that are always open, and those that depend on the character."""
        targets, conditional = [], []
        for edge in edges:
            behind = item.chars if edge.behind is None else item.chars & edge.behind
            if behind is not item.chars:
                conditional += [Edge(behind, edge.target)] if behind else []
            elif edge.target is None:
                item.accepts = True
            else:
                targets.append(edge.target)
        item.targets, item.edges = frozenset(targets), tuple(conditional)

    def edges(self, start: int) -> Iterable[Edge]:
        """All ways on from a node."""
        labels, outs = self.graph.labels, self.graph.outs
        if isinstance(labels[start], Chars):  # nearly always: no empty moves
            item = self.item(start, None)
            return (Edge(None, item),) if item.chars else ()
        found: dict[Edge, None] = {}
        stack: list[tuple[int, CharSet | None, CharSet | None]] = [(start, None, None)]
        seen = set(stack)
        while stack:
            node, behind, ahead = stack.pop()
            label = labels[node]
            if node == 0 or isinstance(label, Chars):
                self.arrive(found, node, behind, ahead)
                continue
            if isinstance(label, Behind):
                behind = label.set if behind is None else behind & label.set
            elif isinstance(label, Ahead):
                ahead = label.set if ahead is None else ahead & label.set
            if (behind is not None and not behind) or (ahead is not None and not ahead):
                continue
            for out in outs[node]:
                if (out, behind, ahead) not in seen:
                    seen.add((out, behind, ahead))
                    stack.append((out, behind, ahead))
        self.steps += len(seen)
        if self.steps > MAX_EDGES:
            raise PatternError(_TOO_LARGE, 1, _SMALLER)
        return found

    def arrive(self, found: dict[Edge, None], node: int, behind: CharSet | None, ahead: CharSet | None) -> None:
        if node == 0 and ahead is None:
            found[Edge(behind, None)] = None
            return
        item = self.item(node, ahead)
        if item.chars:
            found[Edge(behind, item)] = None

    def item(self, node: int, ahead: CharSet | None) -> Item:
        item = self.items.get((node, ahead))
        if item is None:
            label = self.graph.labels[node]
            if isinstance(label, Chars):
                item = Item(label.set if ahead is None else label.set & ahead, ends=False)
                self.todo.append((item, self.graph.outs[node][0]))
            else:
                assert ahead is not None
                item = Item(ahead, ends=True)
            self.items[node, ahead] = item
        return item


def _reached(items: Iterable[Item]) -> dict[Item, None]:
    """The items that some text leads to."""
    reached = dict.fromkeys(items)
    todo = list(reached)
    while todo:
        for target in todo.pop().followers():
            if target not in reached:
                reached[target] = None
                todo.append(target)
    return reached


def _live(items: Iterable[Item]) -> dict[Item, None]:
    """The items from which a match can still be completed by some text."""
    sources: dict[Item, list[Item]] = {}
    for item in items:
        for target in item.followers():
            sources.setdefault(target, []).append(item)
    live = dict.fromkeys(item for item in items if item.completes())
    stack = list(live)
    while stack:
        for source in sources.get(stack.pop(), ()):
            if source not in live:
                live[source] = None
                stack.append(source)
    return live


def _lengths(roots: Iterable[Edge], items: Iterable[Item]) -> tuple[int | None, int | None]:
    """The longest match, and the longest that a match stays open: longest paths, if there is no cycle."""
    followers = {item: item.followers() for item in items}
    sources = dict.fromkeys(followers, 0)
    for targets in followers.values():
        for target in targets:
            sources[target] += 1
    depth = {edge.target: 0 for edge in roots if edge.target is not None}
    ready = [item for item, n in sources.items() if n == 0]
    done = longest = 0
    while ready:
        item = ready.pop()
        done += 1
        after = depth[item] + 1
        if item.completes():
            longest = max(longest, after - item.ends)
        for target in followers[item]:
            depth[target] = max(depth.get(target, 0), after)
            sources[target] -= 1
            if not sources[target]:
                ready.append(target)
    if done < len(followers):
        return None, None
    return longest, max(depth.values(), default=0)
