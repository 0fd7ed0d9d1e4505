"""Turns of a conversation: which texts are new, and which are read as one.

A chat app sends the whole conversation with each request. What was blocked once stays in it: many apps drop the failed
answer only, so the blocked prompt or tool result comes again, in front of the next prompt. Only the newest text can be
refused, or such a conversation would be refused for ever.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from proxy.dialects.base import InputText

SYSTEM = ("system", "developer")
_PART = re.compile(r"\w+\[\d+\]\.(content\[\d+\])")


def conversation_texts(
    roles: Sequence[str], texts: Sequence[list[InputText]], group: int = 0, shown: Sequence[bool] | None = None
) -> list[InputText]:
    """The texts of all messages, in reading order. Sets which are new, and groups those of neighbours of one role.

    roles: of each message; texts: of each message, in reading order
    group: the number of the first group
    shown: whether the model server shows each message to the model; None: all. One that is not shown does not part the
           messages before and behind it.
    """
    mark_new(roles, texts)
    last = None
    for role, is_shown, own in zip(roles, shown or [True] * len(roles), texts, strict=True):
        if is_shown and role != last:
            group += last is not None
            last = role
        for text in own:
            text.group = group
    return [text for own in texts for text in own]


def mark_new(roles: Sequence[str], texts: Sequence[list[InputText]]) -> None:
    """Set which texts of messages are new: the system texts at the head, the beginning of an answer that the client
    gives, what was said last before it, and system texts from there on.

    Said last are tool results when nothing of the user follows them, else the last part of the user's last message.
    System texts between turns stay in the conversation as all else does: agents put their reminders there.
    """
    end = len(roles)
    while end and roles[end - 1] == "assistant":  # the model goes on with these
        end -= 1
    start = max((i + 1 for i in range(end) if roles[i] == "assistant"), default=0)
    users = [i for i in range(start, end) if _is_users(roles[i], texts[i])]
    head = next((i for i, role in enumerate(roles) if role not in SYSTEM), end)
    last = users[-1] if users else start
    for i, own in enumerate(texts):
        for text in own:
            text.newest = i >= end or (text.role in SYSTEM and (i < head or i >= last))
    results = _results(texts[last:end])
    for text in results:
        text.newest = True
    if users and not results:
        _mark_last_part([text for text in texts[users[-1]] if text.role == "user"])


def _is_users(role: str, texts: Sequence[InputText]) -> bool:
    """Whether a message says something of the user: a text, or else a picture. Results of tools are none of his."""
    return any(text.role == "user" for text in texts) or (role == "user" and not texts)


def _results(messages: Sequence[list[InputText]]) -> list[InputText]:
    """The texts of tool results that no text of the user follows."""
    results: list[InputText] = []
    for text in (text for own in reversed(messages) for text in reversed(own)):
        if text.role == "user":
            break
        if text.role not in SYSTEM:
            results.append(text)
    return results


def _mark_last_part(texts: Sequence[InputText]) -> None:
    """Of the parts of a message only the last one with words in it is new; so is all that is not a part."""
    said = [part for text in texts if (part := _part_of(text)) and text.text.strip()]
    for text in texts:
        text.newest = _part_of(text) in ("", *said[-1:])


def _part_of(text: InputText) -> str:
    """The part of a message that a text stands in; "" for one that stands in no part, as content that is a string."""
    found = _PART.match(text.param)
    return found.group(1) if found else ""
