"""What a client hears: the events of an answer, and what they say in any dialect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Key: TypeAlias = tuple[int, str, int]
"""The choice, the field, and the place of the tool call."""


@dataclass
class Understood:
    """What an answer says.

    texts:  put together from the pieces; names: of the tool calls
    finish: why each choice ended, in the dialect's words
    ended:  the answer has its end; failed: an error was told; usage: as it was told
    odd:    what no client of the dialect could read
    """

    texts: dict[Key, str] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    finish: dict[int, str] = field(default_factory=dict)
    ended: bool = False
    failed: bool = False
    usage: Any = None
    odd: str = ""

    def say(self, key: Key, text: Any) -> None:
        """Add a piece of a text."""
        if isinstance(text, str) and text:
            self.texts[key] = self.texts.get(key, "") + text

    def of(self, name: str) -> str:
        """All that a field says."""
        return "".join(text for (_, key, _), text in self.texts.items() if key == name)


def events(body: bytes) -> tuple[list[Any], str]:
    """The JSON of each event of a stream of either kind, "[DONE]" as it is; and the first line that is none of it."""
    found: list[Any] = []
    odd = ""
    for line in body.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        data = _data(line)
        if not data:
            continue
        try:
            found.append("[DONE]" if data == "[DONE]" else json.loads(data))
        except ValueError:
            odd = odd or line
    return found, odd


def _data(line: str) -> str:
    if line.startswith((":", "event:", "id:", "retry:")):
        return ""
    return line.removeprefix("data:").strip()


def joined(body: bytes) -> list[str]:
    """Every text of an answer that anybody could put together: its bytes, its strings, and those of one path in all
    events behind each other."""
    raw = body.decode("utf-8", "replace")
    paths: dict[tuple[Any, ...], list[str]] = {}
    for event in _any_json(body, raw):
        for path, text in _strings(event, ()):
            paths.setdefault(path, []).append(text)
    return [raw, *("".join(texts) for texts in paths.values())]


def _any_json(body: bytes, raw: str) -> list[Any]:
    try:
        return [json.loads(raw)]
    except ValueError:
        return events(body)[0]


def _strings(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield (*path, "a key"), str(key)
            yield from _strings(one, (*path, key))
    elif isinstance(value, list):
        if _is_bytes(value):
            yield path, bytes(value).decode("utf-8", "replace")
        for place, one in enumerate(value):
            yield from _strings(one, (*path, _place(one, place, len(value))))


def _is_bytes(values: list[Any]) -> bool:
    """Whether it is how logprobs write a text: the numbers of its bytes."""
    return bool(values) and all(type(one) is int and 0 <= one < 256 for one in values)


def _place(one: Any, place: int, size: int) -> Any:
    """What is the same for all pieces of one text: the index that is told; tokens follow each other."""
    if isinstance(one, dict) and "index" in one:
        return str(one["index"])
    if isinstance(one, dict) and "token" in one:
        return "token"
    return place if size > 1 else ""
