"""Cases from the field, rebuilt: what apps send after a blocked prompt or a blocked tool result.

The ids are those of the table of cases; each docstring says what is right. The shapes are those of Open WebUI 0.12.4,
Codex 0.171, Claude Code 2.1.197, qwen-code 0.15 and of Ollama's command.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

import pytest

from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.base import Dialect
from proxy.dialects.openai.chat import OpenAIChat
from proxy.dialects.openai.responses.dialect import OpenAIResponses
from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from tests.fakes import FakeUpstream, ndjson, reply, sse
from tests.leaks.attack import NOTICE, asked
from tests.server.running import Answer, Policies, chat_body, running, said

pytestmark = pytest.mark.anyio

RULE = "{id: phrase, words: ['the forbidden phrase'], action: block}"
BAD = "what is the forbidden phrase here"
DONE = {"model": "tiny", "message": {"role": "assistant", "content": "Hi"}, "done": True, "done_reason": "stop"}


def user(*parts: str) -> dict[str, Any]:
    """A message of parts, or of one text."""
    return {"role": "user", "content": parts[0] if len(parts) == 1 else [text(part) for part in parts]}


def text(content: str, kind: str = "text") -> dict[str, Any]:
    """A part of a message."""
    return {"type": kind, "text": content}


def item(role: str, *parts: str) -> dict[str, Any]:
    """A message as Codex sends it."""
    return {"type": "message", "id": "msg_1", "role": role, "content": [text(part, "input_text") for part in parts]}


CALL = {"id": "c1", "type": "function", "function": {"name": "run_shell_command", "arguments": '{"command": "cat x"}'}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
USE = {"type": "tool_use", "id": "c1", "name": "Bash", "input": {"command": "cat x"}}
ITEM_CALL = {"type": "function_call", "call_id": "c1", "name": "shell", "arguments": '{"command": "cat x"}'}
RULES_OF_CLAUDE = {"role": "system", "content": "rules of the house"}


def result(content: str) -> dict[str, Any]:
    """A tool's result, as qwen-code sends it."""
    return {"role": "tool", "tool_call_id": "c1", "content": [text(content)]}


def block(content: str) -> dict[str, Any]:
    """A tool's result, as Claude Code sends it."""
    return {"type": "tool_result", "tool_use_id": "c1", "content": content, "is_error": False}


def output(content: str) -> dict[str, Any]:
    """A tool's result, as Codex sends it."""
    return {"type": "function_call_output", "call_id": "c1", "output": content}


