"""Whether the model itself refused. What a rule of ours stopped is no refusal.

How it says so: in the field that its dialect has for refusals, as the reason for its end, or in so many words. Words
are looked at in short answers only, and only in English: most refusals are a sentence or two.
"""

from __future__ import annotations

import re
from typing import Final

from proxy.core.guard import Guard
from proxy.core.types import Kind
from proxy.dialects.base import Answer

FIELD: Final = "refusal_field"
REASON: Final = "stop_reason"
TEXT: Final = "text"
REFUSALS: Final = (FIELD, REASON, TEXT)
"""The ways to refuse, in words for metrics and logs."""

_UNWILLING = r"(?:can(?:no|['\u2019])t|can not|won['\u2019]t|will not|am (?:not able|unable) to|must decline to)"
_HELP = r"(?:help|assist|comply|provide|answer|discuss|do that|fulfil?l|create|write|give|support|engage|continue)"
_IN_WORDS = re.compile(
    rf"\W*(?:i['\u2019]m sorry,? (?:but )?|sorry,? (?:but )?|i apologi[sz]e,? but )?i {_UNWILLING}\b[^.!?\n]*\b{_HELP}",
    re.I,
)


def refusal_of(guard: Guard, answer: Answer) -> str:
    """One of REFUSALS; "": the model did not refuse, or a rule ended the answer."""
    if guard.blocked_choices:
        return ""
    if guard.has_text(Kind.REFUSAL):
        return FIELD
    if answer.refused:
        return REASON
    return TEXT if _IN_WORDS.match(guard.short_content) else ""
