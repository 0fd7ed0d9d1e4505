"""Which item an event of the upstream is about: by its id first, a call's own id second, and its index third.

Model servers differ: some give no ids, or null, some give every item index 0, some change the item's id underway.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from proxy.dialects.openai.responses.items import Event, Item

Key = tuple[str, str | int]


class Identity:
    """The upstream's items, with what it calls them. None stands for an item that is left out.

    begun: it has begun an item; some servers begin none, and send the text alone
    """

    def __init__(self) -> None:
        self.begun = False
        self._known: dict[Key, Item | None] = {}
        self._call_ids: dict[Item, str] = {}
        self._latest: Item | None = None

    def remember(self, item: Item | None, given: Event, value: Event) -> None:
        """An item begins."""
        self.begun = True
        self._latest = item
        for key in _keys(given.get("id"), given, value):
            self._known[key] = item
        if item is not None and _name(given.get("call_id")):
            self._call_ids[item] = given["call_id"]

    def of_event(self, ident: Any, value: Event) -> Item | None:
        """The item that an event is about; one that names none is about the last."""
        for key in _keys(ident, {}, value):
            if key in self._known:
                return self._known[key]
        return self._latest

    def of_whole(self, given: Event, value: Event) -> tuple[bool, Item | None]:
        """Whether an item that is given as a whole has begun, and which it is."""
        keys = list(_keys(given.get("id"), given, value))
        for key in keys:
            item = self._known.get(key)
            if key in self._known and (item is None or self._may_be(item, given, by_index=key[0] == "index")):
                return True, item
        if not keys and self._latest is not None and self._may_be(self._latest, given, by_index=True):
            return True, self._latest
        return False, None

    def listed(self, items: Sequence[Item], outputs: Sequence[Event]) -> Iterator[tuple[bool, Item | None]]:
        """The same for each of the items in a response's output; none of ours is taken for two of them."""
        taken: set[Item] = set()
        for given in outputs:
            begun, item = self._listed(items, given, taken)
            if item is not None:
                taken.add(item)
            yield begun, item

    def _listed(self, items: Sequence[Item], given: Event, taken: set[Item]) -> tuple[bool, Item | None]:
        free = [item for item in items if item not in taken and item.type == given.get("type")]
        ident, call = _name(given.get("id")), _name(given.get("call_id"))
        if ident and ("id", ident) in self._known and self._known["id", ident] is None:
            return True, None
        same = [item for item in free if ident and item.upstream_id == ident]
        same = [item for item in same if self._may_be(item, given, by_index=False)]
        same = same or [item for item in free if call and self._call_ids.get(item) == call]
        if not same and not ident and not call:
            same = free
        return bool(same), same[0] if same else None

    def _may_be(self, item: Item, given: Event, by_index: bool) -> bool:
        """Whether what is given can be this item. An index alone says little: many servers number all items 0."""
        call, known = _name(given.get("call_id")), self._call_ids.get(item)
        other_call = bool(call) and known is not None and call != known
        return not other_call and item.type == given.get("type") and not (by_index and item.over)


def _keys(ident: Any, given: Event, value: Event) -> Iterator[Key]:
    """What the upstream calls an item."""
    for kind, name in (("id", _name(ident)), ("call", _name(given.get("call_id")))):
        if name:
            yield kind, name
    index = value.get("output_index")
    if type(index) is int:
        yield "index", index


def _name(value: Any) -> str:
    """An id, "" for what is none."""
    return value if isinstance(value, str) else ""
