"""Read-only endpoints: what is shown of the model server's lists and descriptions.

Each vendor's `models` has a function per endpoint. It takes the parsed answer and returns what may be shown of it, and
raises UpstreamBroken for anything else than such an answer. `cleaned` does the same for bytes, and judges the names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import orjson

from proxy.dialects.common.answer_fields import LEFT_OUT, Shape, WordsOfName
from proxy.dialects.wire.json_body import parse_upstream
from proxy.errors import UpstreamBroken

NAMED_BY = ("id", "name", "model", "key")
"""Keys that say which model an entry of a list is."""


class Names(Protocol):
    """What the policies in force say of the names of models."""

    def admits(self, name: str) -> bool:
        """Whether no rule minds that a name is shown."""

    def refused(self, name: object) -> None:
        """A model is not in a list that was shown, for its name's sake."""


class NoNames:
    """Shows plain names only, and tells nobody."""

    def admits(self, name: str) -> bool:
        """Never."""
        return False

    def refused(self, name: object) -> None:
        """Nothing is done with it."""


def cleaned(clean: Callable[..., Any], body: bytes, names: Names | None = None, **flags: Any) -> bytes:
    """What may be shown, as bytes. Names in words are judged; an entry whose name is not shown is left out."""
    names = names or NoNames()
    answer = parse_upstream(body)
    shown = _judged(clean(answer, **flags), names)
    if shown is LEFT_OUT:
        raise UpstreamBroken("the name of the model is withheld by policy", "protocol")
    for name in _entries(answer) - _entries(shown):
        names.refused(name)
    return orjson.dumps(shown)


def merged(key: str, lists: Sequence[tuple[bytes, Callable[[str], bool]]]) -> bytes:
    """One list of the entries of several, which are cleaned and stand under `key`. All else is as in the first.

    Beside each list: which of its models are shown. Of a model that is in two of them the first entry stays.
    """
    answer: dict[str, Any] = orjson.loads(lists[0][0])
    entries: dict[str, Any] = {}
    for body, shows in lists:
        for entry in orjson.loads(body)[key] or ():
            name = _name(entry)
            if shows(name):
                entries.setdefault(name, entry)
    answer[key] = list(entries.values())
    return orjson.dumps(answer)


def _judged(value: Any, names: Names) -> Any:
    """The same without names that a rule minds; LEFT_OUT for an entry that is called by one."""
    if isinstance(value, WordsOfName):
        return value if names.admits(value) else LEFT_OUT
    if isinstance(value, list):
        return [part for part in (_judged(item, names) for item in value) if part is not LEFT_OUT]
    if not isinstance(value, dict):
        return value
    parts = {key: _judged(item, names) for key, item in value.items()}
    if any(parts.get(key) is LEFT_OUT for key in NAMED_BY):
        return LEFT_OUT
    return {key: part for key, part in parts.items() if part is not LEFT_OUT}


def _entries(value: Any) -> set[str]:
    """What the entries of a list are called."""
    return {str(name) for name in _names(value) if isinstance(name, str)}


def _names(value: dict[str, Any]) -> Iterator[Any]:
    for listed in value.values():
        for entry in listed if isinstance(listed, list) else ():
            if isinstance(entry, dict):
                yield _name(entry)


def _name(entry: dict[str, Any]) -> Any:
    return next((entry[key] for key in NAMED_BY if key in entry), None)


def allowed_part(shape: Shape, value: Any, what: str) -> Any:
    """The part of `value` that `shape` lets through; `what` it is stands in the error. Raises UpstreamBroken."""
    part = shape(value)
    if part is LEFT_OUT:
        raise UpstreamBroken(f"the model server's {what} cannot be read", "protocol")
    return part
