"""Answers of OpenAI's responses: named events in; the same, or one response, out.

The stream says everything up to four times: in deltas, in the `done` events of text, part and item, and in the response
at the end. Deltas go through the gates; every repeat is made anew from what the client has been shown. A repeat that
says more than its deltas (some servers have none) brings the rest through the same gates.
A call leaves in one piece when all of it has been judged, so an item gets its index when the client first sees it.

Source: the OpenAI API reference (streaming events of responses).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from proxy.core.events import Frame, Release, TextDelta
from proxy.core.guard import ALL, Guard
from proxy.core.types import Channel, Ending, Kind
from proxy.dialects.answer import Notice
from proxy.dialects.common import upstream_errors
from proxy.dialects.common.named_events import NamedEventsAnswer, encode
from proxy.dialects.common.opaque import may_be_shown
from proxy.dialects.openai import errors as openai_errors
from proxy.dialects.openai.responses.items import (
    CALLS,
    PARTS,
    TEXTS,
    Event,
    Part,
    State,
    TextKind,
    as_dict,
    as_source,
    as_text,
    empty_extras,
)
from proxy.dialects.openai.responses.output import Output, in_order
from proxy.dialects.openai.responses.response_object import clean_response
from proxy.dialects.openai.responses.sequence_numbers import NumberedSkeleton, Numbers
from proxy.dialects.openai.responses.to_events import as_events
from proxy.dialects.request import Request
from proxy.dialects.wire import sse
from proxy.dialects.wire.json_body import parse_upstream
from proxy.dialects.wire.skeleton import Skeleton
from proxy.errors import UpstreamError

BEGINNINGS = ("response.created", "response.in_progress", "response.queued")
ENDINGS = ("response.completed", "response.incomplete")
LAST = {
    # completed: of an incomplete response for this reason Codex asks again, and OpenAI's agents raise (docs/clients.md)
    Ending.FILTERED: ("completed", "content_filter"),
    Ending.STOP: ("completed", None),
    Ending.LENGTH: ("incomplete", "max_output_tokens"),
}
COUNTED = ("timings", "prompt_progress")
Reader = Callable[[Event, sse.Event | None], Frame | None]


@dataclass(slots=True)
class Step:
    """How to make a frame's events anew once its texts are out.

    undo:  takes back that it ended something, when a rule ends the answer instead
    final: the frame ends the response, so a client that waits wants it
    """

    anew: Callable[[], Iterable[Event]]
    undo: Callable[[], None] = lambda: None
    final: bool = False


class ResponsesAnswer(NamedEventsAnswer):
    """One exchange of /v1/responses."""

    def __init__(self, request: Request, guard: Guard, notice: Notice) -> None:
        super().__init__(request, guard, notice)
        self._head: Event = {}  # the response as it began, without its output
        self._begun: set[str] = set()  # the types of the events that have told so
        self._output = Output(self._word, self._shows_opaque)
        self._numbers = Numbers()
        self._final: Event = {}
        self._readers: dict[str, Reader] = {
            "response.output_item.added": self._item_added,
            "response.output_item.done": self._item_done,
            "response.content_part.added": partial(self._part_added, "content"),
            "response.content_part.done": partial(self._part_done, "content"),
            "response.reasoning_summary_part.added": partial(self._part_added, "summary"),
            "response.reasoning_summary_part.done": partial(self._part_done, "summary"),
            **{f"response.{kind.stem}.delta": self._arguments for kind in CALLS.values()},
            **{f"response.{kind.stem}.done": self._arguments_done for kind in CALLS.values()},
            **{f"response.{stem}.delta": partial(self._delta, text) for stem, text in TEXTS.items()},
            **{f"response.{stem}.done": partial(self._text_done, text) for stem, text in TEXTS.items()},
            **dict.fromkeys(BEGINNINGS, self._beginning),
            **dict.fromkeys(ENDINGS, self._ending),
        }

    # -- reading

    def _shows_opaque(self, value: str) -> bool:
        """Whether encrypted reasoning may pass."""
        return may_be_shown(value, lambda text: self.guard.admits(text, Kind.REASONING))

    def _whole_frames(self, body: bytes) -> Iterator[Frame]:
        value = parse_upstream(body)
        if value.get("error") is not None:
            raise upstream_errors.reported(value["error"], self.guard)
        for event in as_events(value):
            yield from self._read(event, None)

    def _quick(self, raw: bytes, delta: TextDelta) -> Frame:
        self._numbers.tick()
        part = self._output.part(delta.channel)
        if part is not None:
            part.feed(delta.text)
        return Frame(raw, (delta,))

    def _read(self, value: Event, event: sse.Event | None) -> Iterator[Frame]:
        kind: str = value["type"]
        if kind == "error" or value.get("error") is not None:
            raise upstream_errors.reported(value.get("error") or value, self.guard)
        if kind == "response.failed":
            raise upstream_errors.reported(as_dict(value.get("response")).get("error"), self.guard)
        self._numbers.take(value)
        self._output.indexed = self._output.indexed or "output_index" in value
        reader = self._readers.get(kind)
        frame = reader(value, event) if reader is not None else None
        if frame is None or not frame.raw:
            self._numbers.settle()
        if frame is not None:
            yield frame

    def _stamped(self, event: sse.Event | None, value: Event, clean: Event) -> bytes:
        stamped = self._numbers.stamp(self._counted(value) | clean)
        return self._raw(event, value, self._unknown.beside(value, stamped, value["type"]))

    def _counted(self, value: Event) -> Event:
        """What llama.cpp tells beside an event: how long it took, and how far the prompt is read."""
        return {key: self._unknown.statistics(value[key], key) for key in COUNTED if key in value}

    def _beginning(self, value: Event, event: sse.Event | None) -> Frame | None:
        """Each of them once: it gives the client's request back, which may be long."""
        if value["type"] in self._begun:
            return None
        self._begun.add(value["type"])
        response = as_dict(value.get("response"))
        self._head = clean_response(response, self.request, self._word, self._unknown)
        output: Event = {"output": []} if "output" in response else {}
        return Frame(self._stamped(event, value, {"type": value["type"], "response": self._head | output}))

    def _item_added(self, value: Event, event: sse.Event | None) -> Frame | None:
        given = as_dict(value.get("item"))
        item = self._output.make(given, value)
        self._delta_skeleton = None  # it may know the name of an item before
        if item is None:
            return None
        if item.calls is not None:
            return Frame(b"", self._output.call_text_deltas(item, given))
        self._output.announce(item)
        empty: Event = {key: [] for key in ("content", "summary") if key in given}
        blank = {"encrypted_content": ""} if "encrypted_content" in given else {}
        clean = {"type": value["type"], **self._output.at(item, value), "item": item.base | empty | blank}
        return Frame(self._stamped(event, value, clean))

    def _item_done(self, value: Event, event: sse.Event | None) -> Frame | None:
        given = as_dict(value.get("item"))
        item = self._output.find_or_make(given, value)
        if item is None or (item.over and item.calls is None):
            return None
        deltas, closes = self._output.repeat(item, given)
        if item.calls is not None:
            return Frame(b"", deltas, closes, body=Step(partial(self._output.call, item)))
        self._output.announce(item)
        item.over = True

        def told() -> Event:
            return {"type": value["type"], **self._output.at(item, value), "item": item.public(given)}

        step = Step(lambda: (told(),), undo=lambda: setattr(item, "over", False))
        return Frame(self._stamped(event, value, told()), deltas, closes, body=step)

    def _part_added(self, place: str, value: Event, event: sse.Event | None) -> Frame | None:
        given = as_dict(value.get("part"))
        part = self._output.part_of(PARTS.get((place, str(given.get("type")))), value)
        if part is None:
            return None
        part.begun = part.takes_deltas = True
        part.extras = empty_extras(given)
        blank = {"type": part.text.part, part.text.key: "", **part.extras}
        clean = {"type": value["type"], **self._output.inside(part, value), "part": blank}
        return Frame(self._stamped(event, value, clean))

    def _part_done(self, place: str, value: Event, event: sse.Event | None) -> Frame | None:
        given = as_dict(value.get("part"))
        part = self._output.part_of(PARTS.get((place, str(given.get("type")))), value)
        if part is None or part.state is State.OVER:
            return None
        deltas = self._output.rest(part, as_text(given.get(part.text.key)))
        extras = empty_extras(given)
        return self._repeat(part, deltas, State.OVER, value, event, lambda: {"part": part.public(extras)})

    def _text_done(self, text: TextKind, value: Event, event: sse.Event | None) -> Frame | None:
        part = self._output.part_of(text, value)
        if part is None or part.state is not State.OPEN:
            return None
        deltas = self._output.rest(part, as_text(value.get(text.key)))
        return self._repeat(part, deltas, State.TOLD, value, event, lambda: {part.text.key: part.told})

    def _repeat(
        self,
        part: Part,
        deltas: tuple[TextDelta, ...],
        state: State,
        value: Event,
        event: sse.Event | None,
        whole: Callable[[], Event],
    ) -> Frame:
        """An event that repeats all of a part's text, which ends with it. It is told once: a short event of the model
        server's would else be a long one here, any number of times."""
        before, part.state = part.state, state

        def told() -> Event:
            return {"type": value["type"], **self._output.inside(part, value), **empty_extras(value), **whole()}

        step = Step(lambda: (told(),), undo=lambda: setattr(part, "state", before))
        return Frame(self._stamped(event, value, told()), deltas, (part.channel,), body=step)

    def _delta(self, text: TextKind, value: Event, event: sse.Event | None) -> Frame | None:
        part = self._output.part_of(text, value)
        if part is None:
            return None
        part.takes_deltas = True
        delta = TextDelta(part.channel, as_text(value.get("delta")))
        part.feed(delta.text)
        at = self._output.inside(part, value)
        clean = {"type": f"response.{part.text.stem}.delta", **at, "delta": delta.text, **empty_extras(value)}
        frame = Frame(self._stamped(event, value, clean), (delta,))
        if event is not None and frame.raw is event.raw:
            self._delta_skeleton = self._delta_skeleton_of(frame) or self._delta_skeleton
        return frame

    def _delta_skeleton_of(self, frame: Frame) -> Skeleton | None:
        if self._numbers.on:
            return NumberedSkeleton.following(frame, "delta", self._numbers.upstream)
        return Skeleton.of(frame, "delta")

    def _arguments(self, value: Event, event: sse.Event | None) -> Frame | None:
        item = self._output.call_of(value)
        if item is None:
            return None
        text = as_source(value.get("delta"))
        item.fed.append(text)
        return Frame(b"", (TextDelta(item.call_channel(), text),))

    def _arguments_done(self, value: Event, event: sse.Event | None) -> Frame | None:
        item = self._output.call_of(value)
        if item is None:
            return None
        item.has_arguments_done = True
        return Frame(b"", self._output.call_text_deltas(item, value))

    def _ending(self, value: Event, event: sse.Event | None) -> Frame:
        response = as_dict(value.get("response"))
        repeats = self._output.listed(self._with_list(response))
        deltas: list[TextDelta] = []
        closes: list[Channel] = []
        for item, given in repeats:
            added, ended = self._output.repeat(item, given)
            deltas += added
            closes += ended
        self._over = self._unknown.ending = True
        self._count_tokens(response.get("usage"), "input_tokens", "output_tokens")
        head = clean_response(response, self.request, self._word, self._unknown)
        counted = self._counted(value)

        def told() -> Event:
            return {"type": value["type"], "response": {**head, "output": in_order(repeats)}, **counted}

        def anew() -> Iterator[Event]:
            for item, _ in repeats:
                if item.calls is not None:
                    yield from self._output.call(item)
            yield told()

        raw = self._stamped(event, value, told())
        return Frame(raw, tuple(deltas), tuple(closes), (ALL,), Step(anew, final=True))

    def _with_list(self, response: Event) -> Event:
        """The last response; for one that is put together an empty list is none, since it would have no text."""
        if self.request.stream or response.get("output"):
            return response
        return {key: value for key, value in response.items() if key != "output"}

    # -- writing

    def _put_earlier(self, release: Release, out: list[bytes]) -> Release | None:
        """What comes before a frame takes its number."""
        return release if self._numbers.on else super()._put_earlier(release, out)

    def _write(self, frame: Frame, release: Release) -> Iterator[Event]:
        if frame.raw:
            self._numbers.back()
        for channel, text in release.earlier:
            yield from self._output.show(channel, text)
        for delta, text in zip(frame.deltas, release.texts, strict=True):
            part = self._output.part(delta.channel)
            if part is not None:
                part.released.pop()
            yield from self._output.show(delta.channel, text)
        for channel, text in release.flushed:
            yield from self._output.show(channel, text)
        step = frame.body or Step(tuple)
        if release.blocked_choices:
            step.undo()
            yield from self._cut_off()
        else:
            yield from step.anew()
        self._numbers.settle()
        if self._numbers.shift:
            self._delta_skeleton = None

    def _cut_off(self) -> Iterator[Event]:
        """A rule has ended the answer."""
        yield from self._output.close(self.notice_for(0), apart=not self.request.json_content)
        status, reason = LAST[self.guard.blocked_choices[0].rule.ending]
        default = {"id": "resp_0", "object": "response", "created_at": 0, "model": self.request.model}
        response = {
            **default,
            **self._head,
            "status": status,
            "incomplete_details": {"reason": reason} if reason else None,
            "output": self._output.released(),
            "usage": self._estimated_usage(),
        }
        yield {"type": f"response.{status}", "response": response}

    def _estimated_usage(self) -> Event:
        """The upstream was stopped before it counted: one event is about one token."""
        return {
            "input_tokens": 0,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": self.events,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self.events,
        }

    # -- ending

    def result(self) -> bytes:
        """One response."""
        return orjson.dumps(self._final)

    def _body(self, frame: Frame) -> Any:
        step = frame.body
        return list(step.anew())[-1] if step is not None and step.final else None

    def _encode(self, body: Event) -> bytes:
        return encode(self._numbers.next(body))

    def _collect(self, body: Event | None) -> None:
        if body is not None and "response" in body:
            self._final = body["response"]

    def _error_event(self, error: UpstreamError) -> bytes:
        # OpenAI's reference has it flat; its packages raise only where there is an `error` object. So it is both.
        flat = {"code": f"upstream_{error.reason}", "message": str(error), "param": None}
        return encode(self._numbers.next({"type": "error", **openai_errors.event(error), **flat}))
