"""The web's rules (CORS), and the defence against names that point here (DNS rebinding)."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from functools import lru_cache

from proxy.server.http.headers import Headers

OURS = ("request-id", "policy", "action", "queue", "dropped", "removed")

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


class WebRules:
    """Which web pages may call, and under which names the proxy answers at all."""

    def __init__(self, origins: Iterable[str], hosts: Iterable[str], bound_to: str | None) -> None:
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._hosts = frozenset(host.lower() for host in hosts) | {"localhost", socket.gethostname().lower()}
        self._check_hosts = bound_to is None or is_loopback(bound_to)
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


def may_lack_host(http_version: str, method: str) -> bool:
    """Whether a request may come without Host: probes of load balancers do, in HTTP/1.0. A web page never does."""
    return http_version != "1.1" and method in ("GET", "HEAD")


def is_loopback(address: str) -> bool:
    """Whether an address, or the name localhost, is this machine's own."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.lower() == "localhost"
