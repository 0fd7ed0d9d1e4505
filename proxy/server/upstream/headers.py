"""The headers of a request to the model server: our own, and of the client's only those that are listed.

So `X-Conversation-Id`, for which llama.cpp keeps a raw copy of an answer, never reaches it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from proxy import __version__
from proxy.server.http.headers import Headers

USER_AGENT = b"safety-proxy/" + __version__.encode()
TRACING = frozenset((b"traceparent", b"tracestate"))  # W3C Trace Context
CREDENTIALS = frozenset((b"authorization", b"x-api-key"))
FROM_UPSTREAM = frozenset((b"retry-after",))

QUERY_LIMIT = 1024
_PAIR = re.compile(rb"[A-Za-z][A-Za-z0-9_.-]{0,63}=[A-Za-z0-9_.+-]{0,128}")
_STATEFUL = re.compile(rb"conv|stream|model|autoload|slot|key|token", re.IGNORECASE)


class UpstreamHeaders:
    """Makes the headers of requests to the model server."""

    def __init__(self, key: str | None, pass_credentials: bool) -> None:
        self._fixed: Headers = [
            (b"content-type", b"application/json"),
            (b"accept-encoding", b"identity"),
            (b"user-agent", USER_AGENT),
        ]
        if key is not None:
            self._fixed.append((b"authorization", b"Bearer " + key.encode()))
        self._by_accept: dict[bytes, tuple[tuple[bytes, bytes], ...]] = {}
        self._passed = TRACING | (CREDENTIALS if pass_credentials and key is None else frozenset())

    def build(self, client: Iterable[tuple[bytes, bytes]], accept: bytes) -> Sequence[tuple[bytes, bytes]]:
        """For one request. `accept`: what the dialect reads. Most requests get the same tuple."""
        fixed = self._by_accept.get(accept)
        if fixed is None:
            fixed = self._by_accept[accept] = (*self._fixed, (b"accept", accept))
        passed = [pair for pair in client if pair[0] in self._passed]
        return [*fixed, *passed] if passed else fixed


def plain_query(query: bytes) -> bytes:
    """The part of a request's query that goes upstream: short plain pairs, for gateways that route by them.

    On the guarded paths model servers know only names that reach into stored streams or load models. Those are dropped.
    """
    if not query or len(query) > QUERY_LIMIT:
        return b""
    return b"&".join(pair for pair in query.split(b"&") if _PAIR.fullmatch(pair) and not _STATEFUL.match(pair))
