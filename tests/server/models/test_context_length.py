"""Prompts over the context's length: refused where they would be cut unseen, noticed where they were cut."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.errors import PromptTooLong
from proxy.server.config import ServerConfig
from proxy.server.models import context_length as context
from proxy.server.models.api import ModelServerApi
from proxy.server.models.context_length import (
    MAX_CHARS_PER_TOKEN,
    MAX_MODELS,
    MIN_CHARS_PER_TOKEN,
    REFRESH_AFTER,
    SHORT_PROMPT,
    ContextLengths,
)
from proxy.server.upstream.client import create_upstream
from tests.fakes import Answer, FakeUpstream, Request, Stall, reply, reply_json, sse
from tests.fakes.ollama import Ollama
from tests.server.models.test_chat_templates import Clock
from tests.server.running import running, said

pytestmark = pytest.mark.anyio

LENGTH = 4096  # of tiny's context, as the recorded /api/ps tells it


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, a length that is told is waited for."""
    monkeypatch.setattr(context, "FIRST_WAIT", 10.0)


OVER = int(LENGTH * 1.5 * MIN_CHARS_PER_TOKEN)  # characters that are surely too many
USAGE = {"choices": [], "usage": {"prompt_tokens": 2051, "completion_tokens": 1, "total_tokens": 2052}}


@asynccontextmanager
async def contexts(answers: Any, margin: float = 1.5) -> AsyncIterator[tuple[ContextLengths, FakeUpstream]]:
    """ContextLengths in front of a fake model server."""
    async with FakeUpstream(answers, tells_models=True) as upstream:
        config = ServerConfig(upstream=upstream.url)
        transport = create_upstream(config)
        api = ModelServerApi(transport)
        yield ContextLengths(api, margin, Clock()), upstream
        await api.aclose()
        await transport.aclose()


async def test_a_prompt_that_is_surely_over_is_refused_with_the_numbers() -> None:
    """At the margin, and not one character before it."""
    async with contexts(Ollama()) as (known, _):
        await known.check("tiny", OVER - 1)
        with pytest.raises(PromptTooLong, match="about 6144 tokens, and the model's context takes 4096"):
            await known.check("Tiny:latest", OVER)


@pytest.mark.parametrize("margin", [0, 2.0])
async def test_the_margin_is_a_setting(margin: float) -> None:
    """0 switches it off."""
    async with contexts(Ollama(), margin) as (known, upstream):
        await known.check("tiny", OVER)
        assert bool(upstream.exchanges) is bool(margin)


async def test_a_model_of_unknown_length_takes_every_prompt() -> None:
    """One that is not loaded has no length yet."""
    async with contexts(Ollama()) as (known, _):
        await known.check("tiny:base", OVER * 10)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/props", {"default_generation_settings": {"n_ctx": LENGTH}}),
        ("/api/v0/models", {"data": [{"id": "tiny", "loaded_context_length": LENGTH, "max_context_length": 99999}]}),
    ],
)
async def test_llama_cpp_and_lm_studio_tell_the_length_elsewhere(path: str, body: dict[str, Any]) -> None:
    """The length that is in force, not the longest that there may be."""

    def choose(request: Request) -> Answer:
        return reply_json(body) if request.target == path else reply_json({"error": "no such path"}, status=404)

    async with contexts(choose) as (known, _):
        with pytest.raises(PromptTooLong, match="4096"):
            await known.check("tiny", OVER)


async def test_short_prompts_ask_nothing_and_long_ones_rarely() -> None:
    """A prompt that fits into any context costs no question; an answer stays fresh for a while."""
    async with contexts(Ollama()) as (known, upstream):
        await known.check("tiny", SHORT_PROMPT - 1)
        assert not upstream.exchanges
        for _ in range(3):
            await known.check("tiny", SHORT_PROMPT)
        assert len(upstream.exchanges) == 1
        known._clock.now += REFRESH_AFTER  # type: ignore[attr-defined]
        await known.check("tiny", SHORT_PROMPT)
        await upstream.exchange(1)


