"""Ways to use PyPI's anthropic: sync and async, raw and with the streaming helper."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from anthropic import Anthropic, AsyncAnthropic

from tests.sdk.asking import MAX_TOKENS, SCHEMA, Ask, Calls, Run, Told

TOOL: Final[Any] = {"name": "get_weather", "description": "Weather of a city", "input_schema": SCHEMA}


def _request(ask: Ask) -> dict[str, Any]:
    return {"model": ask.model, "max_tokens": MAX_TOKENS, "messages": ask.messages, **ask.with_tools(TOOL)}


def _client(ask: Ask) -> Anthropic:
    return Anthropic(base_url=ask.url, api_key="none")


def _reason(ended: Any) -> str | None:
    """Why an answer ended: what its details say, if it has any."""
    reason: str | None = ended.stop_details.type if ended.stop_details else ended.stop_reason
    return reason


def _read_message(message: Any, told: Told) -> None:
    told.text = "".join(block.text for block in message.content if block.type == "text")
    told.calls = [(block.name, block.input) for block in message.content if block.type == "tool_use"]
    told.reason = _reason(message)
    if message.stop_details:
        assert message.stop_details.explanation in told.text


def raw_stream(ask: Ask, told: Told) -> None:
    """Anthropic(), create(stream=True)."""
    calls = Calls()
    with _client(ask) as client:
        for event in client.messages.create(stream=True, **_request(ask)):
            if event.type == "content_block_start" and event.content_block.type == "tool_use":
                calls.add(event.index, event.content_block.name, "")
            elif event.type == "content_block_delta":
                delta: Any = event.delta
                told.text += getattr(delta, "text", "")
                if delta.type == "input_json_delta":
                    calls.add(event.index, "", delta.partial_json)
            elif event.type == "message_delta":
                told.reason = _reason(event.delta)
    told.calls = calls.whole()


def whole(ask: Ask, told: Told) -> None:
    """Anthropic(), create()."""
    with _client(ask) as client:
        _read_message(client.messages.create(**_request(ask)), told)


def helper(ask: Ask, told: Told) -> None:
    """Anthropic(), messages.stream()."""
    with _client(ask) as client, client.messages.stream(**_request(ask)) as stream:
        for text in stream.text_stream:
            told.text += text
        said = told.text
        _read_message(stream.get_final_message(), told)
        assert told.text == said


def async_helper(ask: Ask, told: Told) -> None:
    """AsyncAnthropic(), messages.stream()."""

    async def run() -> None:
        async with (
            AsyncAnthropic(base_url=ask.url, api_key="none") as client,
            client.messages.stream(**_request(ask)) as stream,
        ):
            async for text in stream.text_stream:
                told.text += text
            _read_message(await stream.get_final_message(), told)

    asyncio.run(run())


RUNS: Final[dict[str, Run]] = {
    "anthropic-stream": raw_stream,
    "anthropic-whole": whole,
    "anthropic-helper": helper,
    "anthropic-async-helper": async_helper,
}
