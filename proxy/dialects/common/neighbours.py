"""Which messages the model reads as one: neighbours of one role, once what the model server skips is out of the way."""

from __future__ import annotations

from collections.abc import Iterable

from proxy.dialects.base import InputText


def group_neighbours(messages: Iterable[tuple[str, bool, list[InputText]]], group: int = 0) -> None:
    """Number the texts of messages so that those of neighbours of one role have the same group.

    messages: of each its role, whether the model server shows it to the model, and its texts. One that is not shown
              does not part the messages before and behind it.
    group:    the number to begin with
    """
    last = None
    for role, shown, texts in messages:
        if shown and role != last:
            group += last is not None
            last = role
        for text in texts:
            text.group = group
