"""Ways to use PyPI's langchain-openai, langchain-ollama and litellm. Their imports are slow, so they wait for use."""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable
from typing import Any, Final

from tests.sdk.asking import Ask, Run, Told
from tests.sdk.openai_ways import CHAT_TOOL, Chunks, read_completion

Maker = Callable[[Ask], Any]


def load() -> None:
    """Import the packages, in one thread: they import one another."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # without it the import fetches a list of prices
    for package in ("langchain_openai", "langchain_ollama", "litellm"):
        importlib.import_module(package)


def _chat_openai(ask: Ask) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model=ask.model, base_url=ask.base_url, api_key=lambda: "none")


def _chat_ollama(ask: Ask) -> Any:
    from langchain_ollama import ChatOllama

    return ChatOllama(model=ask.model, base_url=ask.url)


def _read_message(message: Any, told: Told) -> None:
    told.text = str(message.text)
    told.calls = [(call["name"], call["args"]) for call in message.tool_calls]
    about = message.response_metadata
    told.reason = about.get("finish_reason") or about.get("done_reason")


def _langchain_stream(make: Maker, ask: Ask, told: Told) -> None:
    model = make(ask)
    message = None
    for chunk in (model.bind_tools([CHAT_TOOL]) if ask.tools else model).stream(ask.prompt):
        message = chunk if message is None else message + chunk
        _read_message(message, told)


def _langchain_whole(make: Maker, ask: Ask, told: Told) -> None:
    model = make(ask)
    _read_message((model.bind_tools([CHAT_TOOL]) if ask.tools else model).invoke(ask.prompt), told)


def _litellm(ask: Ask, provider: str, **options: Any) -> Any:
    import litellm

    litellm.suppress_debug_info = True
    return litellm.completion(
        model=f"{provider}/{ask.model}",
        api_base=ask.base_url if provider == "openai" else ask.url,
        api_key="none",
        messages=ask.messages,
        **ask.with_tools(CHAT_TOOL),
        **options,
    )


def _litellm_stream(provider: str, ask: Ask, told: Told) -> None:
    chunks = Chunks(told)
    for chunk in _litellm(ask, provider, stream=True):
        chunks.read(chunk)


def _litellm_whole(provider: str, ask: Ask, told: Told) -> None:
    read_completion(_litellm(ask, provider), told)


RUNS: Final[dict[str, Run]] = {
    "langchain-openai-stream": functools.partial(_langchain_stream, _chat_openai),
    "langchain-openai-whole": functools.partial(_langchain_whole, _chat_openai),
    "langchain-ollama-stream": functools.partial(_langchain_stream, _chat_ollama),
    "langchain-ollama-whole": functools.partial(_langchain_whole, _chat_ollama),
    "litellm-stream": functools.partial(_litellm_stream, "openai"),
    "litellm-whole": functools.partial(_litellm_whole, "openai"),
    "litellm-ollama-stream": functools.partial(_litellm_stream, "ollama_chat"),
    "litellm-ollama-whole": functools.partial(_litellm_whole, "ollama_chat"),
}
