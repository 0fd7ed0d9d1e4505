"""Ways to use PyPI's openai: sync and async, raw and with the streaming helper, chat and responses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from openai import AsyncOpenAI, OpenAI

from tests.sdk.asking import SCHEMA, Ask, Calls, Run, Told

CHAT_TOOL: Final[Any] = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Weather of a city", "parameters": SCHEMA},
}
RESPONSES_TOOL: Final[Any] = {"type": "function", **CHAT_TOOL["function"], "strict": False}


def _client(ask: Ask) -> OpenAI:
    return OpenAI(base_url=ask.base_url, api_key="none")


def _async_client(ask: Ask) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=ask.base_url, api_key="none")


def _chat(ask: Ask) -> dict[str, Any]:
    return {"model": ask.model, "messages": ask.messages, **ask.with_tools(CHAT_TOOL)}


def _responses(ask: Ask) -> dict[str, Any]:
    return {"model": ask.model, "input": ask.prompt, **ask.with_tools(RESPONSES_TOOL)}


class Chunks:
    """Reads a chat stream's chunks into a Told."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._calls = Calls()

    def read(self, chunk: Any) -> None:
        """One chunk."""
        for choice in chunk.choices:
            self._told.text += choice.delta.content or ""
            self._told.reason = choice.finish_reason or self._told.reason
            for call in choice.delta.tool_calls or ():
                self._calls.add(call.index, call.function.name, call.function.arguments)
        self._told.calls = self._calls.whole()


def read_completion(completion: Any, told: Told) -> None:
    """A whole chat answer; litellm's look the same."""
    (choice,) = completion.choices
    told.text = choice.message.content or ""
    told.reason = choice.finish_reason
    told.calls = [(call.function.name, call.function.arguments) for call in choice.message.tool_calls or ()]


def chat_stream(ask: Ask, told: Told) -> None:
    """OpenAI(), create(stream=True)."""
    chunks = Chunks(told)
    with _client(ask) as client:
        for chunk in client.chat.completions.create(stream=True, **_chat(ask)):
            chunks.read(chunk)


def chat_whole(ask: Ask, told: Told) -> None:
    """OpenAI(), create()."""
    with _client(ask) as client:
        read_completion(client.chat.completions.create(**_chat(ask)), told)


def chat_raw(ask: Ask, told: Told) -> None:
    """OpenAI(), with_raw_response."""
    with _client(ask) as client:
        raw = client.chat.completions.with_raw_response.create(**_chat(ask))
        assert raw.headers["x-safety-proxy-request-id"]
        read_completion(raw.parse(), told)


def _helper_event(event: Any, told: Told) -> None:
    if event.type == "content.delta":
        told.text += event.delta


def chat_helper(ask: Ask, told: Told) -> None:
    """OpenAI(), the streaming helper."""
    with _client(ask) as client, client.chat.completions.stream(**_chat(ask)) as stream:
        for event in stream:
            _helper_event(event, told)
        read_completion(stream.get_final_completion(), told)


def async_chat_stream(ask: Ask, told: Told) -> None:
    """AsyncOpenAI(), create(stream=True)."""

    async def run() -> None:
        chunks = Chunks(told)
        async with _async_client(ask) as client:
            async for chunk in await client.chat.completions.create(stream=True, **_chat(ask)):
                chunks.read(chunk)

    asyncio.run(run())


def async_chat_helper(ask: Ask, told: Told) -> None:
    """AsyncOpenAI(), the streaming helper."""

    async def run() -> None:
        async with _async_client(ask) as client, client.chat.completions.stream(**_chat(ask)) as stream:
            async for event in stream:
                _helper_event(event, told)
            read_completion(await stream.get_final_completion(), told)

    asyncio.run(run())


def read_response(response: Any, told: Told) -> None:
    """A whole answer of /v1/responses. The reason is why it is incomplete, or its status."""
    told.text = response.output_text
    told.reason = response.incomplete_details.reason if response.incomplete_details else response.status
    told.calls = [(item.name, item.arguments) for item in response.output if item.type == "function_call"]


def _read_events(events: Iterable[Any], told: Told) -> None:
    """What the deltas say must be what the last event repeats."""
    for event in events:
        if event.type == "response.output_text.delta":
            told.text += event.delta
        elif event.type in ("response.completed", "response.incomplete"):
            said = told.text
            read_response(event.response, told)
            assert told.text == said


def responses_stream(ask: Ask, told: Told) -> None:
    """OpenAI(), responses.create(stream=True)."""
    with _client(ask) as client:
        _read_events(client.responses.create(stream=True, **_responses(ask)), told)


def responses_whole(ask: Ask, told: Told) -> None:
    """OpenAI(), responses.create()."""
    with _client(ask) as client:
        read_response(client.responses.create(**_responses(ask)), told)


def responses_helper(ask: Ask, told: Told) -> None:
    """OpenAI(), responses.stream()."""
    with _client(ask) as client, client.responses.stream(**_responses(ask)) as stream:
        _read_events(stream, told)


RUNS: Final[dict[str, Run]] = {
    "openai-stream": chat_stream,
    "openai-whole": chat_whole,
    "openai-raw": chat_raw,
    "openai-helper": chat_helper,
    "openai-async": async_chat_stream,
    "openai-async-helper": async_chat_helper,
    "openai-responses-stream": responses_stream,
    "openai-responses-whole": responses_whole,
    "openai-responses-helper": responses_helper,
}
