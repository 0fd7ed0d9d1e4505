"""Requests of OpenAI's responses: what is understood, and where the texts are.

Sources: the OpenAI API reference (responses), Ollama's docs/api/openai-compatibility.md, llama.cpp's server README.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.dialects.base import InputText, Options, Request
from proxy.dialects.common.limits import CONTROL
from proxy.dialects.common.nested_texts import schema_texts
from proxy.dialects.common.request_fields import (
    NULL,
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
    one_of,
    tagged,
)
from proxy.dialects.common.turns import conversation_texts
from proxy.errors import BadRequest

ROLES = ("system", "developer", "user", "assistant")


def _typed(required: str, **keys: Take) -> Object:
    return Object({"type": STRING, **keys}, [required])


_TEXT = _typed("text", text=STRING, annotations=anything, logprobs=anything)
_PARTS: dict[str, Object] = {
    "input_text": _TEXT,
    "output_text": _TEXT,
    "text": _TEXT,
    "refusal": _typed("refusal", refusal=STRING),
    "input_image": _typed("image_url", image_url=STRING, detail=OPTIONAL_STRING),
    "input_audio": _typed("input_audio", input_audio=Object({"data": STRING, "format": STRING}, ["data"])),
}
_CONTENT = by_type("a string or an array of parts", string=STRING, array=list_of(tagged("type", _PARTS)))
_OUTPUT = by_type(
    "a string or an array of parts",
    string=STRING,
    array=list_of(tagged("type", {k: _PARTS[k] for k in ("input_text", "output_text", "text", "input_image")})),
)
_KEPT = {"id": OPTIONAL_STRING, "status": OPTIONAL_STRING}
_REASONING = {
    "summary": by_type("an array", array=list_of(tagged("type", {"summary_text": _TEXT})), null=NULL),
    "content": by_type("an array", array=list_of(tagged("type", {"reasoning_text": _TEXT, "text": _TEXT})), null=NULL),
    "encrypted_content": OPTIONAL_STRING,
}
_ITEMS: dict[str, Object] = {
    "message": Object({"type": STRING, "role": STRING, "content": _CONTENT, **_KEPT}, ["role", "content"]),
    "function_call": _typed("name", call_id=STRING, name=STRING, arguments=STRING, **_KEPT),
    "function_call_output": _typed("output", call_id=STRING, output=_OUTPUT, **_KEPT),
    "reasoning": Object({"type": STRING, **_REASONING, **_KEPT}),
}
_REFERENCE = Object({"type": STRING, "id": STRING}, ["id"])
_TOOL = _typed("name", name=STRING, description=OPTIONAL_STRING, parameters=anything, strict=OPTIONAL_BOOLEAN)
_FORMAT = Object(
    {
        "type": one_of("text", "json_object", "json_schema"),
        "name": OPTIONAL_STRING,
        "description": OPTIONAL_STRING,
        "schema": anything,
        "strict": OPTIONAL_BOOLEAN,
    },
    ["type"],
)
_SUMMARY = by_type("a string", string=one_of("auto", "concise", "detailed"), null=NULL)
_VERBOSITY = by_type("a string", string=one_of("low", "medium", "high"), null=NULL)
_EFFORT = by_type("a string", string=one_of("none", "minimal", "low", "medium", "high", "xhigh"), null=NULL)


def _nullable(fields: Object) -> Take:
    return by_type("an object or null", object=fields, null=NULL)


RESPONSES = Object(
    {
        "model": STRING,
        "input": by_type("a string or an array of items", string=STRING, array=list_of(anything)),
        "instructions": OPTIONAL_STRING,
        "tools": by_type("an array of tools", array=list_of(anything), null=NULL),
        "tool_choice": by_type(
            "a string or an object",
            string=one_of("none", "auto", "required"),
            object=Object({"type": one_of("function"), "name": STRING}, ["type", "name"]),
            null=NULL,
        ),
        "parallel_tool_calls": OPTIONAL_BOOLEAN,
        "text": _nullable(Object({"format": _nullable(_FORMAT), "verbosity": _VERBOSITY})),
        "reasoning": _nullable(Object({"effort": _EFFORT, "summary": _SUMMARY, "generate_summary": _SUMMARY})),
        "temperature": OPTIONAL_NUMBER,
        "top_p": OPTIONAL_NUMBER,
        "top_k": OPTIONAL_INTEGER,
        "seed": OPTIONAL_INTEGER,
        "presence_penalty": OPTIONAL_NUMBER,
        "frequency_penalty": OPTIONAL_NUMBER,
        "max_output_tokens": OPTIONAL_INTEGER,
        "max_tool_calls": OPTIONAL_INTEGER,
        "top_logprobs": OPTIONAL_INTEGER,
        "truncation": by_type("a string", string=one_of("auto", "disabled"), null=NULL),
        "include": by_type("an array of strings", array=list_of(STRING), null=NULL),
        "store": OPTIONAL_BOOLEAN,
        "background": OPTIONAL_BOOLEAN,
        "previous_response_id": OPTIONAL_STRING,
        "conversation": by_type("a string or an object", string=STRING, object=Object({"id": STRING}), null=NULL),
        "stream": OPTIONAL_BOOLEAN,
        "stream_options": _nullable(Object({"include_obfuscation": OPTIONAL_BOOLEAN})),
        **CONTROL,
    },
    ["input"],
)
"""POST /v1/responses; metadata, user, service_tier and the like are none of a local server's business."""

INCLUDES = ("reasoning.encrypted_content",)