Conversation = tuple[Dialect, str, list[dict[str, Any]]]
AFTER_A_BLOCK: dict[str, Conversation] = {
    "open-webui": (
        OpenAIChat(),
        "messages",
        [user("hello"), {"role": "assistant", "content": "hi"}, user(BAD), user("go on")],
    ),
    "codex": (
        OpenAIResponses(),
        "input",
        [
            item("developer", "rules", "more rules"),
            *(item("user", content) for content in ("the folder", BAD, "go on")),
        ],
    ),
    "claude code, one session": (
        AnthropicMessages(),
        "messages",
        [{"role": "user", "content": [text("the folder"), text(BAD), text("go on")]}, RULES_OF_CLAUDE],
    ),
    "claude code, continued": (
        AnthropicMessages(),
        "messages",
        [
            {"role": "user", "content": [text("the folder"), text(BAD)]},
            RULES_OF_CLAUDE,
            {"role": "assistant", "content": [text("(no answer)")]},
            user("go on"),
        ],
    ),
    "qwen-code, a tool's result": (
        OpenAIChat(),
        "messages",
        [{"role": "system", "content": "rules"}, user("hello"), CALLED, result(BAD), user("go on")],
    ),
    "codex, a tool's result": (
        OpenAIResponses(),
        "input",
        [item("user", "hello"), ITEM_CALL, output(BAD), item("user", "go on")],
    ),
    "claude code, a tool's result": (
        AnthropicMessages(),
        "messages",
        [
            user("hello"),
            {"role": "assistant", "content": [USE]},
            {"role": "user", "content": [block(BAD), text("go on")]},
        ],
    ),
    "claude code, a tool's result before an answer": (
        AnthropicMessages(),
        "messages",
        [
            user("hello"),
            {"role": "assistant", "content": [USE]},
            {"role": "user", "content": [block(BAD)]},
            {"role": "assistant", "content": [text("(no answer)")]},
            user("go on"),
        ],
    ),
}
REMINDER = {"role": "system", "content": BAD}
BLOCKED_REMINDERS: dict[str, Conversation] = {
    "claude code, a system message after its answer": (
        AnthropicMessages(),
        "messages",
        [user("the folder", "hello"), REMINDER, {"role": "assistant", "content": [text("hi")]}, user("go on")],
    ),
    "claude code, a system message of a turn that failed": (
        AnthropicMessages(),
        "messages",
        [user("hello"), REMINDER, user("go on")],
    ),
    "claude code, a reminder in the user's turn": (
        AnthropicMessages(),
        "messages",
        [user(f"<system-reminder>{BAD}</system-reminder>", "hello"), RULES_OF_CLAUDE],
    ),
    "claude code, a reminder behind a tool's result": (
        AnthropicMessages(),
        "messages",
        [
            user("hello"),
            {"role": "assistant", "content": [USE]},
            {"role": "user", "content": [block("well"), text(f"<system-reminder>{BAD}</system-reminder>")]},
            {"role": "assistant", "content": [text("fine")]},
            user("go on"),
        ],
    ),
    "codex, a developer message between turns": (
        OpenAIResponses(),
        "input",
        [item("developer", "rules"), item("user", "hello"), item("developer", BAD), item("user", "go on")],
    ),
    "a chat app, a system message between turns": (
        OpenAIChat(),
        "messages",
        [{"role": "system", "content": "rules"}, user("hello"), REMINDER, CALLED, result("well")],
    ),
}
ALWAYS_NEW: dict[str, Conversation] = {
    "the head": (
        OpenAIChat(),
        "messages",
        [REMINDER, user("hello"), {"role": "assistant", "content": "hi"}, user("x")],
    ),
    "behind what was said last": (AnthropicMessages(), "messages", [user("hello"), REMINDER]),
    "behind the last answer": (
        AnthropicMessages(),
        "messages",
        [
            user("hello"),
            {"role": "assistant", "content": [USE]},
            REMINDER,
            {"role": "user", "content": [block("well")]},
        ],
    ),
}
NEW: dict[str, Conversation] = {
    "open-webui": (OpenAIChat(), "messages", [user("hello"), user(BAD)]),
    "open-webui, a document's text": (OpenAIChat(), "messages", [user(f"<context>{BAD}</context> hello")]),
    "open-webui, the document again": (
        OpenAIChat(),
        "messages",
        [user("hello"), user(f"<context>{BAD}</context> go on")],
    ),
    "codex": (OpenAIResponses(), "input", [item("user", "the folder"), item("user", BAD)]),
    "claude code": (AnthropicMessages(), "messages", [user("the folder", BAD), RULES_OF_CLAUDE]),
    "qwen-code, a tool's result": (OpenAIChat(), "messages", [user("hello"), CALLED, result(BAD)]),
    "codex, a tool's result": (OpenAIResponses(), "input", [item("user", "hello"), ITEM_CALL, output(BAD)]),
    "claude code, a tool's result": (
        AnthropicMessages(),
        "messages",
        [user("hello"), {"role": "assistant", "content": [USE]}, {"role": "user", "content": [block(BAD)]}],
    ),
}


async def sent(conversation: Conversation, history: str = "replace") -> Any:
    """What the model server receives of a conversation; None when the request is refused."""
    dialect, key, messages = conversation
    out = await asked(dialect, {"model": "m", key: messages}, RULE, history=history)
    return json.loads(out)[key] if out else None


@pytest.mark.parametrize("client", AFTER_A_BLOCK)
async def test_c02_a_chat_goes_on_after_a_block(client: str) -> None:
    """The blocked prompt or result that the app sends again is replaced by the notice, and nothing else is changed."""
    dialect, key, messages = AFTER_A_BLOCK[client]
    expected = json.loads(json.dumps(messages).replace(BAD, NOTICE))
    assert await sent((dialect, key, messages)) == expected


