"""Prompts that bring a forbidden text to the model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.ollama.chat import OllamaChat
from proxy.dialects.openai.chat import OpenAIChat
from tests.leaks.attack import CARD, CARD_NUMBER, HIDE, STOP, USER, asked

pytestmark = pytest.mark.anyio


def called(arguments: Any, dialect: str = "openai") -> dict[str, Any]:
    """A conversation in which the assistant has called a tool."""
    if dialect == "anthropic":
        block = {"type": "tool_use", "id": "i", "name": "f", "input": arguments}
        return {"model": "m", "messages": [USER, {"role": "assistant", "content": [block]}, USER]}
    call = {"id": "i", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"model": "m", "messages": [USER, {"role": "assistant", "content": "", "tool_calls": [call]}, USER]}


DIALECTS = [(OpenAIChat(), "openai"), (OllamaChat(), "ollama"), (AnthropicMessages(), "anthropic")]
dialects = pytest.mark.parametrize(("dialect", "name"), DIALECTS)


@dialects
async def test_a_number_in_a_calls_arguments(dialect: Any, name: str) -> None:
    """A card's number needs no quotes for a model to read it."""
    assert str(CARD_NUMBER) not in await asked(dialect, called({"n": CARD_NUMBER}, name), CARD)


async def test_a_number_in_a_tools_schema() -> None:
    """Nor in a tool's definition, which the template shows to the model."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"enum": [CARD_NUMBER]}}}
    assert str(CARD_NUMBER) not in await asked(OpenAIChat(), {"model": "m", "messages": [USER], "tools": [tool]}, CARD)


async def test_a_backslash_before_a_word_in_a_calls_arguments() -> None:
    """The model reads arguments as they are written."""
    assert "forbidden" not in await asked(OpenAIChat(), called(r'{"q": "\forbidden"}'))


async def test_a_word_over_two_parts_of_a_message() -> None:
    """Templates that put nothing between the parts show the model one word."""
    parts = [{"type": "text", "text": "for"}, {"type": "text", "text": "bidden"}]
    sent = await asked(OpenAIChat(), {"model": "m", "messages": [{"role": "user", "content": parts}]})
    assert not ('"for"' in sent and '"bidden"' in sent)


@pytest.mark.parametrize(
    "model", ["https://registry.ollama.ai/library/llama3", "x://registry.ollama.ai/library/Llama3:latest"]
)
async def test_a_models_name_with_a_scheme(model: str) -> None:
    """Ollama leaves a scheme before the host aside (types/model/name.go), so it is the same model."""
    request = {"model": model, "messages": [{"role": "user", "content": "forbidden"}]}
    assert "forbidden" not in await asked(OllamaChat(), request, applies_to="{models: [llama3]}")


@pytest.mark.parametrize(("dialect", "name"), DIALECTS[1:])
async def test_a_policy_for_arguments_reads_those_that_are_objects(dialect: Any, name: str) -> None:
    """`channels: [tool_arguments]` holds for arguments in every dialect's form."""
    sent = await asked(dialect, called({"q": "forbidden"}, name), applies_to="{channels: [tool_arguments]}")
    assert "forbidden" not in sent


async def test_a_policy_for_reasoning_reads_that_of_earlier_turns() -> None:
    """`channels: [reasoning]` holds for the reasoning that an app sends back."""
    thought = {"role": "assistant", "content": "", "thinking": "forbidden"}
    request = {"model": "m", "messages": [USER, thought, USER]}
    assert "forbidden" not in await asked(OllamaChat(), request, applies_to="{channels: [reasoning]}")


async def test_a_short_text_that_another_may_say() -> None:
    """What passed as the operator's is remembered as that, and looked at when a user says it."""
    said = [{"role": role, "content": "forbidden"} for role in ("system", "user")]
    users = HIDE.replace("{", "{roles: [user], ")
    sent = await asked(OpenAIChat(), {"model": "m", "messages": said}, users, STOP.replace("forbidden", "never said"))
    assert [message["content"] for message in json.loads(sent)["messages"]] == ["forbidden", "#"]
