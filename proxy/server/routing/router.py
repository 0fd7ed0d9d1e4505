"""The chat side as an ASGI application: it passes requests to their handlers and refuses everything else."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from proxy.errors import BadRequest, ClientError, NotServed, UpstreamError
from proxy.server.http.cors import WebRules, cross_origin, is_loopback, may_lack_host, preflight
from proxy.server.http.headers import Headers
from proxy.server.http.request import Receive, RequestContext, Scope, Send, other_paths
from proxy.server.keys.authentication import Authentication
from proxy.server.routing.errors import WrongMethod, refuse
from proxy.server.routing.routes import Access, RouteMatch, RouteTable

log = logging.getLogger("safety_proxy.server")

Handler = Callable[[RouteMatch, RequestContext], Awaitable[None]]

WEBSOCKETS = (
    "WebSockets are refused: nothing in them could be checked. LM Studio's own SDK (lmstudio, @lmstudio/sdk) needs "
    "them; use an OpenAI or Anthropic client, or LM Studio's REST API, with the proxy's base_url"
)
REMOTE = (
    "Clients of other machines are refused, as the proxy does not know where its server listens; the setting "
    "allow_remote_clients lets them in"
)


class Router:
    """Passes a request to its handler, or refuses it in the shape that the clients of its path read."""

    def __init__(
        self,
        table: RouteTable,
        web: WebRules,
        handlers: Mapping[Access, Handler],
        local_only: bool = False,
        authentication: Authentication | None = None,
    ) -> None:
        """`local_only`: refuse clients of other machines, because it is not known where the server listens.
        `authentication`: None: no key is asked for."""
        self._local_only = local_only
        self._authentication = authentication or Authentication()
        self._table = table
        self._web = web
        self._handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI). WebSockets are closed before they open."""
        if scope["type"] != "http":
            await _refuse_websocket(receive, send)
            return
        request = RequestContext(scope, receive, send)
        try:
            if self._local_only and not _is_local(request):
                raise ClientError(REMOTE, code="remote_client", status=403)
            await self._handle(request, scope)
        except ClientError as error:
            await refuse(request, error)
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            if request.started:
                raise
            await refuse(request, UpstreamError("The proxy failed; its log says why", "internal", 500))

    def _handle(self, request: RequestContext, scope: Scope) -> Awaitable[None]:
        """Pass it to its handler. Raises ClientError if there is none."""
        host = _host(request)
        self._check_names(request, host)
        if request.header.get(b"x-upgrade", b"").lower() == b"websocket":
            raise BadRequest(WEBSOCKETS, code="websocket_refused")
        match = self._find(request, scope)
        if request.method == "OPTIONS" and match.methods:
            return request.reply(204, _options(match, request), b"")
        try:
            request.key = self._authentication.key_of(request.header, request.client)
        except ClientError as error:
            return refuse(request, error, match.route.dialect if match.route is not None else None)
        return self._handler(match, request)(match, request)

    def _find(self, request: RequestContext, scope: Scope) -> RouteMatch:
        """The row of the table. Where the application is mounted, its path is the first that is served."""
        match = self._table.find(request.method, request.path)
        if not scope.get("root_path") or self._is_served(match):
            return match
        for path in other_paths(scope):
            other = self._table.find(request.method, path)
            if self._is_served(other):
                request.path = path
                return other
        return match

    def _is_served(self, match: RouteMatch) -> bool:
        """Whether the path has a handler, if only for another method."""
        return bool(match.methods) and (match.route is None or match.route.access in self._handlers)

    def _check_names(self, request: RequestContext, host: str) -> None:
        """Refuse Hosts and web pages that may not call. Adds CORS headers for pages that may."""
        if not self._web.serves(host):
            raise ClientError(
                f"The proxy does not answer under the name {host[:80]!a} (setting hosts)", code="host", status=403
            )
        origin = request.header.get(b"origin")
        if origin is None:
            return
        name = origin.decode("latin-1")
        if not self._web.allows(name, host):
            raise ClientError(
                f"Web pages of {name[:80]!a} may not call the proxy (setting origins)", code="origin", status=403
            )
        request.common = cross_origin(origin)

    def _handler(self, match: RouteMatch, request: RequestContext) -> Handler:
        route = match.route
        method, path = request.method, request.path
        if route is None and match.methods:
            raise WrongMethod(method, path, match.methods)
        if route is None:
            raise NotServed(f"{method[:20]!a} {path[:120]!a} is not offered here", code="unknown_path")
        handler = self._handlers.get(route.access)
        if handler is None:
            raise NotServed(f"{route.method} {route.path} is refused. {route.note}", code="refused")
        return handler


def _is_local(request: RequestContext) -> bool:
    """The client is on this machine. On a unix socket it has no address."""
    return not request.client or is_loopback(request.client)


async def _refuse_websocket(receive: Receive, send: Send) -> None:
    """Under a server that speaks WebSockets: closed before the handshake, which clients see as 403."""
    await receive()
    await send({"type": "websocket.close", "code": 1008, "reason": WEBSOCKETS[:120]})


def _host(request: RequestContext) -> str:
    """The request's Host. Raises BadRequest for a head that two readers could understand differently."""
    coding = request.header.get(b"transfer-encoding")
    http_version = request.http_version
    if http_version not in ("1.0", "1.1", "2", "3"):
        raise BadRequest("Only HTTP/1.1 is spoken here", code="malformed_request")
    if coding is not None and (coding.lower() != b"chunked" or http_version == "1.0"):
        request.keep_alive = False  # where its body ends is not sure (RFC 9112, section 6.1)
        raise BadRequest("The only Transfer-Encoding is chunked, in HTTP/1.1", code="malformed_request")
    host = request.header.get(b"host")
    all_differ = len(request.header) == len(request.headers)
    if host is not None and (all_differ or _count(request, b"host") == 1):
        return host.decode("latin-1")
    if host is None and may_lack_host(http_version, request.method):
        return "localhost"
    raise BadRequest("A request has exactly one Host header", code="malformed_request")


def _count(request: RequestContext, name: bytes) -> int:
    return sum(other == name for other, _ in request.headers)


def _options(match: RouteMatch, request: RequestContext) -> Headers:
    allowed = (b"allow", ", ".join(match.methods).encode())
    if request.common and b"access-control-request-method" in request.header:
        return [allowed, *preflight(match.methods)]
    return [allowed]
