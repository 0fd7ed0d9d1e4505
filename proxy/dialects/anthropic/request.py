"""Requests of Anthropic's dialect: what is understood, and where the texts are.

Sources: Anthropic's API reference (messages), Ollama's docs/api/anthropic-compatibility.md, llama.cpp's server README.
"""

from __future__ import annotations

from typing import Any

from proxy.dialects.base import InputText, Options
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

ROLES = ("user", "assistant", "system")

_CACHE = by_type(
    "an object or null", object=Object({"type": one_of("ephemeral"), "ttl": one_of("5m", "1h")}), null=NULL
)
_SOURCE = tagged(
    "type",
    {
        "base64": Object({"type": STRING, "media_type": STRING, "data": STRING}, ["data"]),
        "url": Object({"type": STRING, "url": STRING}, ["url"]),
    },
)


def _block(required: str, **keys: Take) -> Object:
    return Object({"type": STRING, "cache_control": _CACHE, **keys}, [required])


_TEXT = _block("text", text=STRING)
_IMAGE = _block("source", source=_SOURCE)
_RESULT = by_type(
    "a string, null or an array of blocks",
    string=STRING,
    null=NULL,
    array=list_of(tagged("type", {"text": _TEXT, "image": _IMAGE})),
)
_BLOCKS: dict[str, Object] = {
    "text": _TEXT,
    "image": _IMAGE,
    "tool_use": _block("name", id=STRING, name=STRING, input=map_of(anything)),
    "tool_result": _block("tool_use_id", tool_use_id=STRING, content=_RESULT, is_error=OPTIONAL_BOOLEAN),
    "thinking": _block("thinking", thinking=STRING, signature=OPTIONAL_STRING),
    "redacted_thinking": _block("data", data=STRING),
}
_MESSAGE = Object(
    {
        "role": STRING,
        "content": by_type("a string or an array of blocks", string=STRING, array=list_of(tagged("type", _BLOCKS))),
    },
    ["role", "content"],
)
_TOOL = Object(
    {
        "type": by_type("a string or null", string=STRING, null=NULL),
        "name": STRING,
        "description": OPTIONAL_STRING,
        "input_schema": anything,
        "strict": OPTIONAL_BOOLEAN,
        "cache_control": _CACHE,
    },
    ["name"],
)
_FORMAT = by_type("an object or null", object=Object({"type": STRING, "schema": anything}, ["type"]), null=NULL)

MESSAGES = Object(
    {
        "model": STRING,
        "messages": list_of(_MESSAGE),
        "system": by_type(
            "a string or an array of text blocks",
            string=STRING,
            array=list_of(tagged("type", {"text": _TEXT})),
            null=NULL,
        ),
        "max_tokens": OPTIONAL_INTEGER,
        "stop_sequences": by_type("an array of strings", array=list_of(STRING), null=NULL),
        "stream": OPTIONAL_BOOLEAN,
        "temperature": OPTIONAL_NUMBER,
        "top_p": OPTIONAL_NUMBER,
        "top_k": OPTIONAL_INTEGER,
        "tools": by_type("an array of tools", array=list_of(anything), null=NULL),
        "tool_choice": by_type(
            "an object",
            object=Object(
                {
                    "type": one_of("auto", "any", "tool", "none"),
                    "name": STRING,
                    "disable_parallel_tool_use": BOOLEAN,
                },
                ["type"],
            ),
            null=NULL,
        ),
        "thinking": by_type(
            "an object",
            object=Object(
                {"type": one_of("enabled", "disabled", "adaptive"), "budget_tokens": INTEGER, "display": STRING},
                ["type"],
            ),
            null=NULL,
        ),
        "output_config": by_type("an object", object=Object({"format": _FORMAT, "effort": OPTIONAL_STRING}), null=NULL),
        "output_format": _FORMAT,
        "keep_alive": by_type("a string or a number", string=STRING, number=NUMBER, null=NULL),
        "ttl": OPTIONAL_NUMBER,
    },
    ["messages"],
)
"""POST /v1/messages and /v1/messages/count_tokens; metadata and service_tier are none of a local server's business."""