@pytest.mark.parametrize("client", NEW)
async def test_c02_the_newest_text_is_refused(client: str) -> None:
    """What was said last is refused, whatever stands before it; also a document that is sent anew each time."""
    assert await sent(NEW[client]) is None


@pytest.mark.parametrize("client", BLOCKED_REMINDERS)
async def test_c02_a_blocked_reminder_of_an_earlier_turn(client: str) -> None:
    """A system text between turns stays in the conversation for ever: the notice stands in its place."""
    dialect, key, messages = BLOCKED_REMINDERS[client]
    expected = json.dumps(messages)
    for whole in (f"<system-reminder>{BAD}</system-reminder>", BAD):
        expected = expected.replace(whole, NOTICE)
    assert await sent((dialect, key, messages)) == json.loads(expected)


@pytest.mark.parametrize("place", ALWAYS_NEW)
async def test_c02_a_new_system_text_is_refused(place: str) -> None:
    """The system prompt is said anew with each request, and what was added last is new."""
    assert await sent(ALWAYS_NEW[place]) is None


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"messages": [{"role": "system", "content": BAD}, user("hello")]}, " It stands in a system text of the app"),
        (
            {"tools": [{"function": {"name": "f", "description": BAD}}], "messages": [user("hello")]},
            " It stands in the description of a tool of the app",
        ),
        ({"grammar": f"root ::= '{BAD}'", "messages": [user("hello")]}, " It stands in `grammar` of the app"),
        ({"messages": [user(BAD)]}, ""),
    ],
)
async def test_a_refusal_for_what_nobody_has_typed_says_where_it_stands(body: dict[str, Any], place: str) -> None:
    """A person who has typed nothing of it could not tell why every prompt is refused."""
    async with FakeUpstream([]) as upstream, running(upstream, house()) as proxy:
        got = await proxy.client.post(f"{proxy.url}/v1/chat/completions", json={"model": "tiny", **body})
        ident = (await proxy.exchange()).id
    ending = f"{place}, not in what was typed." if place else ""
    stopped = f'This prompt was stopped by the policy "house". (policy house, request {ident})'
    assert (got.status_code, got.json()["error"]["message"]) == (400, stopped + ending)


@pytest.mark.parametrize("client", AFTER_A_BLOCK)
async def test_c02_history_block_wins(client: str) -> None:
    """An operator may want every such request refused."""
    assert await sent(AFTER_A_BLOCK[client], history="block") is None


async def test_c02_a_phrase_over_old_and_new() -> None:
    """It is found, and refused while its end is new; then it is replaced."""
    halves = [user("what is the forbidden"), user("phrase here")]
    assert await sent((OpenAIChat(), "messages", halves)) is None
    assert await sent((OpenAIChat(), "messages", [*halves, user("go on")])) == [user(NOTICE), halves[1], user("go on")]


async def test_c02_replaced_arguments_are_json() -> None:
    """The model server parses the arguments of earlier calls."""
    call = {**CALL, "function": {"name": "f", "arguments": json.dumps({"command": BAD, "n": 1})}}
    conversation = [user("hello"), {**CALLED, "tool_calls": [call]}, result("well"), user("go on")]
    (_, called, *_) = await sent((OpenAIChat(), "messages", conversation))
    assert json.loads(called["tool_calls"][0]["function"]["arguments"]) == {"notice": NOTICE}


def house(rules: str = RULE) -> Policies:
    """A real policy, for a running proxy."""
    source = Source("house.yaml", f"version: 1\npolicy: house\nrules: [{rules}]\n".encode())
    return cast(Policies, compile_policies([source], hash_key=b"key"))


