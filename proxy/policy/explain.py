"""What a policy set does with a text, and why (`explain`), and how two sets differ (`replay`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from proxy.checks.asking import AskingRule
from proxy.checks.dropped import Dropped, detector_name, dropped
from proxy.checks.markers import family_of
from proxy.checks.system_prompt import SystemPromptPass, phrases_of
from proxy.core.check import Check, Said, Turn, without_asking
from proxy.core.failures import CheckFailed, Reason
from proxy.core.gate import Gate
from proxy.core.guard import CHECK_FAILED
from proxy.core.json_checks import json_checks
from proxy.core.types import Direction, Finding, Kind, Rule
from proxy.policy.examples import matcher_of, run_check
from proxy.policy.plan import Plan, Policy, SearchRule, rule_of
from proxy.policy.policyset import PolicySet
from proxy.policy.rulespecs import RESERVED


class Sample(NamedTuple):
    """A text, and where it comes from. system: the system text of the request that it answers. escaped: it is JSON
    source."""

    text: str
    direction: Direction = Direction.OUTPUT
    kind: Kind = Kind.CONTENT
    model: str = ""
    key: str | None = None
    alignment: str = "unknown"
    role: str | None = None
    system: str = ""
    escaped: bool = False


class View(NamedTuple):
    """What one rule sees: spans of the text, or None where its policy does not apply.

    detector: which one it uses, if any. dropped: the detector's candidates that do not count
    failed: what a check of a plug-in did wrong with the text, or why somebody who is asked has not answered
    asked:  what was asked and answered, a line each
    """

    rule: Rule
    spans: tuple[tuple[int, int], ...] | None
    detector: str = ""
    dropped: tuple[Dropped, ...] = ()
    failed: str = ""
    asked: tuple[str, ...] = ()


Answers = Mapping[Hashable, object]
"""What was said to the questions of rules. None in its place: nobody is asked."""
NOT_ASKED = CheckFailed("nobody", Reason.UNREACHABLE, "was not asked")


class Outcome(NamedTuple):
    """What happens to a text: the released text, the rule that blocked it, and all findings.

    first: the character that the notice names, if the rule names one
    """

    out: str
    blocked: Rule | None
    findings: tuple[Finding, ...]
    first: str = ""

    @property
    def verdict(self) -> str:
        """In one word: passed, flagged, rewritten or blocked."""
        if self.blocked:
            return "blocked"
        if any(f.rule.holds for f in self.findings):
            return "rewritten"
        return "flagged" if self.findings else "passed"


def plan_for(policies: PolicySet, sample: Sample) -> Plan:
    """The plan that a request with this text would get."""
    plan = policies.plan(
        sample.direction, model=sample.model, key=sample.key, alignment=sample.alignment, role=sample.role
    )
    return plan.about(sample.system) if plan.looks_for_system_text else plan


def questions(policies: PolicySet, sample: Sample) -> list[Hashable]:
    """What rules want to know of the text from others, each question once."""
    holding = _holding(policies, sample)
    rules = [rule for policy in policies.policies for rule in policy.asking if rule.rule in holding]
    asks = [ask for rule in rules for ask in rule.open(_turn(sample)).feed(sample.text, final=True).asks]
    return list(dict.fromkeys(ask.data for ask in asks))


def _holding(policies: PolicySet, sample: Sample) -> set[Rule]:
    applying = [part for part in plan_for(policies, sample).policies if part.scope.reads(sample.kind)]
    return {rule for part in applying for rule in part.rules}


def _turn(sample: Sample) -> Turn:
    role = sample.role or ("user" if sample.direction is Direction.INPUT else "assistant")
    conversation = (Said("system", sample.system),) if sample.system else ()
    return Turn(sample.direction, sample.kind, role, conversation)


def views(policies: PolicySet, sample: Sample, answers: Answers | None = None) -> Iterator[View]:
    """What each rule alone finds."""
    holding = _holding(policies, sample)
    for policy in policies.policies:
        for rule, check, search_rule in _checks(policy, sample.system):
            applies = rule in holding and not (rule.id.startswith(RESERVED) and sample.direction is Direction.INPUT)
            name = detector_name(search_rule) if search_rule else ""
            if not applies:
                yield View(rule, None, name)
                continue
            if isinstance(search_rule, AskingRule):
                yield _answered(search_rule, sample, answers)
                continue
            try:
                not_counted = tuple(dropped(search_rule, sample.text)) if search_rule else ()
                yield View(rule, run_check(check, sample.text).spans, name, not_counted)
            except CheckFailed as error:
                yield View(rule, (), name, failed=error.detail)


def _answered(rule: AskingRule, sample: Sample, answers: Answers | None) -> View:
    """What a rule finds that asks."""
    if answers is None:
        return View(rule.rule, (), failed=f"asks {rule.name}, and nobody is asked here")
    scan = rule.open(_turn(sample))
    asks = scan.feed(sample.text, final=True).asks
    replies = [(ask, answers.get(ask.data, NOT_ASKED)) for ask in asks]
    failed = next((reply.detail for _, reply in replies if isinstance(reply, CheckFailed)), "")
    tell: Callable[[object], Iterable[str]] = getattr(rule.questions, "told", lambda _: ())
    asked = [line for _, reply in replies if not isinstance(reply, CheckFailed) for line in tell(reply)]
    found = [finding for ask, reply in replies for finding in scan.answer(ask.number, reply).findings]
    unread = next((one for one in found if one.rule.policy == CHECK_FAILED.policy), None)
    if unread is not None and not failed:
        failed = "got an answer that cannot be read"
    spans = tuple((one.start, one.end) for one in found if one.rule.policy != CHECK_FAILED.policy)
    return View(rule.rule, spans, failed=failed, asked=tuple(asked))


def outcome(policies: PolicySet, sample: Sample, answers: Answers | None = None) -> Outcome:
    """What the set as a whole does."""
    plan = plan_for(policies, sample)
    checks = partial(plan.checks, sample.kind)
    known = tuple(json_checks(checks) if sample.escaped else checks())
    gate = Gate(known if answers is not None else without_asking(known), _turn(sample))
    try:
        out = gate.feed(sample.text) + gate.feed("", final=True)
        while answers is not None and (asks := gate.take_asks()):
            out += "".join([gate.answer(asked.key, answers.get(asked.ask.data, NOT_ASKED)) for asked in asks])
    except CheckFailed:
        return Outcome("", CHECK_FAILED, ())
    found = tuple(sorted(gate.findings, key=lambda f: (f.start, f.end, f.rule.order)))
    if gate.blocked is None:
        return Outcome(out, None, found)
    return Outcome(out, gate.blocked.rule, found, gate.blocked.first)


def neutralised(text: str, done: Outcome) -> dict[str, int]:
    """How many chat template markers of each family were broken up."""
    broken = [f for f in done.findings if f.rule.replacement.insert and f.rule.holds]
    return Counter(family_of(text[f.start : f.end]) for f in broken)


def _checks(policy: Policy, system: str) -> Iterator[tuple[Rule, Check, SearchRule | None]]:
    """A check for each rule alone, and what the rule looks for in a text."""
    for rule in (*policy.search_rules, *([policy.stop] if policy.stop else [])):
        search_rule = rule.about(phrases_of(system)) if isinstance(rule, SystemPromptPass) else rule
        yield rule_of(search_rule), matcher_of([search_rule]), search_rule
    for limit in policy.limits:
        yield limit.rule, limit, None


class Change(NamedTuple):
    """A text that two sets treat differently."""

    line: int
    sample: Sample
    before: Outcome
    after: Outcome


class BadRecord(Exception):
    """A line of recorded texts that cannot be read."""


def changes(samples: Iterator[tuple[int, Sample]], before: PolicySet, after: PolicySet) -> Iterator[Change | None]:
    """For each sample what changes, or None."""
    for line, sample in samples:
        old, new = outcome(before, sample), outcome(after, sample)
        yield None if _same(old, new) else Change(line, sample, old, new)


def _same(before: Outcome, after: Outcome) -> bool:
    """Whether two outcomes are the same to the user and in the counts. Rules are compared by name."""
    return (before.out, _name(before.blocked), _found(before)) == (after.out, _name(after.blocked), _found(after))


def _found(outcome: Outcome) -> list[tuple[int, int, str]]:
    return [(f.start, f.end, f.rule.name) for f in outcome.findings]


def _name(rule: Rule | None) -> str:
    return rule.name if rule else ""
