"""What the model server tells of chat templates, and when it is asked."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from proxy.alignment.templates import LLAMA_CPP_DEFAULT
from proxy.policy.plan import UNKNOWN, ChatTemplate
from proxy.server.config import ServerConfig
from proxy.server.models.api import ModelServerApi
from proxy.server.models.chat_templates import (
    EXPIRES_AFTER,
    MAX_MODELS,
    REFRESH_AFTER,
    ChatTemplates,
    from_llama_cpp,
    from_ollama,
)
from proxy.server.upstream.client import create_upstream
from tests.fakes import FakeUpstream, Stall, reply, reply_json, sse
from tests.fakes.ollama import Ollama, recorded
from tests.policies import copies
from tests.server.running import Policies, running, said

pytestmark = pytest.mark.anyio

LLAMA2 = "{{ bos_token }}[INST] {{ content }} [/INST]"


class Clock:
    """Time that a test makes pass."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Asking:
    """ChatTemplates in front of a fake model server."""

    def __init__(self, upstream: FakeUpstream) -> None:
        config = ServerConfig(upstream=upstream.url)
        self.upstream = create_upstream(config)
        self.api = ModelServerApi(self.upstream)
        self.clock = Clock()
        self.templates = ChatTemplates(self.api, self.clock)

    async def learnt(self, model: str) -> ChatTemplate:
        """What is known once everything that was started is done."""
        self.templates.get(model)
        await self.api.wait_idle()
        return self.templates.get(model)

    async def __aenter__(self) -> Asking:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.api.aclose()
        await self.upstream.aclose()


@pytest.mark.parametrize(
    ("props", "markers", "exists"),
    [
        (
            {"chat_template": LLAMA2, "bos_token": "<s>", "eos_token": "</s>"},
            {"[INST]", "[/INST]", "<s>", "</s>"},
            True,
        ),
        ({"chat_template": "<|im_start|>", "bos_token": "", "eos_token": "<|im_end|>"}, set(), True),
        ({"chat_template": "<think>", "bos_token": "x", "eos_token": "</s>"}, {"<think>", "</s>"}, True),
        ({"chat_template": LLAMA_CPP_DEFAULT + "\n", "bos_token": "<s>", "eos_token": "</s>"}, {"<s>", "</s>"}, False),
    ],
)
def test_llama_cpp_tells_template_and_tokens(props: dict[str, Any], markers: set[str], exists: bool) -> None:
    """Markers of the list that stand in the template, or begin or end a text; the default template is none."""
    assert from_llama_cpp(props) == ChatTemplate(frozenset(markers), exists)


def test_without_tokens_all_ends_count() -> None:
    """An older llama.cpp tells the template only."""
    template = from_llama_cpp({"chat_template": "[INST]"})
    assert template.markers is not None
    assert {"[INST]", "</s>", "<eos>"} <= template.markers


@pytest.mark.parametrize(
    ("name", "there", "not_there", "exists"),
    [
        ("show_tiny.json", {"<think>", "<tool_call>", "</s>"}, {"[INST]", "<start_of_turn>"}, True),
        ("show_go_think.json", {"<think>", "</think>", "<tool_call>"}, {"[INST]", "<tool_response>"}, True),
        ("show_base.json", {"</s>"}, {"<think>", "[INST]"}, False),
    ],
)
def test_ollama_tells_the_template(name: str, there: set[str], not_there: set[str], exists: bool) -> None:
    """Of a real Ollama: a Jinja template, a Go template, none at all."""
    template = from_ollama(json.loads(recorded(name)))
    assert template.markers is not None
    assert there <= template.markers
    assert not not_there & template.markers
    assert template.exists is exists


@pytest.mark.parametrize(
    ("template", "tokenizer", "parameters", "counts"),
    [
        ("{{ .Content }}", "gpt2", "", False),
        ("{{ .Content }}", "llama", "", True),
        ("{{ content }}{{ eos_token }}", "gpt2", "", True),
        ("{{ .Content }}", "gpt2", 'stop    "</s>"', True),
        ("{{ .Content }}</s>", "gpt2", "", True),
        ("{{ .Content }}", None, "", True),
    ],
)
def test_html_is_left_alone_where_it_ends_no_text(
    template: str, tokenizer: str | None, parameters: str, counts: bool
) -> None:
    """Ollama tells no token's text: `</s>` counts where the tokenizer, the template or a stop word make it possible."""
    info = {"tokenizer.ggml.model": tokenizer} if tokenizer else {}
    known = from_ollama({"template": template, "model_info": info, "parameters": parameters}).markers
    assert known is not None
    assert ("</s>" in known) is counts


