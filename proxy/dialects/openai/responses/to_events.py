"""A whole response, taken apart into the events of a stream, so that it goes through the same gates."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.dialects.openai.responses.items import CALLS, PARTS, Event, TextKind, as_dict, as_list


def as_events(response: Event) -> Iterator[Event]:
    """A whole response as the events of a stream. Raises UpstreamBroken when it is none."""
    items = as_list(response.get("output"))
    begun = {**response, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for place, item in enumerate(items):
        yield from _item_events(place, as_dict(item))
    status = response.get("status")
    ending = status if status in ("failed", "incomplete") else "completed"
    yield {"type": f"response.{ending}", "response": response}


def _item_events(place: int, item: Event) -> Iterator[Event]:
    at = {"item_id": item.get("id"), "output_index": place}
    empty: Event = {key: [] for key in ("content", "summary") if key in item}
    blank = {**item, **empty, "status": "in_progress"}
    blank.pop("encrypted_content", None)
    calls = CALLS.get(str(item.get("type")))
    if calls is not None:
        blank[calls.key] = ""
    yield {"type": "response.output_item.added", "output_index": place, "item": blank}
    for where in ("content", "summary"):
        for index, part in enumerate(as_list(item.get(where) or [])):
            text = PARTS.get((where, str(as_dict(part).get("type"))))
            if text is not None:
                yield from _part_events({**at, text.index_key: index}, text, part)
    yield {"type": "response.output_item.done", "output_index": place, "item": item}


def _part_events(at: Event, text: TextKind, part: Event) -> Iterator[Event]:
    whole = part.get(text.key)
    about = "reasoning_summary_part" if text.place == "summary" else "content_part"
    framed = text.stem != "reasoning_text"  # its parts have no events of their own
    if framed:
        yield {"type": f"response.{about}.added", **at, "part": {**part, text.key: ""}}
    yield {"type": f"response.{text.stem}.delta", **at, "delta": whole}
    yield {"type": f"response.{text.stem}.done", **at, text.key: whole}
    if framed:
        yield {"type": f"response.{about}.done", **at, "part": part}
