"""Errors as OpenAI's clients expect them: {"error": {"message", "type", "param", "code"}}.

A block before the answer has Azure's shape, which the same clients know: code content_filter, innererror.
"""

from __future__ import annotations

from typing import Any

import orjson

from proxy.errors import ClientError, UpstreamError

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "server_error",
}


def error(problem: ClientError | UpstreamError, request_id: str) -> bytes:
    """The body for an error that is not a block."""
    if isinstance(problem, UpstreamError):
        known = _TYPES.get(problem.status, "invalid_request_error")
        kind = "upstream_error" if problem.status >= 500 else known
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
