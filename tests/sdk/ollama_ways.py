"""Ways to use PyPI's ollama: sync and async, chat and generate."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from ollama import AsyncClient, Client

from tests.sdk.asking import Ask, Run, Told
from tests.sdk.openai_ways import CHAT_TOOL


def _request(ask: Ask) -> dict[str, Any]:
    return {"model": ask.model, "messages": ask.messages, **ask.with_tools(CHAT_TOOL)}


def _read(answer: Any, told: Told) -> None:
    """A line of a stream, or a whole answer: they look the same."""
    told.text += answer.message.content or ""
    told.reason = answer.done_reason or told.reason
    told.calls += [(call.function.name, dict(call.function.arguments)) for call in answer.message.tool_calls or ()]


def stream(ask: Ask, told: Told) -> None:
    """Client(), chat(stream=True)."""
    with Client(host=ask.url) as client:
        for line in client.chat(stream=True, **_request(ask)):
            _read(line, told)


def whole(ask: Ask, told: Told) -> None:
    """Client(), chat()."""
    with Client(host=ask.url) as client:
        _read(client.chat(**_request(ask)), told)


def async_stream(ask: Ask, told: Told) -> None:
    """AsyncClient(), chat(stream=True)."""

    async def run() -> None:
        async with AsyncClient(host=ask.url) as client:
            async for line in await client.chat(stream=True, **_request(ask)):
                _read(line, told)

    asyncio.run(run())


def generate_stream(ask: Ask, told: Told) -> None:
    """Client(), generate(stream=True)."""
    with Client(host=ask.url) as client:
        for line in client.generate(ask.model, ask.prompt, stream=True):
            told.text += line.response
            told.reason = line.done_reason or told.reason


RUNS: Final[dict[str, Run]] = {
    "ollama-stream": stream,
    "ollama-whole": whole,
    "ollama-async": async_stream,
    "ollama-generate": generate_stream,
}
