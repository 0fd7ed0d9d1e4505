"""The fake server for tests that block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.fakes.connection import WAIT_SECONDS, Exchange, Request
from tests.fakes.server import Answers, FakeUpstream

T = TypeVar("T")


class FakeUpstreamThread:
    """A `FakeUpstream` in a thread with a loop of its own, for tests that block, as those of sync SDKs do.

    Its lists and numbers may be read from any thread; an event that a step waits for is set with `set`.
    """

    def __init__(self, answers: Answers, *, boundaries: bool = True, tells_models: bool = False) -> None:
        self.upstream = FakeUpstream(answers, boundaries=boundaries, tells_models=tells_models)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake upstream")

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return self.upstream.url

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as its base_url."""
        return self.upstream.base_url

    @property
    def requests(self) -> list[Request]:
        """The requests so far, in the order they came."""
        return self.upstream.requests

    @property
    def connections(self) -> int:
        """How many connections clients have opened so far."""
        return self.upstream.connections

    def exchange(self, index: int = 0, within: float = WAIT_SECONDS) -> Exchange:
        """The exchange of that number, as soon as its request has come."""
        return self._run(self.upstream.exchange(index, within))

    def wait_answered(self, index: int = 0, within: float = WAIT_SECONDS) -> None:
        """Wait until the answer of that number is played, or cut short because the client went."""
        self._run(self.exchange(index, within).wait_answered(within))

    def wait_client_closed(self, index: int = 0, within: float = WAIT_SECONDS) -> float:
        """Wait until the client closes the connection of that exchange. Returns when, by time.monotonic()."""
        return self._run(self.exchange(index, within).wait_client_closed(within))

    def close(self) -> None:
        """End now: connections are closed, and new ones refused."""
        self._run(self.upstream.__aexit__(None, None, None))

    def set(self, event: asyncio.Event) -> None:
        """Set an event that a `Wait` or a `Stall` waits for."""
        self._loop.call_soon_threadsafe(event.set)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self.upstream.__aenter__())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self._run(self.upstream.__aexit__(kind, error, tb))
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(WAIT_SECONDS)
            self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(3 * WAIT_SECONDS)
