"""The decision log: one record for each exchange, which answers why it ended as it did.

`end` only puts the exchange into a queue. A thread makes the record and hands it to the sinks, so a full pipe or a slow
disk never delays a stream. The queue is bounded: what finds no room is counted and lost.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from proxy.core.failures import CheckFailed
from proxy.core.steps import Steps, in_one_go
from proxy.core.types import Rule
from proxy.server.exchange.record import Exchange
from proxy.server.ops.drops import DECISIONS, Drops
from proxy.server.ops.records import other_machine, place_of, record_of

MAX_WAITING = 1_000  # finished exchanges
MAX_RULES = 20  # named in one line; and so many places of failures

log = logging.getLogger("safety_proxy.decisions")


class Sink(Protocol):
    """Where records go. All calls come from one thread, which may wait.

    texts: whether records come with their texts, as the setting record_text has it
    """

    @property
    def texts(self) -> bool: ...

    def wants(self, exchange: Exchange) -> bool:
        """Whether it writes anything for this exchange. Called where streams are served: it must not wait."""

    def write(self, record: dict[str, Any], exchange: Exchange) -> None:
        """One record, and the exchange that it is made of."""

    def close(self) -> None:
        """Nothing follows."""


class Finished(NamedTuple):
    """An exchange that has ended, and the texts of its record; None: it has none."""

    exchange: Exchange
    texts: dict[str, Any] | None


class Masking:
    """An exchange whose texts are being masked."""

    def __init__(self, exchange: Exchange, steps: Steps[dict[str, Any]]) -> None:
        self.exchange = exchange
        self._texts: dict[str, Any] = {}
        self.steps = self._run(steps)

    def _run(self, steps: Steps[dict[str, Any]]) -> Steps[None]:
        self._texts = yield from steps

    def rest(self) -> dict[str, Any]:
        """Do what is left, and return the texts."""
        in_one_go(self.steps)
        return self._texts


class DecisionLog:
    """An observer of exchanges that hands records to sinks while its `with` block runs.

    The client sees the same request id in headers, notices and errors. Texts are masked where streams are served, in
    small steps: the matchers are not made for several threads.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        drops: Drops | None = None,
        record_text: str = "none",
        most: int = MAX_WAITING,
    ) -> None:
        """`record_text`: what of the texts goes to sinks that take texts: `none`, `masked` or `full`."""
        self._sinks = sinks
        self._drops = drops or Drops()
        self._record_text = record_text
        self._most = most
        self._masking: dict[Masking, asyncio.Task[None]] = {}
        self._queue: queue.Queue[Finished | None] = queue.Queue(most)
        self._thread = threading.Thread(target=self._run, name="decision log", daemon=True)

    def end(self, exchange: Exchange) -> None:
        """It has ended; its record will be written, if a sink wants it."""
        if not any(sink.wants(exchange) for sink in self._sinks):
            return
        if exchange.transcript is not None and self._record_text != "none":
            self._start_masking(exchange)
        else:
            self._put(Finished(exchange, None))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Write what waits, then close the sinks. The event loop may have ended."""
        for work in list(self._masking):
            self._finish(work)
        self._queue.put(None)
        self._thread.join()
        for sink in self._sinks:
            sink.close()

    def _start_masking(self, exchange: Exchange) -> None:
        if len(self._masking) >= self._most:
            self._drops.add(DECISIONS)
            return
        from proxy.server.exchange.transcript import Transcript
        from proxy.server.ops.recorded_texts import recorded_texts

        assert isinstance(exchange.transcript, Transcript)
        work = Masking(exchange, recorded_texts(exchange.transcript, self._record_text))
        task = asyncio.get_running_loop().create_task(self._mask(work))
        self._masking[work] = task

    async def _mask(self, work: Masking) -> None:
        """In steps, while others run."""
        for _ in work.steps:
            await asyncio.sleep(0)
        self._finish(work)

    def _finish(self, work: Masking) -> None:
        """The rest in one go, unless it has been told already."""
        if self._masking.pop(work, None) is not None:
            self._put(Finished(work.exchange, work.rest()))

    def _put(self, finished: Finished) -> None:
        try:
            self._queue.put_nowait(finished)
        except queue.Full:
            self._drops.add(DECISIONS)

    def _run(self) -> None:
        while (finished := self._queue.get()) is not None:
            try:
                self._write(*finished)
            except Exception:
                self._drops.add(DECISIONS)
                log.exception("request %s: its record cannot be written; please report this", finished.exchange.id)

    def _write(self, exchange: Exchange, texts: dict[str, Any] | None) -> None:
        """Hand an exchange's record to every sink."""
        plain = record_of(exchange)
        for sink in self._sinks:
            if sink.wants(exchange):
                with_texts = sink.texts and texts is not None
                sink.write(record_of(exchange, self._record_text, texts) if with_texts else plain, exchange)


class LogSink:
    """The program's own log: a line for each exchange in which a rule found something, and for each in which a check
    failed. As JSON, an object for every exchange. Never any text."""

    texts = False

    def __init__(self, as_json: bool = False) -> None:
        self._as_json = as_json

    def wants(self, exchange: Exchange) -> bool:
        """See Sink."""
        tells = self._as_json or exchange.findings or exchange.check_errors
        return log.isEnabledFor(logging.INFO if tells else logging.DEBUG)

    def write(self, record: dict[str, Any], exchange: Exchange) -> None:
        """See Sink."""
        errors = [error for error in exchange.check_errors if not isinstance(error, CheckFailed)]  # see plugin_log
        failed = Counter(map(place_of, errors))
        if self._as_json:
            level = logging.ERROR if failed else logging.INFO
            log.log(level, "request %s: %s", exchange.id, record["outcome"], extra={"exchange": record})
        else:
            self._write_lines(exchange, failed)
        if failed:
            log.debug("request %s: its first failure", exchange.id, exc_info=errors[0])

    def close(self) -> None:
        """See Sink."""

    def _write_lines(self, exchange: Exchange, failed: Counter[str]) -> None:
        level = logging.INFO if exchange.findings else logging.DEBUG
        rules = {"rules": _join(_rules(exchange))} if exchange.findings else {}
        log.log(level, "request %s", exchange.id, extra=_fields(exchange) | rules)
        if failed:
            log.error("request %s: a check failed", exchange.id, extra=_fields(exchange) | {"failed": _join(failed)})


def _fields(exchange: Exchange) -> dict[str, str]:
    """For a line. A client of another machine is named by its address."""
    client = other_machine(exchange.client)
    who = ({"client": client} if client else {}) | ({"key": exchange.key} if exchange.key else {})
    alignment = {"alignment": exchange.alignment} if exchange.alignment != "unknown" else {}
    return who | {"endpoint": exchange.endpoint, **alignment, "outcome": exchange.outcome.value}


def _rules(exchange: Exchange) -> Counter[str]:
    """Counts by direction and rule. A prompt may have 100,000 matches, so names are made once for each rule."""
    counts: Counter[str] = Counter()
    kept = Counter((direction, found.rule) for direction, found in exchange.findings)
    for (direction, rule), times in (kept + exchange.more_findings).items():
        counts[_describe(direction, rule)] += times
    return counts


def _describe(direction: str, rule: Rule) -> str:
    action = rule.action.name.lower()
    return f"{direction} {rule.name} {action if rule.enforced else f'(would {action})'}"


def _join(counts: Counter[str]) -> str:
    names = [name if times == 1 else f"{name} ({times} times)" for name, times in counts.items()]
    more = len(names) - MAX_RULES
    return ", ".join(names if more <= 0 else [*names[:MAX_RULES], f"and {more} more"])
