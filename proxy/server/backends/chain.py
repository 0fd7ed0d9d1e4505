"""The backends of one exchange: the one that is asked, and those that are asked after it, should it not be there."""

from __future__ import annotations

import logging

from proxy.errors import UpstreamError, UpstreamUnreachable
from proxy.policy.plan import ChatTemplate
from proxy.policy.schema import Alignment
from proxy.server.backends.backend import Backend
from proxy.server.backends.choice import Backends
from proxy.server.exchange.record import Exchange
from proxy.server.keys.key import Key

WORSE_THAN_UNKNOWN: tuple[Alignment, ...] = ("unaligned", "base")

log = logging.getLogger("safety_proxy.server")


class BackendChain:
    """Which backend an exchange asks. It counts as running there until `close`.

    body: the client's request, as long as it may have to be judged for another backend
    """

    __slots__ = ("_backends", "_current", "_left", "body")

    def __init__(self, backends: Backends) -> None:
        self._backends = backends
        self._current: Backend | None = None
        self._left: list[Backend] = []
        self.body = b""

    @property
    def current(self) -> Backend:
        """The one that is asked. For an exchange that has chosen."""
        assert self._current is not None
        return self._current

    def template_of(self, model: str) -> ChatTemplate:
        """What is known of a model's chat template there."""
        return self.current.models.templates.get(model)

    def alignment_of(self, model: str, before: Alignment) -> Alignment:
        """What a model is known to be there. While nobody knows, it is what it was at the one asked before, if that is
        worse than unknown."""
        status = self.current.models.alignments.known(model).status
        return before if status == "unknown" and before in WORSE_THAN_UNKNOWN else status

    async def choose(self, exchange: Exchange, path: str, key: Key | None = None) -> None:
        """Choose for the exchange's model, unless that is done. Raises NotServed where nobody can be asked."""
        if self._current is not None:
            return
        only = self._backends.only
        if only is None:
            first, *self._left = await self._backends.choose(exchange.model, path, key, has_prompt=True)
        else:
            first = only
        self._take(first, exchange)

    def move(self, exchange: Exchange, error: UpstreamError) -> bool:
        """Take the next backend, as the one that was asked has failed so. False: there is none, or the request may have
        been processed."""
        current = self._current
        was_sent = exchange.sent_upstream and not never_sent(error)
        if current is None or was_sent or not self._left:
            return False
        if error.reason == "connect":
            current.tell(False)
        log.warning(
            "request %s: %s: %s (%s); %s is asked instead",
            *(exchange.id, exchange.asked, error.for_log, error.__cause__ or error.reason, self._left[0].name),
            extra={"request_id": exchange.id, "reason": error.reason, "in_message": True},
        )
        exchange.moved_from += ((current.name, error.reason),)
        exchange.begin_again()
        current.running -= 1
        self._take(self._left.pop(0), exchange)
        return True

    def parsed(self) -> None:
        """The body has been read for the current one. It may be large, and the answer's head may take minutes."""
        if not self._left:
            self.body = b""

    def sent(self) -> None:
        """The request has been answered, so nobody else will get it."""
        self.body = b""
        self._left = []

    def close(self) -> None:
        """The exchange has ended."""
        self.sent()
        if self._current is not None:
            self._current.running -= 1

    def _take(self, backend: Backend, exchange: Exchange) -> None:
        backend.running += 1
        self._current = backend
        exchange.upstream = backend.name


def never_sent(error: UpstreamError) -> bool:
    """Not one byte of the request can have reached the model server."""
    return isinstance(error, UpstreamUnreachable) and not error.was_sent
