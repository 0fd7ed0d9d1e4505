"""The chat templates of models, as the model server shows them: whether a model has one, and which markers it uses.

Ollama: GET /api/tags for the digest, POST /api/show once for each digest (Ollama, docs/api.md).
llama.cpp: GET /props (llama.cpp, tools/server/README.md). LM Studio does not show templates.

A request uses what is known when it arrives. If that is old, a refresh starts in the background, and the request does
not wait for it. While a template is unknown, all markers count.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from proxy.alignment.templates import LLAMA_CPP_DEFAULT, NO_TEMPLATE
from proxy.checks.markers import LISTED, standing_in
from proxy.policy.names import normalise_model
from proxy.policy.plan import UNKNOWN, ChatTemplate
from proxy.server.models.api import ModelServerApi, find_entry

REFRESH_AFTER = 30.0  # seconds after which a template is fetched again
EXPIRES_AFTER = 600.0  # seconds after which a template counts as unknown
MAX_MODELS = 100

SENTENCE_PIECE = ("llama",)
"""tokenizer.ggml.model of tokenizers whose texts end with `</s>`, or with Gemma's word for it."""
END_TOKENS = frozenset(("<s>", "</s>", "<bos>", "<eos>", "[BOS]", "[EOS]", "[EOT]"))
"""Tokens that may begin or end a text. A template names them as `bos_token` and `eos_token`."""
RENDERED = ChatTemplate(None, exists=True)
"""A model that has a template, but one that the model server does not show."""
_NAMES_END_TOKENS = re.compile(r"\b[be]os_token\b")


@dataclass(slots=True)
class _Entry:
    template: ChatTemplate
    digest: str
    fetched_at: float


class ChatTemplates:
    """A cache by model name. A template is fetched again when the model's digest has changed."""

    def __init__(self, api: ModelServerApi, clock: Callable[[], float] = monotonic) -> None:
        self._api = api
        self._clock = clock
        self._known: dict[str, _Entry] = {}
        self._refreshing = False
        self._is_ollama = False  # as of the last refresh

    def get(self, name: str) -> ChatTemplate:
        """The template, as far as it is known now. Starts a refresh in the background when it is due."""
        model = normalise_model(name)
        known = self._known.get(model)
        age = EXPIRES_AFTER if known is None else self._clock() - known.fetched_at
        if (known is None or age >= REFRESH_AFTER) and not self._refreshing:
            self._refreshing = True
            self._api.start(self._refresh(model, name))
        return UNKNOWN if known is None or age >= EXPIRES_AFTER else known.template

    async def _refresh(self, model: str, name: str) -> None:
        try:
            digest, template = await self._fetch(model, name)
            self._known.pop(model, None)
            while len(self._known) >= MAX_MODELS:
                del self._known[next(iter(self._known))]  # the one fetched longest ago
            self._known[model] = _Entry(template, digest, self._clock())
        finally:
            self._refreshing = False

    async def _fetch(self, model: str, name: str) -> tuple[str, ChatTemplate]:
        if not self._is_ollama:
            props = await self._api.get("/props")
            if isinstance(props.get("chat_template"), str):
                return "", from_llama_cpp(props)
        listed = find_entry(await self._api.get("/api/tags"), "models", model, "name", "model")
        digest = str(listed.get("digest") or "")
        self._is_ollama = bool(digest)  # llama.cpp has this path too, and leaves the digest empty
        if not digest:
            return "", UNKNOWN
        known = self._known.get(model)
        if known is not None and known.digest == digest and known.template is not UNKNOWN:
            return digest, known.template
        return digest, from_ollama(await self._api.post("/api/show", {"model": listed.get("name") or name}))


def from_llama_cpp(props: dict[str, Any]) -> ChatTemplate:
    """From GET /props. llama.cpp shows its own default template for a model that has none."""
    template = props["chat_template"]
    ends = frozenset(t for key in ("bos_token", "eos_token") if (t := props.get(key)) in LISTED)
    if "eos_token" not in props:
        ends = END_TOKENS
    exists = template.strip() != LLAMA_CPP_DEFAULT
    return ChatTemplate(standing_in(template) | ends, exists)


def from_ollama(shown: dict[str, Any]) -> ChatTemplate:
    """From POST /api/show. It does not show the text of tokens, so `</s>` counts wherever it may end a text."""
    template = shown.get("template")
    if not isinstance(template, str):
        return UNKNOWN
    if shown.get("renderer"):  # Ollama renders it in its own code (model/renderers), and shows another one
        return RENDERED
    info, parameters = shown.get("model_info"), shown.get("parameters")
    tokenizer = info.get("tokenizer.ggml.model") if isinstance(info, dict) else None
    uses_ends = tokenizer is None or tokenizer in SENTENCE_PIECE or _NAMES_END_TOKENS.search(template)
    ends = END_TOKENS if uses_ends else frozenset()
    stops = standing_in(parameters) if isinstance(parameters, str) else frozenset()
    return ChatTemplate(standing_in(template) | stops | ends, template.strip() != NO_TEMPLATE)
