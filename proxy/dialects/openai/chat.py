"""POST /v1/chat/completions: OpenAI's chat, as llama.cpp, Ollama and LM Studio speak it.

An answer comes as chat.completion.chunk events. It goes out as the same, or as one chat.completion.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from proxy.core.events import TextDelta
from proxy.core.guard import Guard
from proxy.core.types import Channel, Kind
from proxy.dialects.answer import Notice
from proxy.dialects.common import upstream_errors
from proxy.dialects.common.limits import drop_logprobs, limit
from proxy.dialects.common.request_fields import Report
from proxy.dialects.common.system_messages import system_messages
from proxy.dialects.openai import errors as openai_errors
from proxy.dialects.openai.chunk import GIVEN, TEXT_KINDS, clean_choice, content_deltas
from proxy.dialects.openai.chunk_stream import ChunkedAnswer
from proxy.dialects.openai.message import WholeMessage
from proxy.dialects.openai.request import CHAT, message_texts, prefill, wants_json, wants_usage
from proxy.dialects.openai.tool_calls import Call, Calls, Piece
from proxy.dialects.openai.tools import settle_tools, tool_texts
from proxy.dialects.request import Options, Request
from proxy.dialects.wire.json_body import parse_request
from proxy.errors import BadRequest


class OpenAIChat:
    """The dialect's entry points; see `proxy.dialects.base.Dialect`."""

    name = "openai_chat"
    stream_type = "text/event-stream"
    keep_alive = b": keep-alive\n\n"
    error = staticmethod(openai_errors.error)
    blocked = staticmethod(openai_errors.blocked)
    upstream_message = staticmethod(upstream_errors.upstream_message)

    def parse(self, body: bytes, options: Options) -> Request:
        """Read a chat request: allow-listed, roles normalised, texts located."""
        report = Report(options)
        clean = CHAT(parse_request(body), "", report)
        messages = clean["messages"]
        if not messages:
            raise BadRequest("messages must not be empty", "messages", "missing_field")
        settle_tools(clean, report)
        texts = tool_texts(clean) + report.texts + message_texts(messages, options)
        request = Request(
            model=clean.get("model") or "",
            body=clean,
            path="/v1/chat/completions",
            stream=bool(clean.get("stream")),
            texts=texts,
            choices=_choices(clean),
            include_usage=wants_usage(clean),
            json_content=wants_json(clean),
            prefill=prefill(messages[-1]),
            logprobs=options.logprobs,
            dropped=tuple(report.dropped),
        )
        limit(request, options)
        drop_logprobs(request, options, "logprobs", "top_logprobs")
        return request

    def instruct(self, request: Request, before: str, after: str) -> None:
        """Into the first and the last system message that there are: templates often take none elsewhere, and some
        only the first, so that has both."""
        first, last = system_messages(request.body["messages"], at_head=bool(before))
        _surround(first, before, after if first is not last else "")
        _surround(last, "", after)

    def upstream_body(self, request: Request) -> bytes:
        """Always a stream, and always with usage, so that a whole answer can be put together."""
        usage = request.include_usage or not request.stream
        streaming = {"stream": True} | ({"stream_options": {"include_usage": True}} if usage else {})
        body = {k: v for k, v in request.body.items() if k not in ("stream", "stream_options")}
        return orjson.dumps(body | streaming)

    def answer(self, request: Request, guard: Guard, notice: Notice) -> ChatAnswer:
        """See Dialect."""
        return ChatAnswer(request, guard, notice)


def _surround(message: dict[str, Any], before: str, after: str) -> None:
    """Put words around a message's own."""
    own = message.get("content") or ""
    if isinstance(own, list):
        ends = [[{"type": "text", "text": text}] if text else [] for text in (before, after)]
        message["content"] = ends[0] + own + ends[1]
    else:
        message["content"] = "\n\n".join(text for text in (before, own, after) if text)


def _choices(body: dict[str, Any]) -> int:
    n = body.get("n")
    if n is not None and not 1 <= n <= 128:
        raise BadRequest("n must be between 1 and 128", "n", "invalid_value")
    return n or 1


CALLED = {"function": "", "custom": "c"}
"""By the kind of a call, the end of its channel's name behind its number."""


