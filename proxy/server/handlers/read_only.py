"""Lists and descriptions of models: fetched from the model servers, parsed, allow-listed, written anew."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

from proxy.dialects.common.catalogue import Names, merged
from proxy.dialects.ollama.models import missing
from proxy.errors import NotServed, UpstreamBroken, UpstreamError, UpstreamTimeout
from proxy.server.backends.backend import Backend
from proxy.server.backends.choice import Backends
from proxy.server.config import ServerConfig
from proxy.server.exchange.timeouts import ExchangeTimeouts, Watchdog
from proxy.server.handlers.failure_log import FailureLog
from proxy.server.http.body import ClientGone
from proxy.server.http.request import RequestContext
from proxy.server.keys.key import Key
from proxy.server.keys.models import only_allowed, refuse_model
from proxy.server.routing.errors import refuse
from proxy.server.routing.routes import ReadOnlyOptions, Route, RouteMatch
from proxy.server.upstream.client import TRANSPORT_ERRORS, UpstreamResponse, to_upstream_error
from proxy.server.upstream.response import UpstreamRefused, describe_response, read_all
from proxy.server.upstream.transport import Headers

MAX_BYTES = 8 * 1024 * 1024  # bytes of a response
MAX_NAME = 256  # characters of a model's name in a message
TIMEOUT = 30.0  # seconds; no model has to be loaded for a list
PART_TIMEOUT = 5.0  # seconds that a list of several model servers waits for each of them


class _Question(NamedTuple):
    """What a model server is asked. model: the one that it is about; "": none in particular."""

    route: Route
    options: ReadOnlyOptions
    method: bytes
    path: str
    body: bytes
    model: str
    headers: Headers
    key: Key | None


class ReadOnlyHandler:
    """Serves read-only paths."""

    def __init__(self, config: ServerConfig, backends: Backends, watchdog: Watchdog, names: Names) -> None:
        self._config = config
        self._names = names
        self._permissions = {"reveal": config.show_prompts, "cloud": config.options.allow_cloud_models}
        self._backends = backends
        self._watchdog = watchdog
        self._failures = FailureLog()

    async def run(self, match: RouteMatch, request: RequestContext) -> None:
        """Serve one request."""
        timeouts = ExchangeTimeouts(request, self._watchdog)
        timeouts.upstream_timeout = min(TIMEOUT, timeouts.upstream_timeout)
        asked: list[str] = []  # what is waited for
        try:
            question = await self._question(match, request)
            timeouts.watch_client()
            timeouts.watch_upstream(None)
            body = await self._answer(question, asked)
            if not question.model and not question.options.any_answer:
                body = only_allowed(request.key, body)
            await request.reply(200, [(b"content-type", question.options.content_type.encode())], body)
        except ClientGone:
            return
        except UpstreamError as error:
            await refuse(request, error)
        except asyncio.CancelledError:
            timeouts.uncancel()
            if timeouts.error is not None:
                for place in asked:
                    self._failures.failed(place, timeouts.error)
                await refuse(request, timeouts.error)
        finally:
            timeouts.close()

    async def _question(self, match: RouteMatch, request: RequestContext) -> _Question:
        route = match.route
        assert route is not None
        assert route.read_only is not None
        options, model = route.read_only, match.rest
        method, body = b"GET", b""
        if options.ask is not None:
            method = b"POST"
            model, body = options.ask(await request.read(self._config.max_body, self._config.body_timeout))
        if model:
            refuse_model(request.key, model)
        path = route.path.partition("{")[0] + _quoted(match.rest)
        return _Question(route, options, method, path, body, model, request.headers, request.key)

    async def _answer(self, question: _Question, asked: list[str]) -> bytes:
        only = self._backends.only
        if only is not None:
            return await self._ask(only, question, asked)
        if question.options.merged:
            return await self._merge(question, asked)
        return await self._ask_one_of(
            await self._backends.choose(question.model, question.path, question.key), question, asked
        )

    async def _ask_one_of(self, backends: Sequence[Backend], question: _Question, asked: list[str]) -> bytes:
        """The answer of the first that gives one. Raises the error of the last: nothing is changed by a question."""
        for backend in backends[:-1]:
            try:
                return await self._ask_soon(backend, question, asked)
            except UpstreamError:
                continue
        return await self._ask(backends[-1], question, asked)

    async def _merge(self, question: _Question, asked: list[str]) -> bytes:
        """One list of all that answer. Raises the error of the first if none does."""
        backends = await self._backends.listing(question.path)
        work = [self._ask_soon(backend, question, asked) for backend in backends]
        found = await asyncio.gather(*work, return_exceptions=True)
        lists = [
            (answer, lambda name, one=backend: one.shows(name))
            for backend, answer in zip(backends, found, strict=True)
            if isinstance(answer, bytes)
        ]
        for problem in found:
            if isinstance(problem, BaseException) and (not lists or not isinstance(problem, UpstreamError)):
                raise problem
        return merged(question.options.merged, lists)

    async def _ask_soon(self, backend: Backend, question: _Question, asked: list[str]) -> bytes:
        """The same, and not for long: there are others."""
        try:
            async with asyncio.timeout(PART_TIMEOUT):
                return await self._ask(backend, question, asked)
        except TimeoutError:
            error = UpstreamTimeout(f"The model server said nothing for {PART_TIMEOUT:g} s", "timeout")
            self._failures.failed(_place(backend, question), error)
            raise error from None

    async def _ask(self, backend: Backend, question: _Question, asked: list[str]) -> bytes:
        """What may be shown of a backend's answer. A failure is logged.

        A model that is not there is no failure of the model server.
        """
        place, options = _place(backend, question), question.options
        asked.append(place)
        try:
            data = await _fetch(backend, question)
            given = {**self._permissions, "claims": backend.models.alignments.shown}
            switches = {word: given[word] for word in options.switches}
            shown = options.clean(data, names=self._names, **switches)
        except UpstreamError as error:
            if error.status != 404 or not question.model:
                self._failures.failed(place, error)
            raise
        self._failures.went_well(place)
        return shown


async def _fetch(backend: Backend, question: _Question) -> bytes:
    """The body of the model server's response. Its error messages are not passed on: no rule has judged them.

    A missing model is reported in Ollama's own words, because its command looks for them.
    """
    response: UpstreamResponse | None = None
    headers = backend.headers.build(question.headers, b"*/*")
    try:
        response = await backend.upstream.open(question.method, question.path.encode(), headers, question.body)
        data = await read_all(response, MAX_BYTES)
    except TRANSPORT_ERRORS as error:
        raise to_upstream_error(error) from error
    finally:
        if response is not None:
            response.abort()
    if question.options.any_answer and response.status < 500:
        return data
    if response.status == 404 and question.model:
        raise UpstreamRefused(missing(question.model[:MAX_NAME]), response)
    if response.status >= 400:
        raise UpstreamRefused(describe_response(response), response)
    if response.status != 200:
        raise UpstreamBroken(describe_response(response), "protocol")
    return data


def _place(backend: Backend, question: _Question) -> str:
    return f"{question.route.method} {backend.url}{question.route.path}"


def _quoted(rest: str) -> str:
    """The end of a path: a name, perhaps with slashes, but nothing that leads elsewhere."""
    if rest and any(part in ("", ".", "..") for part in rest.split("/")):
        raise NotServed("This is not the name of a model", code="unknown_path")
    return quote(rest, safe="/:@")
