"""The fake server: takes connections, chooses answers, and keeps what came."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Self

from tests.fakes.answers import Answer, Framing, reply
from tests.fakes.connection import WAIT_SECONDS, Connection, Exchange, FakeUpstreamError, Request, bounded

Answers = Answer | Iterable[Answer] | Callable[[Request], Answer]


class FakeUpstream:
    """The server: `answers` is one for every request, one after another, or chosen by a function of the request.

    `boundaries=False` writes as fast as the socket takes, without waiting for the peer to read each piece.
    What the proxy itself asks about models is answered with 404 beside the script and not recorded, as by a server that
    tells nothing of them; `tells_models=True`: the script answers that too.
    """

    def __init__(self, answers: Answers, *, boundaries: bool = True, tells_models: bool = False) -> None:
        self._choose = _chooser(answers)
        self._tells_models = tells_models or getattr(answers, "tells_models", False)
        self._boundaries = boundaries
        self._listener: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()
        self._failures: list[Exception] = []
        self.port = 0
        self.exchanges: list[Exchange] = []
        self.connections = 0
        """How many connections clients have opened so far."""

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as its base_url."""
        return f"{self.url}/v1"

    @property
    def requests(self) -> list[Request]:
        """The requests so far, in the order they came."""
        return [exchange.request for exchange in self.exchanges]

    async def exchange(self, index: int = 0, within: float = WAIT_SECONDS) -> Exchange:
        """The exchange of that number, as soon as its request has come; FakeUpstreamError if it does not come."""
        async with self._changed:
            arrival = self._changed.wait_for(lambda: len(self.exchanges) > index)
            await bounded(arrival, within, f"request {index} did not come: there were {len(self.exchanges)}")
        return self.exchanges[index]

    async def __aenter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._accepting = self._spawn(self._accept(self._listener))
        return self

    def stop_listening(self) -> None:
        """From now on connections are refused; those that there are go on."""
        assert self._listener is not None
        self._accepting.cancel()
        self._listener.close()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Close everything. A failure of the script is raised here, unless the test has failed by itself."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()
        if self._failures and kind is None:
            raise self._failures[0]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _address = await loop.sock_accept(listener)
            self.connections += 1
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._spawn(self._serve(client, self.connections))

    async def _serve(self, client: socket.socket, number: int) -> None:
        async with Connection(client, number, self._boundaries) as connection:
            try:
                while (exchange := await connection.next_exchange()) is not None:
                    if not self._tells_models and _is_about_models(exchange.request):
                        await connection.play(exchange, NOTHING_TOLD)
                        continue
                    await self._record(exchange)
                    await connection.play(exchange, self._choose(exchange.request))
            except Exception as failure:  # told to the test when the fake is closed
                self._failures.append(failure)

    async def _record(self, exchange: Exchange) -> None:
        async with self._changed:
            self.exchanges.append(exchange)
            self._changed.notify_all()


NOTHING_TOLD = reply(b"404 page not found", status=404, content_type="text/plain", framing=Framing.LENGTH)


def _is_about_models(request: Request) -> bool:
    """Whether the proxy asks for itself; what it passes on for a client has another Accept header."""
    return (
        request.path.endswith(("/api/tags", "/api/show", "/models", "/api/version", "/props"))
        and request.header("accept") == "application/json"
    )


def _chooser(answers: Answers) -> Callable[[Request], Answer]:
    if isinstance(answers, Answer):
        return lambda _request: answers
    if callable(answers):
        return answers
    remaining = iter(answers)

    def choose(request: Request) -> Answer:
        answer = next(remaining, None)
        if answer is None:
            raise FakeUpstreamError(f"no answer is left for {request.method} {request.target}")
        return answer

    return choose
