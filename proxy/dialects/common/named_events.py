"""Streams of server-sent events that name their type: what OpenAI's responses and Anthropic's messages share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import orjson

from proxy.core.events import LARGE, PAUSE, Frame, TextDelta
from proxy.core.guard import Guard
from proxy.dialects.answer import Answer, Notice
from proxy.dialects.common.unknown_numbers import UnknownNumbers
from proxy.dialects.request import Request
from proxy.dialects.wire import sse
from proxy.dialects.wire.json_body import parse_upstream, says_more
from proxy.dialects.wire.skeleton import Skeleton

COMMENT = b": \n\n"
MAX_WORD = 512  # characters of an id or a name


class NamedEventsAnswer(Answer):
    """One exchange whose events are objects with a `type`, which is the event's name too."""

    def __init__(self, request: Request, guard: Guard, notice: Notice) -> None:
        super().__init__(request, guard, notice)
        self._sse = sse.Parser()
        self._delta_skeleton: Skeleton | None = None
        self._over = False  # the upstream has sent its terminal event
        self._words: dict[str, bool] = {}  # ids and names, and whether they may pass
        self._unknown = UnknownNumbers(guard.admits)

    @abstractmethod
    def _read(self, value: dict[str, Any], event: sse.Event | None) -> Iterator[Frame]:
        """The frames of one event; `event` is None for one that was made from a whole answer."""

    def _frames(self, data: bytes) -> Iterator[Frame]:
        for event in self._sse.feed(data):
            if len(event.raw) > LARGE:
                yield PAUSE
            skeleton = self._delta_skeleton
            text = skeleton.text(event.raw) if skeleton is not None else None
            if skeleton is not None and text is not None:
                yield self._quick(event.raw, TextDelta(skeleton.channel, text))
            else:
                yield from self._read_event(event)

    def _last_frames(self) -> Iterator[Frame]:
        for event in self._sse.finish():
            yield from self._read_event(event)

    def _quick(self, raw: bytes, delta: TextDelta) -> Frame:
        """An event that differs from the one before only in its text."""
        return Frame(raw, (delta,))

    def _read_event(self, event: sse.Event) -> Iterator[Frame]:
        if event.data is None:
            if self.request.stream:
                yield Frame(COMMENT)
        elif event.data.strip() != b"[DONE]":  # some servers end every stream with it
            value = parse_upstream(event.data)
            if not isinstance(value.get("type"), str):
                value["type"] = ""  # like any type that is not known
            yield from self._read(value, event)
            self._delta_skeleton = self._delta_skeleton if self._unknown.steady else None

    def _raw(self, event: sse.Event | None, value: dict[str, Any], clean: dict[str, Any]) -> bytes:
        """The bytes for `clean`: the event's own if they say nothing else."""
        if event is not None and event.data is not None and clean == value and _is_tidy(event, value):
            return event.raw
        return encode(clean)

    def _word(self, value: Any, fallback: str = "withheld") -> str:
        """An id or a model's name, when no rule minds it."""
        if not isinstance(value, str) or len(value) > MAX_WORD:
            return fallback
        if value not in self._words:
            self._words[value] = self.guard.admits(value)
        return value if self._words[value] else fallback

    def _body(self, frame: Frame) -> Any:
        if frame.body is None and frame.deltas and frame.raw:
            return orjson.loads(frame.raw[frame.raw.index(b"\ndata: ") + 7 :])
        return frame.body

    def _settle(self, out: list[bytes]) -> None:
        self.done = self._over or bool(self.guard.blocked_choices)

    def _put_terminal(self, out: list[bytes]) -> None:
        self.done = True

    def _is_complete(self) -> bool:
        return self._over


def encode(body: dict[str, Any]) -> bytes:
    """An event under its own name."""
    return sse.encode(orjson.dumps(body), body["type"])


def _is_tidy(event: sse.Event, value: dict[str, Any]) -> bool:
    """Whether the event has its name, one line of data, no key twice, and nothing else."""
    assert event.data is not None
    name = event.name.decode("ascii", "replace")
    return name == value["type"] and event.raw == sse.encode(event.data, name) and not says_more(event.data, value)
