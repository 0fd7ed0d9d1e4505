"""Which policies apply to a text, and the checks that follow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from proxy.checks.asking import AskingRule
from proxy.checks.fail_open import FailOpen
from proxy.checks.limits import Limit
from proxy.checks.markers import MarkerKind, MarkerPass
from proxy.checks.passes import DetectedPass, OwnPass
from proxy.checks.plugin_pass import PluginRule
from proxy.checks.refusals.rule import RefusalPass
from proxy.checks.system_prompt import NO_PHRASES, Phrases, SystemPromptPass, phrases_of
from proxy.core.check import Check
from proxy.core.failures import Failures
from proxy.core.types import Direction, Kind, Rule
from proxy.matching.compiled import CompiledRule
from proxy.matching.matcher import Matcher
from proxy.policy.names import model_globs
from proxy.policy.schema import AppliesTo, History, Images, SystemPrompt

_ROLES = {"developer": "system", "function": "tool"}
_KNOWN_ROLES = frozenset(("system", "user", "assistant", "tool"))
SAID = (Kind.CONTENT, Kind.REFUSAL)
"""Where a model says that it refuses."""
MAX_NARROWED = 200  # of one policy; there are as many as roles times models with different templates


class ChatTemplate(NamedTuple):
    """What is known of a model's chat template.

    markers: which of the markers that stand in ordinary text too mean something to the model; None: unknown, so all
    exists:  whether the model has one of its own; None: unknown
    """

    markers: frozenset[str] | None = None
    exists: bool | None = None


UNKNOWN = ChatTemplate()

SearchRule = CompiledRule | OwnPass | PluginRule | AskingRule
"""A rule that searches a text, as the matcher takes it; or one that asks."""


def rule_of(search_rule: SearchRule) -> Rule:
    """The policy's rule behind a search rule."""
    return search_rule.source.rule if isinstance(search_rule, CompiledRule) else search_rule.rule


@dataclass(frozen=True, slots=True)
class PlanQuery:
    """Whose text a plan is for. `model` is normalised. Without a role it is unknown whose text it is.

    added: names of policies that apply whatever they say of models, keys and alignment: the key asks for them
    """

    model: str
    key: str | None
    alignment: str
    direction: Direction | None = None
    role: str | None = None
    template: ChatTemplate = UNKNOWN
    added: tuple[str, ...] = ()


