"""An upstream and a client of OpenAI's responses, for tests."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from proxy.dialects.base import Dialect
from proxy.dialects.openai.responses.dialect import OpenAIResponses
from tests.dialects.conformance import Deltas, Stream, Told, Wire

DIALECT = OpenAIResponses()
CALLS_WHOLE = "a tool call leaves in one piece, when all of it has been judged"
STEMS = {
    "content": ("output_text", "content", "output_text", "text"),
    "refusal": ("refusal", "content", "refusal", "refusal"),
    "thinking": ("reasoning_text", "content", "reasoning_text", "text"),
    "summary": ("reasoning_summary_text", "summary", "summary_text", "text"),
}
NAMES = {stem: name for name, (stem, *_) in STEMS.items()}
PARTS = {(place, part): (name, key) for name, (_, place, part, key) in STEMS.items()}


class ResponsesWire(Wire):
    """An upstream and a client of /v1/responses. The upstream counts its events, as Ollama does."""

    dialect: ClassVar[Dialect] = DIALECT
    streams = (
        Stream("llama_responses_stream"),
        Stream("llama_responses_tool_stream", False, CALLS_WHOLE),
        Stream("ollama_v1_responses_stream", False, "the instructions that are echoed are the client's own"),
        Stream("ollama_v1_responses_think_stream"),
        Stream("ollama_v1_responses_tool_stream", False, "the tools that are echoed are the client's own"),
    )
    streamed = ("content", "refusal", "thinking", "summary")
    whole = ("arguments", "name", "call_id")
    finish = "completed"
    blocked = "content_filter"

    def request(self, **extra: Any) -> bytes:
        return json.dumps({"model": "m", "input": "hi", **extra}).encode()

    def json_mode(self) -> dict[str, Any]:
        return {"text": {"format": {"type": "json_object"}}}

    def speak(self, deltas: Deltas) -> bytes:
        return stream_of(*_spoken(deltas))

    def speak_whole(self, deltas: Deltas) -> bytes:
        return json.dumps({**HEAD, "status": "completed", "output": _output(deltas)}).encode()

    def read(self, data: bytes) -> Told:
        *frames, rest = data.split(b"\n\n")
        assert rest == b""
        reader = Reader()
        for frame in frames:
            if frame != b": ":
                name, _, body = frame.partition(b"\ndata: ")
                event = json.loads(body)
                assert name == b"event: " + event["type"].encode()
                reader.take(event)
        return reader.told

    def read_whole(self, data: bytes) -> Told:
        told = Told()
        _read_response(json.loads(data), told)
        return told


def _read_response(response: dict[str, Any], told: Told) -> None:
    assert response["object"] == "response"
    for item in response["output"]:
        _read_item(item, told)
    reason = (response.get("incomplete_details") or {}).get("reason")
    told.finish[0] = reason or response["status"]


def _read_item(item: dict[str, Any], told: Told) -> None:
    key = item["id"]
    for name in ("arguments", "name", "call_id"):
        told.say((0, f"{key}.{name}"), item.get(name))
    for place in ("summary", "content"):
        for index, part in enumerate(item.get(place) or ()):
            name, text = PARTS[place, part["type"]]
            told.say((0, f"{key}.{place}{index}.{name}"), part[text])


class Reader:
    """A client that insists on order, on indexes, on numbers without gaps, and that every repeat says the same."""

    def __init__(self) -> None:
        self.told = Told()
        self.over = False
        self.number: int | None = None
        self.items: dict[str, int] = {}
        self.open: set[str] = set()

    def take(self, event: dict[str, Any]) -> None:
        """One event."""
        assert not self.over, "something follows the end"
        self._count(event)
        kind = event["type"]
        if kind == "error":
            flat = {key: event[key] for key in ("code", "message", "param")}
            assert set(event) - {"sequence_number"} == {"type", "error", *flat}
            assert event["error"] == {"type": "upstream_error", **flat}
            self.told.failed = self.over = True
            return
        stem, _, what = kind.removeprefix("response.").rpartition(".")
        if what in ("completed", "incomplete"):
            self._end(event["response"])
        elif stem == "output_item":
            self._item(what, event)
        elif stem:
            self._part(stem, what, event)
        else:
            assert what in ("created", "in_progress")
            assert event["response"].get("output", []) == []

    def _count(self, event: dict[str, Any]) -> None:
        number = event.get("sequence_number")
        if self.number is not None:
            assert number == self.number + 1
        self.number = number

    def _item(self, what: str, event: dict[str, Any]) -> None:
        item = event["item"]
        if what == "added":
            assert item["id"] not in self.items
            assert event.get("output_index", len(self.items)) == len(self.items)
            self.items[item["id"]] = len(self.items)
            self.open.add(item["id"])
            for name in ("name", "call_id"):
                self.told.say((0, f"{item['id']}.{name}"), item.get(name))
            assert not any(item.get(key) for key in ("content", "summary", "arguments"))
        else:
            self.open.remove(item["id"])
            self._agrees(item)

    def _part(self, stem: str, what: str, event: dict[str, Any]) -> None:
        ident = event["item_id"]
        assert ident in self.open
        assert event.get("output_index", self.items[ident]) == self.items[ident]
        if stem == "function_call_arguments":
            self._text((0, f"{ident}.arguments"), what, event, "arguments")
        elif stem in NAMES:
            _, place, _, key = STEMS[NAMES[stem]]
            index = event.get("summary_index" if place == "summary" else "content_index", 0)
            self._text((0, f"{ident}.{place}{index}.{NAMES[stem]}"), what, event, key)
        else:
            assert stem in ("content_part", "reasoning_summary_part")
            if what == "done":
                place = "summary" if stem == "reasoning_summary_part" else "content"
                index = event.get("summary_index" if place == "summary" else "content_index", 0)
                name, key = PARTS[place, event["part"]["type"]]
                self._same((0, f"{ident}.{place}{index}.{name}"), event["part"][key])

    def _text(self, key: tuple[int, str], what: str, event: dict[str, Any], whole: str) -> None:
        if what == "delta":
            self.told.say(key, event["delta"])
        else:
            self._same(key, event[whole])

    def _same(self, key: tuple[int, str], text: str) -> None:
        assert self.told.texts.get(key, "") == text

    def _agrees(self, item: dict[str, Any]) -> None:
        again = Told()
        _read_item(item, again)
        own = {key: text for key, text in self.told.texts.items() if key[1].startswith(f"{item['id']}.")}
        assert again.texts == own
        thoughts = [text for (_, key), text in own.items() if key.endswith((".thinking", ".summary"))]
        assert item.get("encrypted_content", "") in ("", "".join(thoughts))

    def _end(self, response: dict[str, Any]) -> None:
        assert not self.open
        again = Told()
        _read_response(response, again)
        assert again.texts == self.told.texts
        self.told.finish = again.finish
        self.over = True


HEAD: dict[str, Any] = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "error": None}


def stream_of(*events: dict[str, Any], output: list[dict[str, Any]] | None = None) -> bytes:
    items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    begun = {**HEAD, "status": "in_progress", "output": []}
    done = {**HEAD, "status": "completed", "output": items if output is None else output}
    everything = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        *events,
        {"type": "response.completed", "response": done},
    ]
    return b"".join(event_of({**event, "sequence_number": n}) for n, event in enumerate(everything))


def event_of(event: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event).encode())


def _spoken(deltas: Deltas) -> list[dict[str, Any]]:
    """The items of some deltas, with all their events."""
    events: list[dict[str, Any]] = []
    for place, item in enumerate(_output(deltas)):
        told = [text for name, text in deltas if _group(name) == _group(item["x"])]
        name = item.pop("x")
        at = {"item_id": item["id"], "output_index": place}
        blank = {**item, "status": "in_progress"}
        blank |= {key: [] for key in ("content", "summary") if key in item}
        blank |= {"arguments": ""} if "arguments" in item else {}
        events.append({"type": "response.output_item.added", "output_index": place, "item": blank})
        events += _call_events(at, item, deltas) if _group(name) == "call" else _text_events(at, name, told, item)
        events.append({"type": "response.output_item.done", "output_index": place, "item": item})
    return events


def _text_events(at: dict[str, Any], name: str, told: list[str], item: dict[str, Any]) -> list[dict[str, Any]]:
    stem, place, _, key = STEMS[name]
    at = {**at, f"{place}_index": 0}
    part = item[place][0]
    about = "reasoning_summary_part" if place == "summary" else "content_part"
    return [
        {"type": f"response.{about}.added", **at, "part": {**part, key: ""}},
        *({"type": f"response.{stem}.delta", **at, "delta": text} for text in told),
        {"type": f"response.{stem}.done", **at, key: part[key]},
        {"type": f"response.{about}.done", **at, "part": part},
    ]


def _call_events(at: dict[str, Any], item: dict[str, Any], deltas: Deltas) -> list[dict[str, Any]]:
    told = [text for name, text in deltas if name == "arguments"]
    return [
        *({"type": "response.function_call_arguments.delta", **at, "delta": text} for text in told),
        {"type": "response.function_call_arguments.done", **at, "arguments": item["arguments"]},
    ]


def _group(name: str) -> str:
    return name if name in STEMS else "call"


def _output(deltas: Deltas) -> list[dict[str, Any]]:
    """Whole items; `x` is the field of each."""
    items: list[dict[str, Any]] = []
    for group in dict.fromkeys(_group(name) for name, _ in deltas):
        text = "".join(text for name, text in deltas if name == group)
        if group == "call":
            call = {"arguments": "{}", "name": "n", "call_id": "c"}
            for key in call:
                call[key] = "".join(text for name, text in deltas if name == key) or call[key]
            items.append({"id": "fc_1", "type": "function_call", "status": "completed", **call, "x": group})
        else:
            _, place, part, key = STEMS[group]
            kind = "message" if group in ("content", "refusal") else "reasoning"
            role: dict[str, Any] = {"role": "assistant"} if kind == "message" else {"summary": []}
            parts = {place: [{"type": part, key: text}]}
            items.append({"id": f"{group}_1", "type": kind, "status": "completed", **role, **parts, "x": group})
    return items
