"""Requests of Anthropic's dialect: what is understood, and where the texts are.

Sources: Anthropic's API reference (messages), Ollama's docs/api/anthropic-compatibility.md, llama.cpp's server README.
"""

from __future__ import annotations

from typing import Any

from proxy.dialects.anthropic.blocks import BLOCKS, TEXT, block_texts, content_of, is_shown
from proxy.dialects.anthropic.tools import TOOL, TOOL_CHOICE, is_lost
from proxy.dialects.common.limits import CONTROL
from proxy.dialects.common.request_fields import (
    COUNT,
    NULL,
    PASSED,
    STRING,
    SWITCH,
    Object,
    Report,
    Take,
    allowed,
    anything,
    by_type,
    judged,
    kinds,
    left_out,
    lenient,
    list_of,
    one_or_more,
    role,
    words,
)
from proxy.dialects.common.request_texts import conversation_texts, schema_texts
from proxy.dialects.common.template_arguments import TEMPLATE_ARGUMENTS
from proxy.dialects.request import InputText, Options

ROLES = ("user", "assistant", "system", "developer", "tool")


def _settings(**keys: Take) -> Take:
    return lenient(by_type("an object or null", object=Object(keys), null=NULL))


_MESSAGE = Object({"role": role(*ROLES), "content": content_of(BLOCKS)}, ["role"])
_FORMAT = lenient(
    by_type(
        "an object or null",
        object=kinds("type", {"json_schema": Object({"type": STRING, "schema": anything})}),
        null=NULL,
    )
)
_STOPS = lenient(by_type("an array", array=list_of(lenient(STRING)), string=one_or_more(STRING), null=NULL))
_ACCOUNT = left_out("it is for the vendor's own servers: accounts, prices, places")
_HISTORY = left_out("it has the vendor's servers shorten the history; the client sends it whole to a local one")
_STATE = left_out("it names what the server would remember, and nobody here has read")

MESSAGES = Object(
    {
        "model": STRING,
        "messages": list_of(_MESSAGE),
        "system": content_of({"text": TEXT}),
        "max_tokens": COUNT,
        "stop_sequences": lenient(
            by_type("an array", array=list_of(lenient(STRING)), string=one_or_more(STRING), null=NULL)
        ),
        "stream": SWITCH,
        "temperature": PASSED,
        "top_p": PASSED,
        "top_k": PASSED,
        "tools": lenient(by_type("an array of tools", array=list_of(lenient(TOOL)), null=NULL)),
        "tool_choice": TOOL_CHOICE,
        "thinking": _settings(
            type=words("enabled", "disabled", "adaptive", "between_tools"),
            budget_tokens=PASSED,
            display=words("summarized", "omitted", "updates"),
        ),
        "output_config": _settings(
            format=_FORMAT,
            effort=words("low", "medium", "high", "xhigh", "max"),
            task_budget=_settings(type=words("tokens"), total=PASSED, remaining=PASSED),
        ),
        "output_format": _FORMAT,
        "chat_template_kwargs": TEMPLATE_ARGUMENTS,
        **CONTROL,
        "mcp_servers": allowed("allow_server_tools", judged()),
        "container": allowed("allow_server_tools", judged()),
        **dict.fromkeys(("metadata", "service_tier", "inference_geo", "speed", "billing_policy"), _ACCOUNT),
        **dict.fromkeys(("user_profile_id", "workspace_id", "fallbacks", "fallback_credit_token", "betas"), _ACCOUNT),
        **dict.fromkeys(("context_management", "compaction", "cache_control"), _HISTORY),
        **dict.fromkeys(("thread", "diagnostics"), _STATE),
    },
    ["messages"],
)
"""POST /v1/messages and /v1/messages/count_tokens."""


def settle_tools(body: dict[str, Any], given: Any, report: Report) -> None:
    """Leave out a list of which nothing is left, and a choice of what was left out.

    given: the tools as the client sent them
    """
    if given and body.get("tools") == []:
        del body["tools"]
    choice = body.get("tool_choice")
    if choice and is_lost(choice, body.get("tools") or [], given):
        del body["tool_choice"]
        report.forget("tool_choice")


def wanted_format(body: dict[str, Any]) -> Any:
    """The form that the answer's text is to have, if one was asked for."""
    return (body.get("output_config") or {}).get("format") or body.get("output_format")


def prompt_texts(body: dict[str, Any], options: Options) -> list[InputText]:
    """Every text that the model will read: tools and forms, the system text, then the messages."""
    own = [(f"tools[{i}]", tool) for i, tool in enumerate(body.get("tools") or ())]
    own += [("output_config.format", (body.get("output_config") or {}).get("format"))]
    own += [("output_format", body.get("output_format"))]
    texts = schema_texts(own)
    choice = body.get("tool_choice") or {}
    if "name" in choice:
        texts.append(InputText("system", choice["name"], "tool_choice.name", choice, "name", group=-1 - len(texts)))
    texts += _said_by("system", body.get("system"), "system", body, "system", options)
    return texts + _message_texts(body["messages"], options)


def _message_texts(messages: list[dict[str, Any]], options: Options) -> list[InputText]:
    """Every text in the messages, in reading order."""
    roles = [message["role"] for message in messages]
    found = [_texts(message, f"messages[{i}]", options) for i, message in enumerate(messages)]
    shown = [is_shown(message.get("content")) for message in messages]
    return conversation_texts(roles, found, group=1, shown=shown)


def _texts(message: dict[str, Any], path: str, options: Options) -> list[InputText]:
    speaker = message["role"] if message["role"] in ROLES else "user"  # whom nobody knows is judged like the user
    return _said_by(speaker, message.get("content"), f"{path}.content", message, "content", options)


def _said_by(speaker: str, content: Any, path: str, container: Any, key: str, options: Options) -> list[InputText]:
    """The texts of a string, or of blocks."""
    if isinstance(content, str):
        return [InputText(speaker, content, path, container, key)]
    texts: list[InputText] = []
    for j, block in enumerate(content or ()):
        texts += block_texts(block, speaker, f"{path}[{j}]", options)
    return texts


def prefill(body: dict[str, Any]) -> str:
    """The beginning of the answer, when the client gives it."""
    last = body["messages"][-1]
    if last["role"] != "assistant":
        return ""
    content = last.get("content") or ""
    return content if isinstance(content, str) else "".join(block.get("text", "") for block in content)
