"""A chat goes on after a block: random conversations in every dialect, through real policies."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.lmstudio.chat import LMStudioChat
from proxy.dialects.ollama.chat import OllamaGenerate
from proxy.dialects.openai.completions import OpenAICompletions
from proxy.dialects.openai.embeddings import OpenAIEmbeddings
from proxy.dialects.openai.responses.dialect import OpenAIResponses
from tests.dialects.conversations import CHATS, NOTICE, Chat, Turn, Turns, conversations, new_parts
from tests.leaks.attack import STOP, asked

BAD = "forbidden"
HIDE = "{id: hide, pattern: 'secret', action: rewrite, replacement: '#'}"
chats = pytest.mark.parametrize("chat", CHATS.values(), ids=CHATS)
TOOLS = {
    "openai": [{"type": "function", "function": {"name": "f", "description": BAD}}],
    "anthropic": [{"name": "f", "description": BAD}],
    "responses": [{"type": "function", "name": "f", "description": BAD}],
    "ollama": [{"type": "function", "function": {"name": "f", "description": BAD}}],
}


@st.composite
def said(draw: st.DrawFn) -> Turns:
    """A conversation in which some parts hold the word that is blocked, and some the one that is hidden."""
    words = st.sampled_from(["", "", "", f" {BAD} ", " secret "])
    return tuple(
        Turn(speaker, tuple(f"{part}:{draw(words)}." for part in parts)) for speaker, parts in draw(conversations())
    )


def right(turns: Turns) -> Turns | None:
    """What is sent of a conversation; None when it is refused."""
    new = new_parts(turns)
    if any(BAD in part for part in new):
        return None
    return tuple(
        Turn(speaker, tuple(NOTICE if BAD in part else part.replace("secret", "#") for part in parts))
        for speaker, parts in turns
    )


def sent(chat: Chat, turns: Turns) -> Any:
    """What the model server receives of the conversation; None when the request is refused."""
    out = asyncio.run(asked(chat.dialect, chat.request(turns), STOP, HIDE))
    return json.loads(out)[chat.key] if out else None


@chats
@given(turns=said())
def test_what_is_sent_of_a_conversation(chat: Chat, turns: Turns) -> None:
    """Only a new part is refused. Of the rest blocked parts are the notice, hidden words the label, and all else is as
    it was; arguments stay JSON."""
    expected = right(turns)
    assert sent(chat, turns) == (None if expected is None else chat.written(expected))


@chats
@given(turns=said())
def test_the_next_prompt_goes_through(chat: Chat, turns: Turns) -> None:
    """After any conversation without a bad word of the operator's, also one that was refused."""
    harmless = tuple(turn for turn in turns if turn.speaker != "system")
    assert sent(chat, (*harmless, Turn("user", ("go on",)))) is not None


USER, CALL = Turn("user", ("hello",)), Turn("call", ("x",))


@chats
@pytest.mark.parametrize(
    ("turns", "refused"),
    [
        ((Turn("user", ("for", "bidden")),), True),
        ((Turn("user", ("for",)), Turn("user", ("bidden",))), True),
        ((Turn("user", ("for", "bidden", "go on")),), False),
        ((Turn("user", ("for",)), Turn("user", ("bidden",)), Turn("user", ("go on",))), False),
        ((USER, CALL, Turn("tool", ("for", "bidden"))), True),
        ((USER, CALL, Turn("tool", ("for", "bidden")), Turn("user", ("go on",))), False),
    ],
)
def test_a_word_over_old_and_new(chat: Chat, turns: Turns, refused: bool) -> None:
    """It is refused where the new part is needed for it, and never sent in one."""
    out = asyncio.run(
        asked(chat.dialect, chat.request(turns), STOP.replace("words: [forbidden]", "pattern: forbidden"))
    )
    assert (out == "") is refused
    assert not ('"for"' in out and '"bidden"' in out)


@chats
@pytest.mark.parametrize("turns", [(Turn("user", (BAD,)), USER), (Turn("user", (BAD, "hello")),)])
def test_history_block_wins(chat: Chat, turns: Turns) -> None:
    """A policy may refuse every request that holds a blocked text."""
    assert asyncio.run(asked(chat.dialect, chat.request(turns), STOP, history="block")) == ""
    assert asyncio.run(asked(chat.dialect, chat.request(turns), STOP)) != ""


@pytest.mark.parametrize("name", CHATS)
def test_a_tools_definition_is_always_new(name: str) -> None:
    """It is the app's own, and refused in every turn."""
    chat = CHATS[name]
    turns = (USER, Turn("assistant", ("fine",)), USER)
    assert asyncio.run(asked(chat.dialect, chat.request(turns, tools=TOOLS[name]), STOP)) == ""


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (OpenAICompletions(), {"prompt": [BAD, "hello"]}),
        (OpenAIEmbeddings(), {"input": [BAD, "hello"]}),
        (OllamaGenerate(), {"prompt": "hello", "system": BAD}),
        (OllamaGenerate(), {"prompt": BAD}),
        (OpenAIResponses(), {"input": BAD}),
        (OpenAIResponses(), {"input": "hello", "instructions": BAD}),
        (LMStudioChat(), {"input": BAD}),
        (LMStudioChat(), {"input": [{"type": "text", "content": "hello"}, {"type": "text", "content": BAD}]}),
        (LMStudioChat(), {"input": "hello", "system_prompt": BAD}),
    ],
)
def test_what_has_no_history(dialect: Any, body: dict[str, Any]) -> None:
    """Prompts to complete, texts to embed, system prompts and single inputs are always new."""
    assert asyncio.run(asked(dialect, {"model": "m", **body}, STOP)) == ""


def test_the_earlier_parts_for_lm_studio() -> None:
    """Of an input of several parts only the last is new."""
    body = {"model": "m", "input": [{"type": "text", "content": BAD}, {"type": "text", "content": "hello"}]}
    out = json.loads(asyncio.run(asked(LMStudioChat(), body, STOP)))
    assert [part["content"] for part in out["input"]] == [NOTICE, "hello"]