async def test_a_model_server_that_does_not_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long prompt waits a moment for a length that nobody knows yet, then goes on without it."""
    monkeypatch.setattr(context, "FIRST_WAIT", 0.01)
    async with contexts(reply([b"{", Stall()])) as (known, _):
        await known.check("tiny", OVER * 10)


async def test_characters_of_a_token_are_learnt_upwards() -> None:
    """Prose with long words fits more characters into the same length; an estimate follows the best case seen."""
    async with contexts(Ollama()) as (known, _):
        assert not known.learn("tiny", 6_000, 1_000)
        await known.check("tiny", OVER)
        with pytest.raises(PromptTooLong):
            await known.check("tiny", int(OVER * 6 / MIN_CHARS_PER_TOKEN))


async def test_dense_text_never_makes_the_estimate_stricter() -> None:
    """After Chinese or base64 an English prompt that fits still passes."""
    async with contexts(Ollama()) as (known, _):
        for _ in range(5):
            assert not known.learn("tiny", 3_000, 2_900)
        await known.check("tiny", OVER - 1)


async def test_no_answer_makes_the_estimate_lax_without_end() -> None:
    """However few tokens a model server says it has counted."""
    async with contexts(Ollama()) as (known, _):
        for _ in range(20):
            known.learn("tiny", 100_000, 100_000 // int(MAX_CHARS_PER_TOKEN * 1.5))
        with pytest.raises(PromptTooLong):
            await known.check("tiny", int(LENGTH * 1.5 * MAX_CHARS_PER_TOKEN) + 1)


@pytest.mark.parametrize(
    ("characters", "tokens", "cut"),
    [(24_000, 2_051, True), (24_000, 3_001, False), (24_000, 0, False), (SHORT_PROMPT - 1, 1, False)],
)
async def test_far_too_few_tokens_mean_that_the_prompt_was_cut(characters: int, tokens: int, cut: bool) -> None:
    """Fewer than half of the least that can be. An answer that counted nothing says nothing."""
    async with contexts(Ollama()) as (known, _):
        assert known.learn("tiny", characters, tokens) is cut


async def test_a_cut_prompt_teaches_nothing() -> None:
    """Else the first one that was cut would let all others pass."""
    async with contexts(Ollama()) as (known, _):
        for _ in range(10):
            known.learn("tiny", OVER, 100)
        with pytest.raises(PromptTooLong):
            await known.check("tiny", OVER)


async def test_only_so_many_models_are_remembered() -> None:
    """What clients name does not pile up."""
    async with contexts(Ollama()) as (known, _):
        for n in range(MAX_MODELS + 5):
            known.learn(f"model-{n}", SHORT_PROMPT, 500)
        assert len(known._models) == MAX_MODELS


async def test_the_client_gets_a_400_in_its_dialect() -> None:
    """OpenAI's code, with the numbers, and nothing goes upstream."""
    ollama = Ollama()
    async with FakeUpstream(ollama) as upstream, running(upstream) as proxy:
        answer = await proxy.chat(content="word " * 6_000)
        assert answer.status == 400
        error = answer.json()["error"]
        assert error["code"] == "context_length_exceeded"
        assert "about 7500 tokens" in error["message"]
        assert "4096" in error["message"]
        assert ollama.asked == ["GET /api/ps"]


async def test_native_requests_are_left_to_ollamas_own_refusal() -> None:
    """They carry truncate:false; Ollama's 400, JSON inside a string, becomes one with the numbers."""
    inner = (
        '{"error":{"code":400,"message":"request (24069 tokens) exceeds the available context size (4096 tokens), try'
    )
    inner += ' increasing it","type":"exceed_context_size_error","n_prompt_tokens":24069,"n_ctx":4096}}'
    ollama = Ollama({"POST /api/chat": reply_json({"error": inner}, status=400)})
    async with FakeUpstream(ollama) as upstream, running(upstream) as proxy:
        answer = await proxy.chat(path="/api/chat", content="word " * 6_000)
        assert answer.status == 400
        assert "24069 tokens" in answer.json()["error"]
        assert "4096" in answer.json()["error"]
        sent = json.loads(upstream.requests[-1].body)
        assert sent["truncate"] is False
        assert "shift" not in sent  # Ollama would load the model anew for it


@pytest.mark.parametrize(
    ("path", "where"),
    [("/v1/chat/completions", ("error", "code")), ("/v1/completions", ("error", "code"))],
)
async def test_llama_cpps_refusal_bears_openais_code(path: str, where: tuple[str, str]) -> None:
    """The numbers are those that the model server has counted."""
    body = {"error": {"code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": 900, "n_ctx": 512}}
    body["error"]["message"] = "request (900 tokens) exceeds the available context size (512 tokens), try increasing it"
    async with FakeUpstream(reply_json(body, status=400)) as upstream, running(upstream) as proxy:
        answer = await proxy.chat(path=path, prompt="hi") if "chat" not in path else await proxy.chat(path=path)
        error = answer.json()[where[0]]
        assert error[where[1]] == "context_length_exceeded"
        assert error["message"].startswith("The prompt is too long: it has 900 tokens")


async def test_a_cut_prompt_is_counted() -> None:
    """The answer is the client's all the same; /metrics shows that it was made from a part of the prompt."""
    stream = said("Hello")
    answers = reply(sse(*stream[:-1], USAGE, stream[-1]))
    ollama = Ollama({"POST /v1/chat/completions": answers})
    async with FakeUpstream(ollama) as upstream, running(upstream) as proxy:
        answer = await proxy.chat(content="word " * 4_500, stream_options={"include_usage": True})
        assert answer.status == 200
        assert (await proxy.exchange()).prompt_cut
        assert proxy.metric("prompt_truncated_total", model="tiny") == 1
