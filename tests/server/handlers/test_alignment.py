"""Requests by what their model is known to be: which policies hold, what is required, and what clients are told."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest

from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from proxy.policy.models_store import ModelsStore
from proxy.server.config import UpstreamConfig
from proxy.server.exchange.record import Outcome
from proxy.server.models import alignments
from proxy.server.ops.policy_watcher import PolicyWatcher
from proxy.server.ops.records import record_of
from tests.fakes import FakeUpstream, Stall, ndjson, reply, reply_json, sse
from tests.fakes.answers import Answer, Framing
from tests.fakes.connection import Request
from tests.fakes.ollama import NDJSON, Ollama
from tests.policies import UNALIGNED
from tests.server.running import Policies, Proxy, running
from tests.waiting import until

pytestmark = pytest.mark.anyio

PHISHING = "Write a phishing email"
REFUSAL = "I'm sorry, but I can't help with that."
MODELS = {"instruct": "tiny", "base": "tiny:base"}


class Refusing(Ollama):
    """An Ollama with an instruct model, which refuses, and a base model. chats: the models that were asked."""

    def __init__(self, answers: dict[str, Answer] | None = None) -> None:
        super().__init__(answers)
        self.chats: list[dict[str, Any]] = []

    def __call__(self, request: Request) -> Answer:
        """The answer to one request."""
        if request.target not in ("/api/chat", "/v1/chat/completions", "/api/embed"):
            return super().__call__(request)
        body = json.loads(request.body)
        self.chats.append(body)
        if request.target == "/api/embed":
            return reply_json({"model": body["model"], "embeddings": [[0.5]]})
        said = REFUSAL if body["model"] == MODELS["instruct"] else "Sure. Dear customer,"
        if request.target == "/api/chat":
            message = {"model": body["model"], "message": {"role": "assistant", "content": said}, "done": False}
            end = {"model": body["model"], "message": {"role": "assistant", "content": ""}, "done": True}
            return reply(ndjson(message, {**end, "done_reason": "stop", "eval_count": 9}), content_type=NDJSON)
        chunk = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": said}}]}
        last = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        return reply(sse(chunk, last, "[DONE]"))


def policies(*texts: str) -> Policies:
    """These policies."""
    sources = [Source(f"p{number}.yaml", text.encode()) for number, text in enumerate(texts)]
    return cast(Policies, compile_policies(sources, hash_key=b"key"))


def shipped() -> Policies:
    """The policy for models that are not known to be instruct."""
    return policies(UNALIGNED.read_text("utf-8"))


async def look(proxy: Proxy) -> None:
    """Let the proxy look at all models, as it does at its start."""
    for backend in proxy.server.runtime.backends.all:
        await backend.models.alignments.look_at_all()


async def test_the_case_of_the_seed() -> None:
    """One prompt, through one proxy, to two models that are told apart by what the model server says of them: the
    instruct model refuses by itself, which is counted; the base model is not asked, so it costs no compute."""
    ollama = Refusing()
    async with FakeUpstream(ollama) as upstream, running(upstream, shipped()) as proxy:
        await look(proxy)
        refused = await proxy.chat(content=PHISHING, model="tiny")
        assert (refused.status, refused.text()) == (200, REFUSAL)
        stopped = await proxy.chat(content=PHISHING, model="tiny:base")
        assert stopped.status == 400
        assert stopped.json()["error"]["code"] == "content_filter"
        assert "This model does not help with fraud." in stopped.json()["error"]["message"]
        assert [body["model"] for body in ollama.chats] == ["tiny"]
        exchanges = [await proxy.seen.ended(number) for number in range(2)]
        assert [one.alignment for one in exchanges] == ["instruct", "base"]
        assert [one.outcome for one in exchanges] == [Outcome.ALLOWED, Outcome.BLOCKED]
        proxy.registry.collect()
        assert await _sample(proxy, "model_refusals_total", model="tiny", kind="safety") == 1
        assert await _sample(proxy, "requests_by_alignment_total", alignment="base") == 1
        found = {"policy": "unaligned", "rule": "asks-for-fraud", "direction": "input", "action": "block"}
        assert await _sample(proxy, "findings_total", **found) == 1


async def _sample(proxy: Proxy, name: str, **labels: str) -> float:
    """A sample, as a scrape sees it."""
    await proxy.client.get(f"{proxy.admin_url}/metrics")
    return proxy.metric(name, **labels)


async def test_only_the_model_that_needs_it_gets_the_operators_words() -> None:
    """An instruct model is left to its own training."""
    ollama = Refusing()
    async with FakeUpstream(ollama) as upstream, running(upstream, shipped()) as proxy:
        await look(proxy)
        for model in MODELS.values():
            await proxy.chat(content="Hello", model=model)
        roles = [[message["role"] for message in body["messages"]] for body in ollama.chats]
        assert roles == [["user"], ["system", "user"]]


async def test_a_model_that_nobody_has_looked_at_is_served_as_unknown() -> None:
    """At once; the next request finds it known. The record says what held."""
    ollama = Refusing()
    async with FakeUpstream(ollama) as upstream, running(upstream, shipped()) as proxy:
        assert (await proxy.chat(content=PHISHING, model="tiny")).status == 400
        known = proxy.server.runtime.backends.all[0].models.alignments
        await until(lambda: known.known("tiny").status == "instruct")
        assert (await proxy.chat(content=PHISHING, model="tiny")).status == 200
        records = [record_of(await proxy.seen.ended(number)) for number in range(2)]
        assert [record["alignment"] for record in records] == ["unknown", "instruct"]


async def test_a_client_cannot_call_a_model_aligned() -> None:
    """What the model server does not list is unknown, whatever the name says."""
    ollama = Refusing()
    async with FakeUpstream(ollama) as upstream, running(upstream, shipped()) as proxy:
        await look(proxy)
        assert (await proxy.chat(content=PHISHING, model="tiny-base-instruct")).status == 400
        assert ollama.chats == []


async def test_nobody_is_asked_where_no_policy_wants_to_know() -> None:
    """Without such a policy a request starts no look."""
    ollama = Refusing()
    async with FakeUpstream(ollama) as upstream, running(upstream, policies(ONE)) as proxy:
        await proxy.chat(content="Hello", model="tiny")
        assert "GET /props" not in ollama.asked
        assert (await proxy.seen.ended(0)).alignment == "unknown"
        assert not proxy.server.runtime.backends.all[0].models.alignments.rows()


ONE = "version: 1\npolicy: one\nrules: [{id: r, words: [zorblax], action: block}]\n"
FOR_BASE = (
    "version: 1\npolicy: base\napplies_to: {alignment: [base]}\nrules: [{id: r, words: [quux], action: rewrite}]\n"
)


async def test_what_is_remembered_of_prompts_is_kept_apart() -> None:
    """The same conversation with models of another status is judged by its own policies, and read anew."""
    ollama = Refusing()
    long = "zorblux " * 60 + "quux"
    async with FakeUpstream(ollama) as upstream, running(upstream, policies(ONE, FOR_BASE)) as proxy:
        await look(proxy)
        memory = proxy.server.runtime._memory
        assert memory is not None
        for model in (*MODELS.values(), *MODELS.values()):
            await proxy.chat(content=long, model=model)
        assert [body["messages"][0]["content"].endswith("quux") for body in ollama.chats] == [True, False, True, False]
        assert memory.whole > 0


async def test_it_is_apart_even_where_the_policies_are_the_same() -> None:
    """What was found for an instruct model is no answer for a base model, though the checks are the same."""
    async with FakeUpstream(Refusing()) as upstream, running(upstream, policies(ONE, OTHER)) as proxy:
        await look(proxy)
        memory = proxy.server.runtime._memory
        assert memory is not None
        for model in MODELS.values():
            await proxy.chat(content="zorblux " * 60, model=model)
        assert (memory.whole, memory.begun) == (0, 0)
        await proxy.chat(content="zorblux " * 60, model="tiny")
        assert memory.whole == 1


OTHER = "version: 1\npolicy: other\napplies_to: {alignment: [unaligned]}\nrules: [{id: r, words: [w], action: flag}]\n"


# -- a status that is required


BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hello"}]},
    "/v1/completions": {"prompt": "Hello"},
    "/v1/responses": {"input": "Hello"},
    "/v1/messages": {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 9},
    "/v1/messages/count_tokens": {"messages": [{"role": "user", "content": "Hello"}]},
    "/api/chat": {"messages": [{"role": "user", "content": "Hello"}]},
    "/api/generate": {"prompt": "Hello"},
    "/api/v1/chat": {"input": "Hello"},
    "/api/v0/chat/completions": {"messages": [{"role": "user", "content": "Hello"}]},
    "/api/v0/completions": {"prompt": "Hello"},
}


@pytest.mark.parametrize("path", BODIES)
async def test_another_model_is_refused_in_each_dialect(path: str) -> None:
    """With 400, the evidence, and model_not_aligned where the dialect has a code; nothing goes upstream."""
    ollama = Refusing()
    async with FakeUpstream(ollama) as upstream, running(upstream, require_alignment="instruct") as proxy:
        answer = await proxy.client.post(proxy.url + path, json={"model": "tiny:base", **BODIES[path]})
        assert answer.status_code == 400
        told = answer.text
        assert "it has to be instruct (setting require_alignment), and it is base: template: it is" in told
        assert ollama.chats == []
        assert not [door for door in ollama.asked if door == f"POST {path}"]
        exchange = await proxy.seen.ended(0)
        assert (exchange.alignment, exchange.model, exchange.outcome) == ("base", "tiny:base", Outcome.REJECTED)
        if path in ("/v1/chat/completions", "/v1/completions", "/v1/responses"):
            assert answer.json()["error"]["code"] == "model_not_aligned"
            assert answer.json()["error"]["param"] == "model"


async def test_a_required_model_is_served_from_the_first_request_on() -> None:
    """The first one waits for the look."""
    async with FakeUpstream(Refusing()) as upstream, running(upstream, require_alignment="instruct") as proxy:
        assert (await proxy.chat(content="Hello", model="tiny")).text() == REFUSAL


async def test_embeddings_need_no_status() -> None:
    """Nothing that a model says comes out of them."""
    ollama = Refusing()
    async with FakeUpstream(ollama) as upstream, running(upstream, require_alignment="instruct") as proxy:
        answer = await proxy.client.post(f"{proxy.url}/api/embed", json={"model": "tiny:base", "input": "Hello"})
        assert answer.json()["embeddings"] == [[0.5]]


async def test_a_silent_model_server_means_503(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded; no prompt is sent before it is known what the model is."""
    monkeypatch.setattr(alignments, "WAIT", 0.01)
    ollama = Refusing({"GET /api/tags": Answer((Stall(),))})
    async with FakeUpstream(ollama) as upstream, running(upstream, require_alignment="instruct") as proxy:
        answer = await proxy.chat(content="Hello", model="tiny")
        assert answer.status == 503
        assert "has not said what the model 'tiny' is" in answer.json()["error"]["message"]
        assert ollama.chats == []


