"""Lists and descriptions of models: fetched from the model server, parsed, allow-listed, written anew."""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import quote

from proxy.dialects.common.catalogue import Names
from proxy.dialects.ollama.models import missing
from proxy.errors import NotServed, UpstreamBroken, UpstreamError
from proxy.server.config import ServerConfig
from proxy.server.exchange.timeouts import ExchangeTimeouts, Watchdog
from proxy.server.http.body import ClientGone
from proxy.server.http.request import RequestContext
from proxy.server.keys.models import only_allowed, refuse_model
from proxy.server.routing.errors import refuse
from proxy.server.routing.routes import ReadOnlyOptions, RouteMatch
from proxy.server.upstream.client import (
    TRANSPORT_ERRORS,
    Upstream,
    UpstreamHeaders,
    UpstreamResponse,
    shown_url,
    to_upstream_error,
)
from proxy.server.upstream.response import UpstreamRefused, describe_response, read_all
from proxy.server.upstream.transport import Headers

log = logging.getLogger("safety_proxy.server")

MAX_BYTES = 8 * 1024 * 1024  # bytes of a response
MAX_NAME = 256  # characters of a model's name in a message
TIMEOUT = 30.0  # seconds; no model has to be loaded for a list


class ReadOnlyHandler:
    """Serves read-only paths."""

    def __init__(self, config: ServerConfig, upstream: Upstream, watchdog: Watchdog, names: Names) -> None:
        self._config = config
        self._names = names
        self._permissions = {"reveal": config.show_prompts, "cloud": config.options.allow_cloud_models}
        self._upstream = upstream
        self._watchdog = watchdog
        self._headers = UpstreamHeaders(config.upstream_key, config.pass_authorization)
        self._logged: dict[str, str] = {}  # the failure that was logged last, by path, until one is served

    async def run(self, match: RouteMatch, request: RequestContext) -> None:
        """Serve one request."""
        timeouts = ExchangeTimeouts(request, self._watchdog)
        timeouts.upstream_timeout = min(TIMEOUT, timeouts.upstream_timeout)
        try:
            body = await self._respond(match, request, timeouts)
            self._logged.pop(match.route.path if match.route else "", None)
            await request.reply(200, [(b"content-type", _content_type(match))], body)
        except ClientGone:
            return
        except UpstreamError as error:
            self._log(match, error)
            await refuse(request, error)
        except asyncio.CancelledError:
            timeouts.uncancel()
            if timeouts.error is not None:
                self._log(match, timeouts.error)
                await refuse(request, timeouts.error)
        finally:
            timeouts.close()

    async def _respond(self, match: RouteMatch, request: RequestContext, timeouts: ExchangeTimeouts) -> bytes:
        route = match.route
        assert route is not None
        assert route.read_only is not None
        options, model = route.read_only, match.rest
        method, body = b"GET", b""
        if options.ask is not None:
            method = b"POST"
            model, body = options.ask(await self._read(request))
        if model:
            refuse_model(request.key, model)
        path = (route.path.partition("{")[0] + _quoted(match.rest)).encode()
        headers = self._headers.build(request.headers, b"*/*")
        timeouts.watch_client()
        timeouts.watch_upstream(None)
        data = await self._fetch(options, method, path, headers, body, model)
        shown = options.clean(data, names=self._names, **{word: self._permissions[word] for word in options.switches})
        return shown if model or options.any_answer else only_allowed(request.key, shown)

    def _log(self, match: RouteMatch, error: UpstreamError) -> None:
        """Log one line, unless it is the last one again: apps ask for lists all the time.

        A model that is not there is no failure of the model server.
        """
        route = match.route
        assert route is not None
        names_a_model = bool(match.rest) or route.method == "POST"
        if (error.status == 404 and names_a_model) or self._logged.get(route.path) == str(error):
            return
        self._logged[route.path] = str(error)
        url = shown_url(self._config.upstream) + route.path
        log.warning("%s %s: %s (%s)", route.method, url, error.for_log, error.__cause__ or error.reason)

    async def _read(self, request: RequestContext) -> bytes:
        config = self._config
        return await request.read(config.max_body, config.body_timeout)

    async def _fetch(
        self, options: ReadOnlyOptions, method: bytes, path: bytes, headers: Headers, body: bytes, model: str
    ) -> bytes:
        """The body of the model server's response. Its error messages are not passed on: no rule has judged them.

        A missing model is reported in Ollama's own words, because its command looks for them.
        """
        response: UpstreamResponse | None = None
        try:
            response = await self._upstream.open(method, path, headers, body)
            data = await read_all(response, MAX_BYTES)
        except TRANSPORT_ERRORS as error:
            raise to_upstream_error(error) from error
        finally:
            if response is not None:
                response.abort()
        if options.any_answer and response.status < 500:
            return data
        if response.status == 404 and model:
            raise UpstreamRefused(missing(model[:MAX_NAME]), response)
        if response.status >= 400:
            raise UpstreamRefused(describe_response(response), response)
        if response.status != 200:
            raise UpstreamBroken(describe_response(response), "protocol")
        return data


def _quoted(rest: str) -> str:
    """The end of a path: a name, perhaps with slashes, but nothing that leads elsewhere."""
    if rest and any(part in ("", ".", "..") for part in rest.split("/")):
        raise NotServed("This is not the name of a model", code="unknown_path")
    return quote(rest, safe="/:@")


def _content_type(match: RouteMatch) -> bytes:
    assert match.route is not None
    assert match.route.read_only is not None
    return match.route.read_only.content_type.encode()
