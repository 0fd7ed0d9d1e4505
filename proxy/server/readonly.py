"""Lists and descriptions: asked from the model server, parsed, allow-listed, written anew."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import orjson

from proxy.errors import NotServed, UpstreamBroken, UpstreamError, UpstreamTimeout
from proxy.server.client import Client
from proxy.server.config import ServerConfig
from proxy.server.headers import UpstreamHeaders
from proxy.server.refusals import refuse
from proxy.server.routes import Found
from proxy.server.upstream import TRANSPORT_ERRORS, Upstream, UpstreamResponse, explain
from proxy.server.upstream_answer import UpstreamRefused, kept_headers, read_all
from proxy.server.watch import Interrupt, Watch, Watches

MOST = 8 * 1024 * 1024  # bytes of a list
PATIENCE = 30.0  # seconds; no model has to be loaded for a list


class ReadOnly:
    """Serves GET and HEAD on read-only paths."""

    def __init__(self, config: ServerConfig, upstream: Upstream, watches: Watches) -> None:
        self._config = config
        self._upstream = upstream
        self._watches = watches
        self._headers = UpstreamHeaders(config.upstream_key, config.pass_authorization)

    async def run(self, found: Found, client: Client) -> None:
        """One request."""
        watch = Watch(client, self._config, self._watches)
        watch.patience = min(PATIENCE, watch.patience)
        try:
            body = await self._ask(found, client, watch)
            await client.reply(200, [(b"content-type", b"application/json")], body)
        except UpstreamError as error:
            await refuse(client, error)
        except asyncio.CancelledError:
            watch.resume()
            if watch.reason is Interrupt.STOPPING:
                await refuse(client, UpstreamError("The proxy is shutting down; ask again", "stopping", 503))
            elif watch.reason is Interrupt.UPSTREAM_SILENT:
                await refuse(client, UpstreamTimeout("The model server does not answer", "timeout"))
        finally:
            watch.close()

    async def _ask(self, found: Found, client: Client, watch: Watch) -> bytes:
        route = found.route
        assert route is not None
        assert route.clean is not None
        path = (route.upstream or route.path).partition("{")[0] + _quoted(found.rest)
        headers = self._headers.of(client.headers, b"application/json")
        watch.follow_client()
        watch.follow_upstream(None)
        response: UpstreamResponse | None = None
        try:
            response = await self._upstream.open(b"GET", path.encode(), headers, b"")
            value = await _value(response)
        except TRANSPORT_ERRORS as error:
            raise explain(error, self._config.upstream) from error
        finally:
            if response is not None:
                response.abort()
        return orjson.dumps(route.clean(value))


def _quoted(rest: str) -> str:
    """The end of a path: a name with slashes, but nothing that leads elsewhere."""
    if rest and any(part in ("", ".", "..") for part in rest.split("/")):
        raise NotServed("This is not the name of a model", code="unknown_path")
    return quote(rest, safe="/:@")


async def _value(response: UpstreamResponse) -> object:
    """The model server's JSON. Its own words about errors are not passed on: nothing has judged them."""
    if response.status >= 400:
        message = f"The model server answered with status {response.status}"
        raise UpstreamRefused(message, response.status, kept_headers(response.headers))
    body = await read_all(response, MOST)
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise UpstreamBroken("The model server's answer is not JSON", "protocol") from None
    if response.status != 200:
        raise UpstreamBroken(f"The model server answered with status {response.status}", "protocol")
    return value
