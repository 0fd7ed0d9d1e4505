"""Keys in a running server: who is served, with which models and policies, and what is remembered of whom."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.policy.store import PolicyStore
from proxy.server.app import Server
from proxy.server.config import ServerConfig, UpstreamConfig
from proxy.server.keys.store import KeyStore
from proxy.server.ops.records import record_of
from tests.fakes import FakeUpstream, reply, reply_json, sse
from tests.phrases import rewrite
from tests.plain_http import async_client
from tests.server.backends.several import Scripted
from tests.server.keys.samples import bearer, secret, written
from tests.server.running import UNHURRIED, Policies, chat_body, running, said

pytestmark = pytest.mark.anyio

ANSWER = reply(sse(*said("Hello")))
LONG = "A long question about nothing in particular. " * 20


def store(path: Path, *specs: dict[str, Any]) -> KeyStore:
    """Keys in force."""
    found = KeyStore(written(path / "keys.yaml", *(specs or ({"name": "alice"}, {"name": "bob"}))))
    found.load()
    return found


def shown(name: str) -> str:
    """A header line with a key."""
    return f"authorization: Bearer {secret(name)}"


def openai(body: Any) -> tuple[str, str]:
    """Type and message of an error in OpenAI's shape."""
    assert body["error"]["code"] == "invalid_api_key"
    return body["error"]["type"], body["error"]["message"]


def anthropic(body: Any) -> tuple[str, str]:
    """The same in Anthropic's."""
    assert body["type"] == "error"
    return body["error"]["type"], body["error"]["message"]


def ollama(body: Any) -> tuple[str, str]:
    """The same in Ollama's, which has no type."""
    return "", body["error"]


