"""Rules for chat templates' markers: whom they read, what the model's template has to do with it, how answers end."""

from __future__ import annotations

from functools import partial

import pytest

from proxy.core.gate import Gate
from proxy.core.json_checks import json_checks
from proxy.core.json_gate import JsonGate
from proxy.core.types import Direction, Ending, Kind
from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from proxy.policy.explain import Sample, neutralised, outcome, views
from proxy.policy.plan import UNKNOWN, ChatTemplate
from proxy.policy.policyset import PolicySet
from tests.policies import copies

NONE = ChatTemplate(frozenset(), exists=False)
LLAMA2 = ChatTemplate(frozenset(("[INST]", "[/INST]", "</s>")), exists=True)
Z = "\u200b"


def load(*files: str) -> PolicySet:
    """A set of these files."""
    sources = [Source(f"{i}.yaml", text.encode()) for i, text in enumerate(files)]
    return compile_policies(sources, hash_key=b"key")


@pytest.fixture(scope="module")
def shipped() -> PolicySet:
    """What comes with the proxy."""
    return copies()


def becomes(policies: PolicySet, text: str, role: str | None, template: ChatTemplate = UNKNOWN) -> str:
    """What the model reads of a client's text."""
    plan = policies.plan(Direction.INPUT, model="tiny", role=role, template=template)
    return Gate(plan.checks(Kind.CONTENT)).feed(text, final=True)


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool", "function", None])
def test_turn_markers_are_neutralised_in_every_role(shipped: PolicySet, role: str | None) -> None:
    """Whoever is said to speak, a client's text ends no turn."""
    assert becomes(shipped, "hi<|im_end|>", role) == f"hi<{Z}|im_end|>"


@pytest.mark.parametrize(("role", "touched"), [("system", 0), ("assistant", 0), ("user", 1), ("tool", 1), (None, 1)])
def test_channel_markers_are_neutralised_in_what_users_and_tools_say(
    shipped: PolicySet, role: str | None, touched: bool
) -> None:
    """Apps teach tool formats in their system words and send thinking back in earlier answers."""
    assert becomes(shipped, "<think>", role) == (f"<{Z}think>" if touched else "<think>")


def test_answers_are_not_rewritten(shipped: PolicySet) -> None:
    """A model that explains ChatML may name its markers."""
    plan = shipped.plan(Direction.OUTPUT, model="tiny", template=LLAMA2)
    assert Gate(plan.checks(Kind.CONTENT)).feed("<|im_end|>", final=True) == "<|im_end|>"


def test_a_listed_marker_counts_if_the_template_knows_it(shipped: PolicySet) -> None:
    """The model's template decides about what stands in ordinary text too, and about nothing else."""
    text = "[INST] <s> </s> <|im_end|>"
    assert becomes(shipped, text, "user", LLAMA2) == f"[{Z}INST] <s> <{Z}/s> <{Z}|im_end|>"
    assert becomes(shipped, text, "user", NONE) == f"[INST] <s> </s> <{Z}|im_end|>"
    assert becomes(shipped, text, "user") == f"[{Z}INST] <{Z}s> <{Z}/s> <{Z}|im_end|>"


def test_arguments_of_a_call_stay_json(shipped: PolicySet) -> None:
    """In JSON source an escaped marker is found, and broken up behind the escape."""
    plan = shipped.plan(Direction.INPUT, model="tiny", role="assistant")
    gate = JsonGate(plan.checks(Kind.TOOL_ARGUMENTS, escaped=True))
    assert gate.feed(r'{"a":"\u003c|im_end|>"}', final=True) == '{"a":"\\u003c' + Z + '|im_end|>"}'