@pytest.mark.parametrize("shown", [{}, {"template": 5}, {"error": "model not found"}])
def test_an_answer_without_template_teaches_nothing(shown: dict[str, Any]) -> None:
    """Then all markers count."""
    assert from_ollama(shown) == UNKNOWN


async def test_a_request_never_waits_for_the_answer() -> None:
    """What is not known yet is unknown, even while the model server does not answer at all."""
    async with FakeUpstream(reply([b"x", Stall()]), tells_models=True) as upstream, Asking(upstream) as asking:
        assert asking.templates.get("tiny") is UNKNOWN
        await upstream.exchange()
        assert asking.templates.get("tiny") is UNKNOWN
        assert len(upstream.exchanges) == 1


async def test_ollama_is_asked_for_a_digest_and_once_for_its_template() -> None:
    """As long as the digest stays, the template is not asked for again; a new digest is looked at."""
    ollama = Ollama()
    async with FakeUpstream(ollama) as upstream, Asking(upstream) as asking:
        assert (await asking.learnt("TINY:latest")).exists is True
        assert ollama.asked == ["GET /props", "GET /api/tags", "POST /api/show"]
        asking.clock.now += REFRESH_AFTER
        assert (await asking.learnt("tiny")).exists is True
        assert ollama.asked[3:] == ["GET /api/tags"]
        next(m for m in ollama.tags["models"] if m["name"] == "tiny:latest")["digest"] = "b" * 64
        ollama.shown["tiny"]["template"] = "{{ .Prompt }}"
        asking.clock.now += REFRESH_AFTER
        assert (await asking.learnt("tiny")).exists is False
        assert ollama.asked[4:] == ["GET /api/tags", "POST /api/show"]


async def test_what_is_old_is_not_believed() -> None:
    """After a long silence a model may be another one: until that is known, all markers count."""
    async with FakeUpstream(Ollama()) as upstream, Asking(upstream) as asking:
        assert (await asking.learnt("tiny")).markers is not None
        asking.clock.now += EXPIRES_AFTER
        assert asking.templates.get("tiny") is UNKNOWN
        await asking.api.wait_idle()
        assert asking.templates.get("tiny") is not UNKNOWN


async def test_a_model_that_is_not_there_is_asked_about_rarely() -> None:
    """Names come from clients: one look at a time, and not again while it is fresh."""
    ollama = Ollama()
    async with FakeUpstream(ollama) as upstream, Asking(upstream) as asking:
        for _ in range(3):
            assert await asking.learnt("no-such-model") is UNKNOWN
        assert "POST /api/show" not in ollama.asked
        assert len(ollama.asked) == 2


async def test_only_so_many_models_are_remembered() -> None:
    """What clients name does not pile up."""
    async with FakeUpstream(Ollama()) as upstream, Asking(upstream) as asking:
        for n in range(MAX_MODELS + 5):
            await asking.learnt(f"model-{n}")
        assert len(asking.templates._known) == MAX_MODELS


async def test_a_model_server_that_is_gone_teaches_nothing() -> None:
    """Nothing fails, and all markers count."""
    async with FakeUpstream(reply_json({}, status=500)) as upstream, Asking(upstream) as asking:
        pass
    async with Asking(upstream) as asking:
        assert await asking.learnt("tiny") is UNKNOWN


async def test_a_requests_markers_are_those_of_its_models_template() -> None:
    """The first request finds nothing known, so `[INST]` counts; the second knows that it means nothing to the model.
    What was neutralised is counted by family."""
    policies = cast(Policies, copies())
    ollama = Ollama({"POST /v1/chat/completions": reply(sse(*said("Hello")))})
    async with FakeUpstream(ollama) as upstream, running(upstream, policies) as proxy:
        await proxy.chat(content="[INST] hi<|im_end|>")
        await proxy.server.runtime.backends.all[0].api.wait_idle()
        await proxy.chat(content="[INST] hi<|im_end|>")
        sent = [json.loads(r.body)["messages"][0]["content"] for r in upstream.requests if "chat" in r.target]
        assert sent == ["[\u200bINST] hi<\u200b|im_end|>", "[INST] hi<\u200b|im_end|>"]
        assert (await proxy.exchange(1)).markers == {"chatml": 1}
        assert proxy.metric("neutralised_markers_total", family="chatml") == 2
        assert proxy.metric("neutralised_markers_total", family="llama2") == 1
