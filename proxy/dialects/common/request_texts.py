"""The texts of a request that are judged: those inside nested JSON, those that a table names, and those of the turns.

A chat app sends the whole conversation with each request. What was blocked once stays in it: many apps drop the failed
answer only, so the blocked prompt or tool result comes again, in front of the next prompt. Only the newest text can be
refused, or such a conversation would be refused for ever.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.dialects.request import InputText, Options
from proxy.errors import BadRequest

# -- inside tools, schemas and arguments: found at any depth, and written back where they stand

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


# -- found while a request is read through its table, and what is left out

Take = Callable[[Any, str, "Report"], Any]
"""An entry of a table: a value, its path and the report in, what is sent of it out. Raises BadRequest, LeftOut."""


class LeftOut(Exception):
    """This part is not taken; whoever holds it leaves it out and names it."""


@dataclass(slots=True)
class Report:
    """What is found while a request is read.

    options: what the operator has allowed
    dropped: paths of what was left out
    texts:   what the table itself says is to be judged; the dialect finds the other texts
    """

    options: Options = field(default_factory=Options)
    dropped: list[str] = field(default_factory=list)
    texts: list[InputText] = field(default_factory=list)
    _place: tuple[Any, Any] = (None, None)  # the container and the key of the part that is being read

    def read(self, take: Take, value: Any, path: str, container: Any, key: Any) -> Any:
        """One part through its entry, which is about to be put into its place. Raises LeftOut, and names the part."""
        texts, dropped = len(self.texts), len(self.dropped)
        self._place = container, key
        try:
            return take(value, path, self)
        except LeftOut:
            del self.texts[texts:]
            self.dropped[dropped:] = [path]
            raise

    def judge(self, value: Any, role: str, path: str) -> None:
        """Put every text of the part that is being read among those to be judged.

        What stands inside an array or object is judged joined, since a template may print it so, but for the keys.
        """
        if isinstance(value, dict | list):
            found = nested_texts(value, role, path, MOST_TEXTS - len(self.texts))
        elif value is None or isinstance(value, bool):
            return
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            found = [InputText(role, text, path, *self._place)]
        first = -1 - MOST_TEXTS - len(self.texts)  # below those of tools and schemas
        for i, input_text in enumerate(found):
            input_text.group = first - i if input_text.key == "key" else first
        self.texts += found

    def forget(self, path: str) -> None:
        """A part is left out after all: it is named, and its texts are not judged."""
        self.dropped.append(path)
        below = (f"{path}.", f"{path}[")
        self.texts[:] = [text for text in self.texts if text.param != path and not text.param.startswith(below)]

    def forget_inside(self, containers: Iterable[Any], paths: Iterable[str]) -> None:
        """The same for many parts: their texts stand in these objects, and `paths` name them."""
        self.dropped += paths
        gone = {id(container) for container in containers}
        self.texts[:] = [text for text in self.texts if id(text.container) not in gone]


# -- turns of a conversation: which texts are new, and which are read as one

SYSTEM = ("system", "developer")
_PART = re.compile(r"\w+\[\d+\]\.(content\[\d+\])")


def conversation_texts(
    roles: Sequence[str], texts: Sequence[list[InputText]], group: int = 0, shown: Sequence[bool] | None = None
) -> list[InputText]:
    """The texts of all messages, in reading order. Sets which are new, and groups those of neighbours of one role.

    roles: of each message; texts: of each message, in reading order
    group: the number of the first group
    shown: whether the model server shows each message to the model; None: all. One that is not shown does not part the
           messages before and behind it.
    """
    mark_new(roles, texts)
    last = None
    for role, is_shown, own in zip(roles, shown or [True] * len(roles), texts, strict=True):
        if is_shown and role != last:
            group += last is not None
            last = role
        for text in own:
            text.group = group
    return [text for own in texts for text in own]


def mark_new(roles: Sequence[str], texts: Sequence[list[InputText]]) -> None:
    """Set which texts of messages are new: the system texts at the head, the beginning of an answer that the client
    gives, what was said last before it, and system texts from there on.

    Said last are tool results when nothing of the user follows them, else the last part of the user's last message.
    System texts between turns stay in the conversation as all else does: agents put their reminders there.
    """
    end = len(roles)
    while end and roles[end - 1] == "assistant":  # the model goes on with these
        end -= 1
    start = max((i + 1 for i in range(end) if roles[i] == "assistant"), default=0)
    users = [i for i in range(start, end) if _is_users(roles[i], texts[i])]
    head = next((i for i, role in enumerate(roles) if role not in SYSTEM), end)
    last = users[-1] if users else start
    for i, own in enumerate(texts):
        for text in own:
            text.newest = i >= end or (text.role in SYSTEM and (i < head or i >= last))
    results = _results(texts[last:end])
    for text in results:
        text.newest = True
    if users and not results:
        _mark_last_part([text for text in texts[users[-1]] if text.role == "user"])


def _is_users(role: str, texts: Sequence[InputText]) -> bool:
    """Whether a message says something of the user: a text, or else a picture. Results of tools are none of his."""
    return any(text.role == "user" for text in texts) or (role == "user" and not texts)


def _results(messages: Sequence[list[InputText]]) -> list[InputText]:
    """The texts of tool results that no text of the user follows."""
    results: list[InputText] = []
    for text in (text for own in reversed(messages) for text in reversed(own)):
        if text.role == "user":
            break
        if text.role not in SYSTEM:
            results.append(text)
    return results


def _mark_last_part(texts: Sequence[InputText]) -> None:
    """Of the parts of a message only the last one with words in it is new; so is all that is not a part."""
    said = [part for text in texts if (part := _part_of(text)) and text.text.strip()]
    for text in texts:
        text.newest = _part_of(text) in ("", *said[-1:])


def _part_of(text: InputText) -> str:
    """The part of a message that a text stands in; "" for one that stands in no part, as content that is a string."""
    found = _PART.match(text.param)
    return found.group(1) if found else ""
