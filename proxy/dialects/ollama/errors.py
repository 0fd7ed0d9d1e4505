"""Errors as Ollama's clients expect them on /api/*: {"error": "text"}, always a string.

An object there would reach people as the printed form of a dict (measured with the ollama packages).
"""

from __future__ import annotations

import orjson

from proxy.errors import ClientError, UpstreamError


def error(problem: ClientError | UpstreamError, request_id: str) -> bytes:
    """The body for an error that is not a block. The request's id is in a header: the shape has no place for it."""
    return line(str(problem))


def blocked(message: str, request_id: str) -> bytes:
    """The body for a prompt that a rule refuses."""
    return line(message)


def line(message: str) -> bytes:
    """The object itself, without a line break."""
    return orjson.dumps({"error": message})
