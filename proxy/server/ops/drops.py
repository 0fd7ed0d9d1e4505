"""What logging has thrown away, because writing could not keep up or failed. Metrics tell it."""

from __future__ import annotations

from collections import Counter
from threading import Lock
from typing import Final

LOG: Final = "log"
DECISIONS: Final = "decisions"
FILE: Final = "file"
STORE: Final = "store"
SINKS: Final = (LOG, DECISIONS, FILE, STORE)
"""Where records get lost: the log on stderr, the queue of finished exchanges, the decision log's file, the store."""


class Drops:
    """Counts lost records by sink. For all threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[str] = Counter()

    def add(self, sink: str) -> None:
        """One more is lost."""
        with self._lock:
            self._counts[sink] += 1

    def take(self) -> Counter[str]:
        """How many since the last call."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return counts
