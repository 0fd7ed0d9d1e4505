"""What checks of plug-ins, and those that are asked, do wrong in one exchange, and how long they take."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum


class Reason(StrEnum):
    """How a check can fail: it raised, broke a law of core.check, or took too long. Whoever is asked cannot be reached,
    says no, is asked too much at once, or has failed so often that nobody asks for a while."""

    RAISED = "raised"
    WRONG_ANSWER = "wrong_answer"
    WATERMARK = "watermark"
    FINDING = "finding"
    HOLD = "hold"
    UNDECIDED = "undecided"
    TIME = "time"
    DEADLINE = "deadline"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    OVERLOADED = "overloaded"
    RESTING = "resting"


class CheckFailed(Exception):
    """A check of a plug-in has failed, or whoever a check has asked. It never holds text of an exchange.

    check:  its kind's name
    detail: what it did, for the log
    """

    def __init__(self, check: str, reason: Reason, detail: str) -> None:
        super().__init__(f"the check {check} {detail}")
        self.check = check
        self.reason = reason
        self.detail = detail


class Failures:
    """The failures of one exchange, each check and reason once. A check that took too long is not asked again in it.

    seconds: of the processor, for each check of a plug-in that has read text of the exchange
    """

    def __init__(self) -> None:
        self._failed: dict[tuple[str, Reason, str], CheckFailed] = {}
        self._stopped: dict[str, CheckFailed] = {}
        self.seconds: dict[str, float] = {}

    def note(self, failed: CheckFailed, on_error: str) -> None:
        """A check has failed. `on_error`: what its policy says to that, `block` or `allow`."""
        self._failed.setdefault((failed.check, failed.reason, on_error), failed)
        if failed.reason is Reason.TIME:
            self._stopped[failed.check] = failed

    def took(self, check: str, seconds: float) -> None:
        """A check has read some text, and was busy for so long."""
        self.seconds[check] = self.seconds.get(check, 0.0) + seconds

    def stopped(self, check: str) -> CheckFailed | None:
        """Why a check is not asked any more."""
        return self._stopped.get(check)

    def __iter__(self) -> Iterator[tuple[str, CheckFailed]]:
        """What each failure's policy says to it, and the failure."""
        return iter([(on_error, failed) for (_, _, on_error), failed in self._failed.items()])

    def __len__(self) -> int:
        return len(self._failed)
