"""Questions to models: the model server that has one is found, and asked within a bound and a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import perf_counter
from typing import NamedTuple

from proxy.checks.guards.calls import Api, Call, CallFailed
from proxy.core.failures import CheckFailed, Reason
from proxy.errors import ClientError, UpstreamError, UpstreamUnreachable
from proxy.policy.names import normalise_model
from proxy.server.asks.breaker import Breaker, Clock
from proxy.server.backends.backend import Backend
from proxy.server.backends.choice import Backends
from proxy.server.backends.kinds import BackendKind
from proxy.server.models.api import Said

EVERYBODYS = "/v1/completions"
"""A path that every model server has, to find the one that has a model."""
MOST_WAITING = 256
"""Questions to one model that may wait for their turn."""
_APIS: dict[BackendKind | None, Api] = {BackendKind.OLLAMA: "ollama", BackendKind.LLAMA_CPP: "llama.cpp"}
_REASONS = {"shape": Reason.WRONG_ANSWER}
"""Of failed calls; all others were refused."""


class Place(NamedTuple):
    """Where a model is. digest: of its build, or what else tells it from another one, as far as the server tells."""

    backend: Backend
    api: Api
    digest: str

    async def post(self, call: Call) -> Said:
        """Ask. Raises UpstreamError."""
        return await self.backend.api.answer(b"POST", call.path, call.body)


class Asked(NamedTuple):
    """A question to a model, for counts.

    kind:    `judge` or `topic`
    result:  `answered`, `cached`, `cancelled`, or a Reason
    queued, seconds: until its turn, and from then on
    """

    kind: str
    model: str
    result: str
    queued: float = 0.0
    seconds: float = 0.0


class _Lane:
    """The questions to one model."""

    def __init__(self, model: str, at_once: int, clock: Clock) -> None:
        self.breaker = Breaker(model, clock)
        self._turns = asyncio.Semaphore(at_once)
        self._waiting = 0

    @asynccontextmanager
    async def turn(self, model: str) -> AsyncIterator[None]:
        """Have a turn. Raises CheckFailed where too many wait."""
        if self._waiting >= MOST_WAITING:
            raise CheckFailed(model, Reason.OVERLOADED, f"has {MOST_WAITING} questions waiting already")
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release()


class ModelAsker:
    """Asks models on the proxy's model servers. `tell` is told of each question that was asked."""

    def __init__(
        self,
        backends: Backends,
        kind: str,
        tell: Callable[[Asked], None] = lambda _: None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._backends = backends
        self._kind = kind
        self._tell = tell
        self._clock = clock
        self._lanes: dict[tuple[str, int], _Lane] = {}

    async def place(self, model: str, seconds: float) -> Place:
        """Where the model is. Raises CheckFailed when nobody has it, or that is not known within so many seconds."""
        with _as_failures(model, seconds):
            async with asyncio.timeout(seconds):
                backend = await self._backend(model)
        return Place(backend, _APIS.get(backend.known.kind, "openai"), backend.mark(normalise_model(model)))

    async def _backend(self, model: str) -> Backend:
        try:
            backend = (await self._backends.choose(model, EVERYBODYS))[0]
        except ClientError:
            raise CheckFailed(model, Reason.REFUSED, "is on no model server: pull it, or correct the name") from None
        if backend.known.kind is None:
            await backend.look()
        return backend

    def cached(self, model: str) -> None:
        """An answer was known."""
        self._tell(Asked(self._kind, model, "cached"))

    @asynccontextmanager
    async def turn(self, model: str, at_once: int, seconds: float, since: float = 0.0) -> AsyncIterator[None]:
        """Have a turn, and be done within so many seconds, the wait for the turn included. All that goes wrong in it
        is raised as a CheckFailed.

        since: when the seconds began (time.perf_counter()); 0.0: now
        """
        began, turned = perf_counter(), 0.0
        left = seconds - (began - since if since else 0.0)
        result = "answered"
        lane = self._lane(model, at_once)
        try:
            lane.breaker.check()
            with _as_failures(model, seconds):
                async with asyncio.timeout(left), lane.turn(model):
                    turned = perf_counter()
                    yield
            lane.breaker.answered()
        except CheckFailed as failed:
            result = failed.reason.value
            if turned:  # else nobody has asked it
                lane.breaker.failed()
            raise
        except asyncio.CancelledError:
            result = "cancelled"
            raise
        finally:
            now = perf_counter()
            turned = turned or now
            self._tell(Asked(self._kind, model, result, turned - began, now - turned))

    def _lane(self, model: str, at_once: int) -> _Lane:
        name = normalise_model(model), at_once
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane(model, at_once, self._clock)
        return lane


@contextmanager
def _as_failures(model: str, seconds: float) -> Iterator[None]:
    """What goes wrong with a model, as a failure of the check that has asked it."""
    try:
        yield
    except TimeoutError:
        raise CheckFailed(model, Reason.DEADLINE, f"has not answered within {seconds:g} s") from None
    except CallFailed as error:
        raise CheckFailed(model, _REASONS.get(error.fault, Reason.REFUSED), f"gave no answer: {error}") from None
    except UpstreamUnreachable:
        raise CheckFailed(model, Reason.UNREACHABLE, "cannot be reached") from None
    except UpstreamError as error:
        raise CheckFailed(model, Reason.WRONG_ANSWER, f"gave no answer ({error.reason})") from None