class ChatAnswer(ChunkedAnswer):
    """One exchange of /v1/chat/completions."""

    object_name = "chat.completion.chunk"
    whole_class = WholeMessage

    def __init__(self, request: Request, guard: Guard, notice: Notice) -> None:
        super().__init__(request, guard, notice)
        self._tool_calls: dict[int, Calls] = {}  # by choice
        self._functions: dict[int, Call] = {}  # older function_call, one a choice

    def _clean_choice(self, choice: Any) -> dict[str, Any]:
        return clean_choice(choice, logprobs=self.request.logprobs)

    def _as_delta(self, choice: Any) -> Any:
        if not isinstance(choice, dict):
            return choice
        rest = {k: v for k, v in choice.items() if k != "message"}
        message = choice.get("message")
        usual = "tool_calls" if isinstance(message, dict) and message.get("tool_calls") else "stop"
        return {**rest, "delta": message, "finish_reason": choice.get("finish_reason") or usual}

    def _text_deltas(self, index: int, choice: dict[str, Any]) -> list[TextDelta]:
        delta = choice.get("delta") or {}
        text_deltas = content_deltas(index, delta)
        if delta.get("tool_calls"):
            calls = self._tool_calls.get(index) or self._tool_calls.setdefault(index, Calls())
            for call, new in calls.take([Piece.of(call) for call in delta["tool_calls"]]):
                text_deltas += _call_text_deltas(index, f"{call.number}{CALLED[call.kind]}", new)
        if delta.get("function_call"):
            new = self._functions.setdefault(index, Call(0)).take(Piece.of({"function": delta["function_call"]}))
            text_deltas += _call_text_deltas(index, "function_call", new)
        return text_deltas

    def _texts(self, index: int, upstream: dict[str, Any], own: list[TextDelta]) -> Iterator[dict[str, Any]]:
        given = upstream.get("delta") or {}
        delta: dict[str, Any] = {"role": given["role"]} if "role" in given else {}
        for channel, text in own:
            if channel.kind is not Kind.TOOL_ARGUMENTS:
                delta[channel.name] = delta.get(channel.name, "") + text
        if delta:
            empty = {key: value for key, value in given.items() if key in TEXT_KINDS and not value}
            yield _delta(index, empty | delta)

    def _calls(self, index: int, own: list[TextDelta]) -> Iterator[dict[str, Any]]:
        calls = _complete_calls(text_delta for text_delta in own if text_delta.channel.kind is Kind.TOOL_ARGUMENTS)
        if calls:
            yield _delta(index, calls)

    def _joined(self, parts: list[dict[str, Any]]) -> dict[str, Any]:
        return _delta(parts[0]["index"], {key: value for part in parts for key, value in part["delta"].items()})

    def _text_choice(self, index: int, text: str) -> dict[str, Any]:
        return _delta(index, {"content": text})

    def _end(self, index: int, reason: str) -> dict[str, Any]:
        return {"index": index, "delta": {}, "finish_reason": reason}


def _call_text_deltas(index: int, call: str, new: Piece) -> list[TextDelta]:
    """What is new of a call: its id, its name (in pieces, or whole) and its arguments."""
    arguments = TextDelta(Channel(index, Kind.TOOL_ARGUMENTS, call), new.arguments)
    if new.id is None and new.name is None:
        return [arguments]
    named = [(".id", new.id), (".name", new.name)]
    parts = [(Channel(index, Kind.TOOL_ARGUMENTS, call + end), text) for end, text in named if text is not None]
    return [*(TextDelta(channel, text) for channel, text in parts), arguments]


def _delta(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": None}


def _complete_calls(text_deltas: Iterable[TextDelta]) -> dict[str, Any]:
    """Complete tool calls as a delta; a call's parts are told apart by the ends of their channels' names."""
    calls: dict[str, dict[str, Any]] = {}
    for channel, text in text_deltas:
        name, _, part = channel.name.partition(".")
        call = calls.setdefault(name, {"name": "", "arguments": ""})
        call[part or "arguments"] = text
    delta: dict[str, Any] = {}
    for name, call in calls.items():
        if not (call["name"] or call["arguments"]):
            continue  # an id or an index that nothing has followed
        if name == "function_call":
            delta["function_call"] = {"name": call["name"], "arguments": call["arguments"]}
        else:
            delta.setdefault("tool_calls", []).append(_tool_call(name, call))
    return delta


def _tool_call(name: str, call: dict[str, str]) -> dict[str, Any]:
    """A complete call; the name of its channel tells number and kind."""
    kind = "custom" if name.endswith(CALLED["custom"]) else "function"
    ident = {"id": call["id"]} if "id" in call else {}
    called = {"name": call["name"], GIVEN[kind]: call["arguments"]}
    return {"index": int(name.removesuffix(CALLED[kind])), **ident, "type": kind, kind: called}
