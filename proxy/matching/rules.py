"""A rule as the matcher takes it, and what a pass over one view of the text offers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, Self, runtime_checkable

from proxy.core.check import Progress
from proxy.core.failures import Failures
from proxy.core.types import Rule

Overflow = Literal["release", "cover", "block"]
MAX_HOLD = 256
LONG = 1024
"""Characters of a text that is looked at before it is read."""
MOST_OPEN = 64
"""How far back a match may have begun in a state that has a key: farther, and hardly any state comes twice."""


@dataclass(frozen=True, slots=True)
class MatchRule:
    """A pattern in Python `re` syntax, or a list of whole words in any case.

    fold:        match on the folded text (look-alikes, accents and invisible characters seen through)
    shortest:    the first end wins, and matching starts again after it; else every match counts
    max_hold:    the most characters that an unfinished match may keep waiting
    on_overflow: what becomes of a character that has waited that long: let go, hidden, or the stream blocked
    validate:    says of a candidate whether it is a match; for every end the longest candidate is asked first
    """

    rule: Rule
    pattern: str | None = None
    words: tuple[str, ...] | None = None
    fold: bool = False
    shortest: bool = False
    max_hold: int = MAX_HOLD
    on_overflow: Overflow = "release"
    validate: Callable[[str], bool] | None = None


class Verdict(NamedTuple):
    """An enforced block. Of several passes the least one counts; equal ones count together.

    read: how many characters had to be read to know; one more than there are when it took the end of the text
    end:  where the blocked match ends
    """

    read: int
    end: int


class TakenBack(Protocol):
    """A scan that can be taken back. Offsets are those of the text that is fed."""

    @property
    def verdict(self) -> Verdict | None:
        """Set by the feed that blocked; nothing is read after that."""

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on, as core.check.Scan does."""

    def save(self) -> object:
        """The scan's whole state; cheap, a tuple of references."""

    def restore(self, mark: object) -> None:
        """Go back to where `save` returned `mark`."""


class PassScan(TakenBack, Protocol):
    """One pass at work on one text."""

    def state_key(self) -> Hashable | None:
        """What the answers to all that may follow depend on, told without offsets.

        None when there is no such key: a verdict has fallen, what was found may still grow, a match that is still open
        began more than MOST_OPEN characters ago.
        """

    def restore_key(self, key: Hashable, position: int) -> int:
        """Go to the state that has this key, `position` characters into a text that this scan has read without a
        finding since. Returns the watermark there."""


class Pass(Protocol):
    """Compiled rules that read one view of the text. Immutable, shared by all streams."""

    @property
    def hold(self) -> int | None:
        """The most characters that a scan may keep waiting; None when there is no bound."""

    def open(self) -> PassScan:
        """A fresh scan."""


class HidingPass(Pass, Protocol):
    """A pass that knows whether anything that it finds would change the text."""

    @property
    def hides(self) -> bool:
        """Whether text has to wait for it."""

    @property
    def may_block(self) -> bool:
        """Whether it can end a text."""


class OutsidePass(HidingPass, Protocol):
    """A pass of which nobody here knows what it does: its states have no keys, and what it does wrong is noted."""

    def for_exchange(self, failures: Failures) -> Self:
        """The same pass for the texts of one exchange, which notes there what goes wrong."""


@runtime_checkable
class Preparable(Protocol):
    """A pass that can make itself quicker with long texts."""

    def prepare(self, pause: Callable[[], None]) -> None:
        """Takes up to seconds; `pause` is called now and then."""


APART = "\n\x00\n"
"""What stands between texts that are looked at together: the edge of a word, and nothing that anybody looks for."""


@runtime_checkable
class Quick(Protocol):
    """A pass that may see at one look that it would find nothing."""

    def finds_nothing(self, text: str) -> bool:
        """Whether it would find nothing in any of the parts between which APART stands, each of them by itself.

        False: that is not known.
        """


@runtime_checkable
class Selecting(Quick, Protocol):
    """A pass that can tell in which of several texts it finds something."""

    def selected(self, texts: Sequence[str]) -> Iterable[str]:
        """Those texts."""


class View(Protocol):
    """A reading of the raw text (folded, JSON-unescaped). Both are views of proxy.matching.views."""

    def open(self, inner: Pass) -> PassScan:
        """A scan that feeds `inner` with the view of what it is fed, and answers in offsets of the raw text."""
