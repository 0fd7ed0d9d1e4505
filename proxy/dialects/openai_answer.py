"""The way back of OpenAI's chat: chat.completion.chunk events in; the same, or one chat.completion, out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from proxy.core.events import Frame, Passage, Piece
from proxy.core.guard import ALL, Guard
from proxy.core.types import Channel, Ending, Kind
from proxy.dialects import openai_errors, sse
from proxy.dialects.base import Answer, Notice, Request
from proxy.dialects.jsonbody import has_duplicates, parse_upstream
from proxy.dialects.openai_chunk import Template, clean_choice, numbers, text_pieces
from proxy.dialects.openai_message import WholeMessage
from proxy.errors import UpstreamBroken, UpstreamError

DONE = b"data: [DONE]\n\n"
COMMENT = b": \n\n"
HEAD = ("id", "object", "created", "model", "system_fingerprint")
_CHUNK_KEYS = frozenset((*HEAD, "choices", "usage", "timings"))
FINISHES = {Ending.FILTERED: "content_filter", Ending.STOP: "stop", Ending.LENGTH: "length"}
FILTERED = {"content_filter_results": {"safety_proxy": {"filtered": True}}}


class ChatAnswer(Answer):
    """One exchange of /v1/chat/completions."""

    object_name = "chat.completion.chunk"

    def __init__(self, request: Request, guard: Guard, notice: Notice) -> None:
        super().__init__(request, guard, notice)
        self._sse = sse.Parser()
        self._head: dict[str, Any] = {}
        self._seen: set[int] = set()
        self._finished: set[int] = set()  # choices that the upstream has finished
        self._calls: dict[tuple[int, str], str] = {}  # names of the tool calls so far
        self._template: Template | None = None
        self._over = False  # the upstream has said [DONE]
        self._usage: dict[str, Any] | None = None
        self._whole = WholeMessage()

    # -- reading

    def _frames(self, data: bytes) -> Iterator[Frame]:
        for event in self._sse.feed(data):
            template = self._template
            text = template.text(event.raw) if template is not None else None
            if template is not None and text is not None:
                yield Frame(event.raw, (Piece(template.channel, text),))
            else:
                yield from self._read(event)

    def _last_frames(self) -> Iterator[Frame]:
        for event in self._sse.finish():
            yield from self._read(event)

    def _whole_frames(self, body: bytes) -> Iterator[Frame]:
        value = parse_upstream(body)
        if "error" in value:
            raise openai_errors.reported(value["error"], self.guard)
        choices = [self._as_delta(choice) for choice in value.get("choices") or ()]
        chunk = self._clean({**value, "object": self.object_name, "choices": choices})
        usage = chunk.pop("usage", None)
        yield self._frame(self._encode(chunk), chunk)
        if usage:
            tail = {**self._head, "choices": [], "usage": usage}
            if self.request.include_usage or not self.request.stream:
                yield self._frame(self._encode(tail), tail)
        self._over = True
        yield Frame(DONE, finishes=(ALL,))

    def _as_delta(self, choice: Any) -> Any:
        """A whole choice as the only delta of a stream."""
        if not isinstance(choice, dict):
            return choice
        rest = {k: v for k, v in choice.items() if k != "message"}
        return {**rest, "delta": choice.get("message"), "finish_reason": choice.get("finish_reason") or "stop"}

    def _read(self, event: sse.Event) -> Iterator[Frame]:
        data = event.data
        if data is None:
            if self.request.stream:
                yield Frame(COMMENT)
        elif data.strip() == b"[DONE]":
            if not self._is_complete():
                raise UpstreamBroken("the model server ended a stream without finishing its answer", "truncated")
            self._over = True
            yield Frame(DONE, finishes=(ALL,))
        else:
            yield self._read_chunk(event, data)

    def _read_chunk(self, event: sse.Event, data: bytes) -> Frame:
        chunk = parse_upstream(data)
        if chunk.get("error") is not None:
            raise openai_errors.reported(chunk["error"], self.guard)
        clean = self._clean(chunk)
        same = event.plain and clean == chunk and not has_duplicates(data, chunk)
        frame = self._frame(event.raw if same else self._encode(clean), clean)
        if same and len(frame.pieces) == 1:
            self._template = Template.of(frame, frame.pieces[0].channel.name) or self._template
        return frame

    def _clean(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """The part of a chunk that is understood; nothing else is forwarded."""
        clean: dict[str, Any] = {k: v for k, v in chunk.items() if k in _CHUNK_KEYS}
        for key in HEAD:
            if key in clean and (key not in self._head or clean[key] != self._head[key]):
                self._admit(clean, key)
        for key in ("usage", "timings"):
            if key in clean:
                clean[key] = numbers(clean[key])
        self._usage = clean.get("usage") or self._usage
        choices = clean.get("choices", [])
        if not isinstance(choices, list):
            raise UpstreamBroken("the model server sent choices that are not an array", "protocol")
        clean["choices"] = [self._clean_choice(choice) for choice in choices]
        return clean

    def _clean_choice(self, choice: Any) -> dict[str, Any]:
        return clean_choice(choice, logprobs=self.request.logprobs)

    def _admit(self, clean: dict[str, Any], key: str) -> None:
        """An id or a model's name may pass when no rule minds it."""
        value = clean[key]
        plain = value is None or type(value) is int
        if plain or (isinstance(value, str) and len(value) <= 512 and self.guard.admits(value)):
            self._head[key] = value
        else:
            clean[key] = self._head.setdefault(key, 0 if key == "created" else "withheld")

    def _frame(self, raw: bytes, chunk: dict[str, Any]) -> Frame:
        pieces: list[Piece] = []
        finishes: list[int] = []
        for choice in chunk["choices"]:
            index = choice["index"]
            self._seen.add(index)
            own = list(self._pieces(index, choice))
            if choice.get("finish_reason") is not None:
                finishes.append(index)
                self._finished.add(index)
            pieces += own or [Piece(Channel(index, Kind.CONTENT, "content"), "")]
        return Frame(raw, tuple(pieces), finishes=tuple(finishes), body=chunk)

    def _pieces(self, index: int, choice: dict[str, Any]) -> Iterator[Piece]:
        delta = choice.get("delta") or {}
        yield from text_pieces(index, delta)
        for call in delta.get("tool_calls") or ():
            yield from self._call_pieces(index, str(call["index"]), call.get("id"), call.get("function") or {})
        if delta.get("function_call"):
            yield from self._call_pieces(index, "function_call", None, delta["function_call"])

    def _call_pieces(self, index: int, name: str, ident: str | None, function: dict[str, Any]) -> Iterator[Piece]:
        """A call's id (given once), its name (in pieces, or repeated whole) and its arguments."""
        known = self._calls.get((index, name))
        if ident and known is None:
            yield Piece(Channel(index, Kind.TOOL_ARGUMENTS, f"{name}.id"), ident)
        called = function.get("name") or ""
        if called and called != known:
            yield Piece(Channel(index, Kind.TOOL_ARGUMENTS, f"{name}.name"), called)
        self._calls[index, name] = (known or "") + ("" if called == known else called)
        yield Piece(Channel(index, Kind.TOOL_ARGUMENTS, name), function.get("arguments") or "")

    # -- writing

    def _write(self, frame: Frame, passage: Passage) -> Iterator[dict[str, Any]]:
        chunk = self._body(frame) or {}
        texts = [Piece(p.channel, t) for p, t in zip(frame.pieces, passage.texts, strict=True)]
        released = [piece for piece in (*texts, *passage.tails) if piece.text]
        written = False
        choices = {choice["index"]: choice for choice in chunk.get("choices", ())}
        for index in dict.fromkeys((*choices, *(p.channel.choice for p in released), *passage.cuts)):
            if index in self.guard.cuts and index not in passage.cuts:
                continue  # cut earlier: nothing of it goes out any more
            own = [piece for piece in released if piece.channel.choice == index]
            for choice in self._choice(index, choices.get(index, {}), own, index in passage.cuts):
                written = True
                yield self._chunk([choice])
        extras = {k: chunk[k] for k in ("usage", "timings") if chunk.get(k)}
        if extras and (written or not chunk["choices"]):
            yield self._chunk([], **extras)

    def _choice(self, index: int, upstream: dict[str, Any], own: list[Piece], cut: bool) -> Iterator[dict[str, Any]]:
        """What goes out for one choice: text, complete calls, and its end."""
        delta: dict[str, Any] = {}
        if "role" in (upstream.get("delta") or {}):
            delta["role"] = upstream["delta"]["role"]
        for channel, text in own:
            if channel.kind is not Kind.TOOL_ARGUMENTS:
                delta[channel.name] = delta.get(channel.name, "") + text
        if delta:
            yield self._delta(index, delta)
        reason = upstream.get("finish_reason")
        if cut:
            yield from self._ending(index)
            return
        calls = _calls([piece for piece in own if piece.channel.kind is Kind.TOOL_ARGUMENTS])
        if calls:
            yield self._delta(index, calls)
        if reason is not None:
            yield {"index": index, "delta": {}, "finish_reason": reason}

    def _ending(self, index: int) -> Iterator[dict[str, Any]]:
        """A choice that a rule has ended: the notice, if there is one, and the finish."""
        notice = self.notice_for(index)
        if notice:
            yield self._delta(index, {"content": notice})
        reason = FINISHES[self.guard.cuts[index].rule.ending]
        extra = FILTERED if reason == "content_filter" else {}
        yield {"index": index, "delta": {}, "finish_reason": reason, **extra}

    def _delta(self, index: int, delta: dict[str, Any]) -> dict[str, Any]:
        return {"index": index, "delta": delta, "finish_reason": None}

    def _chunk(self, choices: list[dict[str, Any]], **extras: Any) -> dict[str, Any]:
        return {"object": self.object_name, **self._head, "choices": choices, **extras}

    # -- ending

    def _is_complete(self) -> bool:
        return bool(self._seen) and self._seen <= self._finished | set(self.guard.cuts)

    def _settle(self, out: list[bytes]) -> None:
        if self._over:
            self.done = True
            return
        cuts = self.guard.cuts
        still_made = set(cuts) - self._finished  # cut, and the model is still at it
        if still_made and len(self._finished | set(cuts)) >= self.request.choices:
            self._put_terminal(out)

    def _put_terminal(self, out: list[bytes]) -> None:
        if self.request.include_usage or not self.request.stream:
            self._put([self._chunk([], usage=self._usage or self._estimated_usage())], out)
        if self.request.stream:
            out.append(DONE)
        self.done = True

    def _estimated_usage(self) -> dict[str, Any]:
        """The upstream was stopped before it counted: one event is about one token."""
        return {"prompt_tokens": 0, "completion_tokens": self.events, "total_tokens": self.events, "estimated": True}

    def result(self) -> bytes:
        """One chat.completion."""
        return orjson.dumps(self._whole.body(self._head))

    def _body(self, frame: Frame) -> Any:
        if frame.body is None and frame.pieces:
            return orjson.loads(frame.raw[5:])
        return frame.body

    def _encode(self, body: Any) -> bytes:
        return sse.encode(orjson.dumps(body))

    def _collect(self, body: Any) -> None:
        if body is not None:
            self._whole.add(body)

    def _error_event(self, error: UpstreamError) -> bytes:
        return sse.encode(orjson.dumps(openai_errors.event(error)))


def _calls(pieces: Iterable[Piece]) -> dict[str, Any]:
    """Complete tool calls as a delta; a call's parts are told apart by the ends of their channels' names."""
    calls: dict[str, dict[str, Any]] = {}
    for channel, text in pieces:
        name, _, part = channel.name.partition(".")
        call = calls.setdefault(name, {"name": "", "arguments": ""})
        call[part or "arguments"] = text
    delta: dict[str, Any] = {}
    for name, call in calls.items():
        function = {"name": call["name"], "arguments": call["arguments"]}
        if name == "function_call":
            delta["function_call"] = function
        else:
            ident = {"id": call["id"]} if "id" in call else {}
            delta.setdefault("tool_calls", []).append(
                {"index": int(name), **ident, "type": "function", "function": function}
            )
    return delta
