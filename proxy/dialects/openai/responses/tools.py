"""Tools of OpenAI's responses: the kinds that the client runs. Those of the server are left out, see common.tools.

All that a tool keeps is judged as system text; see `prompt_texts`.
Source: OpenAI's API reference (responses; the types of the SDK for Python), requests of Codex.
"""

from __future__ import annotations

from typing import Any

from proxy.dialects.common.request_fields import (
    NULL,
    OPTIONAL_STRING,
    STRING,
    SWITCH,
    Object,
    Take,
    anything,
    by_type,
    form,
    kinds,
    lenient,
    list_of,
    words,
)
from proxy.dialects.common.tools import ClientTool, lost_names, tool_kinds

_COMMON: dict[str, Take] = {
    "type": OPTIONAL_STRING,
    "name": STRING,
    "description": OPTIONAL_STRING,
    "strict": SWITCH,
    "async": SWITCH,
    "defer_loading": SWITCH,
    "allowed_callers": anything,
}
_FUNCTION = Object({**_COMMON, "parameters": anything, "output_schema": anything, "function": anything})
"""`function` is the form of chat completions, which some clients send here too."""
_CUSTOM = Object({**_COMMON, "format": anything})
_LOCAL = by_type(
    "an object or null", object=kinds("type", {"local": Object({"type": STRING, "skills": anything})}), null=NULL
)
_SCREEN = Object({**_COMMON, **dict.fromkeys(("display_width", "display_height", "environment"), anything)})
TOOL = tool_kinds(
    {
        "function": _FUNCTION,
        "custom": _CUSTOM,
        "namespace": Object(
            {**_COMMON, "tools": list_of(tool_kinds({"function": _FUNCTION, "custom": _CUSTOM}, default="function"))}
        ),
        "tool_search": ClientTool(
            {**_COMMON, "parameters": anything, "execution": form("client")}, required=["execution"]
        ),
        "shell": ClientTool({**_COMMON, "environment": _LOCAL}, telling=["environment"]),
        **dict.fromkeys(("local_shell", "apply_patch"), Object(_COMMON)),
        **dict.fromkeys(("computer", "computer_use_preview"), _SCREEN),
    },
    default="function",
)

_NAMED = Object({"type": STRING, "name": STRING, "function": Object({"name": STRING}, ["name"])})
_KIND = Object({"type": STRING})
TOOL_CHOICE = lenient(
    by_type(
        "a string or an object",
        string=words("none", "auto", "required"),
        object=kinds(
            "type",
            {
                **dict.fromkeys(("function", "custom"), _NAMED),
                "allowed_tools": Object(
                    {
                        "type": STRING,
                        "mode": words("auto", "required"),
                        "tools": list_of(kinds("type", dict.fromkeys(("function", "custom", "namespace"), _NAMED))),
                    },
                    ["tools"],
                ),
                **dict.fromkeys(("shell", "local_shell", "apply_patch", "computer", "computer_use_preview"), _KIND),
            },
        ),
        null=NULL,
    )
)


def kept_choice(choice: Any, tools: list[Any], given: Any) -> Any:
    """What is left of a choice when some of the tools `given` were left out; None if nothing is."""
    if isinstance(choice, str):
        return None if choice == "required" and given and not tools else choice
    lost = lost_names(given, tools)
    if choice["type"] == "allowed_tools":
        allowed = [tool for tool in choice["tools"] if _name_of(tool) not in lost]
        return {**choice, "tools": allowed} if allowed else None
    return None if _name_of(choice) in lost else choice


def _name_of(choice: dict[str, Any]) -> Any:
    return choice.get("name") or (choice.get("function") or {}).get("name")
