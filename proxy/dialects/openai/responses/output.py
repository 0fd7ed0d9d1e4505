"""The output of a response under way: which items there are, and the events that tell a client of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from proxy.core.events import TextDelta
from proxy.core.types import Channel, Kind
from proxy.dialects.common.counts import index_of
from proxy.dialects.openai.responses.identity import Identity
from proxy.dialects.openai.responses.items import (
    TEXTS,
    TYPES,
    Event,
    Item,
    Part,
    State,
    TextKind,
    as_dict,
    as_list,
    as_source,
    as_text,
    base_of,
    status_of,
)
from proxy.errors import UpstreamBroken

CALL_PARTS = (".id", ".name", "")
MOST_ITEMS = 1024
"""Of a response: at its end each is looked for among all, in one go."""
Repeats = list[tuple[Item, Event | None]]


class Output:
    """All items, by the upstream's names for them.

    word:    what may stand for an id; `shows_opaque`: whether a blob may pass
    indexed: the upstream tells the indexes of items and parts, so our own events do too
    """

    def __init__(self, word: Callable[[Any], str], shows_opaque: Callable[[str], bool]) -> None:
        self.indexed = False
        self._shows_opaque = shows_opaque
        self._word = word
        self._items: list[Item] = []
        self._identity = Identity()
        self._idents: set[str] = set()
        self._parts: dict[Channel, Part] = {}
        self._places = 0  # indexes given to the client

    # -- what the upstream speaks of

    def make(self, given: Event, value: Event) -> Item | None:
        """An item that is new; None if it is of a type that is left out."""
        _check_number(len(self._items) + 1)
        item = self._add(given, self._word(given.get("id"))) if given.get("type") in TYPES else None
        self._identity.remember(item, given, value)
        return item

    def find(self, ident: Any, value: Event) -> Item | None:
        """The item that an event is about; None if it is left out or unknown."""
        return self._identity.of_event(ident, value)

    def find_or_make(self, given: Event, value: Event) -> Item | None:
        """The item that is given as a whole; some servers begin none."""
        begun, item = self._identity.of_whole(given, value)
        return item if begun else self.make(given, value)

    def part_of(self, text: TextKind | None, value: Event) -> Part | None:
        """The part that an event is about."""
        item = self.find(value.get("item_id"), value)
        if item is None and text is not None and not self._identity.begun:
            item = self._begin_unsaid(text, value)
        if item is None or text is None or item.calls is not None:
            return None
        part = item.part(text, index_of({"index": value.get(text.index_key, 0)}))
        self._parts[part.channel] = part
        return part

    def _begin_unsaid(self, text: TextKind, value: Event) -> Item | None:
        """The item of a text that comes before any item; the client learns of it by the text alone, as direct."""
        kind = "reasoning" if text.kind is Kind.REASONING else "message"
        item = self.make({"type": kind, "id": value.get("item_id")}, value)
        if item is not None:
            self.announce(item)
        return item

    def part(self, channel: Channel) -> Part | None:
        """The part of a channel; None for one of a call."""
        return self._parts.get(channel)

    def call_of(self, value: Event) -> Item | None:
        """The call that an event is about."""
        item = self.find(value.get("item_id"), value)
        return item if item is not None and item.calls is not None else None

    def listed(self, response: Event) -> Repeats:
        """The items of a final response that are understood; those of the stream if it lists none."""
        if "output" not in response:
            return [(item, None) for item in self._items]
        found: Repeats = []
        outputs = [as_dict(given) for given in as_list(response["output"])]
        _check_number(len(outputs))
        for given, (begun, known) in zip(outputs, self._identity.listed(tuple(self._items), outputs), strict=True):
            item = known if begun else self.make(given, {})
            if item is not None:
                found.append((item, given))
        listed = {item for item, _ in found}
        unlisted_calls = (item for item in self._items if item.calls is not None and not item.over)
        return found + [(item, None) for item in unlisted_calls if item not in listed]

    def _add(self, given: Event, ident: str) -> Item:
        number = len(self._items)
        if not given.get("id"):
            ident = f"item_{number}"
        if ident in self._idents:
            ident = f"{ident}_{number}"
        self._idents.add(ident)
        upstream_id = given.get("id")
        item = Item(
            number, base_of(given, ident), self._shows_opaque, upstream_id if isinstance(upstream_id, str) else ""
        )
        self._items.append(item)
        return item

    # -- what repeats add

    def rest(self, part: Part, whole: str) -> tuple[TextDelta, ...]:
        """What a repeat of a text adds to it."""
        self._parts[part.channel] = part
        rest = part.rest(whole)
        if not rest:
            return ()
        part.feed(rest)
        return (TextDelta(part.channel, rest),)

    def repeat(self, item: Item, given: Event | None) -> tuple[tuple[TextDelta, ...], tuple[Channel, ...]]:
        """What a repeat of an item adds, and the channels that end with it."""
        if item.calls is not None:
            item.base |= status_of(given or {})
            return self.call_text_deltas(item, given or {}), tuple(item.call_channel(part) for part in CALL_PARTS)
        if given is None:
            return (), tuple(part.channel for part in item.parts.values())
        added: list[TextDelta] = []
        closes: list[Channel] = []
        for place in ("summary", "content"):
            for part, whole, _ in item.listed(given, place):
                added += self.rest(part, whole)
                closes.append(part.channel)
        return tuple(added), tuple(closes)

    def call_text_deltas(self, item: Item, given: Event) -> tuple[TextDelta, ...]:
        """What an event tells of a call that is new: its id and name, once, and the rest of its arguments."""
        assert item.calls is not None
        deltas: list[TextDelta] = []
        for key, part in (("call_id", ".id"), ("name", ".name")):
            if given.get(key) and part not in item.given:
                item.given[part] = as_text(given[key])
                deltas.append(TextDelta(item.call_channel(part), item.given[part]))
        whole, fed = as_source(given.get(item.calls.key)), "".join(item.fed)
        if whole.startswith(fed) and whole != fed:
            item.fed.append(whole[len(fed) :])
            deltas.append(TextDelta(item.call_channel(), item.fed[-1]))
        return tuple(deltas)

    # -- what the client is told

    def announce(self, item: Item) -> None:
        """The client sees the item for the first time."""
        if item.place < 0:
            item.place = self._places
            self._places += 1

    def at(self, item: Item, value: Event | None = None) -> Event:
        """An item's index, in the upstream's way."""
        told = self.indexed if value is None else "output_index" in value
        return {"output_index": item.place} if told else {}

    def inside(self, part: Part, value: Event | None = None) -> Event:
        """Where a part is, in the upstream's way."""
        told = self.indexed if value is None else part.text.index_key in value
        inner = {part.text.index_key: part.index} if told else {}
        return {"item_id": part.item.id, **self.at(part.item, value), **inner}

    def show(self, channel: Channel, text: str) -> Iterator[Event]:
        """Text that may be shown; that of a call waits until the call is complete."""
        part = self._parts.get(channel)
        if part is None:
            number, dot, name = channel.name.partition(".")
            self._items[int(number)].call[dot + name] = text
            return
        part.released.append(text)
        if text and part.takes_deltas:
            yield self._delta(part, text)

    def call(self, item: Item) -> Iterator[Event]:
        """A call, complete and judged. One without a name has none of it to show."""
        if item.calls is None or item.over or not item.call.get(".name"):
            return
        self.announce(item)
        item.over = True
        if item.base.get("status") == "in_progress":
            item.base["status"] = "completed"
        whole = item.public()
        stem, key = item.calls
        at = {"item_id": item.id, **self.at(item)}
        blank = {**whole, key: "", "status": "in_progress"}
        yield {"type": "response.output_item.added", **self.at(item), "item": blank}
        if whole[key]:
            yield {"type": f"response.{stem}.delta", **at, "delta": whole[key]}
        if item.has_arguments_done:
            yield {"type": f"response.{stem}.done", **at, key: whole[key]}
        yield {"type": "response.output_item.done", **self.at(item), "item": whole}

    def close(self, notice: str, apart: bool) -> Iterator[Event]:
        """All that is open ends with what was shown.

        The notice goes into the open text; where there is none it is a message of its own, if it may stand `apart`.
        """
        for item in [item for item in self._items if item.place >= 0 and not item.over]:
            for _, part in sorted(item.parts.items()):
                if notice and part.takes_notice:
                    yield from self.show(part.channel, notice)
                    notice = ""
                yield from self._close_part(part)
            yield from self._close_item(item)
        if notice and apart:
            yield from self._say_apart(notice)

    def released(self) -> list[Event]:
        """All items that the client has seen."""
        return in_order([(item, None) for item in self._items if item.place >= 0])

    def _delta(self, part: Part, text: str) -> Event:
        return {"type": f"response.{part.text.stem}.delta", **self.inside(part), "delta": text}

    def _close_part(self, part: Part) -> Iterator[Event]:
        if part.takes_deltas and part.state is State.OPEN:
            yield {"type": f"response.{part.text.stem}.done", **self.inside(part), part.text.key: part.told}
        if part.begun and part.state is not State.OVER:
            about = "reasoning_summary_part" if part.text.place == "summary" else "content_part"
            yield {"type": f"response.{about}.done", **self.inside(part), "part": part.public()}
        part.state = State.OVER

    def _close_item(self, item: Item) -> Iterator[Event]:
        item.over = True
        item.base["status"] = "incomplete"
        yield {"type": "response.output_item.done", **self.at(item), "item": item.public()}

    def _say_apart(self, notice: str) -> Iterator[Event]:
        item = self._add({"type": "message", "status": "in_progress"}, f"msg_notice_{len(self._items)}")
        self.announce(item)
        part = item.part(TEXTS["output_text"], 0)
        part.begun = part.takes_deltas = True
        self._parts[part.channel] = part
        yield {"type": "response.output_item.added", **self.at(item), "item": {**item.base, "content": []}}
        yield {"type": "response.content_part.added", **self.inside(part), "part": part.public()}
        yield from self.show(part.channel, notice)
        yield from self._close_part(part)
        yield from self._close_item(item)


def _check_number(items: int) -> None:
    if items > MOST_ITEMS:
        raise UpstreamBroken(f"the model server sent a response of more than {MOST_ITEMS} items", "protocol")


def in_order(repeats: Iterable[tuple[Item, Event | None]]) -> list[Event]:
    """Items in the order in which the client has seen them; calls that it has not seen are none."""
    released = [(item, given) for item, given in repeats if item.calls is None or item.over]
    released.sort(key=lambda pair: (pair[0].place < 0, pair[0].place))
    return [item.public(given) for item, given in released]
