"""Answers of LM Studio's own chat: named events in; the same, or one result, out.

The last event repeats the whole answer, so it is built anew from what the client was shown. The API has no word for an
answer that a filter ended; `stats.stop_reason` says it, as in LM Studio's older API, and only then is it there:
content_filter, eosFound or maxPredictedTokensReached, and failed after an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.core.events import Frame, Release, TextDelta
from proxy.core.guard import Guard
from proxy.core.types import Channel, Ending, Kind
from proxy.dialects.answer import Notice
from proxy.dialects.common import upstream_errors
from proxy.dialects.common.named_events import NamedEventsAnswer, encode
from proxy.dialects.lmstudio import errors as lmstudio_errors
from proxy.dialects.lmstudio.events import KINDS, PROGRESS, STATS, Item, Slot, as_events, progress, text_of, tool_event
from proxy.dialects.request import Request
from proxy.dialects.wire import sse
from proxy.dialects.wire.json_body import parse_upstream
from proxy.dialects.wire.skeleton import Skeleton
from proxy.errors import UpstreamBroken, UpstreamError

STOPS = {Ending.FILTERED: "content_filter", Ending.STOP: "eosFound", Ending.LENGTH: "maxPredictedTokensReached"}
FAILED = "failed"  # the older API's word
END = "chat.end"


@dataclass(slots=True)
class ToolFrame:
    """An event about a tool's call, with the texts in it that are still to be judged."""

    clean: dict[str, Any]
    slots: dict[Channel, Slot]