def clean_tools(body: dict[str, Any], options: Options, report: Report) -> None:
    """Tools that the client runs are read through the allow-list; those of the server need the operator's leave."""
    tools = body.get("tools") or []
    for i, tool in enumerate(tools):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind in (None, "custom"):
            tools[i] = _TOOL(tool, f"tools[{i}]", report)
        elif not options.allow_server_tools:
            raise BadRequest(
                f"tools[{i}]: a tool that the model server runs itself is refused (setting allow_server_tools)",
                f"tools[{i}].type",
                "server_tool",
            )


def wanted_format(body: dict[str, Any]) -> Any:
    """The form that the answer's text is to have, if one was asked for."""
    return (body.get("output_config") or {}).get("format") or body.get("output_format")


def prompt_texts(body: dict[str, Any], options: Options) -> list[InputText]:
    """Every text that the model will read: tools and forms, the system text, then the messages."""
    own = [(f"tools[{i}]", tool) for i, tool in enumerate(body.get("tools") or ())]
    own += [(key, body.get(key)) for key in ("output_config", "output_format")]
    texts = schema_texts(own)
    if isinstance(body.get("system"), str):
        texts.append(InputText("system", body["system"], "system", body, "system"))
    for i, block in enumerate(body["system"] if isinstance(body.get("system"), list) else ()):
        texts.append(InputText("system", block["text"], f"system[{i}].text", block, "text"))
    return texts + _message_texts(body["messages"], options)


def _message_texts(messages: list[dict[str, Any]], options: Options) -> list[InputText]:
    """Every text in the messages, in reading order. Normalises roles."""
    roles = [_role(message, i) for i, message in enumerate(messages)]
    texts = [_texts(message, f"messages[{i}]", options) for i, message in enumerate(messages)]
    return conversation_texts(roles, texts, group=1)


def _role(message: dict[str, Any], i: int) -> str:
    role = message["role"] = message["role"].lower()
    if role not in ROLES:
        path = f"messages[{i}].role"
        raise BadRequest(f"{path} {role[:40]!a} is not a role; use one of {', '.join(ROLES)}", path, "invalid_role")
    return str(role)


def _texts(message: dict[str, Any], path: str, options: Options) -> list[InputText]:
    role, content = message["role"], message["content"]
    if isinstance(content, str):
        return [InputText(role, content, f"{path}.content", message, "content")]
    texts: list[InputText] = []
    for j, block in enumerate(content):
        texts += _block_texts(block, role, f"{path}.content[{j}]", options)
    return texts


def _block_texts(block: dict[str, Any], role: str, path: str, options: Options) -> list[InputText]:
    if block["type"] == "image":
        check_image(block["source"], path, options)
        return []
    if block["type"] == "tool_result":
        return _result_texts(block, path, options)
    keys = [key for key in ("text", "thinking", "signature", "data", "id", "name") if isinstance(block.get(key), str)]
    texts = [InputText(role, block[key], f"{path}.{key}", block, key) for key in keys]
    return texts + nested_texts(block.get("input"), role, f"{path}.input")


def _result_texts(block: dict[str, Any], path: str, options: Options) -> list[InputText]:
    """What a tool answered: text of the role `tool`, whoever's message it stands in."""
    texts = [InputText("tool", block["tool_use_id"], f"{path}.tool_use_id", block, "tool_use_id")]
    content = block.get("content")
    if isinstance(content, str):
        texts.append(InputText("tool", content, f"{path}.content", block, "content"))
    for k, part in enumerate(content if isinstance(content, list) else ()):
        texts += _block_texts(part, "tool", f"{path}.content[{k}]", options)
    return texts


def check_image(source: dict[str, Any], path: str, options: Options) -> None:
    """Pictures: refused by policy, or, when they lie elsewhere, because the backend would fetch them."""
    if not options.allow_images:
        raise BadRequest(f"{path}: pictures are refused by policy", path, "media_refused")
    remote = source["type"] == "url" and not source["url"].lower().startswith("data:")
    if remote and not options.allow_remote_images:
        raise BadRequest(
            f"{path}: the backend would fetch this picture; send it as base64 (setting allow_remote_images)",
            path,
            "remote_image",
        )


def prefill(body: dict[str, Any]) -> str:
    """The beginning of the answer, when the client gives it."""
    last = body["messages"][-1]
    if last["role"] != "assistant":
        return ""
    content = last["content"]
    return content if isinstance(content, str) else "".join(block.get("text", "") for block in content)
