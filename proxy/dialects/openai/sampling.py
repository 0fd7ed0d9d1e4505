"""What requests of OpenAI's chat and completions have in common: how the answer is made, and in what form it comes.

Sources: the OpenAI API reference (chat completions, completions), llama.cpp's server README and server-task.cpp,
Ollama's openai.md, LM Studio's docs. llama.cpp copies every key that it does not know into the parameters of its own
/completion, so only what stands here goes on.
"""

from __future__ import annotations

from typing import Any

from proxy.dialects.common.limits import CONTROL
from proxy.dialects.common.request_fields import (
    NULL,
    OPTIONAL_STRING,
    PASSED,
    STRING,
    SWITCH,
    Object,
    Report,
    Take,
    anything,
    by_type,
    form,
    left_out,
    lenient,
    list_of,
    map_of,
    one_of,
    words,
)

_NUMBERS = (
    *("temperature", "top_p", "min_p", "typical_p", "tfs_z", "presence_penalty", "frequency_penalty"),
    *("repeat_penalty", "repetition_penalty", "mirostat_tau", "mirostat_eta", "dynatemp_range", "dynatemp_exponent"),
    *("xtc_probability", "xtc_threshold", "top_n_sigma", "dry_multiplier", "dry_base"),
    *("top_k", "seed", "max_tokens", "max_completion_tokens", "n_predict", "repeat_last_n", "mirostat", "min_keep"),
    *("n_keep", "dry_allowed_length", "dry_penalty_last_n", "thinking_budget_tokens", "reasoning_budget_tokens"),
    *("n_indent", "n_discard", "n_cache_reuse", "t_max_predict_ms", "sse_ping_interval"),
    *("adaptive_target", "adaptive_decay", "backend_sampling", "ignore_eos", "cache_prompt"),
    *("speculative.n_min", "speculative.n_max", "speculative.p_min"),
    *("return_progress", "timings_per_token", "parse_tool_calls", "enable_thinking"),
)
"""Numbers and switches; only the model server reads them, and what it adds to its answer for one is numbers."""
EFFORT = words("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Templates show it to the model."""
_SAMPLER = r"[\w.\-;:]{0,256}"
"""Names of samplers, or one letter for each."""


def _format_type(value: Any, path: str, report: Report) -> str:
    """One of the known words; Ollama takes them in any case and with blanks around."""
    word = STRING(value, path, report).strip().lower()
    return str(one_of("text", "json_object", "json_schema")(word, path, report))


_FORMAT = Object({"type": _format_type, "json_schema": anything, "schema": anything}, ["type"])

SAMPLING: dict[str, Take] = {
    **dict.fromkeys(_NUMBERS, PASSED),
    "stop": lenient(
        by_type("a string or an array of strings", string=STRING, array=list_of(lenient(STRING)), null=NULL)
    ),
    "logit_bias": lenient(by_type("an object or an array", object=map_of(PASSED), array=anything, null=NULL)),
    "samplers": lenient(
        by_type("names or letters", string=form(_SAMPLER), array=list_of(lenient(form(_SAMPLER))), null=NULL)
    ),
    "dry_sequence_breakers": lenient(
        by_type("an array of strings", string=STRING, array=list_of(lenient(STRING)), null=NULL)
    ),
    "reasoning_effort": EFFORT,
    "reasoning": lenient(
        by_type("an object", object=Object({"effort": EFFORT, "summary": words(), "enabled": PASSED}), null=NULL)
    ),
    "reasoning_format": form(r"[a-z][a-z_\-]{0,31}"),
    "verbosity": words("low", "medium", "high"),
    "service_tier": words("auto", "default", "flex", "scale", "priority", "fast"),
    "grammar": lenient(OPTIONAL_STRING),
    "json_schema": anything,
    "response_format": lenient(by_type("an object", object=_FORMAT, null=NULL)),
    "draft_model": lenient(OPTIONAL_STRING),
}

STREAMING: dict[str, Take] = {
    "stream": SWITCH,
    "stream_options": lenient(by_type("an object", object=Object({"include_usage": SWITCH}), null=NULL)),
}

_ACCOUNT = "it is about an account with OpenAI, which a model server of one's own has not"
_UNREAD = "nobody here can judge it"
_OUTSIDE = "it asks for parts of the answer that could not be judged"
NOT_SENT: dict[str, Take] = {
    **dict.fromkeys(("user", "metadata", "store", "safety_identifier", "moderation"), left_out(_ACCOUNT)),
    **dict.fromkeys(("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"), left_out(_ACCOUNT)),
    "prediction": left_out("it is a draft of the answer, and no model server here uses it"),
    "num_ctx": left_out("no model server reads it in this dialect"),
    **dict.fromkeys(("lora", "id_slot", "n_cmpl"), left_out("it steers what other requests share")),
    **dict.fromkeys(("audio", "response_fields", "return_tokens", "verbose"), left_out(_OUTSIDE)),
    **dict.fromkeys(("n_probs", "post_sampling_probs"), left_out(_OUTSIDE)),
    **dict.fromkeys(("chat_format", "chat_parser", "grammar_lazy"), left_out(_UNREAD)),
    **dict.fromkeys(("grammar_triggers", "preserved_tokens"), left_out(_UNREAD)),
}
"""What clients are known to send and is left out, with the reason."""

COMMON: dict[str, Take] = {**SAMPLING, **CONTROL, **STREAMING, **NOT_SENT}


def wants_json(body: dict[str, Any]) -> bool:
    """Whether the content of the answer is to be JSON."""
    kind = (body.get("response_format") or {}).get("type")
    return kind in ("json_object", "json_schema") or bool(body.get("json_schema"))


def wants_usage(body: dict[str, Any]) -> bool:
    """Whether the client asked for a chunk with the number of tokens."""
    return bool((body.get("stream_options") or {}).get("include_usage"))
