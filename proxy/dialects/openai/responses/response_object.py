"""The response object around the output: its own fields by an allow-list, and the client's request given back.

Servers echo instructions, tools and settings. What a client gets is its own request, as the rules left it: an echo of
what was sent upstream would also show the operator's words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxy.dialects.common.ends import end_reason
from proxy.dialects.common.unknown_numbers import UnknownNumbers
from proxy.dialects.request import Request

Word = Callable[[Any], str]

STATUSES = ("in_progress", "completed", "incomplete", "queued", "cancelled")
_NUMBERS = frozenset(
    (
        *("created_at", "completed_at", "temperature", "top_p", "presence_penalty", "frequency_penalty"),
        *("top_logprobs", "max_output_tokens", "max_tool_calls"),
    )
)
_BOOLEANS = frozenset(("parallel_tool_calls", "store", "background"))
_NOTHING = frozenset(("error", "prompt_cache_key", "safety_identifier", "user"))
_CHOICES: dict[str, tuple[str, ...]] = {
    "tool_choice": ("none", "auto", "required"),
    "truncation": ("auto", "disabled"),
    "service_tier": ("auto", "default", "flex", "priority", "scale"),
}
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max", "auto", "concise", "detailed")
_REASONS = ("max_output_tokens", "content_filter")


def clean_response(value: dict[str, Any], request: Request, word: Word, unknown: UnknownNumbers) -> dict[str, Any]:
    """All of a response but its output."""
    clean: dict[str, Any] = {}
    for key, item in value.items():
        if key in ("id", "model"):
            clean[key] = word(item)
        elif key == "object":
            clean[key] = "response"
        elif key == "status":
            clean[key] = item if item in STATUSES else "completed"
        elif key in _NUMBERS:
            clean[key] = item if isinstance(item, int | float) else None
        elif key in _BOOLEANS:
            clean[key] = item if isinstance(item, bool) else None
        elif key in _NOTHING:
            clean[key] = None
        elif key == "usage":
            clean[key] = unknown.statistics(item, key)
        elif key == "incomplete_details":
            clean[key] = _details(item, word)
        elif key in _ECHOES:
            clean[key] = _ECHOES[key](item, request)
    return unknown.beside(value, clean, "response")


def _choice(key: str) -> Callable[[Any, Request], Any]:
    def echo(item: Any, request: Request) -> Any:
        return item if item in _CHOICES[key] else request.body.get(key)

    return echo


def _instructions(item: Any, request: Request) -> str | None:
    """The client's own, as they were judged."""
    own = (text.text for text in request.texts if text.param == "instructions")
    return next(own, None)


def _tools(item: Any, request: Request) -> Any:
    own = request.body.get("tools") or []
    return item if _bare(item) == _bare(own) else own


def _text(item: Any, request: Request) -> Any:
    own = request.body.get("text") or {"format": {"type": "text"}}
    return item if _bare(item) == _bare(own) else own


def _reasoning(item: Any, request: Request) -> Any:
    """Known words, and those of the client's own request, which were judged."""
    if not isinstance(item, dict):
        return None
    own = request.body.get("reasoning") or {}
    told = {key: value for key, value in item.items() if key in ("effort", "summary")}
    return {key: value for key, value in told.items() if value in (None, *_EFFORTS, own.get(key))}


def _details(item: Any, word: Word) -> Any:
    """Why a response is not complete; none if the reason cannot be shown."""
    reason = item.get("reason") if isinstance(item, dict) else None
    shown = end_reason(reason, _REASONS, "", lambda text: word(text) == text)
    return {"reason": shown} if shown else None


def _metadata(item: Any, request: Request) -> Any:
    return {}


def _previous(item: Any, request: Request) -> Any:
    return request.body.get("previous_response_id")


_ECHOES: dict[str, Callable[[Any, Request], Any]] = {
    **{key: _choice(key) for key in _CHOICES},
    "instructions": _instructions,
    "tools": _tools,
    "text": _text,
    "reasoning": _reasoning,
    "metadata": _metadata,
    "previous_response_id": _previous,
}


def _bare(value: Any) -> Any:
    """A value without its nulls: servers write keys that were not given as null."""
    if isinstance(value, dict):
        return {k: _bare(v) for k, v in value.items() if v is not None}
    return [_bare(item) for item in value] if isinstance(value, list) else value
