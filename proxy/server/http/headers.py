"""Headers: two allow-lists, the web's rules (CORS), and the defence against names that point here (DNS rebinding).

What is not listed here passes in neither direction. So `X-Conversation-Id`, with which llama.cpp keeps a raw copy of
an answer, never reaches it.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from functools import lru_cache

from proxy import __version__
from proxy.dialects.base import Request
from proxy.server.exchange.record import Exchange

Headers = list[tuple[bytes, bytes]]

USER_AGENT = b"safety-proxy/" + __version__.encode()
TRACING = frozenset((b"traceparent", b"tracestate"))  # W3C Trace Context
CREDENTIALS = frozenset((b"authorization", b"x-api-key"))
FROM_UPSTREAM = frozenset((b"retry-after",))
OURS = ("request-id", "policy", "action", "dropped", "removed")

DEFAULT_ORIGINS = ("localhost", "127.0.0.1", "0.0.0.0")  # as Ollama's envconfig.AllowedOrigins
DEFAULT_ORIGIN_SCHEMES = ("app://", "file://", "tauri://", "vscode-webview://", "vscode-file://")
LOCAL_SUFFIXES = (".localhost", ".local", ".internal")
PREFLIGHT_HEADERS = (
    "Authorization, Content-Type, User-Agent, Accept, X-Requested-With, OpenAI-Beta, x-api-key, anthropic-version, "
    "anthropic-beta, anthropic-dangerous-direct-browser-access, traceparent, tracestate, x-stainless-arch, "
    "x-stainless-async, x-stainless-custom-poll-interval, x-stainless-helper-method, x-stainless-lang, x-stainless-os, "
    "x-stainless-package-version, x-stainless-poll-helper, x-stainless-retry-count, x-stainless-runtime, "
    "x-stainless-runtime-version, x-stainless-timeout"
)
EXPOSED = ", ".join((*(f"x-safety-proxy-{name}" for name in OURS), "x-should-retry")).encode()
PREFLIGHT_SECONDS = b"43200"

NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.\[\]$-]")
MOST_NAMES = 20


QUERY_LIMIT = 1024
_PAIR = re.compile(rb"[A-Za-z][A-Za-z0-9_.-]{0,63}=[A-Za-z0-9_.+-]{0,128}")
_REACHING = re.compile(rb"conv|stream|model|autoload|slot|key|token", re.IGNORECASE)


class UpstreamHeaders:
    """What a request carries upstream: our own headers, and of the client's only what is listed."""

    def __init__(self, key: str | None, pass_credentials: bool) -> None:
        self._fixed: Headers = [
            (b"content-type", b"application/json"),
            (b"accept-encoding", b"identity"),
            (b"user-agent", USER_AGENT),
        ]
        if key is not None:
            self._fixed.append((b"authorization", b"Bearer " + key.encode()))
        self._accepting: dict[bytes, tuple[tuple[bytes, bytes], ...]] = {}
        self._passed = TRACING | (CREDENTIALS if pass_credentials and key is None else frozenset())

    def of(self, client: Iterable[tuple[bytes, bytes]], accept: bytes) -> Sequence[tuple[bytes, bytes]]:
        """For one request; `accept` is what the dialect reads. Most requests get the very same tuple."""
        fixed = self._accepting.get(accept)
        if fixed is None:
            fixed = self._accepting[accept] = (*self._fixed, (b"accept", accept))
        passed = [pair for pair in client if pair[0] in self._passed]
        return [*fixed, *passed] if passed else fixed


def plain_query(query: bytes) -> bytes:
    """The part of a request's query that goes upstream: short plain pairs, for gateways that route by them.

    Model servers take none on the guarded paths, but for names that reach into stored streams or load models.
    """
    if not query or len(query) > QUERY_LIMIT:
        return b""
    return b"&".join(pair for pair in query.split(b"&") if _PAIR.fullmatch(pair) and not _REACHING.match(pair))


def answer_headers(exchange: Exchange, request: Request | None, content_type: str) -> Headers:
    """What the client is told of every answer."""
    headers = [
        (b"content-type", content_type.encode("latin-1")),
        (b"x-safety-proxy-request-id", exchange.id.encode()),
        (b"x-safety-proxy-policy", exchange.revision.encode()),
        (b"x-safety-proxy-action", exchange.action.encode()),
    ]
    if request is not None:
        if request.dropped:
            headers.append((b"x-safety-proxy-dropped", names(request.dropped)))
        if request.removed:
            headers.append((b"x-safety-proxy-removed", names(request.removed)))
    if exchange.action == "block":
        headers.append((b"x-should-retry", b"false"))
    return headers


def names(keys: Iterable[str]) -> bytes:
    """Keys from a client's JSON as a header's value: nothing in them can break out of it."""
    listed = list(keys)
    shown = [NOT_PLAIN.sub("?", key[:60]) for key in listed[:MOST_NAMES]]
    return ", ".join([*shown, *(["..."] if len(listed) > MOST_NAMES else [])]).encode("ascii")


class WebRules:
    """Which web pages may call, and under which names the proxy answers at all."""

    def __init__(self, origins: Iterable[str], hosts: Iterable[str], bound_to: str) -> None:
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._hosts = frozenset(host.lower() for host in hosts) | {"localhost", socket.gethostname().lower()}
        self._check_hosts = _is_loopback(bound_to)
        self.serves = lru_cache(maxsize=64)(self._serves)  # every request asks, mostly for the same

    def _serves(self, host: str) -> bool:
        """Whether a request for this Host is meant for us. Bound to loopback, only local names are: a page whose own
        name resolves to 127.0.0.1 must not read a private model's answers."""
        if not self._check_hosts:
            return True
        name = _host_name(host).lower().rstrip(".")
        return name in self._hosts or name.endswith(LOCAL_SUFFIXES) or _is_near(name)

    def allows(self, origin: str, host: str) -> bool:
        """Whether a page of this origin may call."""
        origin = origin.lower().rstrip("/")
        if "*" in self._origins or origin in self._origins or origin.startswith(DEFAULT_ORIGIN_SCHEMES):
            return True
        scheme, _, rest = origin.partition("://")
        if scheme not in ("http", "https"):
            return False
        return rest == host.lower() or _host_name(rest) in DEFAULT_ORIGINS


def cross_origin(origin: bytes) -> Headers:
    """For an answer to a page of another origin."""
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", EXPOSED),
        (b"vary", b"Origin"),
    ]


def preflight(methods: Iterable[str]) -> Headers:
    """For the answer to a browser that asks whether it may."""
    return [
        (b"access-control-allow-methods", ", ".join(methods).encode()),
        (b"access-control-allow-headers", PREFLIGHT_HEADERS.encode()),
        (b"access-control-max-age", PREFLIGHT_SECONDS),
    ]


def _host_name(host: str) -> str:
    """A Host or authority without its port; IPv6 without its brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _is_near(name: str) -> bool:
    """Whether it is an address of this machine or of a private network."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_private or address.is_unspecified


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.lower() == "localhost"
