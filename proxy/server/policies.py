"""The policies that an exchange begins with, and keeps: those in force, and beside them those that only watch."""

from __future__ import annotations

from typing import Protocol

from proxy.core.types import Direction, Rule
from proxy.policy.plan import Plan
from proxy.policy.policyset import PolicySet


class Store(Protocol):
    """Where the set in force is; `proxy.policy.store.PolicyStore` in practice."""

    @property
    def current(self) -> PolicySet:
        """The set in force."""


class Snapshot:
    """Two sets as one. Plans are made once, so that their compiled checks are shared by all exchanges."""

    def __init__(self, policies: PolicySet, shadow: PolicySet | None = None) -> None:
        self.policies = policies
        self.shadow = shadow
        self.revision = policies.revision
        self._together: dict[tuple[Plan, Plan], Plan] = {}

    def plan(self, direction: Direction, model: str, role: str | None = None) -> Plan:
        """The checks for a text."""
        plan = self.policies.plan(direction, model=model, role=role)
        if self.shadow is None:
            return plan
        both = (plan, self.shadow.plan(direction, model=model, role=role))
        known = self._together.get(both)
        if known is None:
            known = self._together[both] = plan.beside(both[1])
        return known

    def system_prompt(self, model: str) -> tuple[str, str]:
        """The operator's words before and after the client's system text; both may be empty."""
        return self.policies.system_prompt(model)

    def message_for(self, rule: Rule) -> str:
        """What a person reads in the place of what the rule stopped."""
        return self.policies.message_for(rule)


class InForce:
    """Gives each exchange its snapshot."""

    def __init__(self, store: Store, shadow: Store | None = None) -> None:
        self._store = store
        self._shadow = shadow
        self._latest: Snapshot | None = None

    def now(self) -> Snapshot:
        """The sets that are in force just now."""
        policies = self._store.current
        shadow = self._shadow.current if self._shadow is not None else None
        latest = self._latest
        if latest is None or latest.policies is not policies or latest.shadow is not shadow:
            latest = self._latest = Snapshot(policies, shadow)
        return latest
