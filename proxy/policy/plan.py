"""Which policies apply to a text, and the checks that follow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from proxy.checks.limits import Limit
from proxy.checks.markers import MarkerPass
from proxy.checks.passes import DetectedPass, OwnPass
from proxy.core.check import Check
from proxy.core.types import Direction, Kind, Rule
from proxy.matching.compiled import CompiledRule
from proxy.policy.names import model_globs
from proxy.policy.schema import AppliesTo, History, Images, SystemPrompt

_ROLES = {"developer": "system", "function": "tool"}
_KNOWN_ROLES = frozenset(("system", "user", "assistant", "tool"))
MOST_PARTS = 200  # of one policy; there are as many as roles times models with different templates


class ChatTemplate(NamedTuple):
    """What is known of a model's chat template.

    markers: which of the markers that stand in ordinary text too mean something to the model; None: unknown, so all
    exists:  whether the model has one of its own; None: unknown
    """

    markers: frozenset[str] | None = None
    exists: bool | None = None


UNKNOWN = ChatTemplate()


@dataclass(frozen=True, slots=True)
class Asked:
    """What a plan is asked for; `model` is normalised. No role (nobody knows whose text it is) fits every policy."""

    model: str
    key: str | None
    alignment: str
    direction: Direction | None = None
    role: str | None = None
    template: ChatTemplate = UNKNOWN


class Scope:
    """A policy's `applies_to`, ready to be asked."""

    __slots__ = ("_alignment", "_channels", "_directions", "_keys", "_models", "_roles")

    def __init__(self, given: AppliesTo) -> None:
        self._models: re.Pattern[str] | None = model_globs(given.models) if given.models else None
        self._alignment = frozenset[str](given.alignment)
        self._keys = frozenset(given.keys)
        self._directions = frozenset(given.directions)
        self._roles = frozenset[str](given.roles)
        self._channels = frozenset(given.channels)

    def holds(self, asked: Asked) -> bool:
        """Whether the policy applies, as far as model, key, alignment, direction and role go."""
        return (
            (self._models is None or self._models.fullmatch(asked.model) is not None)
            and (not self._alignment or asked.alignment in self._alignment)
            and (not self._keys or asked.key in self._keys)
            and (asked.direction is None or not self._directions or asked.direction in self._directions)
            and (asked.direction is not Direction.INPUT or self._role_fits(asked.role))
        )

    def reads(self, kind: Kind) -> bool:
        """Whether the policy looks at texts of this kind."""
        return not self._channels or kind in self._channels

    def _role_fits(self, role: str | None) -> bool:
        role = _ROLES.get(role or "", role)
        return not self._roles or role in self._roles or role not in _KNOWN_ROLES


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """One compiled policy. Compared by identity, so that it is quick to look up.

    name:     as metrics and logs show it (`shadow:NAME` in a shadow set)
    compiled: its pattern and word rules
    limits:   checks of its bounds on answers
    tolerant: a check of it that fails lets the text pass
    markers:  its rules that look for chat templates' markers
    detectors: its rules that look for what another detector finds
    stop:     ends an answer at a marker; with `always` also that of a model that has a chat template
    scopes:   of the rules that do not hold everywhere where the policy does
    """

    name: str
    enforced: bool
    scope: Scope
    rules: tuple[Rule, ...]
    compiled: tuple[CompiledRule, ...]
    limits: tuple[Limit, ...]
    tolerant: bool
    history: History
    system_prompt: SystemPrompt
    images: Images = "allow"
    markers: tuple[MarkerPass, ...] = ()
    detectors: tuple[DetectedPass, ...] = ()
    stop: MarkerPass | None = None
    stop_always: bool = False
    scopes: Mapping[Rule, Scope] = field(default_factory=dict)
    _parts: dict[tuple[frozenset[Rule], ChatTemplate], Policy] = field(default_factory=dict)

    @property
    def searching(self) -> tuple[CompiledRule | OwnPass, ...]:
        """What its rules look for, in the order of the file."""
        own = (*self.compiled, *self.markers, *self.detectors)
        return tuple(sorted(own, key=lambda one: rule_of(one).order))

    def part(self, asked: Asked) -> Policy:
        """Those of its rules that hold for what is asked; markers as the model's template knows them."""
        left_out = {rule for rule, scope in self.scopes.items() if not scope.holds(asked)}
        if self.stop is not None and not self._stops(asked):
            left_out.add(self.stop.rule)
        template = asked.template if self.markers or self.stop is not None else UNKNOWN
        if not left_out and template is UNKNOWN:
            return self
        key = frozenset(left_out), template
        known = self._parts.get(key)
        if known is None:
            if len(self._parts) >= MOST_PARTS:
                self._parts.clear()
            known = self._parts[key] = self._without(*key)
        return known

    def _stops(self, asked: Asked) -> bool:
        return asked.direction is Direction.OUTPUT and (self.stop_always or asked.template.exists is False)

    def _without(self, left_out: frozenset[Rule], template: ChatTemplate) -> Policy:
        stop = self.stop if self.stop is not None and self.stop.rule not in left_out else None
        return replace(
            self,
            rules=tuple(rule for rule in self.rules if rule not in left_out),
            compiled=tuple(one for one in self.compiled if one.source.rule not in left_out),
            markers=tuple(m.narrowed(template.markers) for m in self.markers if m.rule not in left_out),
            detectors=tuple(one for one in self.detectors if one.rule not in left_out),
            stop=stop.narrowed(template.markers) if stop is not None else None,
            scopes={},
            _parts={},
        )


