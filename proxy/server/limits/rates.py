"""Requests and tokens a minute, through the library `limits`: in this process, or in a Redis or Valkey server.

A minute begins with the first request in it (the library's fixed window).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.util import WindowStats

from proxy.errors import SettingsError, TooMany, Unavailable
from proxy.server.limits.memory import SteadyMemory

REQUESTS, TOKENS = "requests", "tokens"
ALL = "all"
STORE_TIMEOUT = 0.5  # seconds in which the store answers
STORE_REST = 2.0  # seconds after a failure in which it is not asked again
MINUTE = 60.0

log = logging.getLogger("safety_proxy.limits")

T = TypeVar("T")
Ask = Callable[[FixedWindowRateLimiter], Awaitable[T]]


class Limit(NamedTuple):
    """What one key, or all clients together, may use of something in a minute. `name`: of the key, or ALL."""

    what: str
    name: str
    most: int

    @property
    def item(self) -> RateLimitItemPerMinute:
        """As the library takes it. The number is part of its key in the store: a new number begins a new minute."""
        return RateLimitItemPerMinute(self.most, 1, f"safety-proxy/{self.what}")

    @property
    def counts_requests(self) -> bool:
        """Whether it is a limit of requests."""
        return self.what == REQUESTS

    @property
    def scope(self) -> str:
        """For metrics: `key` or `all`."""
        return ALL if self.name == ALL else "key"


class Refused(Exception):
    """A limit is reached."""

    def __init__(self, limit: Limit, seconds: float) -> None:
        super().__init__(limit.what)
        self.limit = limit
        self.seconds = seconds

    @property
    def error(self) -> TooMany:
        """What the client is told."""
        whose = "all clients together" if self.limit.name == ALL else "this key"
        message = f"The limit of {whose} is reached: {self.limit.most} {self.limit.what} a minute; ask again later"
        return TooMany(message, "rate_limit_exceeded", self.seconds)


class Store(NamedTuple):
    """A Redis or Valkey server. `close` closes the connections to it."""

    storage: Storage
    close: Callable[[], Awaitable[None]]


def open_store(url: str) -> Store:
    """The store at a URL; it is not asked yet. Raises SettingsError if the package for it is missing."""
    try:
        from redis.asyncio import ConnectionPool
    except ImportError:
        fix = "install the proxy with its extra: pip install 'safety-proxy[redis]'"
        raise SettingsError(f"limits_store is set, and redis is not installed; {fix}") from None
    address = url.replace("valkey", "redis", 1).replace("redis+unix", "unix", 1)  # they speak alike: one client will do
    timeouts: dict[str, Any] = {"socket_timeout": STORE_TIMEOUT, "socket_connect_timeout": STORE_TIMEOUT}
    pool = ConnectionPool.from_url(address, **timeouts)
    options: dict[str, Any] = {"connection_pool": pool}
    storage = RedisStorage("async+redis://", implementation="redispy", key_prefix="safety-proxy", **options)
    return Store(storage, pool.disconnect)


def _hit(limit: Limit, cost: int = 1) -> Ask[bool]:
    return lambda limiter: limiter.hit(limit.item, limit.name, cost=cost)


def _test(limit: Limit) -> Ask[bool]:
    return lambda limiter: limiter.test(limit.item, limit.name)


def _stats(limit: Limit) -> Ask[WindowStats]:
    return lambda limiter: limiter.get_window_stats(limit.item, limit.name)


class Rates:
    """Counts, and refuses.

    errors: how often the store did not answer
    """

    def __init__(
        self,
        store: Store | None = None,
        on_error: str = "allow",
        clock: Callable[[], float] = time.monotonic,
        memory: SteadyMemory | None = None,
    ) -> None:
        """`store`: None: this process counts for itself. `on_error`: while the store does not answer, `allow` (this
        process counts for itself) or `refuse`."""
        self._local = FixedWindowRateLimiter(memory or SteadyMemory())
        self._store = store
        self._shared = None if store is None else FixedWindowRateLimiter(store.storage)
        self._on_error = on_error
        self._clock = clock
        self._rest_until = float("-inf")
        self.errors = 0

    async def begin(self, limits: list[Limit]) -> None:
        """Count a request. Raises Refused if one of the limits is reached, and Unavailable if nobody can say so.

        What is refused counts nowhere; of two requests at the same moment one may."""
        *others, last = limits
        for limit in others if last.counts_requests else limits:
            await self._check(limit, _test(limit))
        for limit in reversed(limits):  # first the one that was not looked at: the others would let it in
            if limit.counts_requests:
                await self._check(limit, _hit(limit))

    async def _check(self, limit: Limit, ask: Ask[bool]) -> None:
        if not await self._asked(ask):
            raise Refused(limit, await self._seconds(limit))

    async def count_tokens(self, limits: list[Limit], tokens: int) -> None:
        """Count what an exchange has used, when it has ended. Never raises for a store that does not answer."""
        for limit in limits:
            if limit.what == TOKENS and tokens > 0:
                try:
                    await self._asked(_hit(limit, tokens))
                except Unavailable:
                    await self._local.hit(limit.item, limit.name, cost=tokens)

    async def aclose(self) -> None:
        """Close the connections to the store."""
        if self._store is not None:
            with suppress(Exception):  # it may be gone
                await self._store.close()

    async def _seconds(self, limit: Limit) -> float:
        """How long the limit's minute goes on."""
        stats = await self._asked(_stats(limit))
        return min(max(stats.reset_time - time.time(), 1.0), MINUTE)

    async def _asked(self, ask: Ask[T]) -> T:
        """Ask the store; or, while it does not answer, do as the operator has said."""
        if self._shared is None:
            return await ask(self._local)
        if self._clock() >= self._rest_until:
            try:
                async with asyncio.timeout(STORE_TIMEOUT):
                    return await ask(self._shared)
            except Exception as error:  # its client has a great many
                self._failed(error)
        else:
            self.errors += 1
        if self._on_error == "refuse":
            raise Unavailable("The limits cannot be checked just now; ask again later", "limits_store", STORE_REST)
        return await ask(self._local)

    def _failed(self, error: Exception) -> None:
        """Leave the store alone for a while: each request would wait for it. Its words may hold its password."""
        self.errors += 1
        self._rest_until = self._clock() + STORE_REST
        doing = "requests are refused" if self._on_error == "refuse" else "this process counts for itself"
        log.warning("limits_store does not answer (%s): %s for %g s", type(error).__name__, doing, STORE_REST)