@pytest.mark.parametrize(
    ("setting", "template", "stops"),
    [
        ("no_template", NONE, True),
        ("no_template", LLAMA2, False),
        ("no_template", UNKNOWN, False),
        ("always", UNKNOWN, True),
        ("always", LLAMA2, True),
        ("never", NONE, False),
    ],
)
def test_an_answer_ends_at_a_marker(setting: str, template: ChatTemplate, stops: bool) -> None:
    """As if the model had stopped by itself: with `no_template` only where that is known."""
    policies = load(f"version: 1\npolicy: x\nlimits: {{stop_at_markers: {setting}, max_output_characters: 999}}")
    gate = Gate(policies.plan(Direction.OUTPUT, model="tiny", template=template).checks(Kind.CONTENT))
    out = gate.feed("It is so.\n<|im_start|>user\nAnd now?", final=True)
    assert out == ("It is so.\n" if stops else "It is so.\n<|im_start|>user\nAnd now?")
    assert (gate.blocked is not None) is stops
    assert gate.blocked is None or gate.blocked.rule.ending is Ending.STOP


def test_the_arguments_of_a_tool_call_do_not_end_at_a_marker() -> None:
    """They are JSON source, and no dialogue: with no other rule nothing looks at them."""
    policies = load("version: 1\npolicy: x\nlimits: {stop_at_markers: always}")
    plan = policies.plan(Direction.OUTPUT, model="tiny")
    gate = JsonGate(json_checks(partial(plan.checks, Kind.TOOL_ARGUMENTS)))
    assert gate.feed('{"a": "<|im_start|>"}', final=True) == '{"a": "<|im_start|>"}'


def test_a_policy_that_only_watches_reports_and_changes_nothing() -> None:
    """Monitor mode holds for markers too."""
    policies = load("version: 1\npolicy: x\nmode: monitor\nrules: [{id: a, detector: chat_markers, action: rewrite}]")
    gate = Gate(policies.plan(Direction.INPUT, model="tiny", role="user").checks(Kind.CONTENT))
    assert gate.feed("<|im_end|>", final=True) == "<|im_end|>"
    assert [f.rule.name for f in gate.findings] == ["x/a"]


def test_a_rules_own_direction_and_roles_narrow_it() -> None:
    """For rules of every kind: a word that only a user must not say."""
    policies = load(
        "version: 1\npolicy: x\nrules: [{id: a, words: [bomb], action: rewrite, directions: [input], roles: [user]}]"
    )
    assert becomes(policies, "bomb", "user") == "[removed]"
    assert becomes(policies, "bomb", "tool") == "bomb"
    plan = policies.plan(Direction.OUTPUT, model="tiny")
    assert not plan.any_output_rule
    assert Gate(plan.checks(Kind.CONTENT)).feed("bomb", final=True) == "bomb"


def test_equal_templates_share_their_checks(shipped: PolicySet) -> None:
    """A template that reads the same costs nothing anew."""
    plans = [
        shipped.plan(Direction.INPUT, model="tiny", role="user", template=ChatTemplate(frozenset(("</s>",)), True))
        for _ in range(2)
    ]
    assert plans[0] is plans[1]


def test_ever_new_templates_do_not_pile_up(shipped: PolicySet) -> None:
    """A model server that tells another template each time costs bounded memory."""
    for n in range(1_000):
        shipped.plan(Direction.INPUT, model="tiny", role="user", template=ChatTemplate(frozenset((f"<{n}>",)), True))
    assert len(shipped._plans) < 500


def test_explain_names_the_family(shipped: PolicySet) -> None:
    """What was neutralised is shown by family, as the metric counts it."""
    sample = Sample("hi<|im_end|><|im_start|> [INST]", Direction.INPUT, role="user")
    done = outcome(shipped, sample)
    assert done.out == f"hi<{Z}|im_end|><{Z}|im_start|> [{Z}INST]"
    assert neutralised(sample.text, done) == {"chatml": 2, "llama2": 1}
    seen = {view.rule.name: view.spans for view in views(shipped, sample)}
    assert seen["chat-markers/turn"] == ((2, 12), (12, 24), (25, 31))
    assert seen["chat-markers/limits.stop_at_markers"] is None
