"""POST /v1/chat/completions: OpenAI's chat, as llama.cpp, Ollama and LM Studio speak it."""

from __future__ import annotations

from typing import Any

import orjson

from proxy.core.guard import Guard
from proxy.dialects.base import Notice, Options, Request
from proxy.dialects.common import upstream_errors
from proxy.dialects.common.limits import drop_logprobs, limit
from proxy.dialects.common.request_fields import Report
from proxy.dialects.common.system_messages import system_messages
from proxy.dialects.openai import errors as openai_errors
from proxy.dialects.openai.chat_answer import ChatAnswer
from proxy.dialects.openai.request import CHAT, message_texts, prefill
from proxy.dialects.openai.sampling import wants_json, wants_usage
from proxy.dialects.openai.tools import settle_tools, tool_texts
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
        """The way back."""
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