def lmstudio(body: Any) -> tuple[str, str]:
    """The same in LM Studio's."""
    return body["error"]["type"], body["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "shape", "kind"),
    [
        ("POST", "/v1/chat/completions", openai, "authentication_error"),
        ("POST", "/v1/responses", openai, "authentication_error"),
        ("POST", "/v1/messages", anthropic, "authentication_error"),
        ("POST", "/api/chat", ollama, ""),
        ("POST", "/api/v1/chat", lmstudio, "invalid_request"),
        ("GET", "/v1/models", openai, "authentication_error"),
        ("GET", "/api/tags", ollama, ""),
        ("POST", "/v1/moderations", openai, "authentication_error"),
        ("GET", "/", openai, "authentication_error"),
    ],
)
async def test_without_a_valid_key_nothing_is_served(
    tmp_path: Path, method: str, path: str, shape: Callable[[Any], tuple[str, str]], kind: str
) -> None:
    """401 in the shape of the path, whether the key is missing or wrong; nothing reaches the model server."""
    async with FakeUpstream([]) as upstream, running(upstream, keys=store(tmp_path)) as proxy:
        for headers, message in (({}, "A key is needed"), ({"x-api-key": "wrong"}, "This key is not valid here")):
            answer = await proxy.client.request(method, proxy.url + path, json=chat_body(), headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            told = shape(answer.json())
            assert told[0] == kind
            assert told[1].startswith(message)
        assert not upstream.requests


async def test_a_preflight_needs_no_key(tmp_path: Path) -> None:
    """Browsers send none with it."""
    headers = {"origin": "http://localhost:3000", "access-control-request-method": "POST"}
    async with FakeUpstream([]) as upstream, running(upstream, keys=store(tmp_path)) as proxy:
        answer = await proxy.client.options(f"{proxy.url}/v1/chat/completions", headers=headers)
        assert answer.status_code == 204


async def test_a_key_is_served_named_and_not_passed_on(tmp_path: Path) -> None:
    """The record has the key's name; the model server gets neither header."""
    async with FakeUpstream(lambda _: ANSWER) as upstream, running(upstream, keys=store(tmp_path)) as proxy:
        assert (await proxy.chat(shown("alice"))).text() == "Hello"
        assert (await proxy.chat(f"x-api-key: {secret('bob')}")).text() == "Hello"
        for index, name in enumerate(("alice", "bob")):
            assert record_of(await proxy.exchange(index))["key"] == name
        for request in upstream.requests:
            assert not {"authorization", "x-api-key"} & {key.lower() for key, _ in request.headers}


async def test_a_key_is_passed_on_where_that_is_set(tmp_path: Path) -> None:
    """With pass_authorization, as without keys."""
    keys = store(tmp_path)
    async with FakeUpstream(ANSWER) as upstream, running(upstream, keys=keys, pass_authorization=True) as proxy:
        await proxy.chat(shown("alice"))
        assert secret("alice") in str(upstream.requests[0].headers)


MODELS = {"name": "alice", "models": ["tiny*"]}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat", "/v1/messages"])
async def test_a_model_that_is_not_for_the_key(tmp_path: Path, path: str) -> None:
    """404 with a sentence, in the shape of the path; another spelling of the name changes nothing."""
    body = {**chat_body(), "max_tokens": 5}
    async with FakeUpstream([]) as upstream, running(upstream, keys=store(tmp_path, MODELS)) as proxy:
        for name in ("huge", "HUGE:latest", "library/huge"):
            answer = await proxy.client.post(proxy.url + path, json={**body, "model": name}, headers=bearer("alice"))
            assert answer.status_code == 404
            assert "is not offered to this key" in answer.text
        assert not upstream.requests


@pytest.mark.parametrize(("listed", "status"), [("huge", 404), ("tiny-7b", 200)])
async def test_a_name_that_another_model_answers_to(tmp_path: Path, listed: str, status: int) -> None:
    """llama.cpp with one model answers to any name: an allowed name is no way to a model that is not allowed."""
    server = Scripted("llama", {listed: ""}, kind="llamacpp")
    async with FakeUpstream(server) as upstream, running(upstream, keys=store(tmp_path, MODELS)) as proxy:
        body = {**chat_body(), "model": "tiny"}
        answer = await proxy.client.post(f"{proxy.url}/v1/chat/completions", json=body, headers=bearer("alice"))
        assert answer.status_code == status
        asked = [path for path in server.paths if path == "POST /v1/chat/completions"]
        assert len(asked) == (status == 200)


async def test_lists_show_the_models_of_the_key(tmp_path: Path) -> None:
    """And a description of another model is not there."""
    listed = {"object": "list", "data": [{"id": "tiny:1b"}, {"id": "huge"}]}
    keys = store(tmp_path, MODELS, {"name": "bob"})
    async with FakeUpstream(lambda _: reply_json(listed)) as upstream, running(upstream, keys=keys) as proxy:
        for name, models in (("alice", ["tiny:1b"]), ("bob", ["tiny:1b", "huge"])):
            answer = await proxy.client.get(f"{proxy.url}/v1/models", headers=bearer(name))
            assert [model["id"] for model in answer.json()["data"]] == models
        for method, path, body in (("GET", "/v1/models/huge", None), ("POST", "/api/show", {"model": "huge"})):
            refused = await proxy.client.request(method, proxy.url + path, json=body, headers=bearer("alice"))
            assert refused.status_code == 404
        assert len(upstream.requests) == 2


async def test_no_error_names_models_of_other_keys(tmp_path: Path) -> None:
    """A model that nobody has: 404 with the names that the key may use."""
    listed = {"object": "list", "data": [{"id": "tiny:1b"}, {"id": "huge"}]}
    keys = store(tmp_path, MODELS)
    async with FakeUpstream(lambda _: reply_json(listed), tells_models=True) as upstream:
        rows = (UpstreamConfig(url=upstream.url, models=("tiny:1b", "huge")),)
        async with running(upstream, keys=keys, upstreams=rows) as proxy:
            await proxy.server.runtime.backends.all[0].look()
            answer = await proxy.chat(shown("alice"), model="tiny:9b")
            assert answer.status == 404
            assert answer.json()["error"]["message"] == "model 'tiny:9b' not found; there are: tiny:1b"


async def test_a_body_that_is_too_large_for_the_key(tmp_path: Path) -> None:
    """413, with the key's own bound."""
    keys = store(tmp_path, {"name": "alice", "limits": {"max_body": 300}}, {"name": "bob"})
    async with FakeUpstream(ANSWER) as upstream, running(upstream, keys=keys) as proxy:
        refused = await proxy.chat(shown("alice"), content="x" * 300)
        assert (refused.status, refused.json()["error"]["code"]) == (413, "body_too_large")
        assert "larger than 300 bytes" in refused.json()["error"]["message"]
        assert (await proxy.chat(shown("bob"), content="x" * 300)).status == 200


async def test_keys_are_read_again_while_requests_are_served(tmp_path: Path) -> None:
    """After POST /admin/reload the new keys count; a wrong file is told, and the keys before it stay."""
    keys = store(tmp_path, {"name": "alice"})
    async with FakeUpstream(lambda _: ANSWER) as upstream, running(upstream, keys=keys) as proxy:
        proxy.store.next = Policies()
        written(keys.path, {"name": "bob"})
        assert (await proxy.client.post(f"{proxy.admin_url}/admin/reload")).json()["reloaded"]
        assert ((await proxy.chat(shown("alice"))).status, (await proxy.chat(shown("bob"))).status) == (401, 200)
        keys.path.write_text("version: 1\nkeys: yes\n")
        answer = await proxy.client.post(f"{proxy.admin_url}/admin/reload")
        assert answer.status_code == 422
        assert "`keys` has to be a list" in answer.json()["keys"]["error"]
        assert (await proxy.chat(shown("bob"))).status == 200
        status = (await proxy.client.get(f"{proxy.admin_url}/admin/status")).json()["keys"]
        assert status["loaded"] == [{"name": "bob", "admin": False, "scrape": False, "expired": False}]


async def test_what_is_remembered_of_a_key_is_apart_from_others(tmp_path: Path) -> None:
    """Nobody can tell by the time whether another key has sent a text: it is read anew."""
    policies = Policies(input=[rewrite("secret", "[x]")])
    keys = store(tmp_path)
    async with FakeUpstream(lambda _: ANSWER) as upstream, running(upstream, policies, keys=keys) as proxy:
        known = []
        for name in ("alice", "bob", "alice"):
            await proxy.chat(shown(name), content=LONG)
            known.append(proxy.metric("prompt_memory_lookups_total", known="all"))
        assert known == [0, 0, 1]


POLICY = "version: 1\npolicy: {name}\n{scope}rules: [{{id: a, words: [{word}], action: block}}]\n"


async def with_policies(
    folder: Path, keys: KeyStore, ask: Callable[[Any, Server, FakeUpstream], Awaitable[None]]
) -> None:
    """Run a server with real policies: of everybody, of alice's key, and one that is for keys that are named there."""
    policies = folder / "policies"
    policies.mkdir()
    (policies / "all.yaml").write_text(POLICY.format(name="all", scope="", word="zorblax"))
    scope = "applies_to: {keys: [alice]}\n"
    (policies / "alice.yaml").write_text(POLICY.format(name="alice-only", scope=scope, word="kwyjibo"))
    scope = "applies_to: {keys: [nobody], models: [none]}\n"
    (policies / "strict.yaml").write_text(POLICY.format(name="strict", scope=scope, word="florbit"))
    policies_store = PolicyStore(policies, hash_key=b"key")
    await policies_store.load()
    async with FakeUpstream(lambda _: ANSWER) as upstream:
        config = ServerConfig(upstream=upstream.url, listen=("127.0.0.1", 0), admin=None, grace=0.0, **UNHURRIED)
        server = Server(config, policies_store, keys=keys)
        async with server, async_client() as client:
            await ask(client, server, upstream)


async def test_policies_apply_to_keys(tmp_path: Path) -> None:
    """`applies_to.keys` names the keys of a policy; `policies` of a key adds to those that apply, and takes none."""
    keys = store(tmp_path, {"name": "alice"}, {"name": "bob", "policies": ["strict"]}, {"name": "carl"})

    async def ask(client: Any, server: Server, _: FakeUpstream) -> None:
        host, port = server.bound.listen
        blocked = {}
        for name in ("alice", "bob", "carl"):
            for word in ("zorblax", "kwyjibo", "florbit"):
                answer = await client.post(
                    f"http://{host}:{port}/v1/chat/completions", json=chat_body(word), headers=bearer(name)
                )
                blocked[name, word] = answer.status_code == 400
        assert {pair for pair, found in blocked.items() if found} == {
            *((name, "zorblax") for name in ("alice", "bob", "carl")),
            *(("alice", "kwyjibo"), ("bob", "florbit")),
        }

    await with_policies(tmp_path, keys, ask)


async def test_a_key_whose_policy_is_not_loaded_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """503 and a line in the log, once: its requests must not pass without the policy."""
    keys = store(tmp_path, {"name": "alice", "policies": ["gone"]})

    async def ask(client: Any, server: Server, upstream: FakeUpstream) -> None:
        host, port = server.bound.listen
        for path in ("/v1/chat/completions", "/v1/moderations", "/v1/chat/completions"):
            body = chat_body() if path.endswith("completions") else {"input": "x"}
            answer = await client.post(f"http://{host}:{port}{path}", json=body, headers=bearer("alice"))
            assert answer.status_code == 503
            assert answer.headers["x-should-retry"] == "false"
        assert not upstream.requests

    await with_policies(tmp_path, keys, ask)
    assert caplog.text.count("its policy gone is not loaded") == 1
