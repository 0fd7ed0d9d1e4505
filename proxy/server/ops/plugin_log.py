"""The log of checks of plug-ins that fail: each once a minute, so that a bad one does not fill the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from proxy.core.failures import CheckFailed, Reason
from proxy.server.exchange.record import Exchange

INTERVAL = 60.0  # seconds in which a check and a reason have one line

log = logging.getLogger("safety_proxy.plugins")


@dataclass
class _Told:
    at: float
    since: int = 0  # failures since then that had no line


class PluginLog:
    """An observer of exchanges."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[tuple[str, Reason, str], _Told] = {}

    def end(self, exchange: Exchange) -> None:
        """Log what failed in it, unless that was logged within the last minute."""
        for on_error, failed in exchange.plugin_failures or ():
            self._tell(exchange, on_error, failed)

    def _tell(self, exchange: Exchange, on_error: str, failed: CheckFailed) -> None:
        key, now = (failed.check, failed.reason, on_error), self._clock()
        told = self._told.get(key)
        if told is not None and now < told.at + INTERVAL:
            told.since += 1
            return
        more = f", and {told.since} more since the last line" if told is not None and told.since else ""
        self._told[key] = _Told(now)
        became = "the text was blocked" if on_error == "block" else "the text passed unjudged"
        log.error("request %s: the check %s %s: %s%s", exchange.id, failed.check, failed.detail, became, more)
