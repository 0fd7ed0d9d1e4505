"""Turns of a conversation: which texts are new, and which are read as one.

A chat app sends the whole conversation with each request. What was blocked once stays in it: many apps drop the failed
answer only, so the blocked prompt or tool result comes again, in front of the next prompt. Only the newest text can be
refused, or such a conversation would be refused for ever.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from proxy.dialects.base import InputText

SYSTEM = ("system", "developer")
_PART = re.compile(r"\w+\[\d+\]\.(content\[\d+\])")


class Message(NamedTuple):
    """A message, or what counts as one: its role, and its texts in reading order."""

    role: str
    texts: list[InputText]


def conversation_texts(messages: Sequence[Message], group: int = 0) -> list[InputText]:
    """The texts of all messages, in reading order. Sets which are new, and groups those of neighbours of one role."""
    _mark_new(messages)
    texts: list[InputText] = []
    for i, message in enumerate(messages):
        group += i > 0 and message.role != messages[i - 1].role
        for text in message.texts:
            text.group = group
        texts += message.texts
    return texts


def _mark_new(messages: Sequence[Message]) -> None:
    """New are system texts, the beginning of an answer that the client gives, and what was said last before it.

    Said last are tool results when nothing of the user follows them, else the last part of the user's last message.
    """
    roles = [message.role for message in messages]
    end = len(roles)
    while end and roles[end - 1] == "assistant":  # the model goes on with these
        end -= 1
    start = max((i + 1 for i in range(end) if roles[i] == "assistant"), default=0)
    for i, message in enumerate(messages):
        for text in message.texts:
            text.newest = text.role in SYSTEM or i >= end
    turn = messages[start:end]
    results = _last_results(turn)
    for text in results:
        text.newest = True
    if not results:
        _mark_last_part(_last_of_user(turn))


def _last_results(turn: Sequence[Message]) -> list[InputText]:
    """The texts of the tool results that nothing of the user follows."""
    results: list[InputText] = []
    for message in reversed(turn):
        if message.role == "user" and not message.texts:
            return results  # a picture
        for text in reversed(message.texts):
            if text.role == "user":
                return results
            if text.role not in SYSTEM:
                results.append(text)
    return results


def _last_of_user(turn: Sequence[Message]) -> list[InputText]:
    """The user's own texts in the user's last message."""
    last = next((message for message in reversed(turn) if message.role == "user"), None)
    return [] if last is None else [text for text in last.texts if text.role == "user"]


def _mark_last_part(texts: Sequence[InputText]) -> None:
    """Of the parts of what a user says, only the last one with words in it is new; so is all that is not a part."""
    said = [part for text in texts if (part := _part_of(text)) and text.text.strip()]
    for text in texts:
        text.newest = _part_of(text) in ("", *said[-1:])


def _part_of(text: InputText) -> str:
    """The part of a message that a text stands in; "" for one that stands in no part, as content that is a string."""
    found = _PART.match(text.param)
    return found.group(1) if found else ""
