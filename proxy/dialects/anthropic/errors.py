"""Errors as Anthropic's clients expect them: {"type": "error", "error": {"type", "message"}, "request_id"}.

Source: Anthropic's API reference (errors).
"""

from __future__ import annotations

from typing import Any

import orjson

from proxy.errors import ClientError, UpstreamError

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def error(problem: ClientError | UpstreamError, request_id: str) -> bytes:
    """The body for an error that is not a block."""
    other = "api_error" if problem.status >= 500 else "invalid_request_error"
    return _body(_TYPES.get(problem.status, other), str(problem), request_id)


def blocked(message: str, request_id: str) -> bytes:
    """The body for a prompt that a rule refuses."""
    return _body("invalid_request_error", message, request_id)


def event(problem: UpstreamError) -> dict[str, Any]:
    """An error inside a stream."""
    return {"type": "error", "error": {"type": "api_error", "message": str(problem)}}


def _body(kind: str, message: str, request_id: str) -> bytes:
    return orjson.dumps({"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id})
