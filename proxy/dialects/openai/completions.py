"""POST /v1/completions: text goes on where a prompt ends, as llama.cpp, Ollama and LM Studio speak it.

The prompt is the client's own and is judged as such; the answer is judged from its first character on. With `echo` the
prompt comes back as text of the answer and is then judged as that too.

Sources: the OpenAI API reference (completions), llama.cpp's server README, Ollama's openai.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import orjson

from proxy.core.events import TextDelta
from proxy.core.guard import Guard
from proxy.core.types import Channel, Kind
from proxy.dialects.answer import Notice
from proxy.dialects.common import upstream_errors
from proxy.dialects.common.limits import drop_logprobs, limit
from proxy.dialects.common.request_fields import (
    COUNT,
    NULL,
    OPTIONAL_STRING,
    PASSED,
    STRING,
    SWITCH,
    Object,
    Report,
    by_type,
    left_out,
    list_of,
)
from proxy.dialects.openai import errors as openai_errors
from proxy.dialects.openai.chunk import clean_choice
from proxy.dialects.openai.chunk_stream import ChunkedAnswer
from proxy.dialects.openai.message import WholeText
from proxy.dialects.openai.request import COMMON, wants_json, wants_usage
from proxy.dialects.openai.tools import tool_texts
from proxy.dialects.request import InputText, Options, Request
from proxy.dialects.wire.json_body import parse_request
from proxy.errors import BadRequest, UpstreamBroken

MAX_CHOICES = 128
COMPLETIONS = Object(
    {
        "model": by_type("a string or null", string=STRING, null=NULL),
        "prompt": by_type(
            "a string or an array of strings (token ids cannot be read)", string=STRING, array=list_of(STRING)
        ),
        "suffix": OPTIONAL_STRING,
        "echo": SWITCH,
        "n": COUNT,
        "best_of": left_out("the best of several answers cannot be streamed, and all answers are"),
        "logprobs": PASSED,
        **COMMON,
    },
    ["prompt"],
)


class OpenAICompletions:
    """The dialect's entry points; see `proxy.dialects.base.Dialect`."""

    name = "openai_completions"
    stream_type = "text/event-stream"
    keep_alive = b": keep-alive\n\n"
    error = staticmethod(openai_errors.error)
    blocked = staticmethod(partial(openai_errors.blocked, param="prompt"))
    upstream_message = staticmethod(upstream_errors.upstream_message)

    def parse(self, body: bytes, options: Options) -> Request:
        """Read a completions request: allow-listed, texts located."""
        report = Report(options)
        clean = COMPLETIONS(parse_request(body), "", report)
        request = Request(
            model=clean.get("model") or "",
            body=clean,
            path="/v1/completions",
            stream=bool(clean.get("stream")),
            texts=report.texts + _texts(clean),
            choices=_choices(clean),
            include_usage=wants_usage(clean),
            json_content=wants_json(clean),
            logprobs=options.logprobs,
            dropped=tuple(report.dropped),
        )
        limit(request, options)
        drop_logprobs(request, options, "logprobs")
        _refuse_suffix(clean, options)
        return request

    def instruct(self, request: Request, before: str, after: str) -> None:
        """In front of each prompt: there is no system text here, and the model goes on where the prompt ends."""
        words = "\n\n".join(text for text in (before, after) if text)
        body = request.body
        if isinstance(body["prompt"], list):
            body["prompt"] = [f"{words}\n\n{prompt}" for prompt in body["prompt"]]
        else:
            body["prompt"] = f"{words}\n\n{body['prompt']}"
        if body.pop("echo", None):  # it would show the operator's words
            request.removed += ("echo",)

    def upstream_body(self, request: Request) -> bytes:
        """Always a stream, with usage where that has to be asked for."""
        usage = request.include_usage or not request.stream
        streaming = {"stream": True} | ({"stream_options": {"include_usage": True}} if usage else {})
        body = {k: v for k, v in request.body.items() if k not in ("stream", "stream_options")}
        return orjson.dumps(body | streaming)

    def answer(self, request: Request, guard: Guard, notice: Notice) -> CompletionsAnswer:
        """See Dialect. Apps show an answer right behind its prompt, so a phrase may begin there."""
        prompt = request.body["prompt"]
        prompts = [prompt] if isinstance(prompt, str) else prompt
        each = request.choices // len(prompts)
        guard.preceding_texts = {i: prompts[i // each] for i in range(request.choices)}
        return CompletionsAnswer(request, guard, notice)


def _texts(body: dict[str, Any]) -> list[InputText]:
    """The prompts, each a text of its own: the model reads them apart."""
    texts = tool_texts(body)
    prompt = body["prompt"]
    if isinstance(prompt, str):
        texts.append(InputText("user", prompt, "prompt", body, "prompt"))
    else:
        texts += [InputText("user", text, f"prompt[{i}]", prompt, i, group=i) for i, text in enumerate(prompt)]
    if body.get("suffix"):
        texts.append(InputText("user", body["suffix"], "suffix", body, "suffix", group=len(texts)))
    return texts


def _choices(body: dict[str, Any]) -> int:
    """One answer for each prompt, `n` times."""
    prompts = len(body["prompt"]) if isinstance(body["prompt"], list) else 1
    if not prompts:
        raise BadRequest("prompt must not be an empty array", "prompt", "missing_field")
    n = body.get("n")
    choices = prompts * (1 if n is None else n)
    if not 1 <= choices <= MAX_CHOICES:
        raise BadRequest(f"n times the number of prompts must be between 1 and {MAX_CHOICES}", "n", "invalid_value")
    return choices


def _refuse_suffix(body: dict[str, Any], options: Options) -> None:
    """A suffix goes around the chat template; an empty one is none."""
    if not body.get("suffix"):
        body.pop("suffix", None)
    elif not options.allow_raw_prompts:
        raise BadRequest("suffix is refused here (setting allow_raw_prompts)", "suffix", "raw_prompt")


class CompletionsAnswer(ChunkedAnswer):
    """One exchange of /v1/completions."""

    object_name = "text_completion"
    whole_class = WholeText

    def _clean_choice(self, choice: Any) -> dict[str, Any]:
        clean = clean_choice(choice, logprobs=self.request.logprobs)
        clean.pop("delta", None)
        text = choice.get("text")
        if text is not None and not isinstance(text, str):
            raise UpstreamBroken("the model server sent something else where text belongs", "protocol")
        return clean | ({"text": text} if "text" in choice else {})

    def _as_delta(self, choice: Any) -> Any:
        if not isinstance(choice, dict):
            return choice
        return {**choice, "finish_reason": choice.get("finish_reason") or "stop"}

    def _text_deltas(self, index: int, choice: dict[str, Any]) -> list[TextDelta]:
        text = choice.get("text")
        return [] if text is None else [TextDelta(Channel(index, Kind.CONTENT, "text"), text)]

    def _texts(self, index: int, upstream: dict[str, Any], own: list[TextDelta]) -> Iterator[dict[str, Any]]:
        text = "".join(delta.text for delta in own)
        if text:
            yield self._text_choice(index, text)

    def _text_choice(self, index: int, text: str) -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": None, "finish_reason": None}

    def _end(self, index: int, reason: str) -> dict[str, Any]:
        return {"index": index, "text": "", "logprobs": None, "finish_reason": reason}