def rule_of(searching: CompiledRule | OwnPass) -> Rule:
    """The rule that something searches for."""
    return searching.rule if isinstance(searching, OwnPass) else searching.source.rule


class Compose(Protocol):
    """Makes the checks for texts to which these policies apply."""

    def __call__(
        self, policies: tuple[Policy, ...], direction: Direction, escaped: bool, only_markers: bool = False
    ) -> tuple[Check, ...]: ...


class Plan:
    """The checks for one direction of one exchange. Shared by all exchanges to which the same policies apply."""

    def __init__(
        self, policies: tuple[Policy, ...], direction: Direction, compose: Compose, shadow: Plan | None = None
    ) -> None:
        self.policies = policies  # those that apply
        self._direction = direction
        self._compose = compose
        self._shadow = shadow
        self._checks: dict[tuple[Kind, bool], tuple[Check, ...]] = {}
        self.admitted: set[tuple[Kind, str]] = set()  # see proxy.core.guard.Plan
        self._markers: dict[tuple[Kind, bool], tuple[Check, ...]] = {}

    def checks(self, kind: Kind, escaped: bool = False) -> tuple[Check, ...]:
        """The checks for text of this kind; `escaped`: for text that is JSON source."""
        known = self._checks.get((kind, escaped))
        if known is None:
            reading = tuple(p for p in self.policies if p.scope.reads(kind))
            known = self._compose(reading, self._direction, escaped)
            if self._shadow is not None:
                known += self._shadow.checks(kind, escaped)
            self._checks[kind, escaped] = known
        return known

    def markers(self, kind: Kind, escaped: bool = False) -> tuple[Check, ...]:
        """The checks for chat templates' markers alone."""
        known = self._markers.get((kind, escaped))
        if known is None:
            reading = tuple(p for p in self.policies if p.markers and p.scope.reads(kind))
            known = self._compose(reading, self._direction, escaped, only_markers=True)
            self._markers[kind, escaped] = known
        return known

    @property
    def any_output_rule(self) -> bool:
        """Whether an enforced policy looks at the answer's text: copies of it beside it (logprobs) then have to go."""
        return self._direction is Direction.OUTPUT and any(p.enforced and p.rules for p in self.policies)

    @property
    def refuses_images(self) -> bool:
        """Whether an enforced policy wants no pictures and no audio in prompts."""
        return any(p.enforced and p.images == "refuse" for p in self.policies)

    @property
    def history(self) -> History:
        """What a block in an earlier message does: end the request, or put the notice in that message's place."""
        return "block" if any(p.enforced and p.history == "block" for p in self.policies) else "replace"

    def beside(self, shadow: Plan) -> Plan:
        """This plan with the checks of a shadow set's plan added: they report, and change nothing."""
        return Plan(self.policies, self._direction, self._compose, shadow)
