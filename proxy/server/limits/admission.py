"""Whether an exchange may begin, when its turn is, and what it has used: the one place that the handlers ask.

An exchange enters, takes its turn, and leaves at its end, which it is told of as an observer. Tokens are counted then:
what the model server counted, else an estimate.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from proxy.errors import ClientError, TooMany
from proxy.server.config import ServerConfig
from proxy.server.exchange.record import Exchange, Outcome
from proxy.server.exchange.timeouts import ExchangeTimeouts, Heartbeat
from proxy.server.keys.key import NO_LIMITS, Key
from proxy.server.limits.probing import Probing
from proxy.server.limits.queue import Queue
from proxy.server.state.pause import Pause

if TYPE_CHECKING:
    from proxy.server.limits.rates import Limit, Rates

STREAMS_RETRY = 1.0  # seconds
CHARACTERS_A_TOKEN = 4  # of a prompt, where nobody has counted

log = logging.getLogger("safety_proxy.limits")

Refusal = tuple[str, str]
"""Which limit refused a request, and whose it is: `key` or `all`."""


class _Inside:
    """What an exchange holds until it ends."""

    __slots__ = ("limits", "queue")

    def __init__(self, limits: list[Limit]) -> None:
        self.limits = limits
        self.queue: Queue | None = None  # in which it had its turn


class Admission:
    """Lets exchanges in. An observer of them.

    refused: requests that were refused, by limit and scope
    """

    def __init__(self, config: ServerConfig, pause: Pause, rates: Rates | None = None) -> None:
        """`rates`: None: nobody counts by minute."""
        self.pause = pause
        self._make_queue = partial(Queue, config.max_streams, config.max_queue, config.queue_timeout)
        self.queues: dict[str, Queue] = {}  # by name of the model server
        self.probing = Probing(config.cool_down_after, config.cool_down)
        self.rates = rates
        self.refused: Counter[Refusal] = Counter()
        self._all = {"requests": config.requests_per_minute, "tokens": config.tokens_per_minute}
        self._streams: Counter[str] = Counter()  # by name of the key
        self._inside: dict[str, _Inside] = {}  # by the exchange's id
        self._counting: set[asyncio.Task[None]] = set()

    async def enter(self, exchange: Exchange, key: Key | None) -> None:
        """May it begin? Raises ClientError with the reason, and when to ask again."""
        self.pause.refuse()
        self._check_probing(exchange)
        self._check_streams(key)
        limits = self._limits_of(key) if self.rates is not None else []
        self._inside[exchange.id] = _Inside(limits)
        self._streams[exchange.key] += 1
        if limits and self.rates is not None:
            await self._check_rates(self.rates, limits)
        self.pause.refuse()  # it may have come while the limits were looked up

    async def count(self, key: Key | None) -> None:
        """Count a request that no model answers. Raises ClientError if a limit of requests is reached."""
        if self.rates is not None and (limits := [limit for limit in self._limits_of(key) if limit.counts_requests]):
            await self._check_rates(self.rates, limits)

    async def turn(self, exchange: Exchange, timeouts: ExchangeTimeouts, heartbeat: Heartbeat | None) -> None:
        """Wait until the chosen model server may be asked. Who goes on to another one leaves the first. Raises
        Unavailable if there is no place, or it takes too long."""
        inside = self._inside[exchange.id]
        if inside.queue is not None:
            inside.queue.leave()
            inside.queue = None
        queue = self.queues.get(exchange.upstream)
        if queue is None:
            queue = self.queues[exchange.upstream] = self._make_queue()
        if not queue.take():
            try:
                await self._wait(queue, exchange, timeouts, heartbeat)
            except ClientError:
                self.refused["queue", "all"] += 1
                raise
        inside.queue = queue

    async def _wait(
        self, queue: Queue, exchange: Exchange, timeouts: ExchangeTimeouts, heartbeat: Heartbeat | None
    ) -> None:
        exchange.queue_place, turn = queue.line_up()
        timeouts.watch_queue(heartbeat)
        began = perf_counter()
        await queue.wait(turn)
        exchange.queued += perf_counter() - began

    def end(self, exchange: Exchange) -> None:
        """It has ended: give back what it held, and count what it has used."""
        if exchange.outcome is Outcome.BLOCKED and self.probing.blocked(_who(exchange)):
            log.warning("%s has to wait: too many blocked requests in a minute", _who(exchange))
        inside = self._inside.pop(exchange.id, None)
        if inside is None:
            return
        self._streams[exchange.key] -= 1
        if not self._streams[exchange.key]:
            del self._streams[exchange.key]
        if inside.queue is not None:
            inside.queue.leave()
        if inside.limits and self.rates is not None and exchange.sent_upstream:
            counting = self.rates.count_tokens(inside.limits, tokens_of(exchange))
            task = asyncio.get_running_loop().create_task(counting)
            self._counting.add(task)
            task.add_done_callback(self._counting.discard)

    async def counted(self) -> None:
        """Wait until all tokens of exchanges that have ended are counted."""
        await asyncio.gather(*self._counting, return_exceptions=True)

    def _check_probing(self, exchange: Exchange) -> None:
        try:
            self.probing.check(_who(exchange))
        except TooMany:
            self.refused["cool_down", "key"] += 1
            raise

    def _check_streams(self, key: Key | None) -> None:
        most = key.limits.streams if key is not None else 0
        if key is not None and most and self._streams[key.name] >= most:
            self.refused["streams", "key"] += 1
            message = f"The limit of this key is reached: {most} requests at once; ask again when one has ended"
            raise TooMany(message, "too_many_streams", STREAMS_RETRY)

    async def _check_rates(self, rates: Rates, limits: list[Limit]) -> None:
        from proxy.server.limits.rates import Refused

        try:
            await rates.begin(limits)
        except Refused as refused:
            self.refused[refused.limit.what, refused.limit.scope] += 1
            raise refused.error from None
        except ClientError:
            self.refused["store", "all"] += 1
            raise

    def _limits_of(self, key: Key | None) -> list[Limit]:
        """The limits by minute that apply to a request. Tokens first: what is refused for them counts as no request."""
        from proxy.server.limits.rates import ALL, REQUESTS, TOKENS, Limit

        own = NO_LIMITS if key is None else key.limits
        name = "" if key is None else f"key:{key.name}"
        limits = [
            *(Limit(TOKENS, name, own.tokens_per_minute), Limit(TOKENS, ALL, self._all["tokens"])),
            *(Limit(REQUESTS, name, own.requests_per_minute), Limit(REQUESTS, ALL, self._all["requests"])),
        ]
        return [limit for limit in limits if limit.most]


def tokens_of(exchange: Exchange) -> int:
    """Tokens of an exchange: as the model server counted them; else an event stands for one of the answer, and some
    characters for one of the prompt."""
    prompt = exchange.prompt_tokens or -(-exchange.prompt_characters // CHARACTERS_A_TOKEN)
    return prompt + (exchange.answer_tokens or exchange.events)


def _who(exchange: Exchange) -> str:
    """Whose blocked requests are counted together."""
    return f"key:{exchange.key}" if exchange.key else f"client:{exchange.client or 'local'}"