class LMStudioAnswer(NamedEventsAnswer):
    """One exchange of /api/v1/chat."""

    def __init__(self, request: Request, guard: Guard, notice: Notice) -> None:
        super().__init__(request, guard, notice)
        self._model = ""
        self._output: list[Item | dict[str, Any]] = []  # dict: a finished call of a tool
        self._items: dict[Channel, Item] = {}
        self._current: Item | None = None
        self._judged: dict[tuple[str, bool], str] = {}  # texts of tools' calls, which are told more than once
        self._slots = 0
        self._ended: dict[str, Any] = {}  # the upstream's last event, its result without output
        self._result: dict[str, Any] = {}

    # -- reading

    def _whole_frames(self, body: bytes) -> Iterator[Frame]:
        value = parse_upstream(body)
        if "error" in value:
            raise upstream_errors.reported(value["error"], self.guard)
        if value.get("model_instance_id"):
            self._model = self._word(value["model_instance_id"])
        for event in as_events(value):
            yield from self._read(event, None)

    def _read(self, value: dict[str, Any], event: sse.Event | None) -> Iterator[Frame]:
        kind, _, step = str(value.get("type")).partition(".")
        if value.get("type") in PROGRESS:
            clean = self._unknown.beside(value, progress(value, self._word), value["type"])
            self._model = clean.get("model_instance_id", self._model)
            yield Frame(self._raw(event, value, clean), body=clean)
        elif kind in KINDS and step in ("start", "delta", "end"):
            yield self._read_text(kind, step, value, event)
        elif kind == "tool_call" and step in ("start", "arguments", "success", "failure"):
            yield self._read_tool(value, event)
        elif value.get("type") == "error":
            raise upstream_errors.reported(value.get("error"), self.guard)
        elif value.get("type") == END:
            yield self._read_end(value, event)

    def _read_text(self, kind: str, step: str, value: dict[str, Any], event: sse.Event | None) -> Frame:
        clean: dict[str, Any] = {"type": value["type"]}
        before = self._current
        if step == "start" or before is None or before.kind != kind or not before.open:
            self._begin(kind)
        assert self._current is not None
        item = self._current
        deltas: tuple[TextDelta, ...] = ()
        if step == "delta":
            clean["content"] = text_of(value)
            deltas = (TextDelta(item.channel, clean["content"]),)
            item.parts.append(clean["content"])
        item.open = step != "end"
        clean = self._unknown.beside(value, clean, value["type"])
        ended = [before] if before is not None and before is not item else []
        closes = tuple(over.channel for over in (*ended, *([] if item.open else [item])))
        frame = Frame(self._raw(event, value, clean), deltas, closes, body=clean)
        if step == "delta" and event is not None and frame.raw is event.raw and not closes:
            self._delta_skeleton = Skeleton.of(frame, "content") or self._delta_skeleton
        return frame

    def _begin(self, kind: str) -> None:
        channel = Channel(0, KINDS[kind], f"{kind}.{len(self._output)}")
        self._current = self._items[channel] = Item(kind, channel)
        self._output.append(self._current)
        self._delta_skeleton = None  # it knows the item before

    def _quick(self, raw: bytes, delta: TextDelta) -> Frame:
        self._items[delta.channel].parts.append(delta.text)
        return Frame(raw, (delta,))

    def _read_tool(self, value: dict[str, Any], event: sse.Event | None) -> Frame:
        clean, slots = tool_event(value, self._word)
        unjudged: dict[Channel, Slot] = {}
        for slot in slots:
            known = self._judged.get((slot.source, slot.is_json))
            if known is not None:
                slot.put(known)
            else:
                unjudged[self._channel_of(slot)] = slot
        deltas = tuple(TextDelta(channel, slot.source) for channel, slot in unjudged.items())
        if not deltas:
            self._note(clean)
        return Frame(self._raw(event, value, clean), deltas, tuple(unjudged), body=ToolFrame(clean, unjudged))

    def _channel_of(self, slot: Slot) -> Channel:
        """A channel of its own. What is named like a name is judged as plain text, all else as JSON if it is JSON."""
        self._slots += 1
        end = ".name" if slot.key in ("tool", "tool_name") else f".{slot.key}"
        return Channel(0, Kind.TOOL_ARGUMENTS, f"{self._slots}{end}")

    def _note(self, clean: dict[str, Any]) -> None:
        """A call that is over stands in the result."""
        if clean["type"] == "tool_call.success":
            self._output.append({**clean, "type": "tool_call"})
        elif clean["type"] == "tool_call.failure":
            self._output.append({**clean, "type": "invalid_tool_call"})

    def _read_end(self, value: dict[str, Any], event: sse.Event | None) -> Frame:
        given = value.get("result")
        if not isinstance(given, dict):
            raise UpstreamBroken("the model server ended its answer without a result", "protocol")
        if given.get("model_instance_id"):
            self._model = self._word(given["model_instance_id"])
        self._unknown.ending = True
        numbers = self._unknown.beside(given, {}, "result")
        self._ended = {**numbers, "stats": self._unknown.statistics(given.get("stats"), "stats", STATS) or {}}
        self._count_tokens(self._ended["stats"], "input_tokens", "total_output_tokens")
        if self.request.body.get("store") is not False and given.get("response_id"):
            self._ended["response_id"] = self._word(given["response_id"])
        self._over = True
        clean = self._end_event()
        return Frame(self._raw(event, value, clean), finishes=(0,), body=clean)

    # -- writing

    def _write(self, frame: Frame, release: Release) -> Iterator[dict[str, Any]]:
        for channel, _ in frame.deltas:
            if channel in self._items:
                self._items[channel].parts.pop()  # it was taken for shown when it was read
        texts = [TextDelta(p.channel, t) for p, t in zip(frame.deltas, release.texts, strict=True)]
        released = [delta for delta in (*texts, *release.flushed) if delta.text]
        for channel, text in released:
            if channel in self._items:
                yield from self._say(self._items[channel], text)
        body = self._body(frame) or {}
        if release.blocked_choices:
            yield from self._ending(body)
        else:
            yield from self._event(body, released)

    def _event(self, body: dict[str, Any] | ToolFrame, released: list[TextDelta]) -> Iterator[dict[str, Any]]:
        """What a frame says beside its text."""
        if isinstance(body, ToolFrame):
            texts = dict(released)
            for channel, slot in body.slots.items():
                text = self._judged[slot.source, slot.is_json] = texts.get(channel, "")
                slot.put(text)
            self._note(body.clean)
            yield body.clean
        elif body.get("type") == END:
            yield self._end_event()
        elif body and "content" not in body:
            yield body

    def _say(self, item: Item, text: str) -> Iterator[dict[str, Any]]:
        item.parts.append(text)
        yield item.event("delta", content=text)

    def _ending(self, body: Any) -> Iterator[dict[str, Any]]:
        """A rule has ended the answer: the open item ends, the notice stands in a message, and the result follows."""
        item = self._current
        if item is not None and isinstance(body, dict) and body.get("type") == f"{item.kind}.end":
            item.open = True  # the client has not been told of its end
        notice = self.notice_for(0)
        if item is not None and item.open and (item.kind != "message" and notice):
            yield self._close(item)
        if notice and (item is None or not item.open):
            notice = notice.lstrip("\n")
            self._begin("message")
            item = self._current
            assert item is not None
            yield item.event("start")
        if item is not None and item.open:
            if notice:
                yield from self._say(item, notice)
            yield self._close(item)
        self._ended["stats"] = self._counted() | {"stop_reason": STOPS[self.guard.blocked_choices[0].rule.ending]}
        yield self._end_event()

    def _counted(self) -> dict[str, Any]:
        """What the upstream has counted; an estimate where it was stopped before it did."""
        return self._ended.get("stats") or {"input_tokens": 0, "total_output_tokens": self.events, "estimated": True}

    def _close(self, item: Item) -> dict[str, Any]:
        item.open = False
        return item.event("end")

    def _end_event(self) -> dict[str, Any]:
        """The last event, with what the client was shown."""
        output = [item.output() if isinstance(item, Item) else item for item in self._output]
        return {"type": END, "result": {"model_instance_id": self._model, "output": output, **self._ended}}

    # -- ending

    def result(self) -> bytes:
        """The result that a stream has in its last event."""
        return orjson.dumps(self._result)

    def _collect(self, body: Any) -> None:
        if isinstance(body, dict) and body.get("type") == END:
            self._result = body["result"]

    def _encode(self, body: Any) -> bytes:
        return encode(body)

    def _error_event(self, error: UpstreamError) -> bytes:
        """What is open ends, then comes the error, and after it the last event: an error does not stand for that."""
        item = self._current
        closed = [self._close(item)] if item is not None and item.open else []
        self._ended["stats"] = self._counted() | {"stop_reason": FAILED}
        return b"".join(map(encode, (*closed, lmstudio_errors.event(error), self._end_event())))
