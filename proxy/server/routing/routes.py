"""Every path that the proxy serves, in one table. Any other path is refused.

docs/endpoints.md and the test of every path are made from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from proxy.dialects.anthropic.messages import AnthropicCountTokens, AnthropicMessages
from proxy.dialects.base import Dialect
from proxy.dialects.common import catalogue
from proxy.dialects.lmstudio import models as lmstudio_models
from proxy.dialects.lmstudio.chat import LMStudioChat, LMStudioV0Chat, LMStudioV0Completions
from proxy.dialects.lmstudio.embeddings import LMStudioEmbeddings
from proxy.dialects.ollama import models as ollama_models
from proxy.dialects.ollama.chat import OllamaChat, OllamaGenerate
from proxy.dialects.ollama.embeddings import OllamaEmbed, OllamaEmbeddings
from proxy.dialects.openai import models as openai_models
from proxy.dialects.openai.chat import OpenAIChat
from proxy.dialects.openai.completions import OpenAICompletions
from proxy.dialects.openai.embeddings import OpenAIEmbeddings
from proxy.dialects.openai.responses.dialect import OpenAIResponses


class Access(StrEnum):
    """What becomes of requests to a path."""

    GUARDED = "guarded"
    READ_ONLY = "read_only"
    ADMIN = "admin"
    OWN = "own"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ReadOnlyOptions:
    """What a read-only path asks the model server, and what it shows of the response.

    clean:    makes of the response's body what may be shown; it takes `names` too, which judges the names of models
    ask:      POST: makes of the client's body the name of a model and the body to send
    switches: what `clean` takes as arguments: `reveal` prompts and `cloud` models, which are settings of the operator;
              `claims`, which says what a model claims to be
    content_type: of what is shown
    any_answer: any response but a 5xx says that the model server runs
    merged:   the key of the list of models in the response, which is one of all model servers; "": one of them answers
    """

    clean: Callable[..., bytes]
    ask: Callable[[bytes], tuple[str, bytes]] | None = None
    switches: tuple[str, ...] = ()
    content_type: str = "application/json"
    any_answer: bool = False
    merged: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table.

    path:    `{name}` at its end stands for all the rest, with slashes, as in names of models
    note:    a sentence for people: what the path does, or why it is refused
    dialect: of guarded paths: reads the request and writes the response
    read_only: of read-only paths: what is asked and shown
    """

    method: str
    path: str
    access: Access
    note: str
    dialect: Dialect | None = None
    read_only: ReadOnlyOptions | None = None


def _guarded(endpoint: str, dialect: Dialect, note: str) -> Route:
    method, path = endpoint.split(" ")
    return Route(method, path, Access.GUARDED, note, dialect)


def _read_only(endpoint: str, clean: Callable[..., object], note: str, *switches: str, merged: str = "") -> Route:
    method, path = endpoint.split(" ")
    options = ReadOnlyOptions(partial(catalogue.cleaned, clean), switches=switches, merged=merged)
    return Route(method, path, Access.READ_ONLY, note, read_only=options)


def _refused(access: Access, note: str, *endpoints: str) -> list[Route]:
    return [Route(method, path, access, note) for method, path in (endpoint.split(" ") for endpoint in endpoints)]


