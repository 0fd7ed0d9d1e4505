"""POST /api/chat and /api/generate: Ollama's own dialect, lines of JSON. Streaming is its default."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import orjson

from proxy.core.guard import Guard
from proxy.dialects.answer import Notice
from proxy.dialects.common import upstream_errors
from proxy.dialects.common.request_fields import Object, Report
from proxy.dialects.common.system_messages import system_messages
from proxy.dialects.ollama import errors as ollama_errors
from proxy.dialects.ollama.answer import ChatAnswer, GenerateAnswer, OllamaAnswer
from proxy.dialects.ollama.request import (
    CHAT,
    GENERATE,
    check_images,
    definition_texts,
    limit,
    message_texts,
    plain_texts,
    refuse_raw_prompt,
    without_empty,
)
from proxy.dialects.request import InputText, Options, Request
from proxy.dialects.wire.json_body import parse_request


class _Ollama(ABC):
    """What both endpoints share; see `proxy.dialects.base.Dialect`."""

    name: str
    path: str
    fields: Object
    answers: type[OllamaAnswer]
    stream_type = "application/x-ndjson"
    keep_alive = b""  # lines of JSON have no comments
    error = staticmethod(ollama_errors.error)
    blocked = staticmethod(ollama_errors.blocked)
    upstream_message = staticmethod(upstream_errors.upstream_message)

    def parse(self, body: bytes, options: Options) -> Request:
        """Read a request: allow-listed, empty values left out, texts located."""
        report = Report(options)
        clean = without_empty(self.fields(parse_request(body), "", report))
        request = Request(
            model=clean.get("model", ""),
            body=clean,
            path=self.path,
            stream=clean.get("stream") is not False,
            texts=report.texts + self._texts(clean, options),
            json_content=bool(clean.get("format")),
            prefill=self._prefill(clean),
            logprobs=options.logprobs,
            dropped=tuple(report.dropped),
        )
        limit(request, options, loads=self._only_loads(clean))
        return request

    def instruct(self, request: Request, before: str, after: str) -> None:
        """Put the operator's words around the client's system text. A request that only loads a model stays one."""
        if not self._only_loads(request.body):
            self._instruct(request.body, before, after)

    def upstream_body(self, request: Request) -> bytes:
        """Always a stream; a prompt that is too long is to be refused, not cut at its head, unless that was allowed.

        `shift: false` would keep the head while the answer grows too, but Ollama loads the model anew for it, and anew
        for the next client who does not say it.
        """
        return orjson.dumps({"truncate": False, **request.body, "stream": True})

    def answer(self, request: Request, guard: Guard, notice: Notice) -> OllamaAnswer:
        """See Dialect."""
        return self.answers(request, guard, notice)

    @abstractmethod
    def _instruct(self, body: dict[str, Any], before: str, after: str) -> None:
        """The same for a body with a prompt."""

    @abstractmethod
    def _texts(self, body: dict[str, Any], options: Options) -> list[InputText]:
        """Every text that the model will read."""

    @abstractmethod
    def _prefill(self, body: dict[str, Any]) -> str:
        """The beginning of the answer, if the client gives it."""

    @abstractmethod
    def _only_loads(self, body: dict[str, Any]) -> bool:
        """Whether there is no prompt: Ollama then loads the model, or with keep_alive 0 unloads it."""


class OllamaChat(_Ollama):
    """POST /api/chat."""

    name = "ollama_chat"
    path = "/api/chat"
    fields = CHAT
    answers = ChatAnswer

    def _instruct(self, body: dict[str, Any], before: str, after: str) -> None:
        first, last = system_messages(body["messages"], at_head=bool(before))
        first["content"] = _joined(before, first.get("content"), after if first is not last else "")
        last["content"] = _joined(last.get("content"), after)

    def _texts(self, body: dict[str, Any], options: Options) -> list[InputText]:
        return definition_texts(body) + message_texts(body.get("messages", []), options)

    def _prefill(self, body: dict[str, Any]) -> str:
        """The model goes on with a last message of its own."""
        last = (body.get("messages") or [{}])[-1]
        return (last.get("content") or "") if last.get("role") == "assistant" else ""

    def _only_loads(self, body: dict[str, Any]) -> bool:
        return not body.get("messages")


class OllamaGenerate(_Ollama):
    """POST /api/generate."""

    name = "ollama_generate"
    path = "/api/generate"
    fields = GENERATE
    answers = GenerateAnswer

    def _instruct(self, body: dict[str, Any], before: str, after: str) -> None:
        if body.get("raw"):  # no template, so nothing would show the system text to the model
            body["prompt"] = _joined(before, after, body["prompt"])
        else:
            body["system"] = _joined(before, body.get("system"), after)

    def _texts(self, body: dict[str, Any], options: Options) -> list[InputText]:
        refuse_raw_prompt(body, options)
        check_images(body, "images", options)
        texts = plain_texts(body, ("system", "template"), "system") + plain_texts(body, ("prompt", "suffix"), "user")
        for i, text in enumerate(texts):
            text.group = i
        return definition_texts(body) + texts

    def _prefill(self, body: dict[str, Any]) -> str:
        return ""

    def _only_loads(self, body: dict[str, Any]) -> bool:
        return not body.get("prompt")


def _joined(*texts: str | None) -> str:
    return "\n\n".join(text for text in texts if text)
