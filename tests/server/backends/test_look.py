"""What a look at a model server shows. The answers are those of real ones; LM Studio's are as in its documents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.server.backends import look
from proxy.server.backends.kinds import BackendKind, speaks
from proxy.server.backends.look import NOT_LOOKED_AT, look_at
from proxy.server.config import ServerConfig
from proxy.server.models.api import ModelServerApi
from proxy.server.upstream.client import create_upstream
from tests.fakes import Answer, Close, FakeUpstream, Stall, reply, reply_json
from tests.fakes.ollama import Ollama
from tests.waiting import PATIENCE

pytestmark = pytest.mark.anyio

NO_HTTP = "does not answer GET /v1/models in HTTP: is it a model server?"
MISSING = reply(b"404 page not found", status=404, content_type="text/plain")
UNEXPECTED = reply_json({"error": "Unexpected endpoint or method. (GET /api/version)"})  # LM Studio says so with 200
LLAMA_CPP = {
    "models": [{"name": "tiny.gguf", "model": "tiny.gguf", "digest": "", "details": {"format": "gguf"}}],
    "object": "list",
    "data": [{"id": "tiny.gguf", "aliases": ["tiny.gguf", "small"], "object": "model", "owned_by": "llamacpp"}],
}
LM_STUDIO = {"data": [{"id": "qwen2.5-7b-instruct", "object": "model", "owned_by": "organization_owner"}]}
LM_STUDIO_V0 = {"object": "list", "data": [{"id": "qwen2.5-7b-instruct", "object": "model", "type": "llm"}]}
EMPTY = {"/v1/models": {"data": None}, "/api/version": {"version": "0.9"}, "/api/tags": {"models": None}}
VLLM = {"object": "list", "data": [{"id": "big", "object": "model", "owned_by": "vllm"}]}


def by_path(answers: dict[str, Any], other: Answer = MISSING) -> Any:
    """A model server that has these paths."""
    made = {path: one if isinstance(one, Answer) else reply_json(one) for path, one in answers.items()}
    return lambda request: made.get(request.path, other)


@asynccontextmanager
async def asking(answers: Any) -> AsyncIterator[ModelServerApi]:
    """What asks a model server that answers so."""
    async with FakeUpstream(answers, tells_models=True) as upstream:
        client = create_upstream(ServerConfig(upstream=upstream.url))
        yield ModelServerApi(client)
        await client.aclose()


@pytest.mark.parametrize(
    ("answers", "kind", "models"),
    [
        (Ollama(), "Ollama", ["go-think:latest", "tiny:latest", "tiny:base"]),
        (by_path({"/v1/models": LLAMA_CPP}), "llama.cpp", ["tiny.gguf", "small"]),
        (by_path({"/v1/models": LM_STUDIO, "/api/v0/models": LM_STUDIO_V0}, UNEXPECTED), "LM Studio", None),
        (by_path({"/v1/models": VLLM}), "a server of OpenAI's dialect", ["big"]),
        (
            by_path(EMPTY),
            "Ollama",
            [],
        ),
    ],
)
async def test_what_it_is_and_has(answers: Any, kind: str, models: list[str] | None) -> None:
    """By what only this kind says of itself."""
    async with asking(answers) as api:
        found = await look_at(api)
    assert (found.kind, found.answers, found.trouble) == (kind, True, "")
    assert list(found.names) == (["qwen2.5-7b-instruct"] if models is None else models)


async def test_ollamas_digests() -> None:
    """By the names in the form in which names are compared."""
    ollama = Ollama()
    async with asking(ollama) as api:
        found = await look_at(api)
    digests = {entry["name"].removesuffix(":latest"): entry["digest"] for entry in ollama.tags["models"]}
    assert found.models == digests


async def test_what_is_known_is_not_asked_again() -> None:
    """A second look at an Ollama is one request."""
    ollama = Ollama()
    async with asking(ollama) as api:
        first = await look_at(api)
        asked = len(ollama.asked)
        assert await look_at(api, first) == first
    assert ollama.asked[asked:] == ["GET /api/tags"]


@pytest.mark.parametrize("status", [404, 405, 500, 501])
async def test_what_is_none_of_them(status: int) -> None:
    """A web server, say: with the question and the status."""
    async with asking(reply(b"<html>", status=status, content_type="text/html")) as api:
        found = await look_at(api)
    assert found.trouble == f"answers, but is none of Ollama, LM Studio, llama.cpp: GET /v1/models gave {status}"
    assert (found.kind, found.models, found.answers) == (None, {}, True)


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"[1]", b'"x"', b"{", b'{"data": 5}', b'{"models": []}', b"\xff", b"[" * 100_000]
)
async def test_answers_that_are_no_lists(body: bytes) -> None:
    """Status 200 makes no model server."""
    async with asking(reply(body, content_type="application/json")) as api:
        found = await look_at(api)
    assert (found.kind, found.models) == (None, {})
    assert found.trouble.endswith("GET /v1/models gave 200 without a list of models")


@pytest.mark.parametrize(
    "listed",
    [[5, None, "x", [], {}], [{"id": 5}, {"name": "x"}, {"id": None}], [{"id": "a", "aliases": 5}, {"id": "a"}]],
)
async def test_entries_that_are_none_are_passed_over(listed: Any) -> None:
    """What has a name is kept."""
    async with asking(by_path({"/v1/models": {"data": listed}})) as api:
        found = await look_at(api)
    assert set(found.names) <= {"a"}
    assert found.kind is BackendKind.OPENAI


@pytest.mark.parametrize(("status", "hint"), [(401, "wants a key"), (403, "wants a key"), (503, "is not ready yet")])
async def test_a_model_server_that_says_why_not(status: int, hint: str) -> None:
    """It is one, so what was known of it stays."""
    async with asking(by_path({"/v1/models": LLAMA_CPP})) as api:
        before = await look_at(api)
    async with asking(reply_json({"error": "no"}, status=status)) as api:
        found = await look_at(api, before)
        first = await look_at(api)
    assert (found.kind, found.models, found.answers) == (before.kind, before.models, True)
    assert hint in found.trouble
    assert hint in first.trouble


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (Answer((Close(),)), NO_HTTP),
        (Answer((b"SSH-2.0-OpenSSH_9.6\r\n", Close())), NO_HTTP),
        (Answer((Stall(),)), "has not answered GET /v1/models within 0.1 s"),
    ],
    ids=["closed", "not HTTP", "silent"],
)
async def test_one_that_does_not_answer(answer: Answer, trouble: str) -> None:
    """What was known of it stays: it may come back as it was."""
    async with asking(by_path({"/v1/models": LLAMA_CPP})) as api:
        before = await look_at(api)
    async with asking(answer) as api:
        found = await look_at(api, before, 0.1 if "within" in trouble else PATIENCE)
    assert found == before._replace(answers=False, silent="within" in trouble, trouble=trouble)


async def test_one_that_is_not_there() -> None:
    """It may come up later."""
    client = create_upstream(ServerConfig(upstream="http://127.0.0.1:9"))
    found = await look_at(ModelServerApi(client))
    await client.aclose()
    assert found == NOT_LOOKED_AT._replace(trouble=look.NOBODY)


async def test_another_program_at_the_same_address_is_known_as_such() -> None:
    """One that was gone is looked at as if for the first time."""
    async with asking(Ollama()) as api:
        before = (await look_at(api))._replace(answers=False)
    async with asking(by_path({"/v1/models": VLLM})) as api:
        assert (await look_at(api, before)).kind is BackendKind.OPENAI


@pytest.mark.parametrize(
    ("path", "kinds"),
    [
        ("/v1/chat/completions", "Ollama LM Studio llama.cpp other"),
        ("/v1/messages/count_tokens", "LM Studio llama.cpp other"),
        ("/api/chat", "Ollama"),
        ("/api/embed", "Ollama"),
        ("/api/v0/chat/completions", "LM Studio"),
        ("/api/v1/chat", "LM Studio"),
        ("/health", "llama.cpp other"),
        ("/", "Ollama LM Studio llama.cpp other"),
    ],
)
def test_who_serves_a_path(path: str, kinds: str) -> None:
    """As the routes of each say; of one of which nothing is known anything is expected."""
    words = {BackendKind.OPENAI: "other"}
    found = [str(words.get(kind, kind)) for kind in BackendKind if speaks(kind, path)]
    assert " ".join(found) == kinds
    assert speaks(None, path)