TABLE: tuple[Route, ...] = (
    _guarded("POST /v1/chat/completions", OpenAIChat(), "OpenAI's chat."),
    _guarded("POST /v1/completions", OpenAICompletions(), "OpenAI's older completions."),
    _guarded("POST /v1/responses", OpenAIResponses(), "OpenAI's responses, without state."),
    _guarded("POST /v1/messages", AnthropicMessages(), "Anthropic's messages."),
    _guarded("POST /v1/messages/count_tokens", AnthropicCountTokens(), "How many tokens a prompt has."),
    _guarded("POST /api/chat", OllamaChat(), "Ollama's chat."),
    _guarded("POST /api/generate", OllamaGenerate(), "Ollama's completions."),
    _guarded("POST /api/v1/chat", LMStudioChat(), "LM Studio's own chat."),
    _guarded("POST /api/v0/chat/completions", LMStudioV0Chat(), "LM Studio's older path for OpenAI's chat."),
    _guarded("POST /api/v0/completions", LMStudioV0Completions(), "LM Studio's older path for completions."),
    _guarded("POST /v1/embeddings", OpenAIEmbeddings(), "Numbers for a text; the text is checked."),
    _guarded("POST /api/embed", OllamaEmbed(), "Numbers for a text; the text is checked."),
    _guarded("POST /api/embeddings", OllamaEmbeddings(), "Ollama's older call for the same."),
    _guarded("POST /api/v0/embeddings", LMStudioEmbeddings(), "LM Studio's older path for the same."),
    Route("POST", "/v1/moderations", Access.OWN, "What the loaded policies say of a text; no chat model is asked."),
    _read_only("GET /v1/models", openai_models.openai_models, "The models.", "claims", merged="data"),
    _read_only("GET /v1/models/{model}", openai_models.openai_model, "One model.", "claims"),
    _read_only("GET /api/tags", ollama_models.tags, "Ollama's list of models.", merged="models"),
    _read_only("GET /api/ps", ollama_models.loaded, "Ollama's list of loaded models.", merged="models"),
    _read_only("GET /api/status", ollama_models.cloud_status, "Whether Ollama has models that run elsewhere.", "cloud"),
    _read_only("GET /api/version", ollama_models.version, "Ollama's version."),
    _read_only(
        *("GET /api/v0/models", lmstudio_models.lmstudio_v0_models, "LM Studio's older list of models."), merged="data"
    ),
    _read_only("GET /api/v0/models/{model}", lmstudio_models.lmstudio_v0_model, "One model of it."),
    _read_only(
        *("GET /api/v1/models", lmstudio_models.lmstudio_v1_models, "LM Studio's list of models."), merged="models"
    ),
    _read_only("GET /health", openai_models.health, "Whether llama.cpp has loaded its model."),
    Route(
        *("GET", "/", Access.READ_ONLY, "Whether the model server runs; the ollama command begins with it."),
        read_only=ReadOnlyOptions(ollama_models.root, content_type="text/plain; charset=utf-8", any_answer=True),
    ),
    Route(
        *("POST", "/api/show", Access.READ_ONLY, "A model's description, without system prompt and template."),
        read_only=ReadOnlyOptions(
            partial(catalogue.cleaned, ollama_models.show), ollama_models.show_request, ("reveal",)
        ),
    ),
    *_refused(
        Access.ADMIN,
        "It changes which models there are, or their prompts.",
        *("POST /api/pull", "POST /api/push", "POST /api/create", "POST /api/copy", "DELETE /api/delete"),
        *("POST /api/blobs/{digest}", "HEAD /api/blobs/{digest}"),
        *("POST /api/v1/models/load", "POST /api/v1/models/unload"),
        *("POST /api/v1/models/download", "GET /api/v1/models/download/status", "POST /models", "DELETE /models"),
        *("POST /models/load", "POST /models/unload", "POST /props", "POST /lora-adapters"),
    ),
    *_refused(
        Access.ADMIN,
        "It is about the account of whoever runs the model server.",
        *("POST /api/me", "POST /api/signout", "DELETE /api/user/keys/{key}"),
    ),
    *_refused(
        Access.REFUSED,
        "It gives out answers that were never checked, or lets one go on after its client has left.",
        *("GET /v1/stream", "DELETE /v1/stream", "POST /v1/streams/lookup", "GET /slots", "POST /slots/{id}"),
    ),
    *_refused(
        Access.REFUSED,
        "It makes the model server call other machines.",
        *("POST /api/experimental/web_search", "POST /api/experimental/web_fetch", "GET /cors-proxy"),
        *("POST /cors-proxy", "GET /tools", "POST /tools"),
    ),
    *_refused(
        Access.REFUSED,
        "It goes around the chat template, or shows it; use /v1/chat/completions or /v1/completions.",
        *("POST /completion", "POST /completions", "POST /infill", "POST /apply-template"),
        *("POST /tokenize", "POST /detokenize", "GET /props"),
    ),
    *_refused(
        Access.REFUSED,
        "It is a second name; ask for the same under /v1.",
        *("POST /chat/completions", "POST /responses", "POST /embedding", "POST /embeddings", "GET /models"),
        "GET /v1/health",
    ),
    *_refused(
        Access.REFUSED,
        "It counts what only /v1/messages/count_tokens counts here, or steers answers that others have asked for.",
        *("POST /chat/completions/control", "POST /v1/chat/completions/control", "POST /responses/input_tokens"),
        *("POST /chat/completions/input_tokens", "POST /v1/chat/completions/input_tokens"),
        "POST /v1/responses/input_tokens",
    ),
    *_refused(
        Access.REFUSED,
        "It takes documents that nobody here would read.",
        *("POST /rerank", "POST /reranking", "POST /v1/rerank", "POST /v1/reranking"),
    ),
    *_refused(
        Access.REFUSED,
        "It tells of the model server, or of its account, what no chat needs; ask the model server itself.",
        *("GET /metrics", "GET /lora-adapters", "GET /models/sse"),
        *("GET /api/experimental/model-recommendations", "GET /lmstudio-greeting"),
    ),
    *_refused(
        Access.REFUSED,
        "It is a WebSocket of LM Studio's own SDK; use an OpenAI or Anthropic client, or LM Studio's REST API.",
        *("GET /llm", "GET /embedding", "GET /system", "GET /diagnostics", "GET /files", "GET /repository"),
        *("GET /plugins", "GET /runtime"),
    ),
    *_refused(
        Access.REFUSED,
        "Sound in or out of a model cannot be checked.",
        *("POST /v1/audio/transcriptions", "POST /audio/transcriptions", "POST /v1/audio/speech"),
    ),
)


