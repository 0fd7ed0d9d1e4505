"""A log of failures that come again and again, as apps ask for lists all the time: each once a minute."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic

from proxy.errors import UpstreamError

log = logging.getLogger("safety_proxy.server")

AGAIN_AFTER = 60.0  # seconds
MAX_PLACES = 1000


class FailureLog:
    """Logs what failed, unless the same was logged within the last minute and it has not gone well since."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._logged: dict[str, tuple[str, float]] = {}  # what was logged last, and when, by place

    def failed(self, place: str, error: UpstreamError) -> None:
        """`place`: the method and URL that the model server was asked."""
        said, now = f"{error.for_log} ({error.__cause__ or error.reason})", self._clock()
        before, when = self._logged.get(place, ("", 0.0))
        if before == said and now - when < AGAIN_AFTER:
            return
        if len(self._logged) >= MAX_PLACES:
            self._logged.clear()
        self._logged[place] = said, now
        log.warning("%s: %s", place, said)

    def went_well(self, place: str) -> None:
        """It is served, so its next failure is a new one."""
        self._logged.pop(place, None)
