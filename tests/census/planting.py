"""What is planted, where, and how it is found again: templates of events with a hole, and an app that reads all.

The app joins pieces of text as every client does, and beside that looks at every string and key of every event, decoded
and raw, and at JSON inside strings. So it knows nothing of any dialect, and has nothing in common with the code under
test.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

HOLE = "@hole@"
CHOICE = "@choice@"
BAD = "zörb laxium"
"""Two words and a character of two bytes: it can be cut between letters, between words and inside a character."""
PLAIN = "zorblaxium"
"""The same for places where only a plain word would pass."""
LABEL = "[gone]"
NOTICE = "<stopped here>"
ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
BEFORE, AFTER = "All of it is fine. ", " And so on."
CLEAN = "Clean as a whistle, é and all."

Template = dict[str, Any] | str
Texts = dict[tuple[str, ...], str]


def written(template: Template, text: str = "", *, choice: int = 0, escaped: bool = False) -> bytes:
    """A template as JSON (or as it stands, if it is text) with the hole filled; `escaped`: with \\u escapes only."""
    source = template if isinstance(template, str) else json.dumps(template, ensure_ascii=False, separators=(",", ":"))
    filled = source.replace(HOLE, escape(text) if escaped else json.dumps(text, ensure_ascii=False)[1:-1])
    return filled.replace(f'"{CHOICE}"', str(choice)).encode()


def escape(text: str) -> str:
    """Every character as a JSON escape."""
    units = text.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def place_of(template: dict[str, Any], choice: int = 0) -> tuple[str, ...]:
    """Where the hole of a template is, as `texts_of` calls it; nowhere if it is a key."""
    found = [place for place, text in _texts(json.loads(written(template, HOLE, choice=choice))) if HOLE in text]
    return found[0] if found else ()


def texts_of(out: bytes) -> Texts:
    """All strings that an app receives, those of one place joined in their order."""
    return _joined(documents(out))


def _joined(values: Iterable[Any]) -> Texts:
    texts: dict[tuple[str, ...], list[str]] = {}
    for value in values:
        for place, text in _texts(value):
            texts.setdefault(place, []).append(text)
    return {place: "".join(parts) for place, parts in texts.items()}


def documents(out: bytes) -> Iterator[Any]:
    """The JSON in what an app receives: one body, lines, or server-sent events."""
    for line in out.split(b"\n"):
        data = line.removeprefix(b"data: ")
        if data[:1] in (b"{", b"["):
            try:
                yield json.loads(data)
            except ValueError:
                assert data == b"[DONE]", data


def _texts(value: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """Strings with their places: a path of keys, in which a choice and the kind of event count, but no other index."""
    kind = value.get("type") if isinstance(value, dict) else None
    stack = [((kind,) if isinstance(kind, str) else (), value)]
    while stack:
        place, node = stack.pop()
        if isinstance(node, str):
            yield place, node
        elif isinstance(node, dict):
            here = (*place, f"choice {node['index']}") if place[-1:] == ("choices",) and "index" in node else place
            stack += [((*here, key), item) for key, item in reversed(node.items())]
        elif isinstance(node, list):
            stack += [(place, item) for item in reversed(node)]


def arrived(out: bytes) -> set[str]:
    """Every text that an app reads, joined as it joins them, and what JSON in them says."""
    return {text for _, text in _everything(out)}


def leaks(out: bytes, *words: str) -> list[str]:
    """Every way in which one of the words arrives."""
    found = []
    raw = out.decode("utf-8", "replace")
    everything = [("raw", raw), ("raw, unescaped", _unescaped(raw)), *_everything(out)]
    for word in words:
        found += [f"{where}: {text[:200]!r}" for where, text in everything if word in text]
    return found


def _unescaped(text: str) -> str:
    return ESCAPE.sub(lambda match: chr(int(match[1], 16)), text) if "\\u" in text else text


def _everything(out: bytes) -> Iterator[tuple[str, str]]:
    values = list(documents(out))
    for value in values:
        yield from (("string", text) for text in strings(value))
    for place, text in _joined(values).items():
        yield ".".join(place), text
        if text[:1] in ("{", "["):  # JSON in pieces, as a program reads it
            try:
                yield from ((".".join(place), inner) for inner in strings(json.loads(text)))
            except ValueError:
                continue


def strings(value: Any) -> Iterator[str]:
    """Every string and every key of a JSON value."""
    stack = [value]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            yield node
        elif isinstance(node, dict):
            yield from node
            stack += node.values()
        elif isinstance(node, list):
            stack += node
