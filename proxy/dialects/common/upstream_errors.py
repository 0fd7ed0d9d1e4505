"""Errors that a model server reports, in its error body or inside its stream: the message in them, if it may pass."""

from __future__ import annotations

from typing import Any

import orjson

from proxy.core.guard import Guard
from proxy.errors import UpstreamBroken, UpstreamError

WITHHELD = "the model server reported an error; its text is withheld by policy"


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