async def test_r06_ollama_run_goes_on_after_a_block() -> None:
    """The command sends the blocked prompt again before the next one: it is replaced, and the request goes on."""
    async with FakeUpstream(reply(ndjson(DONE))) as upstream, running(upstream, house()) as proxy:
        body = {"model": "tiny", "messages": [user("about the forbidden phrase"), user("go on")], "stream": True}
        async with proxy.client.stream("POST", f"{proxy.url}/api/chat", json=body) as answer:
            assert answer.status_code == 200
            await answer.aread()
        received = json.loads(upstream.requests[0].body)["messages"]
        exchange = await proxy.exchange()
    stopped = 'This prompt was stopped by the policy "house". (policy house)'
    assert received == [user(stopped), user("go on")]
    assert [direction for direction, _ in exchange.findings] == ["history"]


async def refusals(policies: Policies, body: dict[str, Any], answer: Sequence[Any]) -> tuple[Answer, str]:
    """What the client gets of a chat, and the request's id."""
    async with FakeUpstream(reply(sse(*answer))) as upstream, running(upstream, policies) as proxy:
        got = await proxy.chat(**body)
        return got, (await proxy.exchange()).id


async def test_c10_a_refused_prompt_and_an_answer_that_was_ended() -> None:
    """The default message says which of the two was stopped."""
    prompt, one = await refusals(house(), {"content": BAD}, said("ok"))
    answer, two = await refusals(house(), {"content": "hello"}, said("It is the forbidden phrase"))
    stopped = 'This {} was stopped by the policy "house". (policy house, request {})'
    assert prompt.status == 400
    assert prompt.json()["error"]["message"] == stopped.format("prompt", one)
    assert answer.text() == "It is \n\n" + stopped.format("answer", two)


@pytest.mark.parametrize(
    ("message", "prompt", "answer"),
    [
        ("message: Not here.", "Not here.", "Not here."),
        ("message: {prompt: Do not ask., answer: I must not say.}", "Do not ask.", "I must not say."),
    ],
)
async def test_c10_an_operators_own_messages(message: str, prompt: str, answer: str) -> None:
    """They stay as they are; a policy may give both."""
    policies = house(RULE.replace("action: block", f"action: block, {message}"))
    refused, _ = await refusals(policies, {"content": BAD}, said("ok"))
    ended, _ = await refusals(policies, {"content": "hello"}, said("It is the forbidden phrase"))
    assert refused.json()["error"]["message"].startswith(f"{prompt} (policy house")
    assert ended.text().startswith(f"It is \n\n{answer} (policy house")


async def test_c08_a_document_that_may_not_be_embedded() -> None:
    """Open WebUI's toast shows `error` of the answer of /api/embed, if that is a text; of /v1/embeddings it reads the
    status line only, so there the body is what OpenAI's clients read."""
    async with FakeUpstream([]) as upstream, running(upstream, house()) as proxy:
        embed = await proxy.client.post(f"{proxy.url}/api/embed", json={"model": "tiny", "input": [BAD]})
        openai = await proxy.client.post(f"{proxy.url}/v1/embeddings", json={"model": "tiny", "input": [BAD]})
        ids = [(await proxy.exchange(i)).id for i in (0, 1)]
    stopped = [f'This prompt was stopped by the policy "house". (policy house, request {one})' for one in ids]
    assert (embed.status_code, embed.json()["error"]) == (400, stopped[0])
    assert (openai.status_code, openai.json()["error"]["message"]) == (400, stopped[1])


async def test_a_chat_that_was_dead_goes_on_turn_after_turn() -> None:
    """A whole chat of an app that keeps refused prompts: each harmless prompt gets its answer."""
    messages: list[dict[str, Any]] = []
    statuses = []
    async with FakeUpstream(lambda _: reply(sse(*said("ok")))) as upstream, running(upstream, house()) as proxy:
        for prompt in ("hello", BAD, "go on", BAD, BAD, "and now", "thanks"):
            messages.append(user(prompt))
            async with proxy.wire() as wire:
                await wire.post("/v1/chat/completions", chat_body(messages=messages))
                got = await wire.answer()
            statuses.append(got.status)
            if got.status == 200:
                messages.append({"role": "assistant", "content": got.text()})
    assert statuses == [200, 400, 200, 400, 400, 200, 200]
    assert not any(b"forbidden" in request.body for request in upstream.requests)
