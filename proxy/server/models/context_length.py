"""Prompts that are longer than the model's context: refused where the model server would cut them without a word.

Ollama cuts the head off, with the operator's words in it, and answers with status 200. /api/chat and /api/generate have
a switch against that; its other dialects have none. So the length in force is read (Ollama: GET /api/ps, llama.cpp:
/props, LM Studio: /api/v0/models), and how many characters a token has is learnt from what answers say they counted.

An estimate must never stand in the way of a prompt that fits: a token is taken to have at least as many characters as
in any answer so far, and never fewer than FEWEST; and only what is then still over by a margin is refused.
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
from proxy.server.models.api import ModelServerApi, entry

log = logging.getLogger("safety_proxy.server")

CUT_SILENTLY = frozenset(
    ("openai_chat", "openai_completions", "openai_responses", "anthropic_messages", "lmstudio_v0_chat", "lmstudio_chat")
)
"""Dialects that have no switch against cutting."""
FEWEST = 4.0  # characters of a token: prose has more in most languages, but for those with large alphabets
MOST = 12.0  # no tokenizer packs a whole prompt tighter
SHORT = 2_000  # characters: shorter prompts fit in every context, and teach nothing about tokens
FAR_BELOW = 0.5  # of the estimate: an answer that counted so few tokens was made from a part of the prompt
FRESH = 10.0  # seconds
PATIENCE = 0.25  # seconds that a long prompt waits for a length that nobody knows yet
MOST_MODELS = 100


@dataclass(slots=True)
class _Model:
    length: int = 0  # tokens; 0: unknown
    asked: float = float("-inf")
    characters: float = FEWEST  # of a token, at most


class Contexts:
    """What is known of each model's context. `margin`: how far over the length an estimate must be; 0: never refuse."""

    def __init__(self, inquiry: ModelServerApi, margin: float, clock: Callable[[], float] = monotonic) -> None:
        self._inquiry = inquiry
        self._margin = margin
        self._clock = clock
        self._models: dict[str, _Model] = {}

    async def check(self, name: str, characters: int) -> None:
        """Raises PromptTooLong when the prompt is surely longer than the context."""
        if not self._margin or characters < SHORT:
            return
        model = self._of(name)
        await self._refresh(model, normalise_model(name))
        estimate = int(characters / model.characters)
        if model.length and estimate >= model.length * self._margin:
            raise PromptTooLong.about(estimate, model.length)

    def learn(self, name: str, characters: int, tokens: int) -> bool:
        """What an answer counted of a prompt. True when it was so little that the prompt must have been cut."""
        if characters < SHORT or tokens <= 0:
            return False
        model = self._of(name)
        if tokens < FAR_BELOW * characters / model.characters:
            log.warning(
                "model %.80r read %d tokens of a prompt with about %d: its context is %s, and the rest was cut off",
                *(name, tokens, characters / model.characters, model.length or "unknown"),
            )
            return True
        model.characters = min(max(model.characters, characters / tokens), MOST)
        return False

    def _of(self, name: str) -> _Model:
        key = normalise_model(name)
        model = self._models.pop(key, None) or _Model()
        while len(self._models) >= MOST_MODELS:
            del self._models[next(iter(self._models))]  # the one asked for longest ago
        self._models[key] = model
        return model

    async def _refresh(self, model: _Model, key: str) -> None:
        """Ask for the length when it is time; wait a little only when there is none at all."""
        now = self._clock()
        if now - model.asked < FRESH:
            return
        model.asked = now
        done = asyncio.Event()
        self._inquiry.start(self._look(model, key, done))
        if not model.length:
            try:
                async with asyncio.timeout(PATIENCE):
                    await done.wait()
            except TimeoutError:
                return

    async def _look(self, model: _Model, key: str, done: asyncio.Event) -> None:
        try:
            model.length = await self._ask(key)
        finally:
            done.set()

    async def _ask(self, key: str) -> int:
        loaded = await self._inquiry.get("/api/ps")
        if isinstance(loaded.get("models"), list):
            return _number(entry(loaded, "models", key, "name", "model").get("context_length"))
        props = await self._inquiry.get("/props")
        if isinstance(settings := props.get("default_generation_settings"), dict):
            return _number(settings.get("n_ctx"))
        return _number(entry(await self._inquiry.get("/api/v0/models"), "data", key, "id").get("loaded_context_length"))


def _number(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0
