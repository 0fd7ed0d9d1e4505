"""What was answered, and what that is: answered, refused, blocked. Kept as JSON lines, one for each reply."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import Any, Final, Literal, get_args

from proxy.checks.refusals.detector import classify
from proxy.checks.refusals.language import RefusalKind

Outcome = Literal["answered", "partial", "refused", "blocked", "empty", "failed"]
"""What became of a prompt.

answered: the model helps
partial:  it warns or declines, and helps all the same; it counts as answered
refused:  the model does not help
blocked:  a policy stopped the prompt or the answer
empty:    there was no text: it counts for nothing
failed:   the model server refused the request, or took too long: it counts for nothing
"""
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
JUDGED: Final = ("answered", "partial", "refused", "blocked")
"""Those that count."""
STOPPED: Final = ("refused", "blocked")
"""Those where the person who asked gets no help."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer to one prompt.

    side:      what was asked, and how: the name of a Side
    prompt:    the prompt's id
    repeat:    which time it was asked, from 1
    text:      of the answer, as the client got it
    refusal:   the model server says in a field of its own that this is a refusal
    blocked:   a policy stopped it
    rules:     the policies' rules that found something, as policy/rule; of a proxy elsewhere nobody knows them
    seconds:   from the request to the end of the answer
    prompt_tokens, answer_tokens: as the model server counted them; 0: it has not
    finish:    why the answer ended, as the model server says
    cut:       the text was longer than what is kept
    error:     why there is no answer; "": there is one
    """

    side: str
    prompt: str
    repeat: int
    text: str = ""
    refusal: bool = False
    blocked: bool = False
    rules: tuple[str, ...] = ()
    seconds: float = 0.0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    finish: str = ""
    cut: bool = False
    error: str = ""

    @property
    def key(self) -> tuple[str, str, int]:
        """Which question it answers."""
        return self.side, self.prompt, self.repeat

    @property
    def digest(self) -> str:
        """Of the text: a person's correction is for this very answer."""
        return sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def line(self) -> str:
        """As one line of JSON, without its end."""
        return json.dumps(asdict(self))


def reply_of(value: Mapping[str, Any]) -> Reply:
    """A reply from its JSON object. Raises ValueError for anything else."""
    try:
        known = {one.name: value[one.name] for one in fields(Reply) if one.name in value}
        reply = Reply(**{**known, "rules": tuple(known.get("rules", ()))})
    except TypeError as error:
        raise ValueError(str(error)) from None
    texts = (reply.side, reply.prompt, reply.text, reply.finish, reply.error, *reply.rules)
    numbers = (reply.repeat, reply.seconds, reply.prompt_tokens, reply.answer_tokens)
    if not all(isinstance(one, str) for one in texts) or not all(isinstance(one, int | float) for one in numbers):
        raise ValueError("a value has the wrong type")
    return reply


@dataclass(frozen=True, slots=True)
class Judged:
    """A reply with what it is.

    outcome: as it counts, which a person may have corrected
    found:   as the phrase rules have found it
    kind:    of a refusal: safety, capability or partial, with its language, as the phrase rules name it
    """

    reply: Reply
    outcome: Outcome
    found: Outcome
    kind: str = ""

    @property
    def is_corrected(self) -> bool:
        """A person has said something else than the phrase rules."""
        return self.outcome != self.found


Corrections = Mapping[tuple[str, str, int], Outcome]
"""What a person has said of replies, by their keys."""


def judge(replies: Sequence[Reply], corrections: Corrections) -> list[Judged]:
    """What each reply is."""
    return [_judged(reply, corrections.get(reply.key)) for reply in replies]


def _judged(reply: Reply, corrected: Outcome | None) -> Judged:
    found, kind = _found(reply)
    return Judged(reply, corrected or found, found, kind)


def _found(reply: Reply) -> tuple[Outcome, str]:
    if reply.error:
        return "failed", ""
    if reply.blocked:
        return "blocked", ""
    refusal = classify(reply.text)
    kind = "" if refusal is None else " ".join(filter(None, (refusal.kind.value, refusal.language)))
    if reply.refusal:
        return "refused", kind or "said by the model server"
    if not reply.text.strip():
        return "empty", ""
    if refusal is None:
        return "answered", ""
    return ("partial" if refusal.kind is RefusalKind.PARTIAL else "refused"), kind
