"""Models that run elsewhere under any name: Ollama tells of each where it sends the prompts.

`ollama create` makes a model with `remote_host` and `remote_model`; its name need not end in `:cloud`. Ollama's
GET /api/tags and POST /api/show tell both (Ollama, api/types.go).

A prompt must not leave before that is known, so a request waits for the answer when nothing fresh is known.
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

FRESH = 10.0  # seconds for which an answer holds
SILENT = 60.0  # the same where the model server tells nothing of its models, as others than Ollama
PATIENCE = 2.0  # seconds that a request waits; no model has to be loaded for the answer
MOST_MODELS = 100


@dataclass(slots=True)
class _Model:
    until: float = float("-inf")  # when it is asked for anew
    is_remote: bool = False
    digest: str = ""  # of the model of which `is_remote` was told in full
    told: asyncio.Event = field(default_factory=asyncio.Event)


class CloudModels:
    """What is known of each model."""

    def __init__(self, model_server: ModelServerApi, clock: Callable[[], float] = monotonic) -> None:
        self._model_server = model_server
        self._clock = clock
        self._models: dict[str, _Model] = {}

    async def refuse_remote(self, name: str) -> None:
        """Raises BadRequest when the model server says that it sends this model's prompts elsewhere."""
        key = normalise_model(name)
        model = self._of(key)
        if self._clock() >= model.until:
            model.until = self._clock() + FRESH
            model.told.clear()
            self._model_server.start(self._look(model, key, name))
        if not model.told.is_set():
            await _wait(model.told, name)
        if model.is_remote:
            raise cloud_model(name)

    def _of(self, key: str) -> _Model:
        model = self._models.pop(key, None) or _Model()
        while len(self._models) >= MOST_MODELS:
            del self._models[next(iter(self._models))]  # the one asked for longest ago
        self._models[key] = model
        return model

    async def _look(self, model: _Model, key: str, name: str) -> None:
        try:
            listed = find_entry(await self._model_server.get("/api/tags"), "models", key, "name", "model")
            digest = str(listed.get("digest") or "")
            if _is_remote(listed):
                model.is_remote, model.digest = True, ""
            elif not digest or digest != model.digest:
                shown = await self._model_server.post("/api/show", {"model": listed.get("name") or name})
                model.is_remote, model.digest = _is_remote(shown), digest
                if not listed and not shown:
                    model.until = self._clock() + SILENT
        finally:
            model.told.set()


async def _wait(told: asyncio.Event, name: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            await told.wait()
    except TimeoutError:
        log.warning(
            "the model server does not say in %g s where model %.80r runs; what was known last counts", PATIENCE, name
        )


def _is_remote(told: dict[str, Any]) -> bool:
    return bool(told.get("remote_host") or told.get("remote_model"))
