"""What models, services and processes said when checks of one exchange asked them, without any text of it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import NamedTuple

from proxy.checks.guards.format import Level
from proxy.checks.guards.judge import GuardQuestion, GuardReply, read
from proxy.checks.guards.verdict import worst
from proxy.checks.http_check import HttpQuestion
from proxy.checks.isolated import ProcessQuestion
from proxy.checks.topics.rule import TopicQuestion
from proxy.core.failures import CheckFailed

MOST = 100
"""Answers that are kept of one exchange, and so many more of those that say more than `safe`: a long answer is asked
about some thousand times, and the one that ended it comes last."""
ANSWERED, CANCELLED, UNREADABLE = "answered", "cancelled", "unreadable"


class CheckAnswer(NamedTuple):
    """One answer.

    check:      who was asked: the model, the service, or the plug-in's kind
    kind:       `judge`, `topic`, `http` or `process`
    result:     `answered`, `cancelled` (nobody waited any more), or a proxy.core.failures.Reason
    level:      a guard's: `safe`, `controversial`, `unsafe` or `unreadable`; "": it is no guard's
    categories: a guard's, as its format names them; of an unreadable reply, why
    seconds:    from the question to the answer, the wait for a turn included
    """

    check: str
    kind: str
    result: str
    level: str = ""
    categories: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def is_plain(self) -> bool:
        """It says nothing that one would look for."""
        return self.result == ANSWERED and self.level in ("", Level.SAFE)


class CheckAnswers:
    """Those of one exchange.

    total:   how many there were
    seconds: for each check, of all its questions together
    """

    __slots__ = ("_plain", "_telling", "seconds", "total")

    def __init__(self) -> None:
        self._plain: list[tuple[int, CheckAnswer]] = []
        self._telling: list[tuple[int, CheckAnswer]] = []
        self.total = 0
        self.seconds: dict[str, float] = {}

    def told(self, data: Hashable, reply: object, seconds: float) -> None:
        """A question has been answered. `reply`: the answer, a CheckFailed, or None if nobody waits for it any more."""
        answer = answer_of(data, reply, seconds)
        self.total += 1
        self.seconds[answer.check] = self.seconds.get(answer.check, 0.0) + seconds
        kept = self._plain if answer.is_plain else self._telling
        if len(kept) < MOST:
            kept.append((self.total, answer))

    def __iter__(self) -> Iterator[CheckAnswer]:
        """Those that are kept, as they came."""
        return iter([answer for _, answer in sorted(self._plain + self._telling)])


def answer_of(data: Hashable, reply: object, seconds: float) -> CheckAnswer:
    """What was said to a question."""
    check, kind = _asked(data)
    if reply is None:
        return CheckAnswer(check, kind, CANCELLED, seconds=seconds)
    if isinstance(reply, CheckFailed):
        return CheckAnswer(check, kind, reply.reason.value, seconds=seconds)
    answer = CheckAnswer(check, kind, ANSWERED, seconds=seconds)
    return _of_guard(answer, reply) if isinstance(reply, GuardReply) else answer


def _asked(data: Hashable) -> tuple[str, str]:
    """Who was asked, and the kind of the question."""
    if isinstance(data, GuardQuestion):
        return data.options.model, "judge"
    if isinstance(data, TopicQuestion):
        return data.subject.model, "topic"
    if isinstance(data, HttpQuestion):
        return data.service.name, "http"
    if isinstance(data, ProcessQuestion):
        return data.kind, "process"
    return type(data).__name__, "other"


def _of_guard(answer: CheckAnswer, reply: GuardReply) -> CheckAnswer:
    """The worst verdict of all prompts of a question. One that cannot be read is told before any other."""
    verdicts, errors = read(reply)
    if errors:
        return answer._replace(level=UNREADABLE, categories=tuple(dict.fromkeys(error.fault for error in errors)))
    said = worst(verdicts)
    return answer._replace(level=said.level.value, categories=said.categories)
