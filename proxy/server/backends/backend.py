"""One model server with all that belongs to it: its client, its key, what is known of it and of its models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from proxy.policy.names import model_globs, normalise_model
from proxy.server.backends.kinds import BackendKind, speaks
from proxy.server.backends.look import NOT_LOOKED_AT, Look, look_at
from proxy.server.config import ServerConfig, UpstreamConfig
from proxy.server.models.alignments import Alignments
from proxy.server.models.api import ModelServerApi
from proxy.server.models.chat_templates import ChatTemplates
from proxy.server.models.cloud_models import CloudModels
from proxy.server.models.context_length import ContextLengths
from proxy.server.upstream.client import UpstreamHeaders, create_upstream, shown_url

NEVER = float("-inf")


class Models(NamedTuple):
    """What is known of a model server's models."""

    templates: ChatTemplates
    contexts: ContextLengths
    cloud: CloudModels
    alignments: Alignments


class Backend:
    """A model server.

    name:    for logs and metrics: what the operator calls it, else its URL
    url:     its base URL, without a slash at its end
    weight:  how much it takes: of two that are equal but for this, one of weight 2 gets twice as many requests
    upstream, headers: its client, and what makes the headers of clients' requests to it, with its own key
    api:     asks it about its models
    models:  what is known of them
    known:   what the latest look at it has shown
    up:      whether it answered when last asked; None: it has not been asked
    heard:   the traffic, or a look, has told since the latest look that was due whether it answers
    report:  is told when `up` changes
    running: requests that it has now
    looked_at: when the latest look ended (time.monotonic())
    """

    def __init__(self, row: UpstreamConfig, config: ServerConfig) -> None:
        self.url = shown_url(row.url)
        self.name = row.name or self.url
        self.weight = row.weight
        self.upstream = create_upstream(config, row.url)
        self.headers = UpstreamHeaders(row.key, config.pass_authorization)
        self.own_headers = UpstreamHeaders(row.key, False).build([], b"application/json")
        self.api = ModelServerApi(self.upstream, row.key)
        self.models = Models(
            ChatTemplates(self.api),
            ContextLengths(self.api, config.context_margin),
            CloudModels(self.api, config.first_byte_timeout),
            Alignments(self.api),
        )
        self.known: Look = NOT_LOOKED_AT
        self.up: bool | None = None
        self.heard = False
        self.report: Callable[[bool], None] = lambda _: None
        self.running = 0
        self.looked_at = NEVER
        self._looking: asyncio.Task[None] | None = None
        self._globs = model_globs(row.models) if row.models else None

    @property
    def load(self) -> float:
        """How busy one more request would make it, for its weight."""
        return (self.running + 1) / self.weight

    @property
    def is_limited(self) -> bool:
        """The operator says which models it gets."""
        return self._globs is not None

    def has(self, model: str) -> bool:
        """Whether it has a model, of which `model` is the normalised name: as the operator says, else as it lists."""
        if self._globs is not None:
            return self._globs.fullmatch(model) is not None
        return model in (self.known.models or ())

    def may_have(self, model: str) -> bool:
        """It is not known which models it has."""
        return self._globs is None and self.known.models is None

    @property
    def is_wrong(self) -> bool:
        """Something else than a model server is at its address, as far as can be seen."""
        return self.known.answers and self.known.kind is None and self.known.models == {}

    async def answering(self, model: str) -> tuple[str, ...]:
        """The models that may answer to a name: llama.cpp with one model answers with that one, whatever name a request
        has. It is asked what it has, if nobody has asked it yet."""
        if self.known is NOT_LOOKED_AT:
            await self.look()
        listed = self.known.models or {}
        takes_any = self.known.kind is BackendKind.LLAMA_CPP and normalise_model(model) not in listed
        return self.known.names if takes_any else (model,)

    def shows(self, name: str) -> bool:
        """Whether a model that it lists is shown: requests for it may go there."""
        return self._globs is None or self._globs.fullmatch(normalise_model(name)) is not None

    def speaks(self, path: str) -> bool:
        """Whether it serves a path, as far as is known."""
        return speaks(self.known.kind, path)

    def build(self, model: str) -> str:
        """The same for backends that have the same build of a model: its digest, or that the operator says both have
        it. "": nobody knows."""
        return (self.known.models or {}).get(model, "") or ("as configured" if self.is_limited else "")

    def mark(self, model: str) -> str:
        """What tells a model from another one under its name: its digest, or what llama.cpp says of its size. Other
        models may have the same size, so this is no `build`. "": nothing is known."""
        return self.build(model) or self.known.marks.get(model, "")

    async def look(self) -> Look:
        """Ask what it is and which models it has. What was known stays where it does not answer. Looks at the same time
        are one."""
        if self._looking is None or self._looking.done():
            self._looking = self.api.start(self._look())
        await asyncio.wait([self._looking])
        return self.known

    async def _look(self) -> None:
        self.known = await look_at(self.api, self.known)
        self.looked_at = monotonic()
        is_busy = self.known.silent and self.running and self.up
        if not is_busy:  # llama.cpp answers nobody while all of its threads are at work
            self.tell(self.known.answers)

    def tell(self, is_up: bool) -> None:
        """It has answered just now, or could not be reached."""
        self.heard = True
        if is_up is not self.up:
            self.up = is_up
            self.report(is_up)

    async def aclose(self) -> None:
        """Close its connections. Once is enough."""
        await self.api.aclose()
        await self.upstream.aclose()
