"""The field table of requests, read from the allow-lists themselves: every place in a request that takes text.

An allow-list is made of functions that remember what they were made of, so all that they take can be walked. A key that
is added to one has so a row in the census at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any, NamedTuple

from proxy.dialects.common.request_fields import COUNT, PASSED, SWITCH, Object, Take, anything

Build = Callable[[Any], Any]
"""Puts a text into its place in the smallest request that has such a place."""

SAMPLES: dict[str, Any] = {
    "role": "user",
    "image_url": "data:image/png;base64,aGk=",
    "url": "data:image/png;base64,aGk=",
    "data_url": "data:image/png;base64,aGk=",
    "arguments": "{}",
    "type": "text",
    "execution": "client",
}
"""Values of keys that are not just any text."""


class Takes(Enum):
    """What an entry of an allow-list does with text.

    TEXT:    any string
    JSON:    any JSON
    WORD:    a word; what is more is left out
    FORM:    what has a form without words; the rest is left out
    NOTHING: it is left out, as long as the operator allows nothing
    REFUSED: the request is refused
    """

    TEXT = "text"
    JSON = "json"
    WORD = "word"
    FORM = "form"
    NOTHING = "nothing"
    REFUSED = "refused"


class Place(NamedTuple):
    """Where a request takes text.

    path:  as errors write it, with the tag of a variant behind it: messages[].content[text].text
    """

    path: str
    build: Build
    takes: Takes = Takes.TEXT

    @property
    def free(self) -> bool:
        """Any JSON may stand there."""
        return self.takes is Takes.JSON


_BY_NAME = {
    "judged": Takes.JSON,
    "judged_text": Takes.TEXT,
    "words": Takes.WORD,
    "role": Takes.WORD,
    "form": Takes.FORM,
    "Dropped": Takes.NOTHING,
    "allowed": Takes.NOTHING,
    "refused": Takes.REFUSED,
}
"""By the function that makes an entry."""
_SIMPLE: dict[Any, Takes] = {anything: Takes.JSON, **dict.fromkeys((PASSED, SWITCH, COUNT), Takes.FORM)}


_SAMPLE_OF = {Takes.TEXT: "x", Takes.JSON: {}, Takes.WORD: "x", Takes.FORM: 1}


def _takes(take: Take | Object) -> Takes | None:
    """What an entry without parts of its own does with text; None: it has parts, or takes no text."""
    return _SIMPLE.get(take) or _BY_NAME.get(_maker(take))


def _maker(take: Take | Object) -> str:
    return str(getattr(take, "__qualname__", type(take).__name__)).partition(".")[0]


def places(take: Take | Object, path: str = "", build: Build = lambda value: value) -> Iterator[Place]:
    """Every place below a reader that takes text."""
    takes = _takes(take)
    if takes is not None:
        yield Place(path, build, takes)
        return
    if isinstance(take, Object):
        yield from _of_object(take, path, build)
        return
    made_of = _made_of(take)
    if _maker(take) == "text_part":
        yield Place(f"{path}[string]", build, Takes.TEXT)
        yield Place(f"{path}[untyped]", lambda value: build({"text": value}), Takes.TEXT)
        yield Place(f"{path}[null]", lambda value: build({"type": None, "text": value}), Takes.TEXT)
    if "take_part" in made_of:
        yield from places(made_of["take_part"], path, build)
    elif "several" in made_of:
        yield from places(made_of["several"], path, build)
    elif "variants" in made_of:
        for name, variant in made_of["variants"].items():
            yield from _of_variant(variant, f"{path}[{name}]", build, {made_of["tag"]: name})
        if "others" in made_of:
            yield Place(f"{path}[?]", lambda value: build(_unknown(made_of["tag"], value)), Takes.NOTHING)
    elif "choices" in made_of:
        for choice in made_of["choices"].values():
            yield from places(choice, path, build)
    elif "item" in made_of and _maker(take) == "map_of":
        yield Place(f"{path}.KEY", lambda value: build({value: sample(made_of["item"])}))
        yield from places(made_of["item"], f"{path}.*", lambda value: build({"k": value}))
    elif "item" in made_of:
        yield from places(made_of["item"], f"{path}[]", lambda value: build([value]))
    elif str in made_of.get("types", ()):
        yield Place(path, build)


def _unknown(tag: str, value: Any) -> dict[str, Any]:
    """An object of a kind that stands in no table, with a text wherever one could be looked for."""
    texts = dict.fromkeys(("text", "content", "name", "server_url", "arguments"), value)
    return {tag: "x_unknown", **texts, "function": {"name": value, "arguments": value}}


def _of_variant(variant: Take | Object, path: str, build: Build, tag: dict[str, str]) -> Iterator[Place]:
    """The places of one kind of object; one that is left out or refused as a whole is one place."""
    if isinstance(variant, Object):
        yield from _of_object(variant, path, build, tag)
    else:
        takes = _takes(variant)
        assert takes is not None, path
        yield Place(path, lambda value: build({**tag, "text": value}), takes)


def _of_object(
    fields: Object,
    path: str,
    build: Build,
    tag: dict[str, str] | None = None,
) -> Iterator[Place]:
    for key, take in fields._keys.items():
        if tag is not None and key in tag:
            continue
        siblings = {k: sample(fields._keys[k], k) for k in fields._required if k != key} | (tag or {})

        def put(value: Any, key: str = key, siblings: Mapping[str, Any] = siblings) -> Any:
            return build({**siblings, key: value})

        yield from places(take, f"{path}.{key}" if path else key, put)


def sample(take: Take | Object, key: str = "") -> Any:
    """The smallest value that a reader takes."""
    if key in SAMPLES:
        return SAMPLES[key]
    if isinstance(take, Object):
        return {k: sample(take._keys[k], k) for k in take._required}
    takes = _takes(take)
    if takes is not None:
        return _SAMPLE_OF[takes]
    made_of = _made_of(take)
    if "take_part" in made_of or "several" in made_of:
        return sample(made_of.get("take_part") or made_of["several"], key)
    if "variants" in made_of:
        name, variant = next((n, v) for n, v in made_of["variants"].items() if isinstance(v, Object))
        return sample(variant) | {made_of["tag"]: name}
    if "choices" in made_of:
        return sample(next(iter(made_of["choices"].values())), key)
    if "item" in made_of:
        return {} if _maker(take) == "map_of" else [sample(made_of["item"])]
    if "allowed" in made_of:
        return made_of["allowed"][0]
    return {str: "x", int: 1, float: 1.0, bool: True}.get(made_of["types"][0])


def _made_of(take: Take) -> Mapping[str, Any]:
    return inspect.getclosurevars(take).nonlocals