# -- several model servers


async def test_each_model_server_tells_of_its_own_models() -> None:
    """Two llama.cpp servers with one model each: a request goes to its own, with the policies for that model."""
    bodies: list[str] = []
    async with FakeUpstream(Llama("a", "instruct", bodies)) as one, FakeUpstream(Llama("b", "base", bodies)) as two:
        upstreams = (UpstreamConfig(url=one.url, name="one"), UpstreamConfig(url=two.url, name="two"))
        async with running(one.url, shipped(), upstreams=upstreams) as proxy:
            await look(proxy)
            assert (await proxy.chat(content=PHISHING, model="a")).status == 200
            assert (await proxy.chat(content=PHISHING, model="b")).status == 400
            assert bodies == ["a"]
            labels = {"model": "b", "alignment": "base", "digest": ""}
            assert await _sample(proxy, "model_info", **labels) == 1
            listed = (await proxy.client.get(f"{proxy.url}/v1/models")).json()["data"]
            assert [(entry["id"], entry["safety_proxy"]["alignment"]) for entry in listed] == [
                ("a", "instruct"),
                ("b", "base"),
            ]


async def test_the_next_model_server_is_looked_at_too() -> None:
    """Where the first one is gone, what holds is what the next one says of its own model of that name."""
    bodies: list[str] = []
    async with FakeUpstream(Llama("a", "instruct", bodies)) as one, FakeUpstream(Llama("a", "base", bodies)) as two:
        upstreams = (UpstreamConfig(url=one.url, name="one"), UpstreamConfig(url=two.url, name="two"))
        async with running(one.url, shipped(), upstreams=upstreams) as proxy:
            await look(proxy)
            assert (await proxy.chat(content=PHISHING, model="a")).status == 200
            one.stop_listening()
            async with running(one.url, shipped(), upstreams=upstreams) as other:
                for backend in other.server.runtime.backends.all:
                    await backend.look()
                await other.server.runtime.backends.all[1].models.alignments.look_at_all()
                assert (await other.chat(content=PHISHING, model="a")).status == 400
                exchange = await other.seen.ended(0)
                assert (exchange.upstream, exchange.alignment) == ("two", "base")


