"""Whether the model itself refused. What a rule of ours stopped is no refusal; one that a rule rewrote is.

How it says so: in the field that its dialect has for refusals, as the reason for its end, or in so many words. Each
answer is looked at once, when it has ended: the beginning of its text, as the model wrote it. What the model thinks is
no answer, and who calls a tool after "I can't do that directly" has not refused.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from proxy.checks.refusals.detector import Refusal, classify
from proxy.checks.refusals.language import RefusalKind
from proxy.core.guard import Guard
from proxy.core.types import Kind
from proxy.dialects.answer import Answer

FIELD: Final = "refusal_field"
REASON: Final = "stop_reason"
TEXT: Final = "text"
REFUSALS: Final = (FIELD, REASON, TEXT)
"""The ways to refuse, in words for logs."""
KINDS: Final = tuple(kind.value for kind in RefusalKind)
"""What sort of refusal it is, in words for metrics and logs."""


class ModelRefusal(NamedTuple):
    """How, of what kind and in which language the model refused. The language: ISO 639-1, "" where no words say it."""

    signal: str = ""
    kind: str = ""
    language: str = ""


NO_REFUSAL: Final = ModelRefusal()


def refusal_of(guard: Guard, answer: Answer) -> ModelRefusal:
    """What the answer is. NO_REFUSAL as well where a rule ended the answer."""
    if guard.blocked_choices:
        return NO_REFUSAL
    if guard.has_text(Kind.REFUSAL):
        return _said(FIELD, classify(guard.beginning(Kind.REFUSAL)))
    if answer.refused:
        return _said(REASON, classify(guard.beginning(Kind.CONTENT)))
    if guard.has_text(Kind.TOOL_ARGUMENTS):
        return NO_REFUSAL
    found = classify(guard.beginning(Kind.CONTENT))
    return NO_REFUSAL if found is None else _said(TEXT, found)


def _said(signal: str, words: Refusal | None) -> ModelRefusal:
    """A refusal without words that tell is one for safety's sake: that is what the field and the reason are for."""
    if words is None:
        return ModelRefusal(signal, RefusalKind.SAFETY.value)
    return ModelRefusal(signal, words.kind.value, words.language)
