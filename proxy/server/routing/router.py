"""The door: it knows which paths there are, and refuses everything else."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from proxy.errors import BadRequest, ClientError, NotServed, UpstreamError
from proxy.server.http.cors import WebRules, cross_origin, preflight
from proxy.server.http.headers import Headers
from proxy.server.http.request import Client
from proxy.server.routing.errors import WrongMethod, refuse
from proxy.server.routing.routes import Access, Found, Table

log = logging.getLogger("safety_proxy.server")

Handler = Callable[[Found, Client], Awaitable[None]]

WEBSOCKETS = (
    "WebSockets are refused: nothing in them could be checked. LM Studio's own SDK (lmstudio, @lmstudio/sdk) needs "
    "them; use an OpenAI or Anthropic client, or LM Studio's REST API, with the proxy's base_url"
)


class Edge:
    """Hands a request to its handler, or refuses it in the shape that its path's clients read."""

    def __init__(self, table: Table, web: WebRules, handlers: Mapping[Access, Handler]) -> None:
        self._table = table
        self._web = web
        self._handlers = handlers

    async def __call__(self, client: Client) -> None:
        """One request."""
        try:
            await self._served(client)
        except ClientError as error:
            await refuse(client, error)
        except Exception:
            log.exception("%s %s failed", client.line.method, client.line.path)
            if client.started:
                raise
            await refuse(client, UpstreamError("The proxy failed; its log says why", "internal", 500))

    def _served(self, client: Client) -> Awaitable[None]:
        """Whoever serves it, at work."""
        host = _host(client)
        self._check_names(client, host)
        if client.header.get(b"x-upgrade", b"").lower() == b"websocket":
            raise BadRequest(WEBSOCKETS, code="websocket_refused")
        method, path, _, _ = client.line
        found = self._table.find(method, path)
        if method == "OPTIONS" and found.methods:
            return client.reply(204, _options(found, client), b"")
        return self._handler(found, client)(found, client)

    def _check_names(self, client: Client, host: str) -> None:
        """Refuse names and pages that have no business here. Adds CORS headers for those that have."""
        if not self._web.serves(host):
            raise ClientError(
                f"The proxy does not answer under the name {host[:80]!a} (setting hosts)", code="host", status=403
            )
        origin = client.header.get(b"origin")
        if origin is None:
            return
        name = origin.decode("latin-1")
        if not self._web.allows(name, host):
            raise ClientError(
                f"Web pages of {name[:80]!a} may not call the proxy (setting origins)", code="origin", status=403
            )
        client.common = cross_origin(origin)

    def _handler(self, found: Found, client: Client) -> Handler:
        route = found.route
        method, path, _, _ = client.line
        if route is None and found.methods:
            raise WrongMethod(method, path, found.methods)
        if route is None:
            raise NotServed(f"{method[:20]!a} {path[:120]!a} is not offered here", code="unknown_path")
        handler = self._handlers.get(route.access)
        if handler is None:
            raise NotServed(f"{route.method} {route.path} is refused. {route.note}", code="refused")
        return handler


def _host(client: Client) -> str:
    """The request's Host. Raises BadRequest for what two readers could take for two different requests."""
    coding = client.header.get(b"transfer-encoding")
    http_version = client.line.version
    if http_version not in ("1.0", "1.1"):
        raise BadRequest("Only HTTP/1.1 is spoken here", code="malformed_request")
    if coding is not None and (coding.lower() != b"chunked" or http_version == "1.0"):
        client.keep_alive = False  # where its body ends is not sure (RFC 9112, section 6.1)
        raise BadRequest("The only Transfer-Encoding is chunked, in HTTP/1.1", code="malformed_request")
    host = client.header.get(b"host")
    if host is not None and (len(client.header) == len(client.headers) or _count(client, b"host") == 1):
        return host.decode("latin-1")
    if host is not None or http_version == "1.1":
        raise BadRequest("A request has exactly one Host header", code="malformed_request")
    return "localhost"


def _count(client: Client, name: bytes) -> int:
    return sum(other == name for other, _ in client.headers)


def _options(found: Found, client: Client) -> Headers:
    allowed = (b"allow", ", ".join(found.methods).encode())
    if client.common and b"access-control-request-method" in client.header:
        return [allowed, *preflight(found.methods)]
    return [allowed]
