"""Requests of the OpenAI dialect: what is understood, and where the texts are.

Sources: the OpenAI API reference (chat completions), llama.cpp's server README, Ollama's openai.md, LM Studio's docs.
"""

from __future__ import annotations

from typing import Any

from proxy.dialects.base import InputText, Options
from proxy.dialects.common.limits import CONTROL
from proxy.dialects.common.nested_texts import nested_texts, schema_texts
from proxy.dialects.common.request_fields import (
    BOOLEAN,
    INTEGER,
    NULL,
    NUMBER,
    OPTIONAL_BOOLEAN,
    OPTIONAL_INTEGER,
    OPTIONAL_NUMBER,
    OPTIONAL_STRING,
    STRING,
    Object,
    Report,
    Take,
    anything,
    by_type,
    list_of,
    map_of,
    one_of,
    tagged,
)
from proxy.dialects.common.turns import conversation_texts
from proxy.errors import BadRequest

ROLES = ("system", "developer", "user", "assistant", "tool", "function")

_NUMBERS = (
    *("temperature", "top_p", "min_p", "typical_p", "tfs_z", "presence_penalty", "frequency_penalty"),
    *("repeat_penalty", "repetition_penalty", "mirostat_tau", "mirostat_eta", "dynatemp_range", "dynatemp_exponent"),
    *("xtc_probability", "xtc_threshold", "top_n_sigma", "dry_multiplier", "dry_base"),
)
_INTEGERS = (
    *("top_k", "seed", "max_tokens", "max_completion_tokens", "n_predict", "repeat_last_n", "mirostat", "min_keep"),
    *("n_keep", "dry_allowed_length", "dry_penalty_last_n", "thinking_budget_tokens"),
)
EFFORT = by_type("a word or null", string=one_of("none", "minimal", "low", "medium", "high", "xhigh", "max"), null=NULL)
"""Templates show it to the model, so it is one of a few words."""


def _format_type(value: Any, path: str, report: Report) -> str:
    """One of the known words; Ollama takes them in any case and with blanks around."""
    word = STRING(value, path, report).strip().lower()
    return str(one_of("text", "json_object", "json_schema")(word, path, report))


_FORMAT = Object({"type": _format_type, "json_schema": anything, "schema": anything})

SAMPLING: dict[str, Take] = {
    **dict.fromkeys(_NUMBERS, OPTIONAL_NUMBER),
    **dict.fromkeys(_INTEGERS, OPTIONAL_INTEGER),
    "ignore_eos": OPTIONAL_BOOLEAN,
    "cache_prompt": OPTIONAL_BOOLEAN,
    "stop": by_type("a string or an array of strings", string=STRING, array=list_of(STRING), null=NULL),
    "logit_bias": by_type("an object or an array", object=map_of(NUMBER), array=anything, null=NULL),
    "samplers": list_of(STRING),
    "dry_sequence_breakers": list_of(STRING),
    "reasoning_effort": EFFORT,
    "reasoning": by_type("an object", object=Object({"effort": EFFORT}), null=NULL),
    "grammar": OPTIONAL_STRING,
    "json_schema": anything,
    "response_format": by_type("an object", object=_FORMAT, null=NULL),
    "draft_model": OPTIONAL_STRING,
}


STREAMING: dict[str, Take] = {
    "stream": OPTIONAL_BOOLEAN,
    "stream_options": by_type("an object", object=Object({"include_usage": OPTIONAL_BOOLEAN}), null=NULL),
}

LOGPROBS: dict[str, Take] = {"logprobs": OPTIONAL_BOOLEAN, "top_logprobs": OPTIONAL_INTEGER}

_FUNCTION = Object(
    {"name": STRING, "description": OPTIONAL_STRING, "parameters": anything, "strict": OPTIONAL_BOOLEAN}, ["name"]
)
_TOOL = tagged("type", {"function": Object({"type": STRING, "function": _FUNCTION}, ["function"])})
_CALLED = Object(
    {"name": STRING, "arguments": by_type("a string or an object", string=STRING, object=anything)}, ["name"]
)
_CALL = Object({"id": STRING, "type": one_of("function"), "index": INTEGER, "function": _CALLED}, ["function"])

_PARTS: dict[str, Object] = {
    "text": Object({"type": STRING, "text": STRING}, ["text"]),
    "refusal": Object({"type": STRING, "refusal": STRING}, ["refusal"]),
    "image_url": Object(
        {
            "type": STRING,
            "image_url": by_type(
                "an object or a string",
                string=STRING,
                object=Object({"url": STRING, "detail": one_of("auto", "low", "high")}, ["url"]),
            ),
        },
        ["image_url"],
    ),
    "input_audio": Object(
        {"type": STRING, "input_audio": Object({"data": STRING, "format": STRING}, ["data"])}, ["input_audio"]
    ),
}
_CONTENT = by_type(
    "a string, null or an array of parts", string=STRING, null=NULL, array=list_of(tagged("type", _PARTS))
)


class _Message(Object):
    """Most messages are a role and a text, and nothing else: that is seen at one glance."""

    def __call__(self, value: Any, path: str, report: Report) -> dict[str, Any]:
        """The known part of `value`. Raises BadRequest."""
        if type(value) is dict and len(value) == 2 and type(value.get("role")) is type(value.get("content")) is str:
            return value
        return super().__call__(value, path, report)


