"""The output items of a response, as far as a client has been shown them: repeats of their text are made from here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, NamedTuple

import orjson

from proxy.core.types import Channel, Kind
from proxy.dialects.common.opaque import is_blob
from proxy.errors import UpstreamBroken

Event = dict[str, Any]
STATUSES = ("in_progress", "completed", "incomplete")


class TextKind(NamedTuple):
    """A kind of text: the stem of its events, and where it stands in an item."""

    stem: str
    place: str
    part: str
    key: str
    index_key: str
    kind: Kind


TEXTS = {
    text.stem: text
    for text in (
        TextKind("output_text", "content", "output_text", "text", "content_index", Kind.CONTENT),
        TextKind("refusal", "content", "refusal", "refusal", "content_index", Kind.REFUSAL),
        TextKind("reasoning_text", "content", "reasoning_text", "text", "content_index", Kind.REASONING),
        TextKind("reasoning_summary_text", "summary", "summary_text", "text", "summary_index", Kind.REASONING),
    )
}
PARTS = {(text.place, text.part): text for text in TEXTS.values()}


class CallKind(NamedTuple):
    """A kind of call: the stem of its events, and the key of what the model gives to the tool."""

    stem: str
    key: str


CALLS = {
    "function_call": CallKind("function_call_arguments", "arguments"),
    "custom_tool_call": CallKind("custom_tool_call_input", "input"),
}
TYPES = ("message", "reasoning", *CALLS)


class State(Enum):
    """How far a text is told: TOLD when its own `done` event is out, OVER when that of its part is."""

    OPEN = auto()
    TOLD = auto()
    OVER = auto()


@dataclass(slots=True, eq=False)
class Part:
    """One text of an item.

    fed:   what came of it, and `released` what went out, in pieces
    begun: the client has seen its first event; `takes_deltas`: it may be sent deltas
    extras: what stands beside its text, emptied, in the upstream's way
    """

    item: Item
    text: TextKind
    index: int
    channel: Channel
    fed: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    begun: bool = False
    takes_deltas: bool = False
    state: State = State.OPEN
    extras: Event = field(default_factory=dict)

    @property
    def told(self) -> str:
        """All that was shown of it."""
        return "".join(self.released)

    @property
    def takes_notice(self) -> bool:
        """Whether a person reads it, and it is not told as complete."""
        return self.takes_deltas and self.state is State.OPEN and self.text.kind is Kind.CONTENT

    def rest(self, whole: str) -> str:
        """What a repeat of the whole text adds to the deltas; "" if it is another text."""
        fed = "".join(self.fed)
        return whole[len(fed) :] if whole.startswith(fed) else ""

    def feed(self, piece: str) -> None:
        """A piece of it came; it counts as shown until somebody knows better."""
        self.fed.append(piece)
        self.released.append(piece)

    def public(self, extras: Event | None = None) -> Event:
        """The part as the client may see it."""
        if extras is None:  # an event of our own: without annotations some clients cannot read a text
            extras = self.extras or ({"annotations": []} if self.text.stem == "output_text" else {})
        return {"type": self.text.part, self.text.key: self.told, **extras}


@dataclass(slots=True, eq=False)
class Item:
    """One output item.

    number: its order, for the names of its channels; `place`: its index for the client, -1: not shown yet
    base:   its fields without text
    upstream_id: what the upstream calls it
    call:   the parts of a call that were judged, by the end of their channel's name; `fed`: its arguments as they came
    shows_opaque: whether a blob of the item, or any text in the place of one, may pass
    given:  the call's id and name as they came, by the same ends: an event may tell them again
    """

    number: int
    base: Event
    shows_opaque: Callable[[str], bool]
    upstream_id: str = ""
    place: int = -1
    parts: dict[tuple[str, int], Part] = field(default_factory=dict)
    call: dict[str, str] = field(default_factory=dict)
    fed: list[str] = field(default_factory=list)
    given: dict[str, str] = field(default_factory=dict)
    over: bool = False
    has_arguments_done: bool = False

    @property
    def type(self) -> str:
        """message, reasoning, function_call or custom_tool_call."""
        kind: str = self.base["type"]
        return kind

    @property
    def calls(self) -> CallKind | None:
        """What kind of call it is; None for any other item."""
        return CALLS.get(self.type)

    @property
    def id(self) -> str:
        """What events call it by."""
        ident: str = self.base["id"]
        return ident

    def part(self, text: TextKind, index: int) -> Part:
        """The part of that kind and index, made when it is first spoken of."""
        known = self.parts.get((text.place, index))
        if known is None:
            channel = Channel(0, text.kind, f"{self.number}.{text.place}{index}")
            known = self.parts[text.place, index] = Part(self, text, index, channel)
        return known

    def call_channel(self, part: str = "") -> Channel:
        """The channel of a call's arguments (""), name (".name") or id (".id")."""
        return Channel(0, Kind.TOOL_ARGUMENTS, f"{self.number}{part}")

    def public(self, value: Event | None = None) -> Event:
        """The item as the client may see it; in the form of the upstream's `value`, if there is one."""
        clean = {k: v for k, v in self.base.items() if k != "status"} | status_of(self.base if value is None else value)
        if self.calls is not None:
            names = {self.calls.key: "", "call_id": ".id", "name": ".name"}
            return clean | {key: self.call.get(part, "") for key, part in names.items()}
        for place in ("content", "summary"):
            if value is None and (place == "content" or self.type == "reasoning"):
                clean[place] = [p.public() for (where, _), p in sorted(self.parts.items()) if where == place]
            elif value is not None and place in value:
                clean[place] = [part.public(extras) for part, _, extras in self.listed(value, place)]
        if value is not None and "encrypted_content" in value:
            clean["encrypted_content"] = self._encrypted(value["encrypted_content"])
        return clean

    def listed(self, value: Event, place: str) -> Iterator[tuple[Part, str, Event]]:
        """The parts in an upstream's list: with their whole text, and empty fields that stand beside it."""
        for index, listed in enumerate(as_list(value.get(place) or [])):
            text = PARTS.get((place, str(as_dict(listed).get("type"))))
            if text is not None:
                yield self.part(text, index), as_text(listed.get(text.key)), empty_extras(listed)

    def _encrypted(self, value: Any) -> str:
        """Ollama puts the plain thinking here, other servers a blob for it. Neither goes with other thinking."""
        parts = [part for _, part in sorted(self.parts.items())]
        fed = "".join(["".join(part.fed) for part in parts])
        told = "".join([part.told for part in parts])
        if value == fed:
            return told
        goes_with_it = isinstance(value, str) and fed == told and (is_blob(value) or not fed)
        return value if goes_with_it and self.shows_opaque(value) else ""


