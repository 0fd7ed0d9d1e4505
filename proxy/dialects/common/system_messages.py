"""System messages: where the operator's words are put in a chat."""

from __future__ import annotations

from typing import Any


def system_messages(messages: list[dict[str, Any]], at_head: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """The first and the last of them. An empty one is put at the head if none is there and one is needed.

    Many templates leave out a developer's message: one that bears the operator's words becomes the system's.
    """
    own = [message for message in messages if message["role"] in ("system", "developer")]
    if not own or (at_head and own[0] is not messages[0]):
        messages.insert(0, {"role": "system", "content": ""})
        own.insert(0, messages[0])
    own[0]["role"] = own[-1]["role"] = "system"
    return own[0], own[-1]