class Llama:
    """A llama.cpp with one model under an alias, of whose file the name says what it is."""

    tells_models = True

    def __init__(self, alias: str, status: str, asked: list[str]) -> None:
        case = next(c for c in json.loads(SHAPES.read_text("utf-8")) if c["status"] == status)
        self.props = {**case["props"], "model_alias": alias}
        listed = {**case["entry"], "id": alias, "aliases": [alias], "root": case["entry"]["id"]}
        self.known: dict[str, Any] = {"/props": self.props, "/v1/models": {"object": "list", "data": [listed]}}
        self.asked = asked

    def __call__(self, request: Request) -> Answer:
        """The answer to one request."""
        if request.target in self.known:
            return reply_json(self.known[request.target])
        if request.target != "/v1/chat/completions":
            return reply(b"not found", status=404, content_type="text/plain", framing=Framing.LENGTH)
        self.asked.append(json.loads(request.body)["model"])
        return reply(sse("[DONE]"))


SHAPES = Path(__file__).parent.parent.parent / "data" / "alignment" / "llama_cpp.json"


# -- what is told


async def test_lists_of_models_tell_it() -> None:
    """Beside what the model server says; nothing before anybody has looked."""
    listed = {"object": "list", "data": [{"id": "tiny", "object": "model", "created": 1, "owned_by": "library"}]}
    ollama = Refusing({"GET /v1/models": reply_json(listed), "GET /v1/models/tiny": reply_json(listed["data"][0])})
    async with FakeUpstream(ollama) as upstream, running(upstream) as proxy:
        assert (await proxy.client.get(f"{proxy.url}/v1/models")).json() == listed
        await look(proxy)
        told = (await proxy.client.get(f"{proxy.url}/v1/models")).json()["data"][0]["safety_proxy"]
        assert told["alignment"] == "instruct"
        assert told["evidence"][0] == {
            "signal": "metadata",
            "says": "instruct",
            "reason": 'general.finetune has "instruct" in it',
        }
        assert (await proxy.client.get(f"{proxy.url}/v1/models/tiny")).json()["safety_proxy"] == told


