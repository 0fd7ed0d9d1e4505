"""Prompts that are longer than the model's context. They are refused if the model server would cut them silently.

Ollama cuts off the head, with the operator's words in it, and answers with status 200. /api/chat and /api/generate have
a switch against that, its other dialects have none. So the proxy reads the length in force (Ollama: GET /api/ps,
llama.cpp: /props, LM Studio: /api/v0/models), and learns the characters of a token from the counts in answers.

A prompt that fits must never be refused. So the estimate is low: a token has as many characters as the most in any
answer so far, and at least MIN_CHARS_PER_TOKEN. And a prompt is refused only if the estimate is over by a margin.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from proxy.errors import PromptTooLong
from proxy.policy.names import normalise_model
from proxy.server.models.api import ModelServerApi, find_entry

log = logging.getLogger("safety_proxy.server")

CUT_SILENTLY = frozenset(
    ("openai_chat", "openai_completions", "openai_responses", "anthropic_messages", "lmstudio_v0_chat", "lmstudio_chat")
)
"""Dialects that have no switch against cutting."""
MIN_CHARS_PER_TOKEN = 4.0  # in most languages prose has more; those with large alphabets have fewer
MAX_CHARS_PER_TOKEN = 12.0  # no tokenizer packs a whole prompt tighter than that
SHORT_PROMPT = 2_000  # characters: a shorter prompt fits into every context, and tells nothing about tokens
CUT_SHARE = 0.5  # of the estimate: if an answer counted fewer tokens, the prompt was cut
REFRESH_AFTER = 10.0  # seconds after which a length is read again
FIRST_WAIT = 0.25  # seconds that a long prompt waits for a length that is not known yet
MAX_MODELS = 100


@dataclass(slots=True)
class _Model:
    length: int = 0  # tokens; 0: unknown
    asked_at: float = float("-inf")
    chars_per_token: float = MIN_CHARS_PER_TOKEN  # the most in any answer


class ContextLengths:
    """The context lengths of models. `margin`: refuse when the estimate is so many times the length; 0: never."""

    def __init__(self, api: ModelServerApi, margin: float, clock: Callable[[], float] = monotonic) -> None:
        self._api = api
        self._margin = margin
        self._clock = clock
        self._models: dict[str, _Model] = {}

    async def check(self, name: str, characters: int) -> None:
        """Raises PromptTooLong if the prompt is surely longer than the context."""
        if not self._margin or characters < SHORT_PROMPT:
            return
        model = self._model(name)
        await self._refresh(model, normalise_model(name))
        estimate = int(characters / model.chars_per_token)
        if model.length and estimate >= model.length * self._margin:
            raise PromptTooLong.with_counts(estimate, model.length)

    def learn(self, name: str, characters: int, tokens: int) -> bool:
        """Learn from the tokens that an answer counted in a prompt. True if they are so few that the prompt was cut."""
        if characters < SHORT_PROMPT or tokens <= 0:
            return False
        model = self._model(name)
        if tokens < CUT_SHARE * characters / model.chars_per_token:
            log.warning(
                "model %.80r read %d tokens of a prompt of about %d: its context is %s, and the rest was cut off",
                *(name, tokens, characters / model.chars_per_token, model.length or "unknown"),
            )
            return True
        model.chars_per_token = min(max(model.chars_per_token, characters / tokens), MAX_CHARS_PER_TOKEN)
        return False

    def _model(self, name: str) -> _Model:
        key = normalise_model(name)
        model = self._models.pop(key, None) or _Model()
        while len(self._models) >= MAX_MODELS:
            del self._models[next(iter(self._models))]  # the one used longest ago
        self._models[key] = model
        return model

    async def _refresh(self, model: _Model, key: str) -> None:
        """Read the length if it is due. Wait for it a little if none is known."""
        now = self._clock()
        if now - model.asked_at < REFRESH_AFTER:
            return
        model.asked_at = now
        done = asyncio.Event()
        self._api.start(self._update(model, key, done))
        if not model.length:
            try:
                async with asyncio.timeout(FIRST_WAIT):
                    await done.wait()
            except TimeoutError:
                return

    async def _update(self, model: _Model, key: str, done: asyncio.Event) -> None:
        try:
            model.length = await self._fetch(key)
        finally:
            done.set()

    async def _fetch(self, key: str) -> int:
        loaded = await self._api.get("/api/ps")
        if isinstance(loaded.get("models"), list):
            return _number(find_entry(loaded, "models", key, "name", "model").get("context_length"))
        props = await self._api.get("/props")
        if isinstance(settings := props.get("default_generation_settings"), dict):
            return _number(settings.get("n_ctx"))
        return _number(
            find_entry(await self._api.get("/api/v0/models"), "data", key, "id").get("loaded_context_length")
        )


def _number(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0
