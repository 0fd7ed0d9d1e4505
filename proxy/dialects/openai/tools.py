"""Tools in OpenAI's chat: which the client runs, which the model server would run, and the choice among them.

Source: the OpenAI API reference (chat completions). Functions and custom tools are run by the client: every text in
them is judged, and they are sent. A tool of any other kind, one with a server's address for instance, might be run by
the model server: it is left out unless the operator has allowed that, and so is a choice that names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy.dialects.common.request_fields import (
    NULL,
    OPTIONAL_STRING,
    PASSED,
    STRING,
    Object,
    Report,
    Take,
    allowed,
    anything,
    by_type,
    judged,
    judged_text,
    kinds,
    lenient,
    list_of,
    words,
)
from proxy.dialects.common.request_texts import schema_texts
from proxy.dialects.request import InputText

_DESCRIPTION = lenient(OPTIONAL_STRING)
_FUNCTION = Object({"name": STRING, "description": _DESCRIPTION, "parameters": anything, "strict": PASSED}, ["name"])
_CUSTOM = Object({"name": STRING, "description": _DESCRIPTION, "format": anything}, ["name"])
_TOOL = kinds(
    "type",
    {
        "function": Object({"type": OPTIONAL_STRING, "function": _FUNCTION}, ["function"]),
        "custom": Object({"type": STRING, "custom": _CUSTOM}, ["custom"]),
    },
    default="function",
    others=allowed("allow_server_tools", anything),
)

_NAMED = Object({"name": judged_text()}, ["name"])
_CHOSEN: dict[str, Take] = {
    "function": Object({"type": OPTIONAL_STRING, "function": _NAMED}, ["function"]),
    "custom": Object({"type": STRING, "custom": _NAMED}, ["custom"]),
}
_OF_SERVER = allowed("allow_server_tools", judged())
_ONE = kinds("type", _CHOSEN, default="function", others=_OF_SERVER)
_SOME = Object({"mode": words("auto", "required"), "tools": list_of(lenient(_ONE))}, ["tools"])
_CHOICE = kinds(
    "type",
    {**_CHOSEN, "allowed_tools": Object({"type": STRING, "allowed_tools": _SOME}, ["allowed_tools"])},
    default="function",
    others=_OF_SERVER,
)

TOOLS: dict[str, Take] = {
    "tools": lenient(by_type("an array", array=list_of(lenient(_TOOL)), null=NULL)),
    "functions": lenient(by_type("an array", array=list_of(lenient(_FUNCTION)), null=NULL)),
    "tool_choice": lenient(
        by_type("a string or an object", string=words("none", "auto", "required"), object=_CHOICE, null=NULL)
    ),
    "function_call": lenient(by_type("a string or an object", string=words("none", "auto"), object=_NAMED, null=NULL)),
    "parallel_tool_calls": PASSED,
    "web_search_options": _OF_SERVER,
}
_KEYS = ("tools", "functions")


def settle_tools(body: dict[str, Any], report: Report) -> None:
    """Leave out a list of which nothing is left, and a choice of what is not sent."""
    for key in _KEYS:
        if body.get(key) == [] and any(path.startswith(f"{key}[") for path in report.dropped):
            del body[key]
    choice = body.get("tool_choice")
    if choice is None or report.options.allow_server_tools:
        return
    sent = {name for tool in body.get("tools") or () for name in _names(tool)}
    if isinstance(choice, dict) and "allowed_tools" in choice:
        _keep(choice["allowed_tools"], sent, report)
    elif _is_of_nothing(choice, sent, body, report):
        del body["tool_choice"]
        report.forget("tool_choice")


def _is_of_nothing(choice: Any, sent: set[str], body: dict[str, Any], report: Report) -> bool:
    """Whether a choice names a tool that is not sent, or demands a call where all tools were left out."""
    if isinstance(choice, dict):
        return sent.isdisjoint(_names(choice))
    return choice not in ("none", "auto") and "tools" not in body and any(p.startswith("tools") for p in report.dropped)


def _names(tool: dict[str, Any]) -> Iterator[str]:
    """What a tool, or the choice of one, is called."""
    yield from (tool[kind]["name"] for kind in _CHOSEN if isinstance(tool.get(kind), dict))


def _keep(some: dict[str, Any], sent: set[str], report: Report) -> None:
    """Of the tools to which the model is to keep, those that are sent."""
    gone = {i: tool for i, tool in enumerate(some["tools"]) if sent.isdisjoint(_names(tool))}
    if gone:
        some["tools"] = [tool for i, tool in enumerate(some["tools"]) if i not in gone]
        named = [tool[kind] for tool in gone.values() for kind in _CHOSEN if kind in tool]
        report.forget_inside(named, (f"tool_choice.allowed_tools.tools[{i}]" for i in gone))


def tool_texts(body: dict[str, Any]) -> list[InputText]:
    """Names, descriptions and schemas of tools, as the template shows them to the model; each a group of its own."""
    if body.keys().isdisjoint(_DEFINING):
        return []
    tools = [(f"{key}[{i}]", tool) for key in _KEYS for i, tool in enumerate(body.get(key) or ())]
    schemas = [(key, body.get(key)) for key in _SCHEMAS]
    texts = schema_texts((*tools, *schemas))
    for key, value in schemas:
        if isinstance(value, str):
            texts.append(InputText("system", value, key, body, key, group=-1 - len(texts)))
    return texts


_SCHEMAS = ("response_format", "json_schema", "grammar")
_DEFINING = (*_KEYS, *_SCHEMAS)
