"""A pattern as it has to read on folded text: what it names is folded as the text is."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from proxy.matching.charsets import CharSet
from proxy.matching.folding import fold
from proxy.matching.tree import Ahead, Behind, Chars, Choice, Node, Repeat, Sequence

FEW = 512
"""Sets up to this size, and those that exclude no more, are folded; larger ones (\\w, \\d) mean what they say."""


def fold_tree(node: Node) -> Node:
    """The tree for the folded view: `Straße` finds strasse, `[A-Z]` a to z, `[^É]` all but e."""
    if isinstance(node, Chars):
        return _fold_chars(node)
    if isinstance(node, Behind):
        return Behind(_fold_set(node.set, _last))
    if isinstance(node, Ahead):
        return Ahead(_fold_set(node.set, _first))
    if isinstance(node, Repeat):
        return Repeat(fold_tree(node.body), node.low, node.high, node.column)
    if isinstance(node, Choice):
        return Choice(tuple(map(fold_tree, node.branches)))
    return Sequence(tuple(map(fold_tree, node.parts)))


def _fold_chars(node: Chars) -> Node:
    if len(node.set) > FEW:
        return Chars(_fold_set(node.set, _whole))
    folded = sorted({fold(char) for char in _members(node.set)})
    branches: list[Node] = [
        Sequence(tuple(Chars(CharSet.chars(char)) for char in text)) for text in folded if len(text) != 1
    ]
    single = [text for text in folded if len(text) == 1]
    if single:
        branches.insert(0, Chars(CharSet.chars(single)))
    return branches[0] if len(branches) == 1 else Choice(tuple(branches))


@cache
def _fold_set(chars: CharSet, part: Callable[[str], str]) -> CharSet:
    if len(chars) <= FEW:
        return CharSet.of(CharSet.chars(filter(None, (part(fold(c)) for c in _members(chars)))).ranges, chars.edge)
    others = ~chars
    return ~_fold_set(others, part) if len(others) <= FEW else chars


def _members(chars: CharSet) -> list[str]:
    return [chr(code) for first, last in chars.ranges for code in range(first, last + 1)]


def _whole(text: str) -> str:
    return text if len(text) == 1 else ""


def _first(text: str) -> str:
    return text[:1]


def _last(text: str) -> str:
    return text[-1:]
