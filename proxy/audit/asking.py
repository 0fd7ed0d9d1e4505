"""One prompt to a model server or a proxy, in OpenAI's dialect: llama.cpp, LM Studio and Ollama all speak it.

API documents: platform.openai.com/docs/api-reference/chat and .../completions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

import httpx

from proxy.audit.plan import Options, Question
from proxy.audit.replies import Reply
from proxy.errors import SettingsError

MAX_TEXT = 2 * 1024 * 1024
"""Characters of an answer that are kept."""
MAX_BODY = 64 * 1024 * 1024
"""Bytes of a response that are read."""
COMES_BACK = frozenset((408, 425, 429, 502, 503, 504))
"""Statuses of a server that is there and cannot answer just now."""
WANTS_KEY = frozenset((401, 403))
PATHS = {"chat": "/v1/chat/completions", "completion": "/v1/completions"}
FRAME = "Question: {}\nAnswer:"
"""What a model without a chat template gets: it goes on with a text."""
STOP = ["\nQuestion:"]

Rules = Callable[[str], tuple[str, ...]]
"""The rules that found something, by the id of the request."""


class Away(Exception):
    """Nobody answers just now; the message says why. Nothing is known of the model's answer."""


def no_rules(_: str) -> tuple[str, ...]:
    """Nobody tells which rules it were."""
    return ()


class Asker:
    """Asks on behalf of one side."""

    def __init__(self, client: httpx.AsyncClient, options: Options, rules: Rules = no_rules) -> None:
        self._client = client
        self._options = options
        self._rules = rules

    async def ask(self, question: Question) -> Reply:
        """Ask. Raises Away if nobody answers, SettingsError if a key is wanted."""
        began = perf_counter()
        try:
            status, headers, body = await self._post(question)
        except httpx.ReadTimeout:
            return _failed(question, perf_counter() - began, "it took too long (--timeout)")
        except httpx.TransportError as error:
            raise Away(str(error) or type(error).__name__) from error
        seconds = perf_counter() - began
        if status in COMES_BACK:
            raise Away(f"status {status}: {_message(_object(body))}")
        if status in WANTS_KEY:
            raise SettingsError(f"`{question.side.name}` answers {status}: {_message(_object(body))} (upstream_key?)")
        rules = self._rules(headers.get("x-safety-proxy-request-id", ""))
        return _read(question, status, headers, body, rules, seconds)

    async def _post(self, question: Question) -> tuple[int, httpx.Headers, bytes]:
        body, path = request_body(question, self._options), PATHS[question.side.format]
        async with self._client.stream("POST", path, json=body) as response:
            data = bytearray()
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > MAX_BODY:
                    break
            return response.status_code, response.headers, bytes(data)


def request_body(question: Question, options: Options) -> dict[str, Any]:
    """The JSON of a request."""
    side, text = question.side, question.prompt.text
    seed = {} if options.seed is None else {"seed": options.seed + question.repeat - 1}
    rest = {"temperature": options.temperature, "max_tokens": options.max_tokens, "stream": False, **seed}
    if side.format == "completion":
        prompt = "\n\n".join(filter(None, (options.system, FRAME.format(text))))
        return {"model": side.model, "prompt": prompt, "stop": STOP, **rest}
    system = [{"role": "system", "content": options.system}] if options.system else []
    return {"model": side.model, "messages": [*system, {"role": "user", "content": text}], **rest}


def _read(
    question: Question, status: int, headers: httpx.Headers, body: bytes, rules: tuple[str, ...], seconds: float
) -> Reply:
    value = _object(body)
    if status != 200:
        return _refused_request(question, status, headers, value, rules, seconds)
    choice = _mapping(_list(value.get("choices"))[0])
    if not choice:
        return _failed(question, seconds, "the answer has no choices")
    message, usage = _mapping(choice.get("message")), _mapping(value.get("usage"))
    said, finish = _text(message.get("refusal")), _text(choice.get("finish_reason"))
    text = _text(message.get("content")) or _text(choice.get("text")) or said
    filtered = finish == "content_filter"
    is_ours = not question.side.is_direct and headers.get("x-safety-proxy-action") == "block"
    return Reply(
        *question.key,
        text=text[:MAX_TEXT],
        cut=len(text) > MAX_TEXT,
        refusal=bool(said) or (filtered and not is_ours),
        blocked=is_ours,
        rules=rules,
        seconds=seconds,
        prompt_tokens=_number(usage.get("prompt_tokens")),
        answer_tokens=_number(usage.get("completion_tokens")),
        finish=finish,
    )


def _refused_request(
    question: Question,
    status: int,
    headers: httpx.Headers,
    value: Mapping[str, Any],
    rules: tuple[str, ...],
    seconds: float,
) -> Reply:
    """The request itself was refused: by a policy, by a filter of the model server, or since it is wrong."""
    told = _message(value)
    if _mapping(value.get("error")).get("code") != "content_filter":
        return _failed(question, seconds, f"status {status}: {told}")
    is_ours = not question.side.is_direct
    return Reply(
        *question.key,
        text=told,
        refusal=not is_ours,
        blocked=is_ours,
        rules=rules,
        seconds=seconds,
        finish="content_filter",
    )


def _failed(question: Question, seconds: float, why: str) -> Reply:
    return Reply(*question.key, seconds=seconds, error=why[:500])


def _message(value: Mapping[str, Any]) -> str:
    """What an error says: OpenAI's shape, or Ollama's."""
    error = value.get("error")
    told = _text(_mapping(error).get("message")) or _text(error)
    return told[:500] or "without a reason"


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        return _mapping(json.loads(body))
    except (ValueError, RecursionError):
        return {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) and value else [None]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