def clean_items(body: dict[str, Any], options: Options, report: Report) -> None:
    """Items through their own allow-lists. A message may leave its type out."""
    items = body["input"]
    for i, item in enumerate(items if isinstance(items, list) else ()):
        path = f"input[{i}]"
        if isinstance(item, dict) and "type" not in item and "role" in item:
            items[i] = _ITEMS["message"](item, path, report)
        elif isinstance(item, dict) and item.get("type") == "item_reference":
            if not options.allow_stateful:
                raise _stateful(path, "an item that the backend remembers")
            items[i] = _REFERENCE(item, path, report)
        else:
            items[i] = tagged("type", _ITEMS)(item, path, report)


def clean_tools(body: dict[str, Any], options: Options, report: Report) -> None:
    """Functions, which the client runs, are read through the allow-list; what the server runs needs leave."""
    tools = body.get("tools") or []
    for i, tool in enumerate(tools):
        if not isinstance(tool, dict) or tool.get("type") == "function":
            tools[i] = _TOOL(tool, f"tools[{i}]", report)
        elif not options.allow_server_tools:
            raise BadRequest(
                f"tools[{i}]: only functions are taken; other tools run on the server (setting allow_server_tools)",
                f"tools[{i}].type",
                "server_tool",
            )


def limit_state(request: Request, options: Options) -> None:
    """What a backend remembers was never checked: nothing is stored, and nothing stored is used."""
    if options.allow_stateful:
        return
    body = request.body
    for key in ("previous_response_id", "conversation"):
        if body.pop(key, None):
            raise _stateful(key, key)
    if body.pop("background", None):
        raise _stateful("background", "an answer in the background")
    if body.get("store"):
        request.removed += ("store",)
    body["store"] = False


def _stateful(path: str, what: str) -> BadRequest:
    hint = "send the whole input (setting allow_stateful)"
    return BadRequest(f"{path}: {what} is refused here; {hint}", path, "stateful")


def limit_includes(request: Request) -> None:
    """Extra parts of the answer: only those that can be judged."""
    wanted = request.body.get("include")
    if wanted is None:
        return
    kept = [name for name in wanted if name in INCLUDES]
    if len(kept) < len(wanted):
        request.removed += ("include",)
    request.body["include"] = kept


def prompt_texts(body: dict[str, Any], options: Options) -> list[InputText]:
    """Every text that the model will read: tools and the form of the answer, the instructions, then the input."""
    own = [(f"tools[{i}]", tool) for i, tool in enumerate(body.get("tools") or ())]
    texts = schema_texts((*own, ("text.format", (body.get("text") or {}).get("format"))))
    if body.get("instructions"):
        texts.append(InputText("system", body["instructions"], "instructions", body, "instructions"))
    if isinstance(body["input"], str):
        return [*texts, InputText("user", body["input"], "input", body, "input", group=1)]
    return texts + _item_texts(body["input"], options)


def _item_texts(items: list[dict[str, Any]], options: Options) -> list[InputText]:
    """Every text in the items, in reading order. Normalises roles."""
    roles = [_role(item, i) for i, item in enumerate(items)]
    texts = [_texts(item, roles[i], f"input[{i}]", options) for i, item in enumerate(items)]
    return conversation_texts(roles, texts, group=1)


def _role(item: dict[str, Any], i: int) -> str:
    if item.get("type", "message") != "message":
        return "tool" if item["type"] == "function_call_output" else "assistant"
    role = item["role"] = item["role"].lower()
    if role not in ROLES:
        path = f"input[{i}].role"
        raise BadRequest(f"{path} {role[:40]!a} is not a role; use one of {', '.join(ROLES)}", path, "invalid_role")
    return str(role)


def _texts(item: dict[str, Any], role: str, path: str, options: Options) -> list[InputText]:
    texts: list[InputText] = []
    for key in ("summary", "content", "output"):
        value = item.get(key)
        if isinstance(value, str):
            texts.append(InputText(role, value, f"{path}.{key}", item, key))
        for j, part in enumerate(value if isinstance(value, list) else ()):
            texts += _part_texts(part, role, f"{path}.{key}[{j}]", options)
    for key in ("encrypted_content", "call_id", "name", "id", "status"):
        if isinstance(item.get(key), str):
            texts.append(InputText(role, item[key], f"{path}.{key}", item, key))
    if isinstance(item.get("arguments"), str):
        texts.append(InputText(role, item["arguments"], f"{path}.arguments", item, "arguments", escaped=True))
    return texts


def _part_texts(part: dict[str, Any], role: str, path: str, options: Options) -> list[InputText]:
    part.pop("annotations", None)
    part.pop("logprobs", None)
    if part["type"] in ("input_image", "input_audio"):
        _check_media(part, path, options)
    keys = [key for key in ("text", "refusal") if key in part]
    return [InputText(role, part[key], f"{path}.{key}", part, key) for key in keys]


def _check_media(part: dict[str, Any], path: str, options: Options) -> None:
    """Pictures and sound: refused by policy, or, when they lie elsewhere, because the backend would fetch them."""
    if not options.allow_images:
        raise BadRequest(f"{path}: pictures and audio are refused by policy", path, "media_refused")
    url = part.get("image_url", "data:")
    if not url.lower().startswith("data:") and not options.allow_remote_images:
        raise BadRequest(
            f"{path}: only data: URLs are taken, the backend would fetch anything else (setting allow_remote_images)",
            path,
            "remote_image",
        )


def prefill(body: Mapping[str, Any]) -> str:
    """The beginning of the answer, when the client gives it."""
    items = body["input"]
    last = items[-1] if isinstance(items, list) and items else {}
    if last.get("role") != "assistant":
        return ""
    content = last["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
