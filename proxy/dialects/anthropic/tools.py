"""Tools of Anthropic's dialect: the kinds that the client runs. Those of the server are left out, see common.tools.

Source: Anthropic's API reference (tool use; the types of the SDK for Python).
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
    kinds,
    lenient,
    one_of,
)
from proxy.dialects.common.tools import lost_names, tool_kinds

CACHE = lenient(
    by_type(
        "an object or null",
        object=Object(
            {"type": one_of("ephemeral"), "ttl": lenient(one_of("5m", "1h")), "scope": lenient(one_of("global"))}
        ),
        null=NULL,
    )
)
"""A mark for a prompt cache: no local server looks at it."""
_COMMON: dict[str, Take] = {
    "type": OPTIONAL_STRING,
    "description": OPTIONAL_STRING,
    "input_schema": anything,
    "input_examples": anything,
    "strict": SWITCH,
    "defer_loading": SWITCH,
    "eager_input_streaming": SWITCH,
    "allowed_callers": anything,
    "cache_control": CACHE,
}
_CUSTOM = Object({"name": STRING, **_COMMON}, ["name"])
_BUILT_IN = Object({"name": STRING, **_COMMON, "max_characters": anything}, ["name"])
"""The model knows how to use it, and the client runs it."""
_SCREEN = Object(
    {
        "name": OPTIONAL_STRING,
        **_COMMON,
        **dict.fromkeys(
            ("display_width_px", "display_height_px", "display_number", "enable_zoom", "configs"), anything
        ),
    }
)
TOOL = tool_kinds(
    {
        "custom": _CUSTOM,
        **dict.fromkeys(("bash", "text_editor", "memory"), _BUILT_IN),
        **dict.fromkeys(("computer", "computer_toolset", "browser_toolset"), _SCREEN),
    },
    default="custom",
)
"""All of it is judged as system text; see `prompt_texts`."""

_CHOICE: dict[str, Take] = {"type": STRING, "disable_parallel_tool_use": SWITCH}
TOOL_CHOICE = lenient(
    by_type(
        "an object or null",
        object=kinds(
            "type",
            {
                **dict.fromkeys(("auto", "any", "none"), Object(_CHOICE)),
                "tool": Object({**_CHOICE, "name": STRING}, ["name"]),
            },
        ),
        null=NULL,
    )
)


def is_lost(choice: dict[str, Any], tools: list[Any], given: Any) -> bool:
    """Whether a choice names a tool that was left out of those `given`, or asks for one where none is left."""
    if choice.get("type") == "tool":
        return choice["name"] in lost_names(given, tools)
    return choice.get("type") == "any" and not tools and bool(given)
