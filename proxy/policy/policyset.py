"""All loaded policies as one immutable whole. A request gets its plan here."""

from __future__ import annotations

import string
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from proxy.checks.characters.sets import refusal_of
from proxy.checks.fail_open import FailOpen
from proxy.checks.markers import MarkerPass
from proxy.checks.passes import OwnPass, grouped
from proxy.core.check import Check
from proxy.core.failures import CheckFailed
from proxy.core.gate import Gate
from proxy.core.types import Direction, Kind, Rule
from proxy.matching.matcher import Matcher
from proxy.matching.pauses import Pause, no_pause, pausing
from proxy.matching.rules import Preparable
from proxy.policy.names import normalise_model
from proxy.policy.plan import MAX_NARROWED, UNKNOWN, ChatTemplate, Plan, PlanQuery, Policy
from proxy.policy.schema import History

MAX_RECENT_QUERIES = 8
ORDINARY = (*string.printable, " The quick brown fox jumps over the lazy dog; that is what this sentence says to you. ")
NOTICES = {
    Direction.INPUT: 'This prompt was stopped by the policy "{policy}".',
    Direction.OUTPUT: 'This answer was stopped by the policy "{policy}".',
}
"""The default messages."""


class PolicySet:
    """Compiled policies, in the order of their files.

    revision: sha256 (hex) over what the files say, without comments and layout
    shadow:   loaded to monitor only: its findings change nothing
    report:   a line per rule: what it does, and how much it can hold
    hints:    what is allowed, but perhaps not meant
    by_digest: the policies by all that decides what they do: their files' content and place
    """

    def __init__(
        self,
        revision: str,
        policies: tuple[Policy, ...],
        shadow: bool = False,
        report: tuple[str, ...] = (),
        hints: tuple[str, ...] = (),
        by_digest: Mapping[bytes, Policy] | None = None,
    ) -> None:
        self.revision = revision
        self.policies = policies
        self.shadow = shadow
        self.report = report
        self.hints = hints
        self.by_digest = by_digest or {}
        self.recent_queries: tuple[PlanQuery, ...] = ()  # what plans were last made for
        self._plans: dict[tuple[Direction, tuple[Policy, ...]], Plan] = {}
        self._composed: dict[tuple[tuple[Policy, ...], bool, bool, bool], Check] = {}
        self._prepared = weakref.WeakSet[Check]()

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Every rule, in file order; those of `limits` stand after their policy's own."""
        return tuple(rule for policy in self.policies for rule in policy.rules)

    def take_checks(self, previous: PolicySet) -> None:
        """Go on with the checks of the set before whose policies are all in this one too."""
        same = {variant for policy in self.policies for variant in policy.variants}
        composed = tuple(previous._composed.items())
        self._composed = {key: check for key, check in composed if same.issuperset(key[0])}

    @property
    def checks(self) -> Iterable[Check]:
        """The checks that plans have, as far as they have been made."""
        return self._composed.values()

    @property
    def places(self) -> Iterator[tuple[Rule, Direction, Kind]]:
        """Every rule, with each direction and kind of text that it reads."""
        return (place for policy in self.policies for place in policy.places)

    def self_test(self) -> Iterator[tuple[str, bool]]:
        """Every policy that has an example, and whether the matcher of all policies still finds it.

        Another policy may block the text before; then the filter is not silent either.
        """
        for policy in self.policies:
            if policy.example is not None:
                rule, text = policy.example
                gate = Gate(self._compose(self.policies, Direction.INPUT, False))
                try:
                    gate.feed(text, final=True)
                except Exception:
                    yield policy.name, False
                    continue
                yield policy.name, gate.blocked is not None or any(f.rule is rule for f in gate.findings)

    def plan(
        self,
        direction: Direction,
        *,
        model: str,
        key: str | None = None,
        alignment: str = "unknown",
        role: str | None = None,
        template: ChatTemplate = UNKNOWN,
        added: tuple[str, ...] = (),
    ) -> Plan:
        """The checks for a text: `model` as the client named it, `key` the API key's name, `role` (input) whose text,
        `added` the policies that the key asks for.

        Without a role it is unknown whose text it is: then every policy applies that does so for some role.
        `template` is what is known of the model's chat template.
        """
        return self._plan(
            PlanQuery(normalise_model(model), key, alignment, direction, role, template, added), direction
        )

    def _plan(self, query: PlanQuery, direction: Direction) -> Plan:
        applying = tuple(p.narrowed(query) for p in self.policies if p.applies(query))
        plan = self._plans.get((direction, applying))
        if plan is None:
            if len(self._plans) > MAX_NARROWED:
                self._plans.clear()
                self._composed.clear()
            plan = self._plans[direction, applying] = Plan(applying, direction, self._compose)
            self.recent_queries = (*self.recent_queries, query)[-MAX_RECENT_QUERIES:]
        return plan

    def system_prompt(
        self, model: str, key: str | None = None, alignment: str = "unknown", added: tuple[str, ...] = ()
    ) -> tuple[str, str]:
        """The operator's words before and after the client's system text; both may be empty."""
        query = PlanQuery(normalise_model(model), key, alignment, added=added)
        prompts = [p.system_prompt for p in self.policies if p.enforced and p.applies(query)]
        return (
            "\n\n".join(p.prepend for p in prompts if p.prepend),
            "\n\n".join(p.append for p in prompts if p.append),
        )

    @property
    def history(self) -> History:
        """The strictest setting of all policies; a Plan has that of the policies which apply."""
        return Plan(self.policies, Direction.INPUT, self._compose).history

    def message_for(self, rule: Rule, direction: Direction, first: str = "") -> str:
        """The notice that a user reads in place of a blocked prompt or answer. It never holds matched text.

        first: the character that it is to name, by its number

        A check that failed reads like any other block, so that nobody can probe for it.
        """
        message = rule.prompt_message if direction is Direction.INPUT else rule.message
        if not message:
            names = {policy.name for policy in self.policies}
            name = rule.policy if rule.policy in names or not self.policies else self.policies[0].name
            message = NOTICES[direction].format(policy=name)
        return f"{message} {refusal_of(first)}" if first else message

    def warm(self, queries: Iterable[PlanQuery] = (), pause: Pause = no_pause) -> None:
        """Build the checks that requests will need, and feed them common text, so that no request waits for it.

        These are the checks for a request to which every policy applies, and those for the `queries` of the set before.
        """
        plans = [Plan(self.policies, direction, self._compose) for direction in Direction]
        plans += [self._plan(query, query.direction) for query in queries if query.direction is not None]
        for plan in plans:
            for kind in Kind:
                for escaped in (False, True):
                    plan.checks(kind, escaped)
                    pause()
        for check in self._composed.values():
            for text in ORDINARY:
                with suppress(CheckFailed):  # it fails in its rule's examples too, or where a text needs it
                    scan = check.open()
                    for char in pausing(text, pause, 1):
                        scan.feed(char)

    def prepare(self, pause: Pause = no_pause) -> None:
        """Make the checks that there are now quick with long texts. Not on the event loop: it takes up to seconds."""
        for check in list(self._composed.values()):
            if check not in self._prepared and isinstance(check, Preparable):
                check.prepare(pause)
            self._prepared.add(check)

    @property
    def guards_turns(self) -> bool:
        """Whether any rule keeps prompts from forging turns."""
        return any(policy.guards_turns for policy in self.policies)

    @property
    def looks_at_templates(self) -> bool:
        """Whether any rule depends on what is known of a model's chat template."""
        return any(policy.markers or policy.stop is not None for policy in self.policies)

    @property
    def asks_in_parallel(self) -> bool:
        """Whether any rule is asked about a prompt while the model already reads it."""
        return any(asking.parallel for policy in self.policies for asking in policy.asking)

    @property
    def looks_at_alignment(self) -> bool:
        """Whether any policy depends on what the model is known to be."""
        return any(policy.scope.looks_at_alignment for policy in self.policies)

    def _compose(
        self,
        policies: tuple[Policy, ...],
        direction: Direction,
        escaped: bool,
        only_markers: bool = False,
        stops: bool = True,
    ) -> tuple[Check, ...]:
        """One matcher for the policies that fail closed, one for those that fail open. Plans share equal ones."""
        searching = [p for p in policies if _searches(p, only_markers, stops)]
        fail_closed = tuple(p for p in searching if not p.fails_open)
        fail_open = tuple(p for p in searching if p.fails_open)
        checks = [self._matcher(group, escaped, only_markers, stops) for group in (fail_closed, fail_open) if group]
        if direction is Direction.OUTPUT and not only_markers:
            checks += [limit for policy in policies for limit in policy.limits]
        if not only_markers:
            asking = [rule for policy in policies for rule in policy.asking]
            checks += [rule.for_source() for rule in asking] if escaped else asking
        return tuple(checks)

    def _matcher(self, policies: tuple[Policy, ...], escaped: bool, only_markers: bool, stops: bool) -> Check:
        check = self._composed.get((policies, escaped, only_markers, stops))
        if check is None:
            rules = [] if only_markers else [rule for policy in policies for rule in policy.compiled]
            others: list[OwnPass] = [m for policy in policies for m in policy.markers]
            if not only_markers:
                others += [detector for policy in policies for detector in policy.detectors]
                others += [stop for policy in policies for stop in _stops(policy, stops)]
            beside = [] if only_markers else [plugin for policy in policies for plugin in policy.plugins]
            matcher: Check = Matcher(rules, escaped=escaped, others=grouped(others) if others else (), beside=beside)
            check = FailOpen(matcher) if policies[0].fails_open else matcher
            self._composed[policies, escaped, only_markers, stops] = check
        return check


def _searches(policy: Policy, only_markers: bool, stops: bool) -> bool:
    """Whether a policy has anything for the matcher to look for."""
    if policy.markers or only_markers:
        return bool(policy.markers)
    return bool(policy.compiled or policy.detectors or policy.plugins or _stops(policy, stops))


def _stops(policy: Policy, stops: bool) -> tuple[MarkerPass, ...]:
    """What ends an answer at a marker; a JSON answer too: a base model goes on with the other side behind its end."""
    return (policy.stop,) if policy.stop is not None and stops else ()
