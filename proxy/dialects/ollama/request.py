"""Requests of Ollama's own dialect: what is understood, and where the texts are.

Source: Ollama's docs/api.md and api/types.go. Its command sends every key, most with an empty value: an empty value is
an absent one. Go reads keys in any case, so `request_fields.Object` refuses spellings that only differ in case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from proxy.dialects.base import InputText, Options, Request
from proxy.dialects.common.limits import drop_logprobs, refuse_cloud
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
    Take,
    anything,
    by_type,
    list_of,
    one_of,
)
from proxy.dialects.common.turns import conversation_texts
from proxy.errors import BadRequest

ROLES = ("system", "developer", "user", "assistant", "tool")

_SAMPLING = (
    *("num_keep", "seed", "num_predict", "top_k", "top_p", "min_p", "typical_p", "tfs_z", "repeat_last_n"),
    *("temperature", "repeat_penalty", "presence_penalty", "frequency_penalty", "mirostat", "mirostat_tau"),
    *("mirostat_eta",),
)
_LOADING_NUMBERS = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread")
_LOADING_FLAGS = ("use_mmap", "use_mlock", "low_vram", "numa", "f16_kv")
LOADING = frozenset((*_LOADING_NUMBERS, *_LOADING_FLAGS))
"""Options that make Ollama load the model anew."""

OPTIONS = Object(
    {
        **dict.fromkeys((*_SAMPLING, *_LOADING_NUMBERS), OPTIONAL_NUMBER),
        **dict.fromkeys((*_LOADING_FLAGS, "penalize_newline"), OPTIONAL_BOOLEAN),
        "stop": by_type("a string or an array of strings", string=STRING, array=list_of(STRING), null=NULL),
    }
)

_FUNCTION = Object({"name": STRING, "description": OPTIONAL_STRING, "parameters": anything}, ["name"])
_TOOL = Object({"type": STRING, "function": _FUNCTION}, ["function"])
_CALLED = Object(
    {
        "index": INTEGER,
        "name": STRING,
        "arguments": by_type("an object", object=anything, null=NULL),
    },
    ["name"],
)
_CALL = Object({"id": OPTIONAL_STRING, "type": one_of("function"), "function": _CALLED}, ["function"])
_IMAGES = by_type("an array of base64 strings", array=list_of(STRING), null=NULL)
_MESSAGE = Object(
    {
        "role": STRING,
        "content": OPTIONAL_STRING,
        "thinking": OPTIONAL_STRING,
        "images": _IMAGES,
        "tool_calls": by_type("an array", array=list_of(_CALL), null=NULL),
        "tool_name": OPTIONAL_STRING,
        "tool_call_id": OPTIONAL_STRING,
    },
    ["role"],
)

COMMON: dict[str, Take] = {
    "model": STRING,
    "stream": OPTIONAL_BOOLEAN,
    "format": by_type('"json", "" or a schema', string=one_of("json", ""), object=anything, null=NULL),
    "options": by_type("an object", object=OPTIONS, null=NULL),
    "think": by_type(
        "a boolean or a level", boolean=BOOLEAN, string=one_of("low", "medium", "high", "max", ""), null=NULL
    ),
    "keep_alive": by_type("a duration or a number of seconds", string=STRING, number=NUMBER, null=NULL),
    "truncate": OPTIONAL_BOOLEAN,
    "shift": OPTIONAL_BOOLEAN,
    "logprobs": OPTIONAL_BOOLEAN,
    "top_logprobs": OPTIONAL_INTEGER,
}

CHAT = Object(
    {
        **COMMON,
        "messages": by_type("an array", array=list_of(_MESSAGE), null=NULL),
        "tools": by_type("an array", array=list_of(_TOOL), null=NULL),
    },
    ["model"],
)
"""POST /api/chat."""

GENERATE = Object(
    {
        **COMMON,
        "prompt": OPTIONAL_STRING,
        "system": OPTIONAL_STRING,
        "images": _IMAGES,
        "suffix": OPTIONAL_STRING,
        "template": OPTIONAL_STRING,
        "raw": OPTIONAL_BOOLEAN,
        "context": by_type("an array of token ids", array=list_of(INTEGER), null=NULL),
    },
    ["model"],
)
"""POST /api/generate."""

RAW_PROMPT = ("raw", "template", "context", "suffix")


def without_empty(body: dict[str, Any]) -> dict[str, Any]:
    """The keys that say something."""
    return {key: value for key, value in body.items() if value not in (None, "", [], {})}


def message_texts(messages: list[dict[str, Any]], options: Options) -> list[InputText]:
    """Every text in the messages, in reading order. Normalises roles and refuses unknown ones."""
    for i, message in enumerate(messages):
        message["role"] = _role(message["role"], f"messages[{i}].role")
    texts = [_texts(message, f"messages[{i}]", options) for i, message in enumerate(messages)]
    return conversation_texts([message["role"] for message in messages], texts)


def _role(role: str, path: str) -> str:
    """Ollama lower-cases a role, and would render an unknown one's own text into the prompt."""
    known = role.lower()
    if known not in ROLES:
        raise BadRequest(f"{path} {role[:40]!a} is not a role; use one of {', '.join(ROLES)}", path, "invalid_role")
    return known


