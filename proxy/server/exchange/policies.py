"""The policies of one exchange: those in force when it begins, and the shadow policies beside them. It keeps them."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from proxy.core.prompt_memory import PromptMemory
from proxy.core.types import Direction, Rule
from proxy.errors import Unavailable
from proxy.policy.plan import UNKNOWN, ChatTemplate, Plan
from proxy.policy.policyset import PolicySet
from proxy.policy.schema import Alignment
from proxy.server.keys.key import Key

log = logging.getLogger("safety_proxy.keys")

MAX_CACHED = 1000  # plans; names of models come from clients, so there may be any number of them


class Store(Protocol):
    """Holds the set in force: `proxy.policy.store.PolicyStore`."""

    @property
    def current(self) -> PolicySet:
        """The set in force."""


class Snapshot:
    """Both sets as one. A plan is made once, so all exchanges share its compiled checks.

    memory: what was found in prompts; None: nothing is remembered, or these sets are no longer in force
    apart:  what keeps texts in that memory apart: the name of the key, and what the model is known to be
    """

    def __init__(
        self,
        policies: PolicySet,
        shadow: PolicySet | None = None,
        memory: PromptMemory | None = None,
        alignment: Alignment = "unknown",
        key: Key | None = None,
    ) -> None:
        """`alignment`: of the models, and `key`: the key, whose requests it is for."""
        self.policies = policies
        self.shadow = shadow
        self.memory = memory
        self.revision = policies.revision
        self._names = frozenset(policy.name for policy in policies.policies)
        self.looks_at_templates = policies.looks_at_templates or (shadow is not None and shadow.looks_at_templates)
        self.looks_at_alignment = policies.looks_at_alignment or (shadow is not None and shadow.looks_at_alignment)
        self.asks_in_parallel = policies.asks_in_parallel
        is_plain = key is None and alignment == "unknown"
        self.apart = (
            "" if is_plain else f"{'' if key is None else key.name}/{alignment}"
        )  # no name of a key has a slash
        self._alignment: Alignment = alignment
        self._key = key
        self._who: dict[str, Any] = {} if alignment == "unknown" else {"alignment": alignment}
        if key is not None:
            self._who |= {"key": key.name, "added": key.policies}
        self._views: dict[tuple[Key | None, Alignment], Snapshot] = {(key, alignment): self}  # shared by all of them
        self._told: set[str] = set()
        self._plans: dict[tuple[Direction, str, str | None, ChatTemplate], Plan] = {}
        self._prompts: dict[str, tuple[str, str]] = {}
        self._combined: dict[tuple[Plan, Plan], Plan] = {}
        self._own: dict[Plan, Plan] = {}

    def for_alignment(self, alignment: Alignment) -> Snapshot:
        """These sets for the requests of models that are known to be such, which share nothing that is remembered with
        those of others."""
        return self._view(self._key, alignment)

    def for_key(self, key: Key | None) -> Snapshot:
        """The same for the requests of one key.

        Raises Unavailable if the key asks for a policy that is not there: its requests must not pass without it.
        """
        if key is not None:
            self._refuse_without(key)
        return self._view(key, self._alignment)

    def _view(self, key: Key | None, alignment: Alignment) -> Snapshot:
        own = self._views.get((key, alignment))
        if own is None:
            if len(self._views) >= MAX_CACHED:
                self._views.clear()
            own = self._views[key, alignment] = Snapshot(self.policies, self.shadow, self.memory, alignment, key)
            own._views, own._told = self._views, self._told
        return own

    def _refuse_without(self, key: Key) -> None:
        missing = [name for name in key.policies if name not in self._names]
        if missing:
            if key.name not in self._told:
                self._told.add(key.name)
                log.error("requests with the key %s are refused: its policy %s is not loaded", key.name, missing[0])
            raise Unavailable("A policy that belongs to this key is not loaded; the proxy's log says which", "policy")

    def forget(self) -> None:
        """The sets are no longer in force: nothing more is remembered of prompts."""
        self.memory = None
        for one in self._views.values():
            one.memory = None

    def plan(self, direction: Direction, model: str, role: str | None = None, template: ChatTemplate = UNKNOWN) -> Plan:
        """The checks for a text. `template`: what is known of the model's chat template."""
        key = (direction, model, role, template)
        cached = self._plans.get(key)
        if cached is None:
            cached = self._find_plan(direction, model, role, template)
            if len(self._plans) < MAX_CACHED:
                self._plans[key] = cached
        return cached

    def system_prompt(self, model: str) -> tuple[str, str]:
        """The operator's texts before and after the client's system text. Both may be empty."""
        cached = self._prompts.get(model)
        if cached is None:
            cached = self.policies.system_prompt(model, **self._who)
            if len(self._prompts) < MAX_CACHED:
                self._prompts[model] = cached
        return cached

    def _find_plan(self, direction: Direction, model: str, role: str | None, template: ChatTemplate) -> Plan:
        plan = self._find_both(direction, model, role, template)
        if not self.apart:
            return plan
        own = self._own.get(plan)
        if own is None:
            if len(self._own) >= MAX_CACHED:
                self._own.clear()
            own = self._own[plan] = plan.apart()
        return own

    def _find_both(self, direction: Direction, model: str, role: str | None, template: ChatTemplate) -> Plan:
        plan = self.policies.plan(direction, model=model, role=role, template=template, **self._who)
        if self.shadow is None:
            return plan
        both = (plan, self.shadow.plan(direction, model=model, role=role, template=template, **self._who))
        cached = self._combined.get(both)
        if cached is None:
            if len(self._combined) >= MAX_CACHED:
                self._combined.clear()
            cached = self._combined[both] = plan.beside(both[1])
        return cached

    def message_for(self, rule: Rule, direction: Direction, first: str = "") -> str:
        """What a person reads in place of what the rule stopped."""
        return self.policies.message_for(rule, direction, first)


class ActivePolicies:
    """Gives each exchange its snapshot. When a set is replaced, the memory loses what only its checks have found."""

    def __init__(self, store: Store, shadow: Store | None = None, memory: PromptMemory | None = None) -> None:
        self._store = store
        self._shadow = shadow
        self._memory = memory
        self._latest: Snapshot | None = None

    def snapshot(self, key: Key | None = None) -> Snapshot:
        """The sets that are in force now, for requests with this key. Raises Unavailable as `Snapshot.for_key`."""
        return self._current().for_key(key)

    def _current(self) -> Snapshot:
        policies = self._store.current
        shadow = self._shadow.current if self._shadow is not None else None
        latest = self._latest
        if latest is None or latest.policies is not policies or latest.shadow is not shadow:
            latest = self._replace(latest, Snapshot(policies, shadow, self._memory))
        return latest

    def _replace(self, old: Snapshot | None, new: Snapshot) -> Snapshot:
        self._latest = new
        if old is not None and self._memory is not None:
            old.forget()
            shadow = () if new.shadow is None else new.shadow.checks
            self._memory.keep_only((*new.policies.checks, *shadow))
        return new
