"""`system_prompt_leak` knows the system text of each request, wherever the dialect has it."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from proxy.checks.system_prompt import SYSTEM_TEXT
from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.base import Dialect
from proxy.dialects.lmstudio.chat import LMStudioChat
from proxy.dialects.ollama.chat import OllamaChat, OllamaGenerate
from proxy.dialects.openai.chat import OpenAIChat
from proxy.dialects.openai.responses.dialect import OpenAIResponses
from proxy.dialects.request import Options
from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from proxy.policy.policyset import PolicySet
from proxy.server.exchange.prompt_filter import system_text
from tests.fakes import FakeUpstream, reply, sse
from tests.server.running import running, said

RULE = "rules: [{id: leak, detector: system_prompt_leak, action: %s, directions: [output]}]"
USER = {"role": "user", "content": "hi"}
SYSTEM = {"role": "system", "content": SYSTEM_TEXT}


def policies(action: str = "rewrite", more: str = "") -> PolicySet:
    """One rule."""
    source = Source("p.yaml", f"version: 1\npolicy: p\n{more}\n{RULE % action}\n".encode())
    return compile_policies([source], hash_key=b"k")


async def answer(messages: list[dict[str, str]], says: str, active: PolicySet) -> str:
    """What is left of an answer that the model gives in pieces."""
    pieces = [says[i : i + 7] for i in range(0, len(says), 7)]
    async with FakeUpstream(reply(sse(*said(*pieces)))) as upstream, running(upstream, cast(Any, active)) as proxy:
        return (await proxy.chat(messages=messages)).text()


@pytest.mark.anyio
async def test_an_answer_does_not_repeat_the_system_text() -> None:
    """The request's own; an answer to another request may say the same."""
    active = policies()
    assert await answer([SYSTEM, USER], f"It says: {SYSTEM_TEXT}", active) == "It says: [removed]."
    assert await answer([USER], f"It says: {SYSTEM_TEXT}", active) == f"It says: {SYSTEM_TEXT}"


@pytest.mark.anyio
async def test_a_block_ends_the_answer_before_the_first_word() -> None:
    """Not one word of the run is shown."""
    shown = await answer([SYSTEM, USER], f"It says: {SYSTEM_TEXT}", policies("block"))
    assert shown.startswith("It says: ")
    assert "Hill Road" not in shown


@pytest.mark.anyio
async def test_the_operators_own_text_counts() -> None:
    """What a policy prepends is system text, too."""
    active = policies(more=f"system_prompt: {{prepend: {json.dumps(SYSTEM_TEXT)}}}")
    assert await answer([USER], f"It says: {SYSTEM_TEXT}", active) == "It says: [removed]."


@pytest.mark.anyio
async def test_a_policy_that_only_watches_changes_nothing() -> None:
    """`mode: monitor`."""
    shown = await answer([SYSTEM, USER], f"It says: {SYSTEM_TEXT}", policies(more="mode: monitor"))
    assert shown == f"It says: {SYSTEM_TEXT}"


BODIES: list[tuple[Dialect, dict[str, Any]]] = [
    (OpenAIChat(), {"messages": [SYSTEM, USER]}),
    (OpenAIChat(), {"messages": [{"role": "developer", "content": [{"type": "text", "text": SYSTEM_TEXT}]}, USER]}),
    (OpenAIResponses(), {"instructions": SYSTEM_TEXT, "input": "hi"}),
    (OpenAIResponses(), {"input": [{"role": "system", "content": SYSTEM_TEXT}, USER]}),
    (AnthropicMessages(), {"system": SYSTEM_TEXT, "messages": [USER], "max_tokens": 9}),
    (AnthropicMessages(), {"system": [{"type": "text", "text": SYSTEM_TEXT}], "messages": [USER], "max_tokens": 9}),
    (OllamaChat(), {"messages": [SYSTEM, USER]}),
    (OllamaGenerate(), {"system": SYSTEM_TEXT, "prompt": "hi"}),
    (LMStudioChat(), {"system_prompt": SYSTEM_TEXT, "input": "hi"}),
]


@pytest.mark.parametrize(("dialect", "body"), BODIES, ids=lambda value: getattr(value, "name", ""))
def test_every_dialect_has_a_system_text(dialect: Dialect, body: dict[str, Any]) -> None:
    """And what the user says is none."""
    request = dialect.parse(json.dumps({"model": "m", **body}).encode(), Options())
    assert system_text(request.texts) == SYSTEM_TEXT


def test_a_definition_of_a_tool_is_no_system_text() -> None:
    """An app shows what its tools do, and a model says it."""
    function = {"name": "look", "description": SYSTEM_TEXT, "parameters": {"type": "object", "title": SYSTEM_TEXT}}
    body = {"model": "m", "messages": [USER], "tools": [{"type": "function", "function": function}]}
    request = OpenAIChat().parse(json.dumps(body).encode(), Options())
    assert system_text(request.texts, ("be kind",)) == "be kind"
