"""Which backends are asked for a model, and in which order.

A model goes to the backend that has it. Several that have the same build of it share the load: the one with the fewest
running requests for its weight is asked. Those that have another build under the same name come after them, and those
that do not answer come last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from time import monotonic

from proxy.errors import NotServed
from proxy.policy.names import normalise_model
from proxy.server.backends.backend import NEVER, Backend
from proxy.server.config import ServerConfig
from proxy.server.keys.key import Key

WAIT = 2.0  # seconds that a request waits for looks at the backends, where nobody is known to have its model
FRESH = 1.0  # seconds in which a look is not repeated for a model that nobody has
MAX_NAMES = 20  # names of models in an error
LONGEST = 80  # characters of a model's name in an error


class Backends:
    """All model servers. `only`: the one that gets every request; None: it depends on the model."""

    def __init__(self, config: ServerConfig, admits: Callable[[str], bool]) -> None:
        """`admits`: whether a model's name may be shown to a client."""
        self.all = [Backend(row, config) for row in config.backends]
        first = self.all[0]
        self.only = first if len(self.all) == 1 and not first.is_limited else None
        self._admits = admits

    async def choose(self, model: str, path: str, key: Key | None = None, *, has_prompt: bool = False) -> list[Backend]:
        """Those that may serve a request for a model at a path, the one to ask first. Raises NotServed for none, with
        the names of models that the key may use.

        has_prompt: it holds texts, so one that gets only some models does not get it without a model's name
        """
        if self.only is not None:
            return [self.only]
        having = await self._having(model)
        if has_prompt and not normalise_model(model):
            having = [one for one in having if not one.is_limited or one.has("")]
        if not having:
            raise self._missing(model, key)
        speaking = [one for one in having if one.speaks(path)]
        if not speaking:
            raise self._other_dialect(model, path, having)
        return ordered(speaking, normalise_model(model))

    async def listing(self, path: str) -> list[Backend]:
        """Those that have the list of models at a path, less those that are not there. Raises NotServed for none."""
        await self._look(self._new())
        speaking = [one for one in self.all if one.speaks(path)]
        if not speaking:
            raise self._other_dialect("", path, self.all)
        return [one for one in speaking if one.up is not False] or speaking

    async def aclose(self) -> None:
        """Close all connections. Once is enough."""
        for backend in self.all:
            await backend.aclose()

    async def _having(self, model: str) -> list[Backend]:
        """Those that have a model; where none has it, those whose lists nobody has seen. Without a model any."""
        await self._look(self._new())
        name = normalise_model(model)
        if not name:
            return [one for one in self.all if not one.is_wrong]
        having = [one for one in self.all if one.has(name)]
        if not having:
            await self._look(self._due())
            having = [one for one in self.all if one.has(name)]
        return having or [one for one in self.all if one.may_have(name)]

    def _new(self) -> list[Backend]:
        """Those at which nobody has looked yet."""
        return [one for one in self.all if one.looked_at == NEVER]

    def _due(self) -> list[Backend]:
        now = monotonic()
        return [one for one in self.all if not one.is_limited and now - one.looked_at >= FRESH]

    async def _look(self, backends: Iterable[Backend]) -> None:
        """For as long as a client may wait; what takes longer is known to the next one."""
        looks = [asyncio.ensure_future(one.look()) for one in backends]
        if not looks:
            return
        _, late = await asyncio.wait(looks, timeout=WAIT)
        for look in late:
            look.cancel()

    def _missing(self, model: str, key: Key | None) -> NotServed:
        """Nobody has it. In Ollama's own words: its command looks for them."""
        known = list(dict.fromkeys(name for one in self.all for name in one.known.names if one.shows(name)))
        own = [name for name in known if key is None or key.allows(name)]
        shown = [name for name in own if self._admits(name)][: MAX_NAMES + 1]
        more = ", ..." if len(shown) > MAX_NAMES else ""
        listed = ", ".join(shown[:MAX_NAMES]) + more or "none"
        return NotServed(f"model '{model[:LONGEST]}' not found; there are: {listed}", "model", "model_not_found")

    def _other_dialect(self, model: str, path: str, having: Iterable[Backend]) -> NotServed:
        """Somebody has it, but none of those serves the path."""
        kinds = ", ".join(sorted({str(one.known.kind) for one in having}))
        if not model:
            return NotServed(f"{path} is served by no model server here ({kinds})", code="unknown_path")
        message = f"model '{model[:LONGEST]}' is on {kinds}, which does not serve {path}"
        return NotServed(f"{message}; OpenAI's paths (/v1) reach it", "model", "unknown_path")


def ordered(backends: Iterable[Backend], name: str) -> list[Backend]:
    """In the order in which they are asked for a model; they stand in the operator's."""
    alive_first = sorted(backends, key=_is_down)
    first, build = alive_first[0], alive_first[0].build(name)
    same = [one for one in alive_first if one is first or (build and one.build(name) == build)]
    others = [one for one in alive_first if one not in same]
    return sorted([*sorted(same, key=lambda one: one.load), *others], key=_is_down)


def _is_down(backend: Backend) -> bool:
    return backend.up is False