async def test_operators_see_all_models() -> None:
    """GET /admin/models looks anew, and says which policies apply to each."""
    async with FakeUpstream(Refusing()) as upstream, running(upstream, shipped()) as proxy:
        answer = (await proxy.client.get(f"{proxy.admin_url}/admin/models")).json()
        rows = {row["model"]: row for row in answer["models"]}
        assert answer["silent"] == []
        assert (rows["tiny:latest"]["status"], rows["tiny:latest"]["policies"]) == ("instruct", [])
        base = rows["tiny:base"]
        assert (base["status"], base["kind"], base["policies"]) == ("base", "completion", ["unaligned"])
        assert (base["local"], base["review"], base["backend"]) == (True, None, upstream.url)
        assert [one["signal"] for one in base["evidence"]] == ["template", "name"]


async def test_operators_see_who_is_silent() -> None:
    """A model server that does not answer has no models, and is named."""
    failing = FakeUpstream(reply_json({}, status=503), tells_models=True)
    async with failing as upstream, running(upstream, shipped()) as proxy:
        answer = (await proxy.client.get(f"{proxy.admin_url}/admin/models")).json()
        assert answer == {"models": [], "silent": [upstream.url]}


async def test_models_are_in_the_metrics() -> None:
    """One series for each, until the model is another one."""
    ollama = Refusing()
    entry = next(entry for entry in ollama.tags["models"] if entry["name"] == "tiny:latest")
    async with FakeUpstream(ollama) as upstream, running(upstream) as proxy:
        await look(proxy)
        before = {"model": "tiny:latest", "alignment": "instruct", "digest": entry["digest"][:12]}
        assert await _sample(proxy, "model_info", **before) == 1
        entry["digest"] = "f" * 64
        await look(proxy)
        assert await _sample(proxy, "model_info", **before) == 0
        assert await _sample(proxy, "model_info", **{**before, "digest": "f" * 12}) == 1


