"""POST /v1/messages and /v1/messages/count_tokens: Anthropic's dialect, as llama.cpp, Ollama and LM Studio speak it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from proxy.core.events import Frame, Release
from proxy.core.guard import ALL, Guard
from proxy.dialects.answer import Answer, Notice
from proxy.dialects.anthropic import errors as anthropic_errors
from proxy.dialects.anthropic.answer import MessagesAnswer
from proxy.dialects.anthropic.request import MESSAGES, prefill, prompt_texts, settle_tools, wanted_format
from proxy.dialects.common import upstream_errors
from proxy.dialects.common.limits import limit
from proxy.dialects.common.request_fields import Report
from proxy.dialects.request import Options, Request
from proxy.dialects.wire.json_body import parse_request, parse_upstream
from proxy.errors import BadRequest, UpstreamBroken, UpstreamError


class AnthropicMessages:
    """The dialect's entry points; see `proxy.dialects.base.Dialect`."""

    name = "anthropic_messages"
    path = "/v1/messages"
    stream_type = "text/event-stream"
    keep_alive = b": keep-alive\n\n"
    error = staticmethod(anthropic_errors.error)
    blocked = staticmethod(anthropic_errors.blocked)
    upstream_message = staticmethod(upstream_errors.upstream_message)

    def parse(self, body: bytes, options: Options) -> Request:
        """Read a request: allow-listed, roles normalised, texts located."""
        report, given = Report(options), parse_request(body)
        clean = MESSAGES(given, "", report)
        if not clean["messages"]:
            raise BadRequest("messages must not be empty", "messages", "missing_field")
        settle_tools(clean, given.get("tools"), report)
        request = Request(
            model=clean.get("model", ""),
            body=clean,
            path=self.path,
            stream=bool(clean.get("stream")),
            texts=[*report.texts, *prompt_texts(clean, options)],
            json_content=bool(wanted_format(clean)),
            prefill=prefill(clean),
            dropped=tuple(report.dropped),
        )
        limit(request, options)
        return request

    def instruct(self, request: Request, before: str, after: str) -> None:
        """Around the system text."""
        own = request.body.get("system") or ""
        if isinstance(own, list):
            ends = [[{"type": "text", "text": text}] if text else [] for text in (before, after)]
            request.body["system"] = ends[0] + own + ends[1]
        else:
            request.body["system"] = "\n\n".join(text for text in (before, own, after) if text)

    def upstream_body(self, request: Request) -> bytes:
        """Always a stream."""
        return orjson.dumps({**request.body, "stream": True})

    def answer(self, request: Request, guard: Guard, notice: Notice) -> Answer:
        """See Dialect."""
        return MessagesAnswer(request, guard, notice)


class AnthropicCountTokens(AnthropicMessages):
    """How many tokens a prompt has: the prompt is checked like one to be answered, the answer is one number."""

    name = "anthropic_count_tokens"
    path = "/v1/messages/count_tokens"
    stream_type = "application/json"
    keep_alive = b""

    def parse(self, body: bytes, options: Options) -> Request:
        """Read a request; there is nothing to stream."""
        request = super().parse(body, options)
        request.stream = False
        return request

    def upstream_body(self, request: Request) -> bytes:
        """The prompt alone."""
        return orjson.dumps({k: v for k, v in request.body.items() if k not in ("stream", "max_tokens")})

    def answer(self, request: Request, guard: Guard, notice: Notice) -> Answer:
        """See Dialect."""
        return CountAnswer(request, guard, notice)


class CountAnswer(Answer):
    """{"input_tokens": 12} and nothing else."""

    _count: int | None = None

    def _whole_frames(self, body: bytes) -> Iterator[Frame]:
        value = parse_upstream(body)
        if "error" in value:
            raise upstream_errors.reported(value["error"], self.guard)
        count = value.get("input_tokens")
        if type(count) is not int:
            raise UpstreamBroken("the model server did not say how many tokens there are", "protocol")
        yield Frame(b"", finishes=(ALL,), body=count)

    def _frames(self, data: bytes) -> Iterator[Frame]:
        raise UpstreamBroken("the model server sent a stream where a number belongs", "protocol")

    def _last_frames(self) -> Iterator[Frame]:
        return iter(())

    def _body(self, frame: Frame) -> Any:
        return frame.body

    def _collect(self, body: Any) -> None:
        self._count = body

    def _settle(self, out: list[bytes]) -> None:
        self.done = self._is_complete()

    def _is_complete(self) -> bool:
        return self._count is not None

    def result(self) -> bytes:
        """The number."""
        return orjson.dumps({"input_tokens": self._count})

    def _write(self, frame: Frame, release: Release) -> Iterator[Any]:
        return iter(())  # no text, so nothing is ever held or hidden

    def _put_terminal(self, out: list[bytes]) -> None:
        self.done = True

    def _encode(self, body: Any) -> bytes:
        return orjson.dumps(body)

    def _error_event(self, error: UpstreamError) -> bytes:
        return orjson.dumps(anthropic_errors.event(error))
