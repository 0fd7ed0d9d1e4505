"""Errors before a dialect has been chosen."""

from __future__ import annotations

import re

import orjson

from proxy.dialects.base import Dialect
from proxy.dialects.openai import errors as openai_errors
from proxy.errors import ClientError, UpstreamError
from proxy.server.http.headers import Headers
from proxy.server.http.request import RequestContext

OLLAMA_PATHS = re.compile(r"/api/(?!v[01]/)").match  # /api/v0 and /api/v1 are LM Studio's


class WrongMethod(ClientError):
    """405, with the methods that are right."""

    status = 405

    def __init__(self, method: str, path: str, allowed: tuple[str, ...]) -> None:
        listed = ", ".join(allowed)
        super().__init__(f"{method[:20]!a} is not allowed on {path[:120]!a}; use {listed}", code="wrong_method")
        self.headers: Headers = [(b"allow", listed.encode())]


async def refuse(request: RequestContext, error: ClientError | UpstreamError, dialect: Dialect | None = None) -> None:
    """Reply with an error in the shape that the clients of this path read: its dialect's, if it has one."""
    if dialect is not None:
        body = dialect.error(error, request.id)
    elif OLLAMA_PATHS(request.path):
        body = orjson.dumps({"error": str(error)})
    else:
        body = openai_errors.error(error, request.id)
    headers = [(b"content-type", b"application/json"), (b"x-safety-proxy-request-id", request.id.encode())]
    await request.reply(error.status, [*headers, *getattr(error, "headers", ())], body)
