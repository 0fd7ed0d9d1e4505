"""LM Studio's own endpoints: POST /api/v1/chat, and /api/v0/chat/completions and /api/v0/completions.

The older two are OpenAI's shape with statistics beside it; of these, numbers pass, and the stop reason out of a closed
list. The newer one is a dialect of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from proxy.core.guard import Guard
from proxy.dialects.answer import Notice
from proxy.dialects.common import upstream_errors
from proxy.dialects.common.answer_fields import number, record, text
from proxy.dialects.common.request_fields import Report
from proxy.dialects.lmstudio import errors as lmstudio_errors
from proxy.dialects.lmstudio.answer import LMStudioAnswer
from proxy.dialects.lmstudio.request import CHAT, input_texts, restrict
from proxy.dialects.openai.chat import ChatAnswer, OpenAIChat
from proxy.dialects.openai.chunk_stream import EXTRAS, ChunkedAnswer
from proxy.dialects.openai.completions import CompletionsAnswer, OpenAICompletions
from proxy.dialects.request import Options, Request
from proxy.dialects.wire.json_body import parse_request

STOP_REASONS = (
    *("userStopped", "modelUnloaded", "failed", "eosFound", "stopStringFound", "toolCalls"),
    *("maxPredictedTokensReached", "contextLengthReached"),
)
STATISTICS = ("stats", "model_info")
_STATISTICS = record(
    {
        "stats": record(
            {
                **dict.fromkeys(("tokens_per_second", "time_to_first_token", "generation_time"), number),
                **dict.fromkeys((f"{word}_draft_tokens_count" for word in ("total", "accepted", "rejected")), number),
                "ignored_draft_tokens_count": number,
                "stop_reason": text("|".join(STOP_REASONS)),
            }
        ),
        "model_info": record({"context_length": number}),
    }
)


class _WithStatistics(ChunkedAnswer):
    """OpenAI's answers with `stats` and `model_info` in a chunk or in the whole."""

    extras = (*EXTRAS, *STATISTICS)
    _extras: dict[str, Any] | None = None  # what was told so far

    def _clean(self, chunk: dict[str, Any]) -> dict[str, Any]:
        clean = super()._clean(chunk)
        extras = {key: self._with_numbers_of(chunk[key], part, key) for key, part in _STATISTICS(chunk).items()}
        self._extras = {**(self._extras or {}), **extras}
        return {**clean, **extras}

    def _with_numbers_of(self, given: dict[str, Any], known: dict[str, Any], place: str) -> dict[str, Any]:
        return {**known, **self._unknown.statistics(given, place, known)}

    def result(self) -> bytes:
        """The whole answer."""
        return orjson.dumps({**orjson.loads(super().result()), **(self._extras or {})})


class V0ChatAnswer(_WithStatistics, ChatAnswer):
    """One exchange of /api/v0/chat/completions."""


class V0CompletionsAnswer(_WithStatistics, CompletionsAnswer):
    """One exchange of /api/v0/completions."""


class LMStudioV0Chat(OpenAIChat):
    """POST /api/v0/chat/completions."""

    name = "lmstudio_v0_chat"

    def parse(self, body: bytes, options: Options) -> Request:
        """As OpenAI's, for another path."""
        return replace(super().parse(body, options), path="/api/v0/chat/completions")

    def answer(self, request: Request, guard: Guard, notice: Notice) -> V0ChatAnswer:
        """See Dialect."""
        return V0ChatAnswer(request, guard, notice)


class LMStudioV0Completions(OpenAICompletions):
    """POST /api/v0/completions."""

    name = "lmstudio_v0_completions"

    def parse(self, body: bytes, options: Options) -> Request:
        """As OpenAI's, for another path."""
        return replace(super().parse(body, options), path="/api/v0/completions")

    def answer(self, request: Request, guard: Guard, notice: Notice) -> V0CompletionsAnswer:
        """See Dialect."""
        return V0CompletionsAnswer(request, guard, notice)


class LMStudioChat:
    """POST /api/v1/chat; see `proxy.dialects.base.Dialect`."""

    name = "lmstudio_chat"
    stream_type = "text/event-stream"
    keep_alive = b": keep-alive\n\n"
    error = staticmethod(lmstudio_errors.error)
    blocked = staticmethod(lmstudio_errors.blocked)
    upstream_message = staticmethod(upstream_errors.upstream_message)

    def parse(self, body: bytes, options: Options) -> Request:
        """Read a request: allow-listed, texts located, nothing kept by the server unless that is allowed."""
        report = Report(options)
        clean = CHAT(parse_request(body), "", report)
        request = Request(
            model=clean["model"],
            body=clean,
            path="/api/v1/chat",
            stream=bool(clean.get("stream")),
            texts=report.texts + input_texts(clean, options),
            dropped=tuple(report.dropped),
        )
        restrict(request, options)
        return request

    def instruct(self, request: Request, before: str, after: str) -> None:
        """Put the operator's words around the system prompt."""
        own = request.body.get("system_prompt")
        request.body["system_prompt"] = "\n\n".join(words for words in (before, own, after) if words)

    def upstream_body(self, request: Request) -> bytes:
        """Always a stream."""
        return orjson.dumps({**request.body, "stream": True})

    def answer(self, request: Request, guard: Guard, notice: Notice) -> LMStudioAnswer:
        """See Dialect."""
        return LMStudioAnswer(request, guard, notice)
