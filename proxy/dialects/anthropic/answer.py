"""Answers of Anthropic's messages: named events in; the same, or one message, out.

Blocks are known by their index, since some servers let them overlap; where there is none, the last is meant, and what
begins is a block of its own whatever its index. Text and thinking leave as they come. A tool call
leaves in one piece when all of it has been judged, so a client's index is given to a block when it first sees it.
A signature vouches for the thinking before it: it passes only when that thinking was left as it was.

Source: Anthropic's API reference (streaming messages).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.core.events import Frame, Release, TextDelta
from proxy.core.guard import ALL, Guard
from proxy.core.types import Channel, Ending, Kind
from proxy.dialects.answer import Notice
from proxy.dialects.anthropic import errors as anthropic_errors
from proxy.dialects.anthropic.message import DELTAS, WholeMessage, as_events
from proxy.dialects.anthropic.overlap import OverlappingBlocks
from proxy.dialects.common import upstream_errors
from proxy.dialects.common.ends import end_reason
from proxy.dialects.common.named_events import NamedEventsAnswer, encode
from proxy.dialects.common.opaque import may_be_shown
from proxy.dialects.request import Request
from proxy.dialects.wire import sse
from proxy.dialects.wire.json_body import parse_upstream
from proxy.dialects.wire.skeleton import Skeleton
from proxy.errors import UpstreamBroken, UpstreamError

Event = dict[str, Any]
KINDS = {"text": Kind.CONTENT, "thinking": Kind.REASONING}
"""What kind of text a field of the stream holds. A new field gets a row here, and one in DELTAS of `message`."""
CALL = "tool_use"
REDACTED = "redacted_thinking"
STOPS = {
    # not "refusal": Claude Code then tells of a breach of Anthropic's rules before the notice (docs/clients.md)
    Ending.FILTERED: "end_turn",
    Ending.STOP: "end_turn",
    Ending.LENGTH: "max_tokens",
}
STOP_REASONS = (
    *("end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal"),
    "model_context_window_exceeded",
)
COUNTS = frozenset(("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"))


@dataclass(slots=True, eq=False)
class Block:
    """A content block: text, thinking or a tool call.

    place:      its index for the client; -1: the client has not seen it yet
    index:      what the model server calls it
    fed, released: thinking that did not pass at once, as it came and as it went out
    signature:  the event that vouches for the thinking
    input:      of a call, as it stood in the block's first event; deltas take its place
    """

    kind: str
    channel: Channel
    place: int = -1
    index: Any = None
    open: bool = True
    fed: str = ""
    released: str = ""
    signature: Event | None = None
    input: str = ""

    @property
    def changed(self) -> bool:
        """Whether the client has seen other thinking than the model's (or not yet all of it)."""
        return self.fed != self.released

    def begun(self, content: dict[str, Any]) -> Event:
        """Its first event."""
        return {"type": "content_block_start", "index": self.place, "content_block": content}

    def delta_event(self, delta: dict[str, Any]) -> Event:
        """A delta."""
        return {"type": "content_block_delta", "index": self.place, "delta": delta}

    def text(self, text: str) -> Event:
        """A delta of text or thinking."""
        return self.delta_event({"type": DELTAS[self.kind], self.kind: text})

    def stopped(self) -> Event:
        """Its last event."""
        return {"type": "content_block_stop", "index": self.place}


