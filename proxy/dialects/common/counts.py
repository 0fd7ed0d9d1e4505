"""Numbers of an answer: the index of a choice, call or block, and what a model server counted."""

from __future__ import annotations

from typing import Any

from proxy.errors import UpstreamBroken

MAX_INDEX = 1024
COUNTS = frozenset(
    (
        *("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details"),
        *("cached_tokens", "audio_tokens", "reasoning_tokens", "accepted_prediction_tokens"),
        *("rejected_prediction_tokens", "input_tokens", "output_tokens", "input_tokens_details"),
        *("output_tokens_details", "cache_n", "prompt_n", "prompt_ms", "prompt_per_token_ms", "prompt_per_second"),
        *("predicted_n", "predicted_ms", "predicted_per_token_ms", "predicted_per_second", "draft_n"),
        "draft_n_accepted",
        *("total", "cache", "processed", "time_ms"),  # llama.cpp's prompt_progress
    )
)


def is_index(value: Any) -> bool:
    """Whether a value can be an index."""
    return type(value) is int and 0 <= value < MAX_INDEX


def index_of(value: dict[str, Any]) -> int:
    """The `index` of a choice or call; a missing one is 0."""
    index = value.get("index", 0)
    if not is_index(index):
        raise UpstreamBroken("the model server sent an index that cannot be used", "protocol")
    assert type(index) is int
    return index