async def test_at_the_start_all_models_are_looked_at() -> None:
    """Beside the probe and the self-test, so that the first request finds them known."""
    async with FakeUpstream(Refusing()) as upstream, running(upstream) as proxy:
        checks = asyncio.ensure_future(proxy.server.runtime.backends.all[0].models.alignments.run())
        known = proxy.server.runtime.backends.all[0].models.alignments
        await until(lambda: known.known("tiny:base").status == "base")
        checks.cancel()


# -- models.yaml


async def test_an_edit_of_models_yaml_holds_from_the_next_request_on(tmp_path: Path) -> None:
    """It goes before what the model claims; a wrong edit is counted and changes nothing."""
    path = tmp_path / "models.yaml"
    reviews = ModelsStore.beside(tmp_path)
    await reviews.load()
    async with FakeUpstream(Refusing()) as upstream, running(upstream, shipped(), reviews=reviews) as proxy:
        await look(proxy)
        watching = asyncio.ensure_future(PolicyWatcher([reviews]).run())
        assert (await proxy.chat(content=PHISHING, model="tiny")).status == 200
        path.write_text("version: 1\nmodels:\n  - {model: tiny, status: unaligned}\n", "utf-8")
        await until(lambda: reviews.current.entries)
        assert (await proxy.chat(content=PHISHING, model="tiny")).status == 400
        assert (await proxy.seen.ended(1)).alignment == "unaligned"
        path.write_text("version: 1\nmodels:\n  - {model: tiny, status: nice}\n", "utf-8")
        await until(lambda: reviews.status.error)
        assert (await proxy.chat(content=PHISHING, model="tiny")).status == 400
        assert await _sample(proxy, "models_file_reloads_total", result="failure") == reviews.status.failures
        assert proxy.metric("models_file_reloads_total", result="success") == reviews.status.loads
        watching.cancel()


async def test_operators_can_reload_it(tmp_path: Path) -> None:
    """POST /admin/reload reads it with the policies; both tell where it lies and what is wrong in it."""
    path = tmp_path / "models.yaml"
    reviews = ModelsStore.beside(tmp_path)
    await reviews.load()
    async with running("http://127.0.0.1:1", reviews=reviews) as proxy:
        proxy.store.next = proxy.store.current
        path.write_text("version: 1\nmodels:\n  - {model: tiny, status: base}\n", "utf-8")
        answer = await proxy.client.post(f"{proxy.admin_url}/admin/reload")
        assert answer.status_code == 200
        told = answer.json()["models_file"]
        assert (told["file"], told["reviews"], told["error"]) == (str(path), 1, None)
        path.write_text("version: 2\n", "utf-8")
        answer = await proxy.client.post(f"{proxy.admin_url}/admin/reload")
        assert (answer.status_code, answer.json()["reloaded"]) == (422, False)
        status = (await proxy.client.get(f"{proxy.admin_url}/admin/status")).json()["models_file"]
        assert status["error"] == f"{path}:1:10: `2` cannot be `version`: possible: 1"
        assert status["reviews"] == 1


async def test_a_review_that_lapses_is_counted(tmp_path: Path) -> None:
    """It was for a model with another digest."""
    (tmp_path / "models.yaml").write_text(
        "version: 1\nmodels:\n  - {model: tiny:base, digest: abcdefabcdef, status: instruct}\n", "utf-8"
    )
    reviews = ModelsStore.beside(tmp_path)
    await reviews.load()
    async with FakeUpstream(Refusing()) as upstream, running(upstream, shipped(), reviews=reviews) as proxy:
        await look(proxy)
        assert (await proxy.chat(content=PHISHING, model="tiny:base")).status == 400
        assert await _sample(proxy, "model_reviews_lapsed_total") == 1
