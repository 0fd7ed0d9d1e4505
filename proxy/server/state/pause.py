"""Whether an operator has paused the proxy. A pause survives a restart where there is a `state_dir`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from proxy.core.types import Action, Finding, Rule
from proxy.errors import SettingsError, Unavailable, UpstreamError
from proxy.server.state.directory import StateDirectory

FILE = "pause.json"
MESSAGE = "The models are paused by their operator"
LONGEST = 1_000  # characters of a message

log = logging.getLogger("safety_proxy.server")


class Pause:
    """The kill switch.

    message:   what clients are told while it is on; None: it is off
    since:     when it was put on, in seconds since 1970
    listeners: called when it is put on
    refused, ended: requests that were refused, and running answers that were ended
    """

    def __init__(self, state: StateDirectory | None = None, clock: Callable[[], float] = time.time) -> None:
        """It is on if it was on when the last process ended. Raises SettingsError if that cannot be read."""
        self._state = state
        self._clock = clock
        self.message: str | None = None
        self.since = 0.0
        self.listeners: list[Callable[[], None]] = []
        self.refused = self.ended = 0
        found = state.read(FILE) if state is not None else None
        if found is not None:
            self._take(state, found)

    def _take(self, state: StateDirectory | None, found: dict[str, object]) -> None:
        message, since = found.get("message"), found.get("since")
        if not isinstance(message, str) or not isinstance(since, int | float):
            assert state is not None
            raise SettingsError(f"{state.path / FILE} is not what the proxy has written: remove it to resume")
        self.message, self.since = message, float(since)
        log.warning("paused since before the start: %s (safety-proxy resume)", message)

    def on(self, message: str = "") -> bool:
        """Refuse all generation from now on, and end what runs. True: that will survive a restart."""
        self.message, self.since = message.strip()[:LONGEST] or MESSAGE, self._clock()
        log.warning("paused: %s", self.message)
        for listener in self.listeners:
            listener()
        return self._keep()

    def off(self) -> bool:
        """Serve again. True: a restart will not pause anew."""
        self.message = None
        log.warning("resumed")
        return self._keep()

    def refuse(self) -> None:
        """Raises Unavailable with the operator's sentence while it is on."""
        if self.message is not None:
            self.refused += 1
            raise self.error

    @property
    def error(self) -> Unavailable:
        """What a client is told."""
        return Unavailable(self.message or MESSAGE, "paused")

    @property
    def failure(self) -> UpstreamError:
        """What an answer has failed of that had not begun."""
        return UpstreamError(self.message or MESSAGE, "paused", 503)

    @property
    def finding(self) -> Finding:
        """What ends a running answer, in place of a rule's match."""
        return Finding(0, 0, Rule("", "paused", Action.BLOCK, message=self.message or MESSAGE))

    def _keep(self) -> bool:
        """Write it down. It holds in this process whatever comes of that."""
        if self._state is None:
            return False
        try:
            if self.message is None:
                self._state.remove(FILE)
            else:
                self._state.write(FILE, {"message": self.message, "since": self.since})
        except OSError as error:
            log.error("the pause cannot be written to %s (%s): it ends with a restart", self._state.path, error)
            return False
        return True