def _texts(message: dict[str, Any], path: str, options: Options) -> list[InputText]:
    role = message["role"]
    texts = plain_texts(message, ("thinking", "content", "tool_name", "tool_call_id"), role, f"{path}.")
    check_images(message, f"{path}.images", options)
    for i, call in enumerate(message.get("tool_calls") or ()):
        where = f"{path}.tool_calls[{i}]"
        texts += plain_texts(call, ("id",), role, f"{where}.")
        function = call["function"]
        texts += plain_texts(function, ("name",), role, f"{where}.function.")
        texts += nested_texts(function.get("arguments"), role, f"{where}.function.arguments")
    return texts


def plain_texts(body: dict[str, Any], keys: Iterable[str], role: str, prefix: str = "") -> list[InputText]:
    """The strings that stand under `keys`."""
    return [InputText(role, body[k], f"{prefix}{k}", body, k) for k in keys if isinstance(body.get(k), str)]


def definition_texts(body: dict[str, Any]) -> list[InputText]:
    """Tools and the answer's schema, as templates show them to the model; each text a group of its own."""
    tools = [(f"tools[{i}]", tool) for i, tool in enumerate(body.get("tools") or ())]
    return schema_texts((*tools, ("format", body.get("format"))))


def check_images(holder: dict[str, Any], path: str, options: Options) -> None:
    """Nobody reads pictures here, so a policy may refuse them."""
    if holder.get("images") and not options.allow_images:
        raise BadRequest(f"{path}: pictures are refused by policy", path, "media_refused")


def refuse_raw_prompt(body: dict[str, Any], options: Options) -> None:
    """What goes around the model's chat template, or cannot be read."""
    for key in RAW_PROMPT:
        if body.get(key) and not options.allow_raw_prompts:
            raise BadRequest(
                f"{key} goes around the model's chat template and is not taken here (setting allow_raw_prompts)",
                key,
                "raw_prompt",
            )


def limit(request: Request, options: Options, loads: bool) -> None:
    """Take out what the operator does not allow; `loads`: there is no prompt, so Ollama only loads the model."""
    body = request.body
    if not options.allow_cloud_models:
        refuse_cloud(request.model)
    if not options.allow_model_control:
        if loads and _is_zero(body.get("keep_alive")):
            raise BadRequest(
                "Unloading a model is not allowed through this proxy (setting allow_model_control)",
                "keep_alive",
                "model_control",
            )
        request.dropped += (*without_loading(body), *_without_cutting(body))
    drop_logprobs(request, options, "logprobs", "top_logprobs")


def without_loading(body: dict[str, Any]) -> Iterator[str]:
    """Remove what pins, evicts or reloads a model, or lets an answer go on for ever; yields the keys."""
    if body.pop("keep_alive", None) is not None:
        yield "keep_alive"
    options = body.get("options") or {}
    for key in [k for k in options if k in LOADING or (k == "num_predict" and (options[k] or 0) < 0)]:
        del options[key]
        yield f"options.{key}"


def _without_cutting(body: dict[str, Any]) -> Iterator[str]:
    """Remove what would cut off the head of a long prompt, the operator's words; yields the keys."""
    for key in ("truncate", "shift"):
        if body.pop(key, False):
            yield key


def _is_zero(keep_alive: Any) -> bool:
    """Whether a duration is none at all: 0, "0", "0s", "0h0m"."""
    if isinstance(keep_alive, str):
        return {c for c in keep_alive if c.isdigit()} == {"0"}
    return keep_alive is not None and keep_alive == 0
