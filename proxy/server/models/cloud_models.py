"""Models that run on another machine, under any name: Ollama shows where it sends their prompts.

`ollama create` makes a model with `remote_host` and `remote_model`, and its name need not end in `:cloud`. Ollama's
GET /api/tags and POST /api/show show both (Ollama, api/types.go).

A prompt must not leave before that is known. So a request waits for it, unless it was asked recently.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from proxy.dialects.common.limits import cloud_model
from proxy.policy.names import normalise_model
from proxy.server.models.api import ModelServerApi, find_entry

log = logging.getLogger("safety_proxy.server")

REFRESH_AFTER = 10.0  # seconds after which the model server is asked again
REFRESH_AFTER_SILENCE = 60.0  # the same for servers that do not show it, as all but Ollama
WAIT = 2.0  # seconds that a request waits; no model has to be loaded for it
MAX_MODELS = 100


@dataclass(slots=True)
class _Model:
    refresh_at: float = float("-inf")  # when it is asked again
    is_remote: bool = False
    digest: str = ""  # of the model for which `is_remote` was shown in full
    known: asyncio.Event = field(default_factory=asyncio.Event)


class CloudModels:
    """Where each model runs, as far as is known."""

    def __init__(self, model_server: ModelServerApi, clock: Callable[[], float] = monotonic) -> None:
        self._model_server = model_server
        self._clock = clock
        self._models: dict[str, _Model] = {}  # by the name as clients write it

    async def refuse_remote(self, name: str) -> None:
        """Raises BadRequest if the model server sends this model's prompts to another machine."""
        model = self._model(name)
        if self._clock() >= model.refresh_at:
            model.refresh_at = self._clock() + REFRESH_AFTER
            model.known.clear()
            self._model_server.start(self._refresh(model, name))
        if not model.known.is_set():
            await _wait(model.known, name)
        if model.is_remote:
            raise cloud_model(name)

    def _model(self, name: str) -> _Model:
        model = self._models.pop(name, None) or _Model()
        while len(self._models) >= MAX_MODELS:
            del self._models[next(iter(self._models))]  # the one used longest ago
        self._models[name] = model
        return model

    async def _refresh(self, model: _Model, name: str) -> None:
        try:
            tags = await self._model_server.get("/api/tags")
            listed = find_entry(tags, "models", normalise_model(name), "name", "model")
            digest = str(listed.get("digest") or "")
            if _is_remote(listed):
                model.is_remote, model.digest = True, ""
            elif not digest or digest != model.digest:
                shown = await self._model_server.post("/api/show", {"model": listed.get("name") or name})
                model.is_remote, model.digest = _is_remote(shown), digest
                if not listed and not shown:
                    model.refresh_at = self._clock() + REFRESH_AFTER_SILENCE
        finally:
            model.known.set()


async def _wait(known: asyncio.Event, name: str) -> None:
    try:
        async with asyncio.timeout(WAIT):
            await known.wait()
    except TimeoutError:
        log.warning(
            "the model server has not said within %g s where model %.80r runs; what was known before counts", WAIT, name
        )


def _is_remote(shown: dict[str, Any]) -> bool:
    return bool(shown.get("remote_host") or shown.get("remote_model"))
