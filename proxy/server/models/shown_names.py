"""The names of models in lists: those in words are judged as an answer's text would be."""

from __future__ import annotations

import logging

from proxy.core.guard import Guard
from proxy.core.types import Direction
from proxy.server.exchange.policies import ActivePolicies

log = logging.getLogger("safety_proxy.server")

MOST_TOLD = 1000  # names that are remembered as said; they come from the model server, so there are not many


class ShownNames:
    """See `proxy.dialects.common.catalogue.Names`."""

    def __init__(self, policies: ActivePolicies) -> None:
        self._policies = policies
        self._told: set[object] = set()

    def admits(self, name: str) -> bool:
        """Whether no rule minds that a name is shown."""
        return Guard(self._policies.snapshot().plan(Direction.OUTPUT, name)).admits(name)

    def refused(self, name: object) -> None:
        """Say once in the log that a model is not in the lists."""
        if name not in self._told and len(self._told) < MOST_TOLD:
            self._told.add(name)
            log.warning("model %.300a is left out of the lists: its name has no form of one, or a rule minds it", name)
