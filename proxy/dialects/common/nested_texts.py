"""Texts inside tools, schemas and arguments: found at any depth, and written back where they stand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from proxy.dialects.base import InputText
from proxy.errors import BadRequest

MOST_TEXTS = 100_000
"""Of one request, where each name and value in tools, schemas and arguments counts. Five hundred tools with large
schemas have about thirty thousand."""

_MARKER_IN_BRACKETS = re.compile(
    r"/?(?:[|\uff5c][\w.:/\-\u2581]{1,64}[|\uff5c]?|[\w.:/\-\u2581]{1,64}[|\uff5c])"
).fullmatch
MOST_IN_ORDER = 200  # members of an object in which a rewritten key keeps its place; in larger ones it goes to the end


def schema_texts(definitions: Iterable[tuple[str, Any]]) -> list[InputText]:
    """The texts in tools and schemas, which are given with their paths; each a group of its own."""
    texts: list[InputText] = []
    for path, value in definitions:
        texts += nested_texts(value, "system", path, MOST_TEXTS - len(texts))
    for i, text in enumerate(texts):
        text.group = -1 - i
    return texts


def nested_texts(value: Any, role: str, path: str, most: int = MOST_TEXTS) -> list[InputText]:
    """Every string and number inside an object or array: the values of each object, then its keys.

    Raises BadRequest when there are more than `most`.
    """
    texts: list[InputText] = []
    stack: list[tuple[Any, str]] = [(value, path)]
    while stack:
        node, where = stack.pop()
        items: list[tuple[Any, Any]] = []
        if isinstance(node, dict):
            items = list(node.items())
        elif isinstance(node, list):
            items = list(enumerate(node))
        members = {key: _Member(node, key) for key, _ in items}
        inner: list[tuple[Any, str]] = []
        for key, item in items:
            below = f"{where}[{key}]" if isinstance(node, list) else f"{where}.{key}"
            if isinstance(item, str):
                texts.append(InputText(role, item, below, members[key], "value"))
            elif type(item) in (int, float):
                texts.append(InputText(role, json.dumps(item), below, members[key], "value"))
            else:
                inner.append((item, below))
        stack += reversed(inner)
        if isinstance(node, dict):
            texts += [InputText(role, key, f"{where}.{key}", m, "key") for key, m in _named(members, role, where)]
        if len(texts) > most:
            raise too_many_texts(where)
    return texts


def _named(members: dict[Any, _Member], role: str, path: str) -> Iterator[tuple[str, _Member]]:
    """The keys of an object. One that is a chat template's control marker once it stands between angle brackets gets a
    blank, so that it is none: templates like Qwen3-Coder's write keys as `<key>`, and `|im_end|` would end a turn.

    In a definition it is refused, since a tool would be called by another name.
    """
    for key, member in members.items():
        if not _MARKER_IN_BRACKETS(key):
            yield key, member
        elif role == "system":
            raise BadRequest(f"{path}: the key {key!a} cannot be told from a control marker", path, "invalid_key")
        else:
            member["key"] = f"{key} "
            yield f"{key} ", member


class _Member:
    """A member of an object or array whose value, and whose key, may each be rewritten, more than once."""

    def __init__(self, node: Any, key: Any) -> None:
        self._node = node
        self._key = key

    def __setitem__(self, part: str, text: str) -> None:
        """Put `text` in the place of the member's "value", or of its "key", which stays unique, and where it is."""
        if part == "value":
            self._node[self._key] = text
        elif text != self._key:
            while text in self._node:
                text += "_"
            self._rename(text)

    def _rename(self, key: str) -> None:
        """To build a large object anew for each of its keys would take a time that grows with the square."""
        node, old = self._node, self._key
        if len(node) > MOST_IN_ORDER:
            node[key] = node.pop(old)
        else:
            items = [(key if k == old else k, v) for k, v in node.items()]
            node.clear()
            node.update(items)
        self._key = key


def too_many_texts(path: str) -> BadRequest:
    """The refusal of a request with more than MOST_TEXTS."""
    return BadRequest(
        f"{path}: up to here the request holds more than {MOST_TEXTS} texts (names and values count); send fewer",
        path,
        "too_many_texts",
    )
