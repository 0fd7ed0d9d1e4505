"""To which texts a policy applies, and that asking costs a request next to nothing."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.core.types import Action, Direction, Kind, Rule
from proxy.matching.matcher import Matcher
from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from proxy.policy.policyset import PolicySet

IN, OUT = Direction.INPUT, Direction.OUTPUT


def policy(name: str, scope: str = "", word: str = "bomb", more: str = "") -> Source:
    """A policy that blocks one word."""
    rules = f"rules: [{{id: a, words: [{word}], action: block}}]"
    return Source(f"{name}.yaml", f"version: 1\npolicy: {name}\napplies_to: {{{scope}}}\n{rules}\n{more}\n".encode())


def loaded(*sources: Source, shadow: bool = False) -> PolicySet:
    """A set of policies."""
    return compile_policies(sources, hash_key=b"key", shadow=shadow)


@pytest.mark.parametrize(
    ("scope", "asked", "applies"),
    [
        ("", {}, True),
        ("models: ['llama3*']", {"model": "Library/LLAMA3:latest"}, True),
        ("models: ['llama3*', 'mistral*']", {"model": "mistral"}, True),
        ("models: ['llama3*']", {"model": "mistral"}, False),
        ("alignment: [base, unknown]", {}, True),
        ("alignment: [base]", {"alignment": "instruct"}, False),
        ("keys: [family]", {"key": "family"}, True),
        ("keys: [family]", {"key": "work"}, False),
        ("keys: [family]", {}, False),
        ("directions: [input]", {}, False),
        ("directions: [output]", {}, True),
        ("roles: [user]", {}, True),
        ("models: ['m'], keys: [family]", {"model": "m", "key": "work"}, False),
    ],
)
def test_all_keys_of_applies_to_must_hold(scope: str, asked: dict[str, Any], applies: bool) -> None:
    """One that does not hold takes the policy out; keys that are left out hold always."""
    plan = loaded(policy("house", scope)).plan(OUT, **{"model": "m", **asked})
    assert bool(plan.checks(Kind.CONTENT)) is applies
    assert plan.any_output_rule is applies


@pytest.mark.parametrize(
    ("role", "applies"),
    [("user", True), ("tool", True), ("function", True), ("system", False), ("developer", False), ("assistant", False)],
)
def test_roles_choose_whose_messages_are_read(role: str, applies: bool) -> None:
    """The roles of newer and older dialects count as those that they replaced."""
    plan = loaded(policy("house", "roles: [user, tool]")).plan(IN, model="m", role=role)
    assert bool(plan.checks(Kind.CONTENT)) is applies


@pytest.mark.parametrize("role", [None, "critic"])
def test_a_text_of_unknown_role_is_read_by_every_policy(role: str | None) -> None:
    """Nobody escapes by a role that no policy names."""
    assert loaded(policy("house", "roles: [system]")).plan(IN, model="m", role=role).checks(Kind.CONTENT)


def test_channels_choose_which_texts_are_read() -> None:
    """A policy for reasoning does not look at content."""
    plan = loaded(policy("house", "channels: [reasoning]")).plan(OUT, model="m")
    assert [bool(plan.checks(kind)) for kind in (Kind.REASONING, Kind.CONTENT)] == [True, False]


def test_requests_to_which_the_same_applies_share_everything() -> None:
    """Plans and matchers are made once; a new model's name costs no more than a comparison."""
    policies = loaded(policy("a"), policy("b", "models: [x]", word="tnt"))
    plan = policies.plan(OUT, model="m")
    assert policies.plan(OUT, model="other") is plan
    assert policies.plan(OUT, model="x") is not plan
    (check,) = plan.checks(Kind.CONTENT)
    assert plan.checks(Kind.REASONING) == policies.plan(IN, model="m", role="user").checks(Kind.CONTENT) == (check,)
    assert plan.checks(Kind.CONTENT, escaped=True) != (check,)