class MessagesAnswer(NamedEventsAnswer):
    """One exchange of /v1/messages."""

    def __init__(self, request: Request, guard: Guard, notice: Notice) -> None:
        super().__init__(request, guard, notice)
        self._begun = False
        self._ended = False  # the upstream has said why it stopped
        self._counted = False  # it has told counts at least
        self._blocks: list[Block | None] = []  # in their order, which their channels name; None: left out
        self._calls: dict[Channel, Block] = {}  # those of the blocks that are open
        self._by_index: dict[int, int] = {}  # the upstream's index of a block, and its place in the list
        self._shown: list[Block] = []  # of text and thinking, open
        self._overlapping = OverlappingBlocks()
        self._places = 0  # indexes given to the client
        self._whole = WholeMessage()

    # -- reading

    def _whole_frames(self, body: bytes) -> Iterator[Frame]:
        value = parse_upstream(body)
        if value.get("error") is not None:
            raise upstream_errors.reported(value["error"], self.guard)
        for event in as_events(value):
            yield from self._read(event, None)

    def _read(self, value: Event, event: sse.Event | None) -> Iterator[Frame]:
        kind: str = value["type"]
        if kind == "error" or value.get("error") is not None:
            raise upstream_errors.reported(value.get("error"), self.guard)
        if kind == "message_start":
            self._begun = True
            yield self._plain(event, value, {"type": kind, "message": self._head(_dict(value, "message"))})
        elif kind == "ping":
            yield self._plain(event, value, {"type": kind})
        elif kind == "message_stop":
            yield from self._end_waiting()
            yield from map(self._end_call, self._open_calls())
            yield self._stop(event, value)
        elif kind.startswith(("content_block_", "message_")):
            if not self._begun:
                raise UpstreamBroken("the model server's answer has no beginning", "protocol")
            yield from self._read_part(kind, value, event)

    def _read_part(self, kind: str, value: Event, event: sse.Event | None) -> Iterator[Frame]:
        if kind == "message_delta":
            delta = _dict(value, "delta")
            self._unknown.ending = bool(delta.get("stop_reason"))
            clean = self._last_delta(value, delta)
            self._counted = True
            if clean["delta"].get("stop_reason") is None:  # counts on the way
                yield self._plain(event, value, clean)
                return
            self._ended = True
            yield from self._end_waiting()
            yield from map(self._end_call, self._open_calls())
            yield self._plain(event, value, clean, finishes=(ALL,))
        elif not self._overlapping.waits(value, event):
            yield from self._read_block(kind, value, event)

    def _read_block(self, kind: str, value: Event, event: sse.Event | None) -> Iterator[Frame]:
        if kind == "content_block_start":
            yield from self._begin(value, event)
        elif kind in ("content_block_delta", "content_block_stop"):
            block = self._block(value)
            if block is not None and kind == "content_block_stop":
                yield self._end(block, value, event)
                yield from self._read_waiting()
            elif block is not None:
                yield from self._delta(block, _dict(value, "delta"), value, event)

    def _begin(self, value: Event, event: sse.Event | None) -> Iterator[Frame]:
        """A block begins, or waits until the one of its kind that is open has ended."""
        index, content = value.get("index"), _dict(value, "content_block")
        kind = content.get("type")
        before = [block for block in self._shown if block.kind == kind and block.index != index]
        if before and type(index) is int:
            self._overlapping.begin(index, before[0].kind, value, event)
            return
        for block in before:
            yield self._end(block, {}, None)
        yield from self._start(index, content, value, event)

    def _read_waiting(self) -> Iterator[Frame]:
        """Read the events of blocks that had to wait for the end of another."""
        while events := self._overlapping.next({block.kind for block in self._shown}):
            for value, event in events:
                yield from self._read_block(value["type"], value, event)

    def _end_waiting(self) -> Iterator[Frame]:
        """The message ends, and so do the blocks for which others wait."""
        while self._overlapping.any:
            for block in self._shown[:]:
                yield self._end(block, {}, None)
            yield from self._read_waiting()

    def _plain(self, event: sse.Event | None, value: Event, clean: Event, **ends: Any) -> Frame:
        clean = self._with_numbers(value, clean)
        return Frame(self._raw(event, value, clean), body=clean, **ends)

    def _with_numbers(self, value: Event, clean: Event) -> Event:
        """An event, and the numbers that it and the object in it have under unknown keys."""
        kind = clean["type"]
        for key in ("message", "content_block", "delta"):
            if isinstance(value.get(key), dict) and key in clean:
                clean[key] = self._unknown.beside(value[key], clean[key], f"{kind}.{key}")
        return self._unknown.beside(value, clean, kind)

    def _stop(self, event: sse.Event | None, value: Event) -> Frame:
        if not (self._ended or self._counted):
            raise UpstreamBroken("the model server ended a message without a reason", "truncated")
        self._over = True
        return self._plain(event, value, {"type": "message_stop"}, finishes=(ALL,))

    def _block(self, value: Event) -> Block | None:
        """The block of an event; None for one that is left out."""
        index = value.get("index")
        place = self._by_index.get(index, -1) if type(index) is int else -1
        if not self._blocks:
            raise UpstreamBroken("the model server sent a part of a block that it did not begin", "protocol")
        return self._blocks[place]

    def _start(self, index: Any, content: dict[str, Any], value: Event, event: sse.Event | None) -> Iterator[Frame]:
        number = len(self._blocks)
        self._delta_skeleton = None  # it may know the index of a block before
        if type(index) is int:
            yield from self._end_before(index)
            self._by_index[index] = number
        kind = content.get("type")
        if kind == CALL:
            channel = Channel(0, Kind.TOOL_ARGUMENTS, str(number))
            source = _source(content["input"]) if content.get("input") else ""
            block = self._calls[channel] = Block(CALL, channel, input=source)
            self._blocks.append(block)
            yield Frame(b"", tuple(_call_text_deltas(channel, content)))
        elif isinstance(kind, str) and kind in KINDS:
            block = Block(kind, Channel(0, KINDS[kind], str(number)), self._next_place(), index)
            self._blocks.append(block)
            self._shown.append(block)
            text = _text(content.get(kind, ""))
            signature = {"signature": ""} if "signature" in content else {}
            clean = self._with_numbers(value, block.begun({"type": kind, kind: text, **signature}))
            text_deltas = (TextDelta(block.channel, text),) if text else ()
            yield Frame(self._raw(event, value, clean), text_deltas, body=clean)
        elif kind == REDACTED and self._shows_opaque(content.get("data")):
            block = Block(REDACTED, Channel(0, Kind.REASONING, str(number)), self._next_place())
            self._blocks.append(block)
            clean = self._with_numbers(value, block.begun({"type": kind, "data": content["data"]}))
            yield Frame(self._raw(event, value, clean), body=clean)
        else:
            self._blocks.append(None)

    def _shows_opaque(self, value: Any) -> bool:
        """Whether a signature, or thinking that nobody here can read, may pass; plain text there is judged alike."""
        return isinstance(value, str) and may_be_shown(value, lambda text: self.guard.admits(text, Kind.REASONING))

    def _end_before(self, index: int) -> Iterator[Frame]:
        """The block of an index ends, if it has not, when another begins under it."""
        block = self._blocks[self._by_index[index]] if index in self._by_index else None
        if block is not None and block.open:
            yield self._end(block, {}, None)

    def _delta(self, block: Block, delta: dict[str, Any], value: Event, event: sse.Event | None) -> Iterator[Frame]:
        kind = delta.get("type")
        if block.kind == CALL:
            if kind == "input_json_delta":
                source = _source(delta.get("partial_json"))
                block.input = "" if source else block.input
                yield Frame(b"", (TextDelta(block.channel, source),))
        elif kind == DELTAS.get(block.kind):
            text = _text(delta.get(block.kind))
            clean = self._with_numbers(value, block.text(text))
            frame = Frame(self._raw(event, value, clean), (TextDelta(block.channel, text),), body=clean)
            if event is not None and frame.raw is event.raw:
                self._delta_skeleton = Skeleton.of(frame, block.kind) or self._delta_skeleton
            yield frame
        elif kind == "signature_delta" and block.kind == "thinking":
            yield from self._sign(block, _text(delta.get("signature")), value, event)

    def _sign(self, block: Block, signature: str, value: Event, event: sse.Event | None) -> Iterator[Frame]:
        """The thinking ends with its signature."""
        clean = block.delta_event({"type": "signature_delta", "signature": signature})
        block.signature = clean if self._shows_opaque(signature) else None
        passes = block.signature is not None and not block.changed
        raw = self._raw(event, value, clean) if passes else b""
        yield Frame(raw, closes=(block.channel,), body=clean if passes else None)
        block.signature = None

    def _end(self, block: Block, value: Event, event: sse.Event | None) -> Frame:
        if block.kind == CALL:
            return self._end_call(block)
        block.open = False
        if block in self._shown:
            self._shown.remove(block)
        return self._plain(event, value, block.stopped(), closes=(block.channel,))

    def _end_call(self, block: Block) -> Frame:
        block.open = False
        self._calls.pop(block.channel, None)
        name = block.channel.name
        parts = tuple(block.channel._replace(name=name + part) for part in (".id", ".name", ""))
        return Frame(b"", (TextDelta(block.channel, block.input),), closes=parts)

    def _open_calls(self) -> list[Block]:
        return list(self._calls.values())

    def _next_place(self) -> int:
        self._places += 1
        return self._places - 1

    def _head(self, message: dict[str, Any]) -> dict[str, Any]:
        """The message as it begins: without content, which has events of its own."""
        clean: dict[str, Any] = {}
        for key, value in message.items():
            if key in ("id", "model"):
                clean[key] = self._word(value)
            elif key == "usage":
                clean[key] = self._usage(value)
            elif key in ("stop_reason", "stop_sequence"):
                clean[key] = None
        return {**clean, "type": "message", "role": "assistant", "content": []}

    def _last_delta(self, value: Event, delta: dict[str, Any]) -> Event:
        clean: dict[str, Any] = {}
        if "stop_reason" in delta and not delta["stop_reason"]:
            clean["stop_reason"] = None
        elif "stop_reason" in delta:
            self.refused |= delta["stop_reason"] == "refusal"
            clean["stop_reason"] = end_reason(delta["stop_reason"], STOP_REASONS, "end_turn", self.guard.admits)
        if "stop_sequence" in delta:
            clean["stop_sequence"] = self._stop_sequence(delta["stop_sequence"])
        usage = {"usage": self._usage(value["usage"])} if "usage" in value else {}
        return {"type": "message_delta", "delta": clean, **usage}

    def _usage(self, value: Any) -> Event:
        """What was counted. A prompt's tokens are told apart by whether they were cached."""
        if not isinstance(value, dict):
            return {}
        counted = {key: count for key, count in value.items() if key in COUNTS and type(count) is int}
        if "input_tokens" in counted:
            self.prompt_tokens = counted["input_tokens"] + counted.get("cache_read_input_tokens", 0)
        self.answer_tokens = max(counted.get("output_tokens", 0), self.answer_tokens)
        return {**counted, **self._unknown.statistics(value, "usage", ())}

    def _stop_sequence(self, value: Any) -> str | None:
        """One of the client's own."""
        known = value in (self.request.body.get("stop_sequences") or ())
        return self._word(value) if known else None

    # -- writing

    def _write(self, frame: Frame, release: Release) -> Iterator[Event]:
        event = self._body(frame) or {"type": ""}
        kind = event["type"]
        if kind == "content_block_start":
            content = event["content_block"]
            yield {**event, "content_block": {**content, content["type"]: ""}}
        for text_delta, text in zip(frame.deltas, release.texts, strict=True):
            yield from self._say(text_delta.channel, text, text_delta.text)
        yield from self._say_flushed(release.flushed)
        if release.blocked_choices:
            if kind == "content_block_stop":
                self._reopen(frame.closes[0])
            yield from self._ending()
        elif frame.closes and kind in ("", "content_block_delta"):
            yield from self._vouch(frame.closes[0])
        elif kind not in ("", "content_block_start", "content_block_delta"):
            yield event

    def _say(self, channel: Channel, text: str, fed: str = "") -> Iterator[Event]:
        """Text or thinking that may be shown."""
        block = self._blocks[int(channel.name.partition(".")[0])]
        if block is not None and block.kind in DELTAS:
            if block.kind == "thinking":
                block.fed += fed
                block.released += text
            if text:
                yield block.text(text)

    def _say_flushed(self, flushed: Iterable[TextDelta]) -> Iterator[Event]:
        """Held text, and the parts of complete calls."""
        calls: dict[str, dict[str, str]] = {}
        for channel, text in flushed:
            name, _, part = channel.name.partition(".")
            if channel.kind is Kind.TOOL_ARGUMENTS:
                calls.setdefault(name, {})[part] = text
            else:
                yield from self._say(channel, text)
        for name, parts in calls.items():
            block = self._blocks[int(name)]
            if block is not None and not block.open and not self.guard.blocked_choices:
                yield from self._call(block, parts)

    def _call(self, block: Block, parts: dict[str, str]) -> Iterator[Event]:
        """A call, complete and judged."""
        block.place = self._next_place()
        yield block.begun({"type": CALL, "id": parts.get("id", ""), "name": parts.get("name", ""), "input": {}})
        if parts.get(""):
            yield block.delta_event({"type": "input_json_delta", "partial_json": parts[""]})
        yield block.stopped()

    def _reopen(self, channel: Channel) -> None:
        """A block did not end by itself: a rule ended it."""
        block = self._blocks[int(channel.name)]
        if block is not None:
            block.open = True

    def _vouch(self, channel: Channel) -> Iterator[Event]:
        block = self._blocks[int(channel.name)] if channel.kind is Kind.REASONING else None
        if block is not None and block.signature is not None and not block.changed:
            yield block.signature

    def _ending(self) -> Iterator[Event]:
        """A rule has ended the answer: open blocks are closed, the notice is a block of its own, then the reason."""
        closing = dict(self.guard.closing(0))
        for block in self._blocks:
            if block is not None and block.open and block.place >= 0:
                if block.channel in closing:
                    yield block.text(closing[block.channel])
                yield block.stopped()
        notice = "" if self.request.json_content else self.notice_for(0)
        if notice:
            block = Block("text", Channel(0, Kind.CONTENT), self._next_place())
            yield from (block.begun({"type": "text", "text": ""}), block.text(notice), block.stopped())
        finding = self.guard.blocked_choices[0]
        delta: dict[str, Any] = {"stop_reason": STOPS[finding.rule.ending], "stop_sequence": None}
        if finding.rule.ending is Ending.FILTERED:
            delta["stop_details"] = {"type": "refusal", "category": None, "explanation": self.notice(finding)}
        yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": self.events}}
        yield {"type": "message_stop"}

    # -- ending

    def _is_complete(self) -> bool:
        return self._over or self._ended

    def _put_terminal(self, out: list[bytes]) -> None:
        self._put([{"type": "message_stop"}], out)
        self.done = True

    def result(self) -> bytes:
        """One message."""
        return orjson.dumps(self._whole.body())

    def _encode(self, body: Event) -> bytes:
        return encode(body)

    def _collect(self, body: Event | None) -> None:
        if body is not None:
            self._whole.add(body)

    def _error_event(self, error: UpstreamError) -> bytes:
        return encode(anthropic_errors.event(error))


def _call_text_deltas(channel: Channel, content: dict[str, Any]) -> Iterator[TextDelta]:
    """What the beginning of a call tells: its id and name. Its input, which some servers give, waits for its end."""
    for key in ("id", "name"):
        yield TextDelta(channel._replace(name=f"{channel.name}.{key}"), _text(content.get(key)))


def _dict(value: Event, key: str) -> dict[str, Any]:
    inner = value.get(key)
    if not isinstance(inner, dict):
        raise UpstreamBroken("the model server sent something else where an object belongs", "protocol")
    return inner


def _source(value: Any) -> str:
    """A call's input as JSON source; some servers give the object itself."""
    return value if isinstance(value, str) else "" if value is None else orjson.dumps(value).decode()


def _text(value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise UpstreamBroken("the model server sent something else where text belongs", "protocol")
    return value or ""
