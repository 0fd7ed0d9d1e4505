"""The policies that an exchange begins with, and keeps: those in force, and beside them those that only watch."""

from __future__ import annotations

from typing import Protocol

from proxy.core.types import Direction, Rule
from proxy.policy.plan import UNKNOWN, ChatTemplate, Plan
from proxy.policy.policyset import PolicySet

MOST_KNOWN = 1000  # answers kept; names of models come from clients, so there may be any number of them


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
        self.looks_at_templates = policies.looks_at_templates or (shadow is not None and shadow.looks_at_templates)
        self._plans: dict[tuple[Direction, str, str | None, ChatTemplate], Plan] = {}
        self._prompts: dict[str, tuple[str, str]] = {}
        self._together: dict[tuple[Plan, Plan], Plan] = {}

    def plan(self, direction: Direction, model: str, role: str | None = None, template: ChatTemplate = UNKNOWN) -> Plan:
        """The checks for a text; `template` is what is known of the model's chat template."""
        asked = (direction, model, role, template)
        known = self._plans.get(asked)
        if known is None:
            known = self._find_plan(direction, model, role, template)
            if len(self._plans) < MOST_KNOWN:
                self._plans[asked] = known
        return known

    def system_prompt(self, model: str) -> tuple[str, str]:
        """The operator's words before and after the client's system text; both may be empty."""
        known = self._prompts.get(model)
        if known is None:
            known = self.policies.system_prompt(model)
            if len(self._prompts) < MOST_KNOWN:
                self._prompts[model] = known
        return known

    def _find_plan(self, direction: Direction, model: str, role: str | None, template: ChatTemplate) -> Plan:
        plan = self.policies.plan(direction, model=model, role=role, template=template)
        if self.shadow is None:
            return plan
        both = (plan, self.shadow.plan(direction, model=model, role=role, template=template))
        known = self._together.get(both)
        if known is None:
            if len(self._together) >= MOST_KNOWN:
                self._together.clear()
            known = self._together[both] = plan.beside(both[1])
        return known

    def message_for(self, rule: Rule) -> str:
        """What a person reads in the place of what the rule stopped."""
        return self.policies.message_for(rule)


class ActivePolicies:
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
