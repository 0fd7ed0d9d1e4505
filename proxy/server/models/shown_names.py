"""The names of models in lists. They are judged like the text of an answer."""

from __future__ import annotations

import logging

from proxy.core.guard import Guard
from proxy.core.types import Direction
from proxy.server.exchange.policies import ActivePolicies

log = logging.getLogger("safety_proxy.server")

MAX_LOGGED = 1000  # names; they come from the model server, so there are not many


class ShownNames:
    """Judges names of models; see `proxy.dialects.common.catalogue.Names`."""

    def __init__(self, policies: ActivePolicies) -> None:
        self._policies = policies
        self._logged: set[object] = set()

    def admits(self, name: str) -> bool:
        """Whether a name may be shown: no rule finds anything in it."""
        return Guard(self._policies.snapshot().plan(Direction.OUTPUT, name)).admits(name)

    def refused(self, name: object) -> None:
        """Log, once for each, that a model is left out of the lists."""
        if name not in self._logged and len(self._logged) < MAX_LOGGED:
            self._logged.add(name)
            log.warning(
                "model %.300a is left out of the lists: its name has an odd form, or a rule found something in it",
                name,
            )
