"""The requests that put a question to a model server, and what its responses say. Pure: sending them is for others.

A guard's prompt is sent raw where its format says so, never through a chat endpoint: llama.cpp takes an answer that
stands last in a chat for the beginning of the guard's own reply, and then judges the wrong text (tried).

The options are the same in every call: another context would make Ollama load the model anew (server/sched.go,
needsReload). Ollama is told not to cut what is too long; its endpoints below /v1 cut it all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from proxy.checks.guards.format import Reply
from proxy.checks.guards.render import Prompt

Api = Literal["ollama", "llama.cpp", "openai"]
"""The dialect of a model server. `openai`: LM Studio, vLLM and others that have /v1/completions without a template."""
Fault = Literal["status", "context", "shape", "cut_prompt"]
_TOO_LONG = ("exceed_context_size_error", "input length exceeds", "exceeds the context", "context length")


class Call(NamedTuple):
    """A POST of JSON."""

    path: str
    body: dict[str, Any]


class Options(NamedTuple):
    """What else a guard's server is told.

    model:      its name there
    context:    tokens; 0: nothing is said, as where the guard is the chat model itself, which would be loaded anew
    keep_alive: how long Ollama keeps it loaded; "": as the server likes
    """

    model: str
    context: int = 0
    keep_alive: str = ""


class Generated(NamedTuple):
    """What a model has said. finished: it ended by itself, not for its length."""

    text: str
    finished: bool


class CallFailed(ValueError):
    """A response that is no answer. Its text holds nothing of the question.

    fault: `status`, `context` (the question was too long), `shape` (not what was expected), `cut_prompt`
    """

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault: Fault = fault


def call(api: Api, reply: Reply, prompt: Prompt, options: Options) -> Call:
    """The request for one prompt."""
    if api == "ollama":
        return _ollama(reply, prompt, options)
    if prompt.messages:
        return Call("/v1/chat/completions", _openai(reply, options) | {"messages": _chat(prompt)} | _effort(reply))
    if api == "llama.cpp":
        return Call("/completion", _llama_cpp(reply, prompt))
    return Call("/v1/completions", _openai(reply, options) | {"prompt": prompt.raw})


def generated(path: str, status: int, data: object) -> Generated:
    """What a response to a call of this path says. Raises CallFailed."""
    body = checked(status, data)
    match path:
        case "/api/generate":
            return _said(body.get("response"), body.get("done_reason") != "length", body.get("done") is True)
        case "/api/chat":
            return _said(
                _of(body, "message").get("content"), body.get("done_reason") != "length", body.get("done") is True
            )
        case "/completion":
            if body.get("truncated"):
                raise CallFailed("cut_prompt", "the server of the guard has cut its prompt: give it more context")
            return _said(body.get("content"), body.get("stop_type") != "limit", body.get("stop") is True)
    choice = _of(dict(enumerate(body["choices"])) if isinstance(body.get("choices"), list) else {}, 0)
    text = _of(choice, "message").get("content") if path == "/v1/chat/completions" else choice.get("text")
    return _said(text, choice.get("finish_reason") != "length", bool(choice.get("finish_reason")))


def _ollama(reply: Reply, prompt: Prompt, options: Options) -> Call:
    own: dict[str, Any] = {"temperature": 0, "num_predict": reply.tokens}
    if reply.stop:
        own["stop"] = list(reply.stop)
    if options.context:
        own["num_ctx"] = options.context
    body: dict[str, Any] = {"model": options.model, "stream": False, "truncate": False, "options": own}
    if options.keep_alive:
        body["keep_alive"] = options.keep_alive
    if prompt.messages:
        effort = {"think": reply.effort} if reply.effort else {}
        return Call("/api/chat", body | {"messages": _chat(prompt)} | effort)
    return Call("/api/generate", body | {"prompt": prompt.raw, "raw": True})


def _llama_cpp(reply: Reply, prompt: Prompt) -> dict[str, Any]:
    return {
        "prompt": prompt.raw,
        "n_predict": reply.tokens,
        "temperature": 0,
        "stop": list(reply.stop),
        "cache_prompt": True,
        "stream": False,
    }


def _openai(reply: Reply, options: Options) -> dict[str, Any]:
    body: dict[str, Any] = {"model": options.model, "max_tokens": reply.tokens, "temperature": 0, "stream": False}
    return body | ({"stop": list(reply.stop)} if reply.stop else {})


def _effort(reply: Reply) -> dict[str, Any]:
    return {"reasoning_effort": reply.effort} if reply.effort else {}


def _chat(prompt: Prompt) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in prompt.messages]


def checked(status: int, data: object) -> Mapping[Any, Any]:
    """A response that is an object of JSON and no error. Raises CallFailed."""
    if status != 200:
        said = str(data)
        if any(words in said for words in _TOO_LONG):
            raise CallFailed(
                "context", f"the question was too long for the model (status {status}): give it more context"
            )
        raise CallFailed("status", f"the server answered with status {status}")
    if not isinstance(data, Mapping) or "error" in data:
        raise CallFailed("shape", "the server answered with something else than an answer")
    return data


def _said(text: object, finished: bool, complete: bool) -> Generated:
    if not isinstance(text, str) or not complete:
        raise CallFailed("shape", "the server answered with something else than an answer")
    return Generated(text, finished)


def _of(body: Mapping[Any, Any], key: str | int) -> Mapping[Any, Any]:
    value = body.get(key)
    return value if isinstance(value, Mapping) else {}