_MESSAGE = _Message(
    {
        "role": STRING,
        "content": _CONTENT,
        "name": OPTIONAL_STRING,
        "tool_call_id": OPTIONAL_STRING,
        "tool_calls": by_type("an array", array=list_of(_CALL), null=NULL),
        "function_call": by_type("an object", object=_CALLED, null=NULL),
        "refusal": OPTIONAL_STRING,
        "reasoning_content": OPTIONAL_STRING,
        "reasoning": OPTIONAL_STRING,
    },
    ["role"],
)


CHAT = Object(
    {
        "model": STRING,
        "messages": list_of(_MESSAGE),
        "n": OPTIONAL_INTEGER,
        "tools": by_type("an array", array=list_of(_TOOL), null=NULL),
        "functions": by_type("an array", array=list_of(_FUNCTION), null=NULL),
        "tool_choice": by_type(
            "a string or an object",
            string=one_of("none", "auto", "required"),
            object=Object({"type": STRING, "function": Object({"name": STRING}, ["name"])}),
            null=NULL,
        ),
        "function_call": by_type("a string or an object", string=STRING, object=Object({"name": STRING}), null=NULL),
        "parallel_tool_calls": OPTIONAL_BOOLEAN,
        "chat_template_kwargs": map_of(by_type("a boolean or a number", boolean=BOOLEAN, number=NUMBER)),
        **SAMPLING,
        **CONTROL,
        **STREAMING,
        **LOGPROBS,
    },
    ["messages"],
)
"""POST /v1/chat/completions."""


def message_texts(messages: list[dict[str, Any]], options: Options) -> list[InputText]:
    """Every text in the messages, in reading order. Normalises roles; refuses unknown ones and remote pictures."""
    roles = [_role(message, i) for i, message in enumerate(messages)]
    texts = [_texts(message, f"messages[{i}]", options) for i, message in enumerate(messages)]
    return conversation_texts(roles, texts)


def _role(message: dict[str, Any], i: int) -> str:
    role = message["role"] = message["role"].lower()
    if role not in ROLES:
        known = ", ".join(ROLES)
        raise BadRequest(
            f"messages[{i}].role {role[:40]!a} is not a role; use one of {known}", f"messages[{i}].role", "invalid_role"
        )
    return str(role)


def _texts(message: dict[str, Any], path: str, options: Options) -> list[InputText]:
    role, content = message["role"], message.get("content")
    if len(message) == 2 and isinstance(content, str):  # nothing else: most messages are like this
        return [InputText(role, content, f"{path}.content", message, "content")]
    found: list[InputText] = []

    def add(container: dict[str, Any], key: str, where: str, escaped: bool = False) -> None:
        if isinstance(container.get(key), str):
            found.append(InputText(role, container[key], f"{where}.{key}", container, key, escaped=escaped))

    add(message, "reasoning_content", path)
    add(message, "reasoning", path)
    add(message, "content", path)
    if isinstance(content, list):
        for j, part in enumerate(content):
            where = f"{path}.content[{j}]"
            add(part, "text", where)
            add(part, "refusal", where)
            check_media(part, where, options)
    for key in ("refusal", "name", "tool_call_id"):
        add(message, key, path)
    calls = [(f"{path}.tool_calls[{j}]", call) for j, call in enumerate(message.get("tool_calls") or ())]
    for where, call in calls:
        add(call, "id", where)
    called = [(f"{where}.function", call["function"]) for where, call in calls]
    if message.get("function_call"):
        called.append((f"{path}.function_call", message["function_call"]))
    for where, function in called:
        add(function, "name", where)
        add(function, "arguments", where, escaped=True)
        found += nested_texts(function.get("arguments"), role, f"{where}.arguments")
    return found


def check_media(part: dict[str, Any], path: str, options: Options) -> None:
    """Pictures and sound: refused by policy, or, when they lie elsewhere, because the backend would fetch them."""
    if part["type"] in ("text", "refusal"):
        return
    if not options.allow_images:
        raise BadRequest(f"{path}: pictures and audio are refused by policy", path, "media_refused")
    image = part.get("image_url")
    url = image.get("url", "") if isinstance(image, dict) else image
    if isinstance(url, str) and not url.lower().startswith("data:") and not options.allow_remote_images:
        raise BadRequest(
            f"{path}: only data: URLs are taken, the backend would fetch anything else (setting allow_remote_images)",
            path,
            "remote_image",
        )


_DEFINING = ("tools", "functions", "response_format", "json_schema", "grammar")


def tool_texts(body: dict[str, Any]) -> list[InputText]:
    """Names, descriptions and schemas of tools, as the template shows them to the model; each a group of its own."""
    if body.keys().isdisjoint(_DEFINING):
        return []
    tools = [(f"{key}[{i}]", tool) for key in ("tools", "functions") for i, tool in enumerate(body.get(key) or ())]
    schemas = [(key, body.get(key)) for key in ("response_format", "json_schema", "grammar")]
    texts = schema_texts((*tools, *schemas))
    for key, value in schemas:
        if isinstance(value, str):
            texts.append(InputText("system", value, key, body, key, group=-1 - len(texts)))
    return texts
