"""Who may use the admin listener: whoever reaches it, where only this machine does; else who shows a key."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from starlette.requests import Request

from proxy.errors import ClientError
from proxy.server.http.cors import is_loopback
from proxy.server.keys.authentication import Authentication

REMOTE = (
    "The proxy has no keys (setting keys), so the admin side is for clients of its own machine; from others it takes "
    "GET only, and only with allow_anonymous"
)
PAGES = (
    "The proxy has no keys (setting keys), so its pages are for clients of its own machine; allow_anonymous does not "
    "open them"
)
NOT_ADMIN = "This key does not open the admin listener"


class Needs(Enum):
    """What a path asks for."""

    NOTHING = auto()
    SCRAPE = auto()
    ADMIN = auto()


class AdminGuard:
    """Checks requests to the admin listener.

    A listener on the loopback, or on a unix socket, asks nobody. Elsewhere a key is needed. Where there are no keys,
    clients of this machine may do anything; allow_anonymous lets others look, and change nothing.
    """

    def __init__(self, authentication: Authentication, host: str | None, allow_anonymous: bool) -> None:
        """`host`: what the listener is bound to; None: unknown, because another program listens."""
        self._authentication = authentication
        self._is_local = host is not None and is_loopback(host)
        self._allow_anonymous = allow_anonymous

    def check(self, request: Request, needs: Needs) -> None:
        """Raises ClientError for a request that may not be served."""
        if needs is Needs.NOTHING or self._is_local:
            return
        client = request.client.host if request.client is not None else ""
        if self._authentication.store is None:
            self._check_anonymous(request.method, client)
            return
        header = dict(reversed(request.scope["headers"]))
        if not self._authentication.opens(header, client, scrape=needs is Needs.SCRAPE):
            raise ClientError(NOT_ADMIN, None, "key_not_allowed", 403)

    def check_page(self, request: Request, header: Mapping[bytes, bytes]) -> None:
        """The same for pages of the console, which show more than numbers: without keys they are for this machine.

        header: where the key stands. Raises Unauthorized where one would help, and ClientError
        """
        if self._is_local:
            return
        client = request.client.host if request.client is not None else ""
        if self._authentication.store is None:
            if client and not is_loopback(client):
                raise ClientError(PAGES, None, "remote_client", 403)
        elif not self._authentication.opens(header, client, scrape=False):
            raise ClientError(NOT_ADMIN, None, "key_not_allowed", 403)

    def _check_anonymous(self, method: str, client: str) -> None:
        looks = method in ("GET", "HEAD")
        is_near = not client or is_loopback(client)
        if not is_near and not (looks and self._allow_anonymous):
            raise ClientError(REMOTE, None, "remote_client", 403)
