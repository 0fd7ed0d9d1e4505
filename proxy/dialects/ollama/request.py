"""Requests of Ollama's own dialect: what becomes of each part, and where the texts are.

Source: Ollama's docs/api.md and api/types.go. Its command sends every key, most with an empty value: an empty value is
an absent one. Go reads keys in any case, so `request_fields.Object` refuses spellings that only differ in case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from proxy.dialects.common.limits import CONTROL, cap_context, drop_logprobs, refuse_cloud
from proxy.dialects.common.request_fields import (
    COUNT,
    INTEGER,
    NULL,
    OPTIONAL_STRING,
    PASSED,
    STRING,
    SWITCH,
    Object,
    Take,
    anything,
    by_type,
    form,
    left_out,
    lenient,
    list_of,
    one_or_more,
    role,
    words,
)
from proxy.dialects.common.request_texts import conversation_texts, nested_texts, schema_texts
from proxy.dialects.request import InputText, Options, Request
from proxy.errors import BadRequest

ROLES = ("system", "developer", "user", "assistant", "tool")

_SAMPLING = (
    *("num_keep", "seed", "top_k", "top_p", "min_p", "typical_p", "tfs_z", "repeat_last_n", "temperature"),
    *("repeat_penalty", "presence_penalty", "frequency_penalty", "mirostat", "mirostat_tau", "mirostat_eta"),
    "penalize_newline",
)
_LOADING = (
    *("num_batch", "num_gpu", "main_gpu", "num_thread", "draft_num_predict"),
    *("use_mmap", "use_mlock", "low_vram", "numa", "f16_kv"),
)
LOADING = frozenset(("num_ctx", *_LOADING))
"""Options that make Ollama load the model anew."""

OPTIONS = Object(
    {
        **dict.fromkeys((*_SAMPLING, *_LOADING), PASSED),
        **dict.fromkeys(("num_ctx", "num_predict"), COUNT),
        "stop": lenient(
            by_type("a string or an array of strings", string=STRING, array=list_of(lenient(STRING)), null=NULL)
        ),
        "logit_bias": left_out("Ollama does not know it"),
    }
)

_FUNCTION = Object({"name": STRING, "description": lenient(OPTIONAL_STRING), "parameters": anything}, ["name"])
_TOOL = Object({"type": lenient(OPTIONAL_STRING), "items": anything, "function": _FUNCTION}, ["function"])
_CALLED = Object(
    {
        "index": PASSED,
        "name": STRING,
        "arguments": lenient(by_type("an object", object=anything, string=STRING, null=NULL)),
    },
    ["name"],
)
_CALL = Object(
    {
        "id": lenient(OPTIONAL_STRING),
        "type": form("function"),
        "index": PASSED,
        "function": _CALLED,
    },
    ["function"],
)
_IMAGES = by_type("an array of base64 strings", array=list_of(lenient(STRING)), string=one_or_more(STRING), null=NULL)
_MESSAGE = Object(
    {
        "role": role(*ROLES),
        "content": OPTIONAL_STRING,
        "thinking": lenient(OPTIONAL_STRING),
        "images": _IMAGES,
        "tool_calls": lenient(by_type("an array", array=list_of(lenient(_CALL)), null=NULL)),
        "tool_name": lenient(OPTIONAL_STRING),
        "tool_call_id": lenient(OPTIONAL_STRING),
    },
    ["role"],
)

COMMON: dict[str, Take] = {
    "model": STRING,
    "stream": SWITCH,
    "format": lenient(by_type('"json", "" or a schema', string=words("json", ""), object=anything, null=NULL)),
    "options": lenient(by_type("an object", object=OPTIONS, null=NULL)),
    "think": words("low", "medium", "high", "max", ""),
    "keep_alive": CONTROL["keep_alive"],
    "truncate": SWITCH,
    "shift": SWITCH,
    "logprobs": SWITCH,
    "top_logprobs": COUNT,
    "_debug_render_only": left_out("the answer to it would show the operator's words"),
}

CHAT = Object(
    {
        **COMMON,
        "messages": by_type("an array", array=list_of(_MESSAGE), null=NULL),
        "tools": lenient(by_type("an array", array=list_of(lenient(_TOOL)), null=NULL)),
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
        "raw": SWITCH,
        "context": by_type("an array of token ids", array=list_of(INTEGER), null=NULL),
    },
    ["model"],
)
"""POST /api/generate."""

RAW_PROMPT = ("raw", "template", "context", "suffix")


def without_empty(body: dict[str, Any]) -> dict[str, Any]:
    """The same body with those keys only that say something."""
    for key in [key for key, value in body.items() if value in (None, "", [], {})]:
        del body[key]
    return body


def message_texts(messages: list[dict[str, Any]], options: Options) -> list[InputText]:
    """Every text in the messages, in reading order."""
    texts = [_texts(message, f"messages[{i}]", options) for i, message in enumerate(messages)]
    return conversation_texts([message["role"] for message in messages], texts)


def _texts(message: dict[str, Any], path: str, options: Options) -> list[InputText]:
    role = message["role"]
    texts = plain_texts(message, ("thinking", "content", "tool_name", "tool_call_id"), role, f"{path}.")
    check_images(message, f"{path}.images", options)
    for i, call in enumerate(message.get("tool_calls") or ()):
        where = f"{path}.tool_calls[{i}]"
        texts += plain_texts(call, ("id",), role, f"{where}.")
        function = call["function"]
        texts += plain_texts(function, ("name",), role, f"{where}.function.")
        if isinstance(function.get("arguments"), str):
            at = f"{where}.function.arguments"
            texts.append(InputText(role, function["arguments"], at, function, "arguments", escaped=True))
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
    if loads and not options.allow_model_control and _is_zero(body.get("keep_alive")):
        raise BadRequest(
            "Unloading a model is not allowed through this proxy (setting allow_model_control)",
            "keep_alive",
            "model_control",
        )
    request.dropped += tuple(without_loading(body, options))
    if not options.allow_model_control:
        request.dropped += tuple(_without_cutting(body))
    drop_logprobs(request, options, "logprobs", "top_logprobs")


def without_loading(body: dict[str, Any], options: Options) -> Iterator[str]:
    """Remove what pins, evicts or reloads a model, or lets an answer go on for ever; yields the keys.

    A context's size passes up to the most that the operator allows, and is lowered to that.
    """
    asked = body.get("options") or {}
    if cap_context(asked, "num_ctx", options):
        yield "options.num_ctx"
    if options.allow_model_control:
        return
    if body.pop("keep_alive", None) is not None:
        yield "keep_alive"
    for key in [k for k in asked if k in _LOADING or (k == "num_predict" and (asked[k] or 0) < 0)]:
        del asked[key]
        yield f"options.{key}"


def _without_cutting(body: dict[str, Any]) -> Iterator[str]:
    """Remove what would cut off the head of a long prompt, the operator's words, and what loads the model anew (a shift
    that is not the model's own); yields the keys."""
    for key in ("truncate", "shift"):
        asked = body.pop(key, None)
        if asked or (key == "shift" and asked is not None):
            yield key


def _is_zero(keep_alive: Any) -> bool:
    """Whether a duration is none at all: 0, "0", "0s", "0h0m"."""
    if isinstance(keep_alive, str):
        return {c for c in keep_alive if c.isdigit()} == {"0"}
    return keep_alive is not None and keep_alive == 0