class Scope:
    """A policy's `applies_to`, compiled."""

    __slots__ = ("_alignment", "_channels", "_directions", "_keys", "_models", "_roles")

    def __init__(self, given: AppliesTo) -> None:
        self._models: re.Pattern[str] | None = model_globs(given.models) if given.models else None
        self._alignment = frozenset[str](given.alignment)
        self._keys = frozenset(given.keys)
        self._directions = frozenset(given.directions)
        self._roles = frozenset[str](given.roles)
        self._channels = frozenset(given.channels)

    def applies(self, query: PlanQuery) -> bool:
        """Whether the policy applies, as far as model, key, alignment, direction and role go."""
        fits_model = self._models is None or self._models.fullmatch(query.model) is not None
        fits_alignment = not self._alignment or query.alignment in self._alignment
        fits_key = not self._keys or query.key in self._keys
        return fits_model and fits_alignment and fits_key and self.fits_text(query)

    def reads(self, kind: Kind) -> bool:
        """Whether the policy looks at texts of this kind."""
        return not self._channels or kind in self._channels

    @property
    def keys(self) -> frozenset[str]:
        """Names of the keys to which it applies; empty: it does not ask for one."""
        return self._keys

    def fits_text(self, query: PlanQuery) -> bool:
        """Whether the policy is for texts of this direction and role, whatever the model and the key."""
        if query.direction is None:
            return True
        fits_direction = not self._directions or query.direction in self._directions
        return fits_direction and (query.direction is not Direction.INPUT or self._role_fits(query.role))

    @property
    def looks_at_alignment(self) -> bool:
        """Whether it depends on what the model is known to be."""
        return bool(self._alignment)

    @property
    def reads_answers(self) -> bool:
        """Whether it holds for what the model says."""
        return not self._directions or Direction.OUTPUT in self._directions

    @property
    def reads_prompts(self) -> bool:
        """Whether it holds for texts that clients send, of whatever role."""
        return not self._directions or Direction.INPUT in self._directions

    def _role_fits(self, role: str | None) -> bool:
        role = _ROLES.get(role or "", role)
        return not self._roles or role in self._roles or role not in _KNOWN_ROLES


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """One compiled policy. Compared by identity, so that it is quick to look up.

    name:     as metrics and logs show it (`shadow:NAME` in a shadow set)
    compiled: its pattern and word rules
    limits:   checks of its limits on answers
    fails_open: when one of its checks raises, the text passes
    markers:  its rules that look for chat templates' markers
    detectors: its rules that look for what another detector finds
    leaks:    its rules that look for the request's own system text
    refusals: its rules that look for refusals of the model
    plugins:  its rules whose checks plug-ins made
    asking:   its rules that ask somebody
    stop:     ends an answer at a marker; with `always` also that of a model that has a chat template
    scopes:   for each rule that is narrower than the policy
    example:  a text in which a rule of it finds something, with that rule; None: it has no rule that searches
    """

    name: str
    enforced: bool
    scope: Scope
    rules: tuple[Rule, ...]
    compiled: tuple[CompiledRule, ...]
    limits: tuple[Limit, ...]
    fails_open: bool
    history: History
    system_prompt: SystemPrompt
    images: Images = "allow"
    markers: tuple[MarkerPass, ...] = ()
    detectors: tuple[DetectedPass, ...] = ()
    leaks: tuple[SystemPromptPass, ...] = ()
    refusals: tuple[RefusalPass, ...] = ()
    plugins: tuple[PluginRule, ...] = ()
    asking: tuple[AskingRule, ...] = ()
    stop: MarkerPass | None = None
    stop_always: bool = False
    scopes: Mapping[Rule, Scope] = field(default_factory=dict)
    example: tuple[Rule, str] | None = None
    _narrowed: dict[tuple[frozenset[Rule], ChatTemplate], Policy] = field(default_factory=dict)

    def applies(self, query: PlanQuery) -> bool:
        """Whether it applies: to such a request anyway, or because the request's key asks for it."""
        if self.name.removeprefix("shadow:") in query.added:
            return self.scope.fits_text(query)
        return self.scope.applies(query)

    @property
    def search_rules(self) -> tuple[SearchRule, ...]:
        """Its rules that search texts, in the order of the file."""
        others: tuple[SearchRule, ...] = (
            *(*self.markers, *self.detectors, *self.leaks, *self.refusals, *self.plugins, *self.asking),
        )
        rules: tuple[SearchRule, ...] = (*self.compiled, *others)
        return tuple(sorted(rules, key=lambda rule: rule_of(rule).order))

    @property
    def places(self) -> Iterator[tuple[Rule, Direction, Kind]]:
        """Every rule, with each direction and kind of text that it reads."""
        limits = {limit.rule for limit in self.limits} | ({self.stop.rule} if self.stop is not None else set())
        refusals = {refusal.rule for refusal in self.refusals}
        for rule in self.rules:
            own = self.scopes.get(rule, self.scope)
            for kind in SAID if rule in refusals else Kind:
                if self.scope.reads(kind) and own.reads(kind):
                    if self.scope.reads_answers and own.reads_answers:
                        yield rule, Direction.OUTPUT, kind
                    if self.scope.reads_prompts and own.reads_prompts and rule not in limits | refusals:
                        yield rule, Direction.INPUT, kind

    @property
    def guards_turns(self) -> bool:
        """Whether a rule of it keeps prompts from forging turns: it rewrites or blocks turn markers."""
        if not self.scope.reads_prompts:
            return False
        turns = [marker for marker in self.markers if marker.hides and MarkerKind.TURN in marker.kinds]
        return any(self.scopes.get(marker.rule, self.scope).reads_prompts for marker in turns)

    @property
    def variants(self) -> tuple[Policy, ...]:
        """This policy, and those that it was narrowed to."""
        return (self, *tuple(self._narrowed.values()))

    def narrowed(self, query: PlanQuery) -> Policy:
        """The policy with the rules that apply to a query only, and with the markers of the model's template."""
        left_out = {rule for rule, scope in self.scopes.items() if not scope.applies(query)}
        if self.stop is not None and not self._stops(query):
            left_out.add(self.stop.rule)
        template = query.template if self.markers or self.stop is not None else UNKNOWN
        if not left_out and template is UNKNOWN:
            return self
        key = frozenset(left_out), template
        narrowed = self._narrowed.get(key)
        if narrowed is None:
            if len(self._narrowed) >= MAX_NARROWED:
                self._narrowed.clear()
            narrowed = self._narrowed[key] = self._without(*key)
        return narrowed

    def _stops(self, query: PlanQuery) -> bool:
        return query.direction is Direction.OUTPUT and (self.stop_always or query.template.exists is False)

    def _without(self, left_out: frozenset[Rule], template: ChatTemplate) -> Policy:
        stop = self.stop if self.stop is not None and self.stop.rule not in left_out else None
        return replace(
            self,
            rules=tuple(rule for rule in self.rules if rule not in left_out),
            compiled=tuple(rule for rule in self.compiled if rule.source.rule not in left_out),
            markers=tuple(m.narrowed(template.markers) for m in self.markers if m.rule not in left_out),
            detectors=tuple(detector for detector in self.detectors if detector.rule not in left_out),
            leaks=tuple(leak for leak in self.leaks if leak.rule not in left_out),
            refusals=tuple(refusal for refusal in self.refusals if refusal.rule not in left_out),
            plugins=tuple(plugin for plugin in self.plugins if plugin.rule not in left_out),
            asking=tuple(asking for asking in self.asking if asking.rule not in left_out),
            stop=stop.narrowed(template.markers) if stop is not None else None,
            scopes={},
            _narrowed={},
        )


