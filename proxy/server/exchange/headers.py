"""The headers of every response on a guarded path: what became of the exchange, and what was left out."""

from __future__ import annotations

import re
from collections.abc import Iterable

from proxy.dialects.request import Request
from proxy.server.exchange.record import Exchange
from proxy.server.http.headers import Headers

NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.\[\]$-]")
MAX_NAMES = 20


def response_headers(exchange: Exchange, request: Request | None, content_type: str) -> Headers:
    """Request id, policy revision, action; whether text is let out before it is judged; its place in the queue, if it
    waited; which keys were dropped or parts removed."""
    headers = [
        (b"content-type", content_type.encode("latin-1")),
        (b"x-safety-proxy-request-id", exchange.id.encode()),
        (b"x-safety-proxy-policy", exchange.revision.encode()),
        (b"x-safety-proxy-action", exchange.action.encode()),
    ]
    if exchange.judged_after:
        headers.append((b"x-safety-proxy-judged", b"after"))
    if exchange.queue_place:
        headers.append((b"x-safety-proxy-queue", b"%d" % exchange.queue_place))
    if request is not None:
        if request.dropped:
            headers.append((b"x-safety-proxy-dropped", header_value(request.dropped)))
        if request.removed:
            headers.append((b"x-safety-proxy-removed", header_value(request.removed)))
    if exchange.action == "block":
        headers.append((b"x-should-retry", b"false"))
    return headers


def header_value(keys: Iterable[str]) -> bytes:
    """Keys of a client's JSON as a header's value. Nothing in them can break out of it."""
    listed = list(keys)
    shown = [NOT_PLAIN.sub("?", key[:60]) for key in listed[:MAX_NAMES]]
    return ", ".join([*shown, *(["..."] if len(listed) > MAX_NAMES else [])]).encode("ascii")
