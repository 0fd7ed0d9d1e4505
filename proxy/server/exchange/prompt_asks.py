"""What checks ask about a prompt's texts, after those that know by themselves have judged them.

All questions of a request are asked beside each other. So what is asked about is what would be sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Mapping, Sequence

from proxy.core.check import Ask, Asking, AskingScan, Said, Turn
from proxy.core.failures import CheckFailed, Reason
from proxy.core.prompt import SLICE, Located, PromptScan
from proxy.core.types import Action, Direction, Finding, Kind
from proxy.dialects.request import InputText

Answers = Callable[[Iterable[Hashable]], Awaitable[Mapping[Hashable, object]]]
"""Asks all of these questions, and waits for the answers."""


async def nobody(questions: Iterable[Hashable]) -> Mapping[Hashable, object]:
    """Nobody answers."""
    failed = CheckFailed("asked", Reason.UNREACHABLE, "has nobody who answers it")
    return dict.fromkeys(questions, failed)


def conversation(texts: Sequence[InputText], before: InputText | None = None) -> tuple[Said, ...]:
    """What was said in these texts, up to one of them; names and calls are left out."""
    upto = len(texts) if before is None else next(i for i, text in enumerate(texts) if text is before)
    said = (text for text in texts[:upto] if text.kind is Kind.CONTENT and not text.is_name)
    return tuple([Said(text.role, text.text) for text in said])


class TextQuestions:
    """The questions about texts that the model reads as one.

    parts: these texts
    """

    def __init__(
        self, checks: Sequence[Asking], parts: Sequence[InputText], joiner: str, said: tuple[Said, ...], earlier: int
    ) -> None:
        first = parts[0]
        turn = Turn(Direction.INPUT, first.kind, first.role, said)
        self._scan = PromptScan([part.text for part in parts], joiner, (), first.escaped, earlier)
        self._earlier = earlier
        self._asks: list[tuple[AskingScan, Ask]] = []
        self._text = joiner.join([part.text for part in parts])
        self._scans = [check.open(turn) for check in checks]

    def read(self) -> Iterator[int]:
        """Let the checks read the texts. Yields the length of each slice after it is read."""
        for at in range(0, len(self._text) + 1, SLICE):
            part = self._text[at : at + SLICE]
            final = at + SLICE > len(self._text)
            for scan in self._scans:
                self._asks += [(scan, ask) for ask in scan.feed(part, final).asks]
            yield len(part)

    @property
    def data(self) -> list[Hashable]:
        """What is to be asked."""
        return [ask.data for _, ask in self._asks]

    def answer(self, replies: Mapping[Hashable, object]) -> PromptScan:
        """The texts with what the answers have found in them."""
        for _ in self._scan.run():
            pass
        found = [f for scan, ask in self._asks for f in scan.answer(ask.number, replies[ask.data]).findings]
        self._scan.note(sorted(found, key=_place))
        return self._scan


def blocks(found: Iterable[Located]) -> list[Located]:
    """What of it blocks."""
    return [one for one in found if one.finding.rule.holds and one.finding.rule.action is Action.BLOCK]


def _place(finding: Finding) -> tuple[int, int, int]:
    return finding.start, finding.end, finding.rule.order
