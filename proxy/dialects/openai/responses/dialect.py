"""POST /v1/responses: OpenAI's responses, as llama.cpp, Ollama and LM Studio speak them; always without state."""

from __future__ import annotations

from functools import partial

import orjson

from proxy.core.guard import Guard
from proxy.dialects.answer import Notice
from proxy.dialects.common import upstream_errors
from proxy.dialects.common.limits import drop_logprobs, limit
from proxy.dialects.common.request_fields import Report
from proxy.dialects.openai import errors as openai_errors
from proxy.dialects.openai.responses.answer import ResponsesAnswer
from proxy.dialects.openai.responses.request import (
    RESPONSES,
    limit_includes,
    limit_state,
    prefill,
    prompt_texts,
    settle_tools,
)
from proxy.dialects.request import Options, Request
from proxy.dialects.wire.json_body import parse_request
from proxy.errors import BadRequest


class OpenAIResponses:
    """The dialect's entry points; see `proxy.dialects.base.Dialect`."""

    name = "openai_responses"
    stream_type = "text/event-stream"
    keep_alive = b": keep-alive\n\n"
    error = staticmethod(openai_errors.error)
    blocked = staticmethod(partial(openai_errors.blocked, param="input"))
    upstream_message = staticmethod(upstream_errors.upstream_message)

    def parse(self, body: bytes, options: Options) -> Request:
        """Read a request: allow-listed, roles normalised, texts located, state refused."""
        report, given = Report(options), parse_request(body)
        clean = RESPONSES(given, "", report)
        if clean["input"] == []:
            raise BadRequest("input holds no item that is known here", "input", "missing_field")
        settle_tools(clean, given.get("tools"), report)
        request = Request(
            model=clean.get("model", ""),
            body=clean,
            path="/v1/responses",
            stream=bool(clean.get("stream")),
            texts=[*report.texts, *prompt_texts(clean, options)],
            json_content=((clean.get("text") or {}).get("format") or {}).get("type", "text") != "text",
            prefill=prefill(clean),
            dropped=tuple(report.dropped),
        )
        limit(request, options)
        limit_state(request, options)
        limit_includes(request)
        drop_logprobs(request, Options(), "top_logprobs")  # they are never rebuilt here
        return request

    def instruct(self, request: Request, before: str, after: str) -> None:
        """Around the instructions."""
        own = request.body.get("instructions") or ""
        request.body["instructions"] = "\n\n".join(text for text in (before, own, after) if text)

    def upstream_body(self, request: Request) -> bytes:
        """Always a stream."""
        body = {k: v for k, v in request.body.items() if k != "stream_options"}
        return orjson.dumps({**body, "stream": True})

    def answer(self, request: Request, guard: Guard, notice: Notice) -> ResponsesAnswer:
        """See Dialect."""
        return ResponsesAnswer(request, guard, notice)