class Compose(Protocol):
    """Makes the checks for texts to which these policies apply; `stops`: a marker may end the text."""

    def __call__(
        self,
        policies: tuple[Policy, ...],
        direction: Direction,
        escaped: bool,
        only_markers: bool = False,
        stops: bool = True,
    ) -> tuple[Check, ...]: ...


class Plan:
    """The checks for one direction of one exchange. Shared by all exchanges to which the same policies apply."""

    def __init__(
        self,
        policies: tuple[Policy, ...],
        direction: Direction,
        compose: Compose,
        shadow: Plan | None = None,
        phrases: Phrases = NO_PHRASES,
    ) -> None:
        self.policies = policies  # those that apply
        self.shared = True  # its checks are those of all exchanges, and what they find depends on the text alone
        self._phrases = phrases  # of the request's system text
        self._direction = direction
        self._compose = compose
        self._shadow = shadow
        self._checks: dict[tuple[Kind, bool], tuple[Check, ...]] = {}
        self.admitted: set[tuple[Kind, str]] = set()  # see proxy.core.guard.Plan
        self._markers: dict[tuple[Kind, bool], tuple[Check, ...]] = {}

    @property
    def asks(self) -> bool:
        """Whether a rule asks somebody. Then it is told what was said before."""
        own = any(policy.asking for policy in self.policies)
        return own or (self._shadow is not None and self._shadow.asks)

    @property
    def judges_after(self) -> bool:
        """Whether a rule that could hide text lets it out before its verdict."""
        return any(one.after and one.rule.holds for policy in self.policies for one in policy.asking)

    def checks(self, kind: Kind, escaped: bool = False) -> tuple[Check, ...]:
        """The checks for text of this kind; `escaped`: for text that is JSON source."""
        checks = self._checks.get((kind, escaped))
        if checks is None:
            policies = tuple(p for p in self.policies if p.scope.reads(kind))
            is_dialogue = kind is not Kind.TOOL_ARGUMENTS
            composed = self._compose(policies, self._direction, escaped, stops=is_dialogue)
            checks = (*composed, *self._leak_checks(policies, escaped), *self._refusal_checks(policies, kind, escaped))
            if self._shadow is not None:
                checks += self._shadow.checks(kind, escaped)
            self._checks[kind, escaped] = checks
        return checks

    def markers(self, kind: Kind, escaped: bool = False) -> tuple[Check, ...]:
        """The checks for chat templates' markers alone."""
        checks = self._markers.get((kind, escaped))
        if checks is None:
            policies = tuple(p for p in self.policies if p.markers and p.scope.reads(kind))
            checks = self._compose(policies, self._direction, escaped, only_markers=True)
            self._markers[kind, escaped] = checks
        return checks

    @property
    def any_output_rule(self) -> bool:
        """Whether an enforced policy judges the answer's text. Then copies of the text (logprobs) must be dropped."""
        return self._direction is Direction.OUTPUT and any(p.enforced and p.rules for p in self.policies)

    @property
    def refuses_images(self) -> bool:
        """Whether an enforced policy refuses pictures and audio in prompts."""
        return any(p.enforced and p.images == "refuse" for p in self.policies)

    @property
    def history(self) -> History:
        """What a block in an earlier message does: end the request, or put the notice in that message's place."""
        return "block" if any(p.enforced and p.history == "block" for p in self.policies) else "replace"

    @property
    def has_plugins(self) -> bool:
        """Whether a plug-in made one of its checks, or one asks somebody: then what goes wrong is noted by name."""
        own = any(policy.plugins or policy.asking for policy in self.policies)
        return own or (self._shadow is not None and self._shadow.has_plugins)

    def for_exchange(self, failures: Failures) -> Plan:
        """This plan for the texts of one exchange: checks of plug-ins note there what goes wrong."""
        shadow = self._shadow.for_exchange(failures) if self._shadow is not None else None
        own = Plan(self.policies, self._direction, _OfExchange(self._compose, failures), shadow, self._phrases)
        own.admitted = self.admitted
        own.shared = False
        return own

    def apart(self) -> Plan:
        """This plan for some of the requests: what it remembers of texts, it has seen in these."""
        return Plan(self.policies, self._direction, self._compose, self._shadow, self._phrases)

    def beside(self, shadow: Plan) -> Plan:
        """This plan with the checks of a shadow set's plan added: they report, and change nothing."""
        return Plan(self.policies, self._direction, self._compose, shadow, self._phrases)

    @property
    def looks_for_system_text(self) -> bool:
        """Whether any rule looks for the request's own system text."""
        own = any(policy.leaks for policy in self.policies)
        return own or (self._shadow is not None and self._shadow.looks_for_system_text)

    def about(self, system_text: str) -> Plan:
        """This plan for the answer to a request with this system text. No other exchange shares it."""
        shadow = None if self._shadow is None else self._shadow.about(system_text)
        return Plan(self.policies, self._direction, self._compose, shadow, phrases_of(system_text))

    def _refusal_checks(self, policies: tuple[Policy, ...], kind: Kind, escaped: bool) -> tuple[Check, ...]:
        """What looks for the model's own refusals: in what it says, not in JSON source."""
        if self._direction is Direction.INPUT or escaped or kind not in SAID:
            return ()
        refusals = [refusal for policy in policies for refusal in policy.refusals]
        return tuple([one.for_field() if kind is Kind.REFUSAL else one for one in refusals])

    def _leak_checks(self, policies: tuple[Policy, ...], escaped: bool) -> tuple[Check, ...]:
        """What looks for the system text. Nothing that it has read means anything to the next exchange."""
        if not self._phrases.firsts:
            return ()
        looking = [(p.fails_open, leak.about(self._phrases)) for p in policies for leak in p.leaks]
        checks = ((fails_open, Matcher((), escaped, others=[leak], max_cached=0)) for fails_open, leak in looking)
        return tuple(FailOpen(matcher) if fails_open else matcher for fails_open, matcher in checks)


class _OfExchange:
    """Makes the same checks, for one exchange."""

    def __init__(self, compose: Compose, failures: Failures) -> None:
        self._compose = compose
        self._failures = failures

    def __call__(
        self,
        policies: tuple[Policy, ...],
        direction: Direction,
        escaped: bool,
        only_markers: bool = False,
        stops: bool = True,
    ) -> tuple[Check, ...]:
        checks = self._compose(policies, direction, escaped, only_markers, stops)
        return tuple([self._bound(check) for check in checks])

    def _bound(self, check: Check) -> Check:
        return check.for_exchange(self._failures) if isinstance(check, Matcher | FailOpen | AskingRule) else check
