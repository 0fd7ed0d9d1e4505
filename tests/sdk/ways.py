"""Every way that is taken to use a client package. What takes it stands in *_ways.py, and in node/driver.mjs."""

from __future__ import annotations

from typing import Final

from tests.sdk.asking import Dialect, Way

CHAT, RESPONSES, MESSAGES, OLLAMA = Dialect.CHAT, Dialect.RESPONSES, Dialect.MESSAGES, Dialect.OLLAMA

PYTHON: Final = (
    Way("openai-stream", "openai", "chat.completions.create(stream=True)", CHAT, True),
    Way("openai-whole", "openai", "chat.completions.create()", CHAT, False),
    Way("openai-raw", "openai", "chat.completions.with_raw_response.create()", CHAT, False),
    Way("openai-helper", "openai", "chat.completions.stream()", CHAT, True),
    Way("openai-async", "openai", "async chat.completions.create(stream=True)", CHAT, True),
    Way("openai-async-helper", "openai", "async chat.completions.stream()", CHAT, True),
    Way("openai-responses-stream", "openai", "responses.create(stream=True)", RESPONSES, True),
    Way("openai-responses-whole", "openai", "responses.create()", RESPONSES, False),
    Way("openai-responses-helper", "openai", "responses.stream()", RESPONSES, True, scripted=True),
    Way("anthropic-stream", "anthropic", "messages.create(stream=True)", MESSAGES, True),
    Way("anthropic-whole", "anthropic", "messages.create()", MESSAGES, False),
    Way("anthropic-helper", "anthropic", "messages.stream()", MESSAGES, True),
    Way("anthropic-async-helper", "anthropic", "async messages.stream()", MESSAGES, True),
    Way("ollama-stream", "ollama", "chat(stream=True)", OLLAMA, True, scripted=True),
    Way("ollama-whole", "ollama", "chat()", OLLAMA, False, scripted=True),
    Way("ollama-async", "ollama", "async chat(stream=True)", OLLAMA, True, scripted=True),
    Way("ollama-generate", "ollama", "generate(stream=True)", OLLAMA, True, scripted=True, tools=False),
    Way("langchain-openai-stream", "langchain-openai", "ChatOpenAI.stream()", CHAT, True),
    Way("langchain-openai-whole", "langchain-openai", "ChatOpenAI.invoke()", CHAT, False),
    Way("langchain-ollama-stream", "langchain-ollama", "ChatOllama.stream()", OLLAMA, True, scripted=True),
    Way("langchain-ollama-whole", "langchain-ollama", "ChatOllama.invoke()", OLLAMA, False, scripted=True),
    Way("litellm-stream", "litellm", 'completion("openai/...", stream=True)', CHAT, True),
    Way("litellm-whole", "litellm", 'completion("openai/...")', CHAT, False),
    Way("litellm-ollama-stream", "litellm", 'completion("ollama_chat/...", stream=True)', OLLAMA, True, scripted=True),
    Way("litellm-ollama-whole", "litellm", 'completion("ollama_chat/...")', OLLAMA, False, scripted=True),
)
NODE: Final = (
    Way("node-openai-stream", "openai", "chat.completions.create({stream: true})", CHAT, True),
    Way("node-openai-whole", "openai", "chat.completions.create()", CHAT, False),
    Way("node-openai-helper", "openai", "chat.completions.stream()", CHAT, True),
    Way("node-openai-responses-stream", "openai", "responses.create({stream: true})", RESPONSES, True),
    Way("node-openai-responses-whole", "openai", "responses.create()", RESPONSES, False),
    Way("node-anthropic-helper", "@anthropic-ai/sdk", "messages.stream()", MESSAGES, True),
    Way("node-anthropic-whole", "@anthropic-ai/sdk", "messages.create()", MESSAGES, False),
    Way("node-ollama-stream", "ollama", "chat({stream: true})", OLLAMA, True, scripted=True),
    Way("node-ollama-whole", "ollama", "chat()", OLLAMA, False, scripted=True),
    Way("node-ai-stream", "ai", "streamText()", CHAT, True),
    Way("node-ai-whole", "ai", "generateText()", CHAT, False),
)
WAYS: Final = (*PYTHON, *NODE)
