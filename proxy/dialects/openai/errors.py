"""Errors as OpenAI's clients expect them: {"error": {"message", "type", "param", "code"}}.

A block before the answer has Azure's shape, which the same clients know: code content_filter, innererror.
"""

from __future__ import annotations

from typing import Any

import orjson

from proxy.core.guard import Guard
from proxy.errors import ClientError, UpstreamBroken, UpstreamError

WITHHELD = "the model server reported an error; its text is withheld by policy"
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


def error(problem: ClientError | UpstreamError, request_id: str) -> bytes:
    """The body for an error that is not a block."""
    if isinstance(problem, UpstreamError):
        kind = _TYPES.get(problem.status, "upstream_error" if problem.status >= 500 else "invalid_request_error")
        return _body(str(problem), kind, None, f"upstream_{problem.reason}", request_id)
    return _body(
        str(problem), _TYPES.get(problem.status, "invalid_request_error"), problem.param, problem.code, request_id
    )


def event(problem: UpstreamError) -> dict[str, Any]:
    """The same inside a stream."""
    return {
        "error": {
            "message": str(problem),
            "type": "upstream_error",
            "param": None,
            "code": f"upstream_{problem.reason}",
        }
    }


def blocked(message: str, request_id: str, param: str = "messages") -> bytes:
    """The body for a prompt that a rule refuses; `param` is where prompts stand."""
    return orjson.dumps(
        {
            "error": {
                "message": message,
                "type": "invalid_request_error",
                "param": param,
                "code": "content_filter",
                "status": 400,
                "innererror": {
                    "code": "ResponsibleAIPolicyViolation",
                    "content_filter_result": {"safety_proxy": {"filtered": True}},
                },
                "request_id": request_id,
            }
        }
    )


def _body(message: str, kind: str, param: str | None, code: str | None, request_id: str) -> bytes:
    return orjson.dumps(
        {"error": {"message": message, "type": kind, "param": param, "code": code, "request_id": request_id}}
    )


def upstream_message(body: bytes) -> str:
    """The human part of an error body: OpenAI's shape, Ollama's string, JSON inside that string, or plain text."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body.decode("utf-8", "replace").strip()
        return "" if text.startswith("<") else text[:500]
    return message_in(value)


def message_in(value: Any, depth: int = 0) -> str:
    """The message inside an error value of any shape."""
    if isinstance(value, str):
        if value.lstrip().startswith("{") and depth < 3:
            try:
                return message_in(orjson.loads(value), depth + 1) or value[:500]
            except orjson.JSONDecodeError:
                return value[:500]
        return value[:500]
    if isinstance(value, dict) and depth < 4:
        for key in ("error", "message", "detail"):
            if value.get(key):
                return message_in(value[key], depth + 1)
    return ""


def reported(value: Any, guard: Guard) -> UpstreamError:
    """An error that the upstream put into its stream; its text passes only if no rule minds it."""
    message = message_in(value)
    if not message or not guard.admits(message):
        message = WITHHELD if message else "the model server reported an error"
    return UpstreamBroken(message, "error_event")
