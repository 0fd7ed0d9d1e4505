"""Models that run on another machine, under any name: Ollama shows where it sends their prompts.

`ollama create` makes a model with `remote_host` and `remote_model`, and its name need not end in `:cloud`. Ollama's
GET /api/tags and POST /api/show show both (Ollama, api/types.go).

A prompt must not leave before that is known. So a request waits for it, unless it was asked recently: as long as it
would wait for its answer, since a busy model server keeps both waiting. If it does not say it, the request fails.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from proxy.dialects.common.limits import cloud_model
from proxy.errors import UpstreamError, UpstreamTimeout
from proxy.policy.names import normalise_model
from proxy.server.models.api import ModelServerApi, find_entry

log = logging.getLogger("safety_proxy.server")

REFRESH_AFTER = 10.0  # seconds after which the model server is asked again
REFRESH_AFTER_SILENCE = 60.0  # the same for servers that do not show it, as all but Ollama
WAIT = 2.0  # seconds that a request waits where it is known from before; no model has to be loaded for it
MAX_MODELS = 100
UNKNOWN = "; no prompt is sent before that is known (setting allow_cloud_models)"


@dataclass(slots=True)
class _Model:
    """What is known of one model.

    refresh_at: when it is asked again
    said:       the model server has told where it runs, now or earlier
    is_remote:  it runs elsewhere
    digest:     of the model for which `is_remote` was shown in full
    problem:    why the latest question was not answered
    asking:     the latest question; `waiting`: how many requests wait for it
    """

    refresh_at: float = float("-inf")
    said: bool = False
    is_remote: bool = False
    digest: str = ""
    problem: UpstreamError | None = None
    asking: asyncio.Task[None] | None = None
    waiting: int = 0
    known: asyncio.Event = field(default_factory=asyncio.Event)


class CloudModels:
    """Where each model runs, as far as is known. `patience`: seconds in which the model server has to say it."""

    def __init__(self, model_server: ModelServerApi, patience: float, clock: Callable[[], float] = monotonic) -> None:
        self._model_server = model_server
        self._patience = patience
        self._clock = clock
        self._models: dict[str, _Model] = {}  # by the name as clients write it

    async def refuse_remote(self, name: str) -> None:
        """Raises BadRequest if the model server sends this model's prompts to another machine, and UpstreamError if
        it does not say whether it does."""
        model = self._model(name)
        if self._clock() >= model.refresh_at:
            model.refresh_at = self._clock() + REFRESH_AFTER
            model.known.clear()
            model.asking = self._model_server.start(self._refresh(model, name))
        if not model.known.is_set():
            await self._wait(model, name)
        if model.is_remote:
            raise cloud_model(name)
        if not model.said:
            raise model.problem or UpstreamError("The model server was not asked where the model runs", "internal", 500)

    def _model(self, name: str) -> _Model:
        model = self._models.pop(name, None) or _Model()
        while len(self._models) >= MAX_MODELS:
            del self._models[next(iter(self._models))]  # the one used longest ago
        self._models[name] = model
        return model

    async def _refresh(self, model: _Model, name: str) -> None:
        try:
            await self._ask(model, name)
            model.said, model.problem = True, None
        except UpstreamError as error:
            model.problem = error
        finally:
            if not model.said:
                model.refresh_at = float("-inf")
            model.known.set()

    async def _ask(self, model: _Model, name: str) -> None:
        tags = await self._model_server.said(b"GET", "/api/tags")
        listed = find_entry(tags, "models", normalise_model(name), "name", "model")
        digest = str(listed.get("digest") or "")
        if _is_remote(listed):
            model.is_remote, model.digest = True, ""
        elif not digest or digest != model.digest:
            shown = await self._model_server.said(b"POST", "/api/show", {"model": listed.get("name") or name})
            model.is_remote, model.digest = _is_remote(shown), digest
            if not listed and not shown:
                model.refresh_at = self._clock() + REFRESH_AFTER_SILENCE

    async def _wait(self, model: _Model, name: str) -> None:
        """Until it is known; not for long where it was known before."""
        model.waiting += 1
        patience = WAIT if model.said else self._patience
        try:
            async with asyncio.timeout(patience):
                await model.known.wait()
        except TimeoutError:
            if not model.said:
                silence = f"The model server has not said within {patience:g} s where the model {name[:80]!a} runs"
                raise UpstreamTimeout(silence + UNKNOWN, "timeout") from None
            log.warning("no answer within %g s where model %.80r runs; what was known before counts", patience, name)
        finally:
            model.waiting -= 1
            if not model.waiting and not model.known.is_set() and not model.said:
                self._give_up(model, name)

    def _give_up(self, model: _Model, name: str) -> None:
        """Nobody waits for the answer any more: the next request asks anew."""
        if model.asking is not None:
            model.asking.cancel()
        if self._models.get(name) is model:
            del self._models[name]


def _is_remote(shown: dict[str, Any]) -> bool:
    return bool(shown.get("remote_host") or shown.get("remote_model"))
