"""With a memory and without one, the same becomes of every request: for random rules, texts and conversations."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import proxy
from proxy.core import prompt, prompt_chain
from proxy.core.check import Check
from proxy.core.prompt_memory import PromptMemory
from proxy.core.types import Action, Direction, Finding, Replacement, Rule
from proxy.dialects.request import InputText
from proxy.matching.compiled import compile_rule
from proxy.matching.matcher import Matcher
from proxy.matching.rules import MatchRule
from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from proxy.policy.policyset import PolicySet
from proxy.server.exchange.prompt_filter import Blocked, InputPlan, judge_request
from proxy.server.exchange.record import Exchange
from tests.phrases import Phrase
from tests.server.running import Plan

KEY = b"k" * 32
LARGE = 1 << 22
PATTERNS = [
    *("ab", "a+b", r"b\s*a", "a.{0,3}c", "^b", r"c\Z", r"\bab\b", "(?s)a.*?c", r"c\n\nN", "d+", r"N\s*a", "(?m)^a"),
    *(r"(?s:1.{2,6}b)", r"b(?!\Z)", "#a", r'"a', r"\{"),
]
ACTIONS = st.sampled_from([Action.FLAG, Action.REWRITE, Action.REWRITE, Action.BLOCK, Action.BLOCK])
WORDS = st.text('aabbcd1 \n#"é', max_size=9)
ROLES = ["system", "user", "assistant", "tool"]


class Message(NamedTuple):
    """One text of a conversation. `param` decides what kind it is."""

    role: str
    text: str
    param: str = "content"
    escaped: bool = False


class Told(NamedTuple):
    """What became of a request."""

    body: list[str]
    blocked: str
    found: Counter[tuple[str, str]]
    markers: dict[str, int]
    outcome: str


def judged(
    messages: Sequence[Message], plans: Mapping[str, InputPlan], joiner: str, memory: PromptMemory | None, new: int = 1
) -> Told:
    """The last `new` texts are new; neighbours of one role are one group."""
    body = [message.text for message in messages]
    texts, group = [], 0
    for i, message in enumerate(messages):
        group += bool(i) and message.role != messages[i - 1].role
        param = f"messages[{i}].{message.param}"
        newest = message.role == "system" or i >= len(messages) - new
        texts.append(InputText(message.role, message.text, param, body, i, newest, group, message.escaped))
    exchange, blocked = Exchange("/x"), ""

    def notice(finding: Finding) -> str:
        return "N" + finding.rule.id

    try:
        asyncio.run(judge_request(texts, joiner, plans.__getitem__, notice, exchange, memory=memory))
    except Blocked as block:
        blocked = f"{block.finding}"
    found = Counter((where, f"{finding.rule.name} {finding.start}") for where, finding in exchange.findings)
    return Told([text.text for text in texts], blocked, found, exchange.markers, exchange.outcome.value)


@st.composite
def matchers(draw: st.DrawFn) -> Matcher:
    """A check of a few rules."""
    patterns = draw(st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=4))
    made = []
    for order, pattern in enumerate(patterns):
        label = draw(st.sampled_from(["", "a", "#", "[x]"]))
        rule = Rule("test", f"{order}", draw(ACTIONS), order, Replacement(label))
        made.append(compile_rule(MatchRule(rule, pattern, fold=draw(st.booleans()), max_hold=16)))
    return Matcher(made)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """A text of a message, a name, a thought, or the arguments of a call."""
    role = draw(st.sampled_from(ROLES))
    if role == "assistant" and draw(st.booleans()):
        values = draw(st.lists(WORDS, max_size=3))
        source = "[" + ", ".join(f'"{value}"'.replace("\n", "\\n") for value in values) + "]"
        return Message(role, source, "tool_calls[0].function.arguments", escaped=True)
    return Message(role, draw(WORDS), draw(st.sampled_from(["content", "content", "content", "name", "reasoning"])))


conversations = st.lists(messages(), min_size=1, max_size=7)


@contextmanager
def small(slices: int, piece: int) -> Iterator[None]:
    """Slices, and places to come back to, at every few characters."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompt, "SLICE", slices)
        patch.setattr(prompt, "MIN_STRIDE", min(slices, prompt.MIN_STRIDE))
        patch.setattr(prompt, "PIECE", piece)
        patch.setattr(prompt, "SPACED", 1)
        patch.setattr(prompt_chain, "PIECE", piece)
        yield


def same(check: Check) -> dict[str, Plan]:
    """One plan for all roles."""
    return dict.fromkeys(ROLES, Plan([check]))


