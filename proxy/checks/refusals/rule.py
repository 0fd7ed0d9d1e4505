"""A rule of kind `refusal`: the model's own refusal is flagged, or the operator's text stands in its place.

It reads answers alone, from their first character: what goes on in another block or behind a tool call is not read.
A rule that only flags holds nothing. One that rewrites holds the beginning until it is known whether it is a refusal,
at most HEAD characters; nothing has been sent by then, and of a refusal nothing is.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

from proxy.checks.refusals.detector import HEAD, Refusal, RefusalReader
from proxy.checks.refusals.language import RefusalKind
from proxy.checks.rule_pass import RulePass
from proxy.core.check import Progress, Waits
from proxy.core.types import Finding
from proxy.matching.rules import Verdict

REFUSING = (RefusalKind.SAFETY, RefusalKind.CAPABILITY)
"""What is looked for without `kinds`: a partial refusal helps, and its help is not for a rule to take away."""


@dataclass(frozen=True, slots=True)
class RefusalPass(RulePass):
    """kinds: which refusals are found. in_field: the text is that of a refusal field, so at least one of safety."""

    kinds: frozenset[RefusalKind] = frozenset(REFUSING)
    in_field: bool = False

    begins_only = True
    """See proxy.core.gate.Gate.prime."""

    @property
    def hold(self) -> int:
        """The beginning of a text."""
        return HEAD if self.rule.holds else 0

    def for_field(self) -> RefusalPass:
        """The same rule, for the field in which a model says that it refuses."""
        return replace(self, in_field=True)

    def open(self) -> RefusalScan:
        """A fresh scan."""
        return RefusalScan(self)


class RefusalScan:
    """One answer on its way."""

    __slots__ = ("_decided", "_found", "_pass", "_position", "_reader", "verdict")

    def __init__(self, looking: RefusalPass) -> None:
        self._pass = looking
        self._reader = RefusalReader()
        self._position = 0
        self._decided = self._found = False
        self.verdict: Verdict | None = None  # it never ends a text

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on, as core.check.Scan does."""
        before, self._position = self._position, self._position + len(text)
        if self._decided:
            return self._progress_of_rest(before)
        self._reader.feed(text, final)
        if not self._reader.decided:
            return Progress(0 if self._pass.rule.holds else self._position)
        self._decided, read = True, self._reader.read
        self._found = read > 0 and self._counts(self._reader.refusal)
        if not self._found:
            return Progress(self._position)
        found = (Finding(0, read, self._pass.rule),)
        rest = self._progress_of_rest(read)
        return Progress(rest.watermark, found + rest.findings)

    def _progress_of_rest(self, start: int) -> Progress:
        """What comes behind the verdict: of a refusal that is rewritten, none of it is shown."""
        if self._found and self._pass.rule.holds and self._position > start:
            return Progress(self._position, (Finding(start, self._position, self._pass.rule, extends=True),))
        return Progress(self._position)

    def _counts(self, refusal: Refusal | None) -> bool:
        kind = refusal.kind if refusal is not None else RefusalKind.SAFETY if self._pass.in_field else None
        return kind in self._pass.kinds

    def waits(self) -> Waits | None:
        """See proxy.core.check.Waiting."""
        waiting = self._pass.rule.holds and not self._decided
        return Waits(self._position, self._pass.rule) if waiting else None

    def save(self) -> object:
        """The whole state."""
        return self._position, self._decided, self._found, self._reader.save()

    def restore(self, mark: object) -> None:
        """Go back to a saved state."""
        assert isinstance(mark, tuple)
        self._position, self._decided, self._found, reader = mark
        self._reader.restore(reader)

    def state_key(self) -> Hashable | None:
        """None: it is the beginning that counts, and that is read once."""
        return None

    def restore_key(self, key: Hashable, position: int) -> int:
        """There is no key to restore."""
        raise AssertionError("a scan without keys")
