"""Those who answer questions, by the kind of question. One desk for all exchanges."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import NamedTuple, Protocol

from proxy.core.failures import CheckFailed, Reason


class About(NamedTuple):
    """The exchange in which something is asked. key: the name of the client's API key; None: it has none."""

    request_id: str = ""
    model: str = ""
    key: str | None = None


def apart_of(about: object) -> str:
    """What keeps the answers that are remembered apart: whose requests they come from. "": a request without a key."""
    return (about.key or "") if isinstance(about, About) else ""


class Answerer(Protocol):
    """Answers the questions of one kind."""

    async def answer(self, data: Hashable, about: About) -> object:
        """The answer. Raises CheckFailed when there is none; may be cancelled at any time."""

    async def aclose(self) -> None:
        """Give up what is under way."""


class Desk:
    """Gives each question to whoever answers its kind.

    answerers: by the type of a question's data
    """

    def __init__(self, answerers: Mapping[type, Answerer] | None = None) -> None:
        self.answerers: dict[type, Answerer] = dict(answerers or {})

    async def answer(self, data: Hashable, about: About) -> object:
        """The answer, or the CheckFailed that says why there is none. Never raises."""
        answerer = self.answerers.get(type(data))
        if answerer is None:
            return CheckFailed(type(data).__name__, Reason.UNREACHABLE, "has nobody who answers it")
        try:
            return await answerer.answer(data, about)
        except CheckFailed as failed:
            return failed
        except Exception as error:
            return CheckFailed(type(data).__name__, Reason.RAISED, f"raised {type(error).__name__}")

    async def aclose(self) -> None:
        """Close all of them."""
        for answerer in self.answerers.values():
            await answerer.aclose()
