"""Why an answer ended, in a model server's words: known ones, and new ones of a plain form that no rule minds."""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from typing import Any

from proxy.errors import UpstreamBroken

_WORD = re.compile(r"[a-z_]{1,32}")


def end_reason(value: Any, known: Container[str], usual: str, admits: Callable[[str], bool]) -> str:
    """The reason as a client may see it; `usual` for one that cannot be shown.

    Raises UpstreamBroken for `error`: some servers say so where they fail, and a client would take it for an answer.
    """
    if not isinstance(value, str):
        return usual
    if value == "error":
        raise UpstreamBroken("the model server failed in the middle of its answer", "error_event")
    plain = value in known or (_WORD.fullmatch(value) is not None and admits(value))
    return value if plain else usual
