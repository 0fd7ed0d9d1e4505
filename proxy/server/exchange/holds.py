"""For which rules an answer's characters wait: which rule makes people wait.

Asking the matcher costs more than an event. So of an answer's waits the first ones are looked at, and then one of
SAMPLE, which stands for so many.
"""

from __future__ import annotations

from collections.abc import Iterator

from proxy.core.types import Rule

ALL_LOOKED_AT = 4  # waits of an answer that are all looked at
SAMPLE = 16  # of the later ones, one of so many is


class HoldShare:
    """What one rule made an answer wait.

    waits:      how often characters waited for it
    seconds:    how long, in all
    characters: the most that waited at once, added up over the waits
    """

    __slots__ = ("characters", "seconds", "waits")

    def __init__(self) -> None:
        self.waits = 0
        self.seconds = 0.0
        self.characters = 0


class Hold:
    """The waits of one answer, by rule.

    rule: for which the characters wait that wait now; None: for no rule in particular, as a tool's call waits for its
          end
    """

    __slots__ = ("_count", "_looked_at", "_most", "_shares", "rule")

    def __init__(self) -> None:
        self.rule: Rule | None = None
        self._shares: dict[Rule | None, HoldShare] | None = None
        self._count = 0
        self._looked_at = False
        self._most = 0

    def begin(self) -> bool:
        """Characters begin to wait. True: set `rule`, this wait is looked at."""
        self._count += 1
        self._most = 0
        self._looked_at = self._count <= ALL_LOOKED_AT or self._count % SAMPLE == 0
        return self._looked_at

    def wait(self, characters: int) -> None:
        """So many wait now."""
        if characters > self._most:
            self._most = characters

    def end(self, seconds: float) -> None:
        """None waits any more; the wait took so long."""
        if not self._looked_at:
            return
        shares = self._shares
        if shares is None:
            shares = self._shares = {}
        share = shares.get(self.rule)
        if share is None:
            share = shares[self.rule] = HoldShare()
        stands_for = 1 if self._count <= ALL_LOOKED_AT else SAMPLE
        share.waits += stands_for
        share.seconds += seconds * stands_for
        share.characters += self._most * stands_for

    def shares(self) -> Iterator[tuple[Rule | None, HoldShare]]:
        """Each rule for which characters waited, with its share."""
        return iter((self._shares or {}).items())
