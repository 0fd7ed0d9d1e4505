"""What all passes of one rule have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from proxy.core.check import Progress
from proxy.core.types import Action, Finding, Rule
from proxy.matching.rules import HidingPass, PassScan, Preparable
from proxy.matching.views import FoldView

_FOLD = FoldView()


@dataclass(frozen=True, slots=True)
class RulePass(ABC):
    """A rule that looks for something in its own way; a pass of the matcher (see proxy.matching.rules.Pass).

    Immutable, shared by all streams.
    """

    rule: Rule

    @property
    def hides(self) -> bool:
        """Whether text has to wait for it."""
        return self.rule.holds

    @property
    def may_block(self) -> bool:
        """Whether it can end a text."""
        return self.rule.holds and self.rule.action is Action.BLOCK

    @property
    @abstractmethod
    def hold(self) -> int | None:
        """The most characters that may wait; None when there is no bound."""

    def enforced(self, enforced: bool) -> Self:
        """The same rule, for a policy that is enforced or one that only watches."""
        return replace(self, rule=replace(self.rule, enforced=enforced))

    def describe(self) -> str:
        """How long it can hold, in words."""
        return f"holds at most {self.hold} characters" if self.rule.holds else "never holds"


def first_find(read: Callable[[str, bool], Progress], text: str, sure: int) -> Finding | None:
    """The first thing that is found in a text that is read character by character from `sure` on; None: nothing is.

    How much had to be read before a block was known must not depend on how the text was cut: so the text in which one
    was found is read again.
    """
    answers = (read(piece, False).findings for piece in (text[:sure], *text[sure:]))
    found = next(filter(None, answers), ())
    return found[0] if found else None


@dataclass(frozen=True, slots=True)
class Folded:
    """A pass of the matcher that reads the folded text: full-width and look-alike characters seen through."""

    inner: HidingPass

    @property
    def hides(self) -> bool:
        """Whether text has to wait for it."""
        return self.inner.hides

    @property
    def may_block(self) -> bool:
        """Whether it can end a text."""
        return self.inner.may_block

    @property
    def hold(self) -> int | None:
        """The most characters of the text as it is that may wait."""
        return _FOLD.hold(self.inner.hold) if self.inner.hold else self.inner.hold

    def finds_nothing(self, text: str) -> bool:
        """See proxy.matching.rules.Quick."""
        return _FOLD.finds_nothing(self.inner, text)

    def prepare(self, pause: Callable[[], None]) -> None:
        """See proxy.matching.rules.Preparable."""
        if isinstance(self.inner, Preparable):
            self.inner.prepare(pause)

    def open(self) -> PassScan:
        """A fresh scan."""
        return _FOLD.open(self.inner, self.hides)