GUARDED_PATHS = tuple(row.path for row in TABLE if row.access is Access.GUARDED)


class RouteMatch:
    """What the table says of a request."""

    __slots__ = ("methods", "rest", "route")

    def __init__(self, route: Route | None, methods: tuple[str, ...], rest: str = "") -> None:
        self.route = route  # None: there is no such path, or not with this method
        self.methods = methods  # of that path, in the order of the table, with HEAD and OPTIONS
        self.rest = rest  # what `{name}` stands for


class RouteTable:
    """The rows, ready for look-ups."""

    def __init__(self, rows: Iterable[Route] = TABLE) -> None:
        self._exact: dict[str, dict[str, Route]] = {}
        self._open: dict[str, dict[str, Route]] = {}
        for row in rows:
            head, brace, _ = row.path.partition("{")
            methods = (self._open if brace else self._exact).setdefault(head, {})
            if row.method in methods:
                raise ValueError(f"two rows for {row.method} {row.path}")
            methods[row.method] = row
        exact = [(method, path) for path, methods in self._exact.items() for method in methods]
        self._known = {endpoint: self._look_up(*endpoint) for endpoint in exact}

    def find(self, method: str, path: str) -> RouteMatch:
        """The row for a request. HEAD is served where GET is."""
        return self._known.get((method, path)) or self._look_up(method, path)

    def _look_up(self, method: str, path: str) -> RouteMatch:
        rows, rest = self._exact.get(path), ""
        if rows is None:
            rows, rest = self._find_open(path)
        if rows is None:
            return RouteMatch(None, ())
        route = rows.get(method)
        if route is None and method == "HEAD":
            route = rows.get("GET")
        return RouteMatch(route, _methods(rows), rest)

    def _find_open(self, path: str) -> tuple[dict[str, Route] | None, str]:
        for head, rows in self._open.items():
            if path.startswith(head) and len(path) > len(head):
                return rows, path[len(head) :]
        return None, ""


def _methods(rows: dict[str, Route]) -> tuple[str, ...]:
    own = list(rows)
    if "GET" in rows and "HEAD" not in rows:
        own.append("HEAD")
    return (*own, "OPTIONS")
