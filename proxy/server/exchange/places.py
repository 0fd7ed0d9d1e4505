"""Where a refused text stands, told to a person who has not typed it."""

from __future__ import annotations

from proxy.dialects.common.request_texts import SYSTEM
from proxy.dialects.request import InputText

_TOOLS = ("tools", "functions", "tool_choice", "function_call")
_SAID = ("messages", "input", "system", "instructions", "system_prompt")


def told_place(text: InputText | None) -> str:
    """A sentence for a text that the app has written; "" for what a person or a tool says. It repeats no key that a
    client has chosen."""
    if text is None or text.role not in SYSTEM:
        return ""
    root = text.param.partition(".")[0].partition("[")[0]
    place = "the description of a tool" if root in _TOOLS else "a system text" if root in _SAID else f"`{root}`"
    return f" It stands in {place} of the app, not in what was typed."