def test_no_matcher_is_made_for_a_request_to_which_everything_applies(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is done when the set is loaded."""
    policies = loaded(policy("a"), policy("b", word="tnt"))
    monkeypatch.setattr(Matcher, "__init__", None)
    for direction in Direction:
        for kind in Kind:
            assert policies.plan(direction, model="m", role="user").checks(kind)


def test_a_policy_that_lets_pass_on_errors_has_its_own_matcher() -> None:
    """A failure there does not end what the strict ones look at."""
    plan = loaded(policy("a"), policy("b", word="tnt", more="on_error: allow")).plan(OUT, model="m")
    assert [type(check).__name__ for check in plan.checks(Kind.CONTENT)] == ["Matcher", "FailOpen"]


def test_the_strictest_history_that_applies_counts() -> None:
    """One policy that says block decides, if it applies and is enforced."""
    strict = policy("b", "models: [x]", more="history: block")
    policies = loaded(policy("a"), strict)
    assert policies.plan(IN, model="x").history == policies.history == "block"
    assert policies.plan(IN, model="m").history == "replace"
    watching = loaded(policy("a"), policy("b", more="history: block\nmode: monitor"))
    assert watching.history == "replace"


def test_system_prompts_come_in_the_order_of_the_files() -> None:
    """Of the policies that apply and are enforced, with a blank line between."""
    policies = loaded(
        policy("a", "directions: [output]", more="system_prompt: {prepend: Be kind., append: Never lie.}"),
        policy("b", "models: [x]", more="system_prompt: {prepend: Be brief.}"),
        policy("c", more="system_prompt: {prepend: Be rude.}\nmode: monitor"),
    )
    assert policies.system_prompt("m") == ("Be kind.", "Never lie.")
    assert policies.system_prompt("X:latest", key="k", alignment="base") == ("Be kind.\n\nBe brief.", "Never lie.")
    assert loaded(policy("a", more="system_prompt: {prepend: x}"), shadow=True).system_prompt("m") == ("", "")


def test_copies_of_the_answer_stay_while_nothing_is_enforced_on_it() -> None:
    """Monitor mode and shadow sets change nothing; a rule that flags is enforced."""
    assert not loaded(policy("a", more="mode: monitor")).plan(OUT, model="m").any_output_rule
    assert not loaded(policy("a"), shadow=True).plan(OUT, model="m").any_output_rule
    assert not loaded(policy("a")).plan(IN, model="m").any_output_rule


def test_a_shadow_plan_beside_the_active_one_only_adds_checks() -> None:
    """Both look at the same text; what holds and what is removed is up to the active one."""
    active = loaded(policy("a")).plan(OUT, model="m")
    shadow = loaded(policy("a", word="tnt"), shadow=True).plan(OUT, model="m")
    both = active.beside(shadow)
    assert both.checks(Kind.CONTENT) == active.checks(Kind.CONTENT) + shadow.checks(Kind.CONTENT)
    assert (both.any_output_rule, both.history, both.policies) == (True, "replace", active.policies)


def test_a_notice_names_the_policy_and_never_the_match() -> None:
    """The operator's own message, else the default one; a failed check reads like any other block."""
    policies = loaded(policy("house"))
    assert policies.message_for(policies.rules[0], OUT) == 'This answer was stopped by the policy "house".'
    failed = Rule("internal", "check_failed", Action.BLOCK)
    assert policies.message_for(failed, OUT) == policies.message_for(policies.rules[0], OUT)
    assert policies.message_for(Rule("house", "x", Action.BLOCK, message="No."), OUT) == "No."


@pytest.mark.parametrize(
    ("message", "prompt", "answer"),
    [
        ("", 'This prompt was stopped by the policy "house".', 'This answer was stopped by the policy "house".'),
        ("message: No.", "No.", "No."),
        ("message: {prompt: Ask not., answer: Say not.}", "Ask not.", "Say not."),
        ("message: {prompt: Ask not.}", "Ask not.", 'This answer was stopped by the policy "house".'),
        ("message: {answer: Say not.}", 'This prompt was stopped by the policy "house".', "Say not."),
    ],
)
def test_a_notice_says_what_was_stopped(message: str, prompt: str, answer: str) -> None:
    """A prompt or an answer; a rule may have one message for both, or one for each."""
    rules = f"version: 1\npolicy: house\nrules:\n  - id: a\n    words: [bomb]\n    action: block\n    {message}\n"
    policies = compile_policies([Source("house.yaml", rules.encode())], hash_key=b"key")
    rule = policies.rules[0]
    assert (policies.message_for(rule, IN), policies.message_for(rule, OUT)) == (prompt, answer)


@pytest.mark.parametrize("shadow", [False, True])
def test_a_conversation_is_gathered_only_where_a_rule_asks(shadow: bool) -> None:
    """A plan says whether any rule asks, of the policies in force or of those beside them: to gather the conversation
    takes time that grows with it."""
    asking = (
        b"version: 1\npolicy: asking\nrules: [{id: a, check: http, action: block, "
        b"options: {url: 'http://127.0.0.1:9/check', timeout: 1, hold: whole}}]\n"
    )
    silent = loaded(policy("house")).plan(OUT, model="m")
    asks = loaded(Source("asking.yaml", asking)).plan(OUT, model="m")
    assert not silent.asks
    assert (silent.beside(asks) if shadow else asks).asks