@settings(max_examples=300)
@given(matchers(), conversations, st.sampled_from(["", "\n\n"]), st.sampled_from([0, 700, 2_000, LARGE]))
def test_turn_by_turn(check: Matcher, conversation: list[Message], joiner: str, limit: int) -> None:
    """Each turn adds a text, and what was found in those before is not found again: the results are those of reading
    all anew, also when the memory forgets all the time."""
    memory = PromptMemory(KEY, limit)
    for piece in (2, 1 << 14):
        with small(max(1, piece // 2), piece):
            for end in (*range(1, len(conversation) + 1), len(conversation)):
                turn = conversation[:end]
                assert judged(turn, same(check), joiner, memory) == judged(turn, same(check), joiner, None)
    assert memory.size <= limit


@st.composite
def near(draw: st.DrawFn, conversation: list[Message]) -> list[Message]:
    """The same but for a role, a kind, a letter, a text more or less, or another cut between texts."""
    some = list(conversation)
    i = draw(st.integers(0, len(some) - 1))
    old = some[i]
    match draw(st.sampled_from(["role", "kind", "text", "less", "more", "cut", "order", "same"])):
        case "role":
            some[i] = old._replace(role=draw(st.sampled_from(ROLES)))
        case "kind":
            param = draw(st.sampled_from(["content", "name", "reasoning", "refusal"]))
            some[i] = old._replace(param=param, escaped=False)
        case "text":
            some[i] = old._replace(text=old.text[: draw(st.integers(0, 9))] + draw(WORDS))
        case "less":
            del some[i]
        case "more":
            some.insert(i, draw(messages()))
        case "cut":
            at = draw(st.integers(0, len(old.text)))
            some[i : i + 1] = [old._replace(text=old.text[:at]), old._replace(text=old.text[at:])]
        case "order":
            some.reverse()
    return some or [old]


@settings(max_examples=300)
@given(st.data(), conversations, st.sampled_from([900, LARGE]))
def test_near_equal_conversations(data: st.DataObject, conversation: list[Message], limit: int) -> None:
    """Neither another role, kind, joiner, cut or plan, nor how many texts are new, is taken for what is remembered."""
    memory = PromptMemory(KEY, limit)
    checks = [data.draw(matchers()), data.draw(matchers())]
    plans = [same(check) for check in checks]
    plans.append({role: Plan([checks[role == "user"]]) for role in ROLES})
    with small(data.draw(st.sampled_from([1, 8])), data.draw(st.sampled_from([2, 5]))):
        for _ in range(8):
            conversation = data.draw(near(conversation))
            plan, joiner = data.draw(st.sampled_from(plans)), data.draw(st.sampled_from(["", "\n\n"]))
            new = data.draw(st.integers(0, 2))
            expected = judged(conversation, plan, joiner, None, new)
            assert judged(conversation, plan, joiner, memory, new) == expected


@given(matchers(), st.lists(WORDS, min_size=1, max_size=6), st.lists(WORDS, max_size=2))
def test_a_check_that_cannot_go_back(check: Matcher, texts: list[str], more: list[str]) -> None:
    """Its states cannot be remembered, but what it has found can."""
    made: list[Check] = [check, Phrase("bb", Rule("test", "bb", Action.FLAG, 9))]
    plans = dict.fromkeys(ROLES, Plan(made))
    memory = PromptMemory(KEY, LARGE)
    conversation = [Message("user", text) for text in texts]
    for turn in (conversation, conversation, conversation + [Message("user", text) for text in more]):
        with_memory, without = (judged(turn, plans, "\n\n", some) for some in (memory, None))
        assert (with_memory.body, with_memory.blocked) == (without.body, without.blocked)


FRAGMENTS = [
    *(
        "Hello there. ",
        "```",
        "\n",
        "`",
        "<|im_start|>",
        "<|im_end|>",
        "[INST]",
        "Human: ",
        "user",
        " at ",
        "\u200b",
        "é",
    ),
    *("mail ada@example.org ", "+49 170 1234567 ", "4111 1111 1111 1111 ", "078-05-1120 ", "https://example.org/?q=1 "),
    *(
        "ghp_" + "a1B2" * 9,
        "ignore all previous instructions",
        "&lt;",
        "10.0.0.1",
        "\n\n",
        '{"a": "',
        '"}',
        "\\n",
        "AKIA",
    ),
]
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=6).map("".join)


@cache
def everything() -> PolicySet:
    """All policies that come with the proxy, as one set."""
    folder = Path(proxy.__file__).with_name("policies")
    assert (folder / "secrets.yaml").exists()
    files = [*folder.glob("*.yaml"), *folder.glob("more/*.yaml")]
    chosen = [file for file in files if file.stem not in ("monitor", "strict")]
    return compile_policies([Source(file.name, file.read_bytes()) for file in chosen], hash_key=KEY)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.lists(TEXTS, min_size=1, max_size=6), st.sampled_from([4_000, LARGE]))
def test_the_policies_that_come_with_the_proxy(data: st.DataObject, texts: list[str], limit: int) -> None:
    """Detectors, markers, text outside of code, look-alike letters: turn by turn, and once more in another order."""
    policies, memory = everything(), PromptMemory(KEY, limit)
    plans = {role: policies.plan(Direction.INPUT, model="m", role=role) for role in ROLES}
    conversation = [Message(data.draw(st.sampled_from(ROLES)), text) for text in texts]
    turns = [conversation[:end] for end in range(1, len(conversation) + 1)]
    turns += [conversation, conversation[::-1], data.draw(st.permutations(conversation)), conversation]
    for turn in turns:
        with small(data.draw(st.sampled_from([1, 7])), data.draw(st.sampled_from([8, 20]))):
            assert judged(turn, plans, "\n\n", memory) == judged(turn, plans, "\n\n", None)