def base_of(value: Event, ident: str) -> Event:
    """The fields of an item that are not text."""
    role = {"role": "assistant"} if value.get("type") == "message" else {}
    return {"id": ident, "type": value["type"], **role, **status_of(value)}


def status_of(value: Event) -> Event:
    if "status" not in value:
        return {}
    return {"status": value["status"] if value["status"] in STATUSES else "completed"}


def empty_extras(value: Event) -> Event:
    """What stands beside a text and could repeat it, emptied."""
    return {key: [] for key in ("annotations", "logprobs") if key in value}


def as_dict(value: Any) -> Event:
    """An object. Raises UpstreamBroken."""
    if not isinstance(value, dict):
        raise UpstreamBroken("the model server sent something else where an object belongs", "protocol")
    return value


def as_list(value: Any) -> list[Any]:
    """An array. Raises UpstreamBroken."""
    if not isinstance(value, list):
        raise UpstreamBroken("the model server sent something else where an array belongs", "protocol")
    return value


def as_source(value: Any) -> str:
    """A call's arguments as JSON source; some servers give the object itself."""
    return value if isinstance(value, str) else "" if value is None else orjson.dumps(value).decode()


def as_text(value: Any) -> str:
    """A text; null is none. Raises UpstreamBroken."""
    if value is not None and not isinstance(value, str):
        raise UpstreamBroken("the model server sent something else where text belongs", "protocol")
    return value or ""
