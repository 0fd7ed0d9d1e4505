"""The contract of a check: it points at text, it never returns text.

So a check cannot leak, cannot corrupt a frame, and cannot depend on the order of other checks.

The laws, run on every check by tests/laws.py:

1. Cutting the text differently changes nothing.
2. The watermark never goes back, never passes what was fed, and equals it after `final`.
3. No finding that hides (REWRITE, BLOCK of an enforced rule) starts below an announced watermark.
   A finding that only flags may: nothing waited for it.
4. What is held, fed minus watermark, is never more than `hold` (None: no bound). A check that asks may hold more, as
   long as a question is open.

A check that cannot know by itself asks (`Asking`): its scan tells questions, and whoever has opened it brings the
answers, in any order. For such a check moreover:

5. What is asked depends on the text alone, and a question is told with the character that makes it certain.
6. The order of the answers changes nothing. After `final` the watermark equals what was fed as soon as all is answered.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeGuard, runtime_checkable

from proxy.core.types import Direction, Finding, Kind, Rule


class Ask(NamedTuple):
    """A question about a part of the text.

    number:     tells it from the scan's other questions
    start, end: what it is about; text from `start` on waits for the answer, if the rule holds text
    read:       how many characters had to be read to know that it is to be asked; one more than there are when it took
                the end of the text
    data:       what is to be asked, as data: equal questions have equal answers. Who can answer is told by its type
    """

    number: int
    start: int
    end: int
    read: int
    data: Hashable


class Progress(NamedTuple):
    """What a scan knows after a feed.

    watermark: every character before it is decided for ever; offset in code points of the channel's original text
    findings:  what became certain in this feed, in order of `start`. After an enforced BLOCK finding the scan is over:
               its watermark is then where the released text has to end (or the finding's start, if less)
    asks:      what has to be known from elsewhere, in order of `read`; only scans of an `Asking` check have any
    """

    watermark: int
    findings: tuple[Finding, ...] = ()
    asks: tuple[Ask, ...] = ()


class Said(NamedTuple):
    """A text of a conversation. role: system, user, assistant or tool."""

    role: str
    text: str


class Turn(NamedTuple):
    """Whose text it is that a scan reads, and what was said before it.

    conversation: all that was said before, in order; an answer is judged after the prompt, as it was sent
    before:       what stands directly before the text and is one with it to a reader: a prefill, an earlier block
    """

    direction: Direction = Direction.OUTPUT
    kind: Kind = Kind.CONTENT
    role: str = "assistant"
    conversation: Sequence[Said] = ()
    before: str = ""


NO_TURN = Turn()


class Waits(NamedTuple):
    """What a scan lets wait: so many characters, because they may become a match of this rule."""

    characters: int
    rule: Rule


def longest(waits: Iterable[Waits | None]) -> Waits | None:
    """The one that began first; of equal ones the rule that comes first in the policies."""
    known = [one for one in waits if one is not None and one.characters > 0]
    return min(known, key=lambda one: (-one.characters, one.rule.order), default=None)


class Waiting(Protocol):
    """A scan that tells what it lets wait. Asked now and then, for metrics; a scan need not tell."""

    def waits(self) -> Waits | None:
        """What waits now; None: nothing, or for no rule in particular."""


def waits_of(scan: object) -> Waits | None:
    """What any scan lets wait, as far as it tells."""
    tell = getattr(scan, "waits", None)  # cheaper than a look at the protocol
    return None if tell is None else tell()


@runtime_checkable
class Scan(Protocol):
    """A check at work on one channel of one exchange."""

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on. `final` says that nothing follows; it is given once, perhaps with an empty text."""


class Skimming(Scan, Protocol):
    """A scan that reads a long text more quickly for those who do not need to know what waits."""

    def skim(self, text: str) -> Progress:
        """Read on as `feed` does. The watermark may be too low; the findings are the same."""


def suspects(check: object, texts: Sequence[str]) -> Sequence[str]:
    """Those of some short texts in which a check may find something, each of them by itself.

    A check that can tell more quickly than by reading each of them has a method of this name.
    """
    tell: Callable[[Sequence[str]], Sequence[str]] | None = getattr(check, "suspects", None)
    return texts if tell is None else tell(texts)


def skim(scan: Scan, text: str) -> Progress:
    """Let any scan read on where nobody asks what waits."""
    quickly: Callable[[str], Progress] = getattr(scan, "skim", scan.feed)  # cheaper than a look at the protocol
    return quickly(text)


@runtime_checkable
class Resumable(Scan, Protocol):
    """A scan that can go back, so that a text which it has read need not be read again from its beginning."""

    def save(self) -> object:
        """The whole state."""

    def restore(self, mark: object) -> None:
        """Go back to a saved state, more than once if need be, and also after a block."""


class Check(Protocol):
    """What a policy's rules are compiled into. Immutable, shared by all streams."""

    @property
    def hold(self) -> int | None:
        """The most characters that a scan may keep waiting; None when it may need the whole text."""

    def open(self) -> Scan:
        """A fresh scan for one channel."""


class AskingScan(Scan, Protocol):
    """A scan that asks. Never asked again about what it has asked: it keeps what it needs to read the answer."""

    def answer(self, number: int, reply: object) -> Progress:
        """The reply to a question, once: a value that the check understands, or a CheckFailed that says why there is
        none. Answers may come in any order; what was found in one part may be told before what comes before it."""

    def asked_at(self, read: int) -> int:
        """Up to where everything was asked about or decided when `read` characters of the latest feed had been read."""


class Asking(Protocol):
    """A check that asks. Immutable, shared by all streams."""

    @property
    def asks(self) -> Literal[True]: ...

    @property
    def hold(self) -> int | None:
        """The most characters that wait without a question; None when it may need the whole text."""

    def open(self, turn: Turn = NO_TURN) -> AskingScan:
        """A fresh scan for one text."""


def asks(check: Any) -> TypeGuard[Asking]:
    """Whether a check asks."""
    return getattr(check, "asks", False) is True


def without_asking(checks: Iterable[Check]) -> tuple[Check, ...]:
    """The checks that know by themselves."""
    return tuple([check for check in checks if not asks(check)])


def asking(checks: Iterable[Check]) -> tuple[Asking, ...]:
    """The checks that ask."""
    return tuple([check for check in checks if asks(check)])
