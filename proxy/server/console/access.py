"""Who may see pages, and which requests come from them: Host, Origin, a token in each form, and a session for a key.

On the loopback nobody is asked, and there is no cookie. Elsewhere an admin key is asked for once; a cookie stands for
it after that (HttpOnly, SameSite=Strict), for as long as the key is valid.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from proxy.errors import ClientError, Unauthorized
from proxy.server.http.cors import WebRules, may_lack_host
from proxy.server.ops.admin_guard import AdminGuard

COOKIE = "safety_proxy_console"
LASTS = 12 * 3600  # seconds of a session
MOST = 100  # sessions; the oldest ends
MAX_FORM = 16 * 1024  # bytes

FOREIGN = "Not under this Host name (setting hosts)"
ANOTHER_PAGE = "This form was not sent from a page of this console: open the page again"


class Session(NamedTuple):
    """A key that was shown. until: on the monotonic clock."""

    key: str
    until: float


class PageAccess:
    """Checks requests for pages."""

    def __init__(self, guard: AdminGuard, web: WebRules, clock: Callable[[], float] = time.monotonic) -> None:
        self._guard = guard
        self._web = web
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._sessions: dict[str, Session] = {}

    def check_host(self, request: Request) -> None:
        """Raises ClientError for a name that only resolves to this machine (DNS rebinding)."""
        host = request.headers.get("host")
        lacks = host is None and may_lack_host(request.scope["http_version"], request.method)
        if not lacks and not self._web.serves(host or ""):
            raise ClientError(FOREIGN, None, "host", 403)

    def check(self, request: Request) -> None:
        """Raises Unauthorized where a key has to be shown, and ClientError for what may not be served at all."""
        self.check_host(request)
        session = self._session(request)
        self._guard.check_page(request, _header(session.key) if session else dict(reversed(request.scope["headers"])))

    async def form(self, request: Request) -> Mapping[str, str]:
        """The fields of a form that a page of ours has sent. Raises ClientError for another."""
        origin, host = request.headers.get("origin", ""), request.headers.get("host", "")
        is_same = bool(host) and urlsplit(origin).netloc.lower() == host.lower()
        if not is_same or request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            raise ClientError(ANOTHER_PAGE, None, "origin", 403)
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MAX_FORM:
                raise ClientError("The form is too long", None, "too_large", 413)
        fields = {name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
        if not hmac.compare_digest(fields.get("token", "").encode(), self.token(request).encode()):
            raise ClientError(ANOTHER_PAGE, None, "token", 403)
        return fields

    def token(self, request: Request) -> str:
        """What a form has to send, so that no other page can make one."""
        return hmac.new(self._secret, request.cookies.get(COOKIE, "").encode(), sha256).hexdigest()

    def log_in(self, request: Request, key: str, response: Response) -> None:
        """Begin a session for a key. Raises Unauthorized or ClientError for one that opens nothing here."""
        self._guard.check_page(request, _header(key))
        while len(self._sessions) >= MOST:
            del self._sessions[next(iter(self._sessions))]
        name = secrets.token_urlsafe(32)
        self._sessions[_digest(name)] = Session(key, self._clock() + LASTS)
        is_secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, name, LASTS, path="/", httponly=True, samesite="strict", secure=is_secure)

    def log_out(self, request: Request, response: Response) -> None:
        """End the session."""
        self._sessions.pop(_digest(request.cookies.get(COOKIE, "")), None)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")

    def has_session(self, request: Request) -> bool:
        """Whether there is one to end."""
        return self._session(request) is not None

    def _session(self, request: Request) -> Session | None:
        name = _digest(request.cookies.get(COOKIE, ""))
        session = self._sessions.get(name)
        if session is not None and self._clock() >= session.until:
            del self._sessions[name]
            return None
        return session


def asks_for_key(error: ClientError) -> bool:
    """Whether a key would help."""
    return isinstance(error, Unauthorized)


def _header(key: str) -> dict[bytes, bytes]:
    return {b"authorization": f"Bearer {key}".encode()}


def _digest(name: str) -> str:
    return sha256(name.encode("utf-8", "replace")).hexdigest()
