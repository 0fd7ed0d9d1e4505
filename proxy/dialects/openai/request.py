"""Requests of OpenAI's chat and completions: what becomes of each part, and where the texts of a chat are.

Sources: the OpenAI API reference (chat completions, completions), llama.cpp's server README and server-task.cpp,
Ollama's openai.md, LM Studio's docs. llama.cpp copies every key that it does not know into the parameters of its own
/completion, so only what stands here goes on.
"""

from __future__ import annotations

from typing import Any

from proxy.dialects.common.limits import CONTROL
from proxy.dialects.common.media import check_media
from proxy.dialects.common.request_fields import (
    COUNT,
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
    kinds,
    left_out,
    lenient,
    list_of,
    map_of,
    one_of,
    one_or_more,
    role,
    words,
)
from proxy.dialects.common.request_texts import conversation_texts, nested_texts
from proxy.dialects.common.template_arguments import TEMPLATE_ARGUMENTS
from proxy.dialects.common.whole import text_part
from proxy.dialects.openai.tools import TOOLS
from proxy.dialects.request import InputText, Options

# -- what chat and completions have in common: how the answer is made, and in what form it comes

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

CHOOSING: dict[str, Take] = {
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
    "reasoning_format": form(r"[a-z][a-z_\-]{0,31}"),
}
"""How tokens are chosen and what is told beside them; llama.cpp takes it in /v1/responses too."""
SAMPLING: dict[str, Take] = {
    **CHOOSING,
    "reasoning_effort": EFFORT,
    "reasoning": lenient(
        by_type("an object", object=Object({"effort": EFFORT, "summary": words(), "enabled": PASSED}), null=NULL)
    ),
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


# -- messages

ROLES = ("system", "developer", "user", "assistant", "tool", "function")

_ARGUMENTS = by_type("a string or an object", string=STRING, object=anything, array=anything, null=NULL)
_CALLED = Object({"name": STRING, "arguments": lenient(_ARGUMENTS)}, ["name"])
_CALL_KEYS: dict[str, Take] = {"id": lenient(OPTIONAL_STRING), "type": OPTIONAL_STRING, "index": PASSED}
_CALL = lenient(
    kinds(
        "type",
        {
            "function": Object({**_CALL_KEYS, "function": _CALLED}, ["function"]),
            "custom": Object({**_CALL_KEYS, "custom": Object({"name": STRING, "input": STRING}, ["name"])}, ["custom"]),
        },
        default="function",
    )
)

MEDIA = ("image_url", "input_audio", "input_video")
"""Parts that nobody here reads; a setting and a policy say whether they are sent."""
_TEXT = Object({"type": STRING, "text": STRING}, ["text"])
_PICTURE = by_type("an object or a string", string=STRING, object=Object({"url": STRING, "detail": words()}, ["url"]))
_BYTES: dict[str, Take] = {"data": STRING, "url": STRING, "format": form(r"[\w.+\-/]{0,32}")}
_PARTS: dict[str, Take] = {
    **dict.fromkeys(("text", "input_text", "output_text"), _TEXT),
    "refusal": Object({"type": STRING, "refusal": STRING}, ["refusal"]),
    "thinking": Object({"type": STRING, "thinking": STRING}, ["thinking"]),
    "image_url": Object({"type": STRING, "image_url": _PICTURE}, ["image_url"]),
    **{kind: Object({"type": STRING, kind: Object(_BYTES)}, [kind]) for kind in ("input_audio", "input_video")},
    **dict.fromkeys(("file", "input_file", "document"), left_out("nobody here reads documents")),
}
_PART = lenient(by_type("a part", string=STRING, object=text_part("text", kinds("type", _PARTS))))
_CONTENT = by_type(
    "a string, null or an array of parts", string=STRING, null=NULL, array=list_of(_PART), object=one_or_more(_PART)
)


class _Message(Object):
    """Most messages are a role and a text, and nothing else: that is seen at one glance."""

    def __call__(self, value: Any, path: str, report: Report) -> dict[str, Any]:
        """What is sent of `value`. Raises BadRequest."""
        if type(value) is dict and len(value) == 2 and value.get("role") in ROLES and type(value.get("content")) is str:
            return value
        dropped = len(report.dropped)
        clean = super().__call__(value, path, report)
        if len(report.dropped) > dropped:
            _close_up(clean, value)
        return clean


def _close_up(clean: dict[str, Any], value: dict[str, Any]) -> None:
    """Where all parts or all calls of a message were left out, it says nothing: no backend takes it without either."""
    for key in ("content", "tool_calls"):
        if clean.get(key) == [] and value.get(key):
            del clean[key]
    if clean.get("content") is None and not (clean.get("tool_calls") or clean.get("function_call")):
        clean["content"] = ""


_MESSAGE = _Message(
    {
        "role": role(*ROLES),
        "content": _CONTENT,
        "name": lenient(OPTIONAL_STRING),
        "tool_call_id": lenient(OPTIONAL_STRING),
        "tool_calls": lenient(by_type("an array", array=list_of(_CALL), object=one_or_more(_CALL), null=NULL)),
        "function_call": lenient(by_type("an object", object=_CALLED, null=NULL)),
        "refusal": lenient(OPTIONAL_STRING),
        "reasoning_content": lenient(OPTIONAL_STRING),
        "reasoning": lenient(OPTIONAL_STRING),
        "audio": left_out("the model server's own copy of an earlier answer in sound"),
        "annotations": left_out("notes on an answer are not part of a prompt"),
    },
    ["role"],
)

# -- the body

CHAT = Object(
    {
        "model": by_type("a string or null", string=STRING, null=NULL),
        "messages": list_of(_MESSAGE),
        "n": COUNT,
        **TOOLS,
        "chat_template_kwargs": TEMPLATE_ARGUMENTS,
        "modalities": lenient(by_type("an array", array=list_of(form("text")), null=NULL)),
        "logprobs": SWITCH,
        "top_logprobs": COUNT,
        **COMMON,
    },
    ["messages"],
)
"""POST /v1/chat/completions."""


def message_texts(messages: list[dict[str, Any]], options: Options) -> list[InputText]:
    """Every text in the messages, in reading order. Refuses pictures that may not be sent."""
    texts = [_texts(message, f"messages[{i}]", options) for i, message in enumerate(messages)]
    return conversation_texts([message["role"] for message in messages], texts)


def _texts(message: dict[str, Any], path: str, options: Options) -> list[InputText]:
    said_by, content = message["role"], message.get("content")
    if len(message) == 2 and isinstance(content, str):  # nothing else: most messages are like this
        return [InputText(said_by, content, f"{path}.content", message, "content")]
    found: list[InputText] = []

    def add(container: Any, key: Any, where: str, escaped: bool = False) -> None:
        text = container[key] if isinstance(container, list) else container.get(key)
        if isinstance(text, str):
            at = f"{where}[{key}]" if isinstance(container, list) else f"{where}.{key}"
            found.append(InputText(said_by, text, at, container, key, escaped=escaped))

    for key in ("reasoning_content", "reasoning", "content"):
        add(message, key, path)
    for j, part in enumerate(content if isinstance(content, list) else ()):
        where = f"{path}.content[{j}]"
        if isinstance(part, str):
            add(content, j, f"{path}.content")
            continue
        for key in ("text", "refusal", "thinking"):
            add(part, key, where)
        if part["type"] in MEDIA:
            check_media(part[part["type"]], where, options)
    for key in ("refusal", "name", "tool_call_id"):
        add(message, key, path)
    calls = [(f"{path}.tool_calls[{j}]", call) for j, call in enumerate(message.get("tool_calls") or ())]
    for where, call in calls:
        add(call, "id", where)
    called = [(f"{where}.{key}", call[key]) for where, call in calls for key in ("function", "custom") if key in call]
    if message.get("function_call"):
        called.append((f"{path}.function_call", message["function_call"]))
    for where, function in called:
        add(function, "name", where)
        add(function, "input", where)
        add(function, "arguments", where, escaped=True)
        found += nested_texts(function.get("arguments"), said_by, f"{where}.arguments")
    return found


def prefill(message: dict[str, Any]) -> str:
    """What the model goes on with, when the last message is its own."""
    if message["role"] != "assistant":
        return ""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(part if isinstance(part, str) else part.get("text", "") for part in content)
    return content or ""
