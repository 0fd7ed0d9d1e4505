"""Errors of LM Studio's own API: {"error": {"type", "message", "code", "param"}}, in the same words inside a stream."""

from __future__ import annotations

from typing import Any

import orjson

from proxy.errors import ClientError, UpstreamError


def error(problem: ClientError | UpstreamError, request_id: str) -> bytes:
    """The body for an error that is not a block."""
    return orjson.dumps({"error": _described(problem)})


def blocked(message: str, request_id: str) -> bytes:
    """The body for a prompt that a rule refuses."""
    described = {"type": "invalid_request", "message": message, "code": "content_filter", "param": "input"}
    return orjson.dumps({"error": described})


def event(problem: UpstreamError) -> dict[str, Any]:
    """An event that says that the answer is not complete; `chat.end` follows it."""
    return {"type": "error", "error": _described(problem)}


def _described(problem: ClientError | UpstreamError) -> dict[str, Any]:
    if isinstance(problem, UpstreamError):
        return {"type": "internal_error", "message": str(problem), "code": f"upstream_{problem.reason}"}
    parts = {"code": problem.code, "param": problem.param}
    return {"type": "invalid_request", "message": str(problem), **{k: v for k, v in parts.items() if v}}
