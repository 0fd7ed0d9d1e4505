"""The route table: every path that is answered, and each of them tried."""

from __future__ import annotations

import pytest

from proxy.server.routing.routes import TABLE, Access, Route, RouteTable
from tests.fakes import FakeUpstream, reply, reply_json
from tests.phrases import block, flag
from tests.server.running import Named, Policies, head, running

GUARDED = [route for route in TABLE if route.access is Access.GUARDED]
SHOWN = [route for route in TABLE if route.access is Access.READ_ONLY]
CLOSED = [route for route in TABLE if route.access in (Access.ADMIN, Access.REFUSED)]
FORBIDDEN = Policies(input=[block("FORBIDDEN")], output=[block("FORBIDDEN")])

PROMPTS = {
    "messages": [{"role": "user", "content": "a FORBIDDEN prompt"}],
    "prompt": "a FORBIDDEN prompt",
    "input": "a FORBIDDEN prompt",
}
"""For each kind of request the key that holds the prompt."""
PROMPT_KEYS = {
    "/v1/completions": "prompt",
    "/api/v0/completions": "prompt",
    "/api/v1/chat": "input",
    "/api/generate": "prompt",
    "/api/embeddings": "prompt",
    "/v1/embeddings": "input",
    "/v1/responses": "input",
    "/api/embed": "input",
    "/api/v0/embeddings": "input",
}


def name(route: Route) -> str:
    """A row, for test ids."""
    return f"{route.method} {route.path}"


def test_every_row_is_complete() -> None:
    """Each row has a sentence for people, and what its access needs."""
    for route in TABLE:
        assert route.note.endswith("."), name(route)
        assert (route.dialect is not None) == (route.access is Access.GUARDED), name(route)
        assert (route.read_only is not None) == (route.access is Access.READ_ONLY), name(route)
        assert "{" not in route.path.rstrip("}").rpartition("{")[0], name(route)


def test_no_path_stands_twice() -> None:
    """A path and method that stand twice are an error when the table is made."""
    RouteTable()
    row = Route("GET", "/x", Access.REFUSED, "No.")
    with pytest.raises(ValueError, match="two rows for GET /x"):
        RouteTable([row, row])


@pytest.mark.parametrize(
    ("method", "path", "found", "rest"),
    [
        ("GET", "/v1/models", "/v1/models", ""),
        ("HEAD", "/v1/models", "/v1/models", ""),
        ("GET", "/v1/models/a/b:c", "/v1/models/{model}", "a/b:c"),
        ("GET", "/v1/models/", None, ""),
        ("GET", "/v1/modelsx", None, ""),
        ("HEAD", "/api/blobs/sha256:1", "/api/blobs/{digest}", "sha256:1"),
        ("HEAD", "/v1/chat/completions", None, ""),
        ("get", "/v1/models", None, ""),
    ],
)
def test_finding(method: str, path: str, found: str | None, rest: str) -> None:
    """A path is found exactly, or by its beginning where the row ends with a name; HEAD where GET is."""
    result = RouteTable().find(method, path)
    assert (result.route.path if result.route else None) == found
    assert result.rest == rest


@pytest.mark.anyio
@pytest.mark.parametrize("route", GUARDED, ids=name)
async def test_every_guarded_path_blocks(route: Route) -> None:
    """On every guarded path a forbidden prompt is a 400 in the shape of its dialect, and nothing goes upstream."""
    key = PROMPT_KEYS.get(route.path, "messages")
    body = {"model": "tiny", "max_tokens": 5, key: PROMPTS[key]}
    async with FakeUpstream([]) as upstream, running(upstream, FORBIDDEN) as proxy, proxy.wire() as wire:
        await wire.post(route.path, body)
        answer = await wire.answer()
        assert answer.status == 400, answer.body
        assert answer.headers["x-should-retry"] == "false"
        error = answer.json()["error"]
        assert isinstance(error, str) == route.path.startswith(("/api/chat", "/api/generate", "/api/embed"))
        assert "Stopped by test." in (error if isinstance(error, str) else error["message"])
        assert upstream.connections == 0


@pytest.mark.anyio
@pytest.mark.parametrize("route", CLOSED, ids=name)
async def test_every_closed_path_is_closed(route: Route) -> None:
    """Model management and what cannot be guarded is refused with the row's own sentence, and nothing goes upstream."""
    path = route.path.partition("{")[0] + ("x" if "{" in route.path else "")
    async with FakeUpstream([]) as upstream, running(upstream) as proxy:
        answer = await proxy.client.request(route.method, proxy.url + path)
        assert answer.status_code == 404
        if route.method != "HEAD":
            assert route.note in answer.text
        assert upstream.connections == 0


@pytest.mark.anyio
@pytest.mark.parametrize("route", SHOWN, ids=name)
async def test_every_read_only_path_shows_what_is_known(route: Route) -> None:
    """On every read-only path only what is known of the model server's answer is shown; its own errors are not."""
    model = {"id": "tiny", "name": "tiny", "key": "tiny", "system": "a secret", "secret": "a secret"}
    whole: dict[str, object] = {
        **model,
        "data": [model],
        "models": [model],
        "version": "1.2.3",
        "status": "ok",
        "template": "a secret",
    }
    whole |= {"cloud": {"disabled": False, "source": "none", "url": "a secret"}}
    path = route.path.replace("{model}", "tiny")
    body = b'{"model": "tiny"}' if route.method == "POST" else b""
    answers = [reply_json(whole), reply_json({"error": "a secret"}, status=500)]
    async with FakeUpstream(answers) as upstream, running(upstream) as proxy:
        good, bad = [
            await proxy.send(head(path, f"content-length: {len(body)}", method=route.method) + body) for _ in range(2)
        ]
        assert good.status == 200, good.body
        assert b"secret" not in good.body
        assert bad.status == 500
        assert b"secret" not in bad.body
        assert [request.target for request in upstream.requests] == [path, path]


@pytest.mark.anyio
async def test_the_ollama_commands_first_question() -> None:
    """GET and HEAD / tell that Ollama runs, as the ollama command wants to hear it."""
    answers = reply(b"Ollama is running", content_type="text/plain; charset=utf-8")
    async with FakeUpstream(answers) as upstream, running(upstream) as proxy:
        answer = await proxy.client.get(proxy.url)
        assert (answer.text, answer.headers["content-type"]) == ("Ollama is running", "text/plain; charset=utf-8")
        assert (await proxy.client.head(proxy.url)).status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize("allowed", [True, False])
async def test_a_models_system_prompt_is_shown_only_by_a_setting(allowed: bool) -> None:
    """POST /api/show tells a model's system prompt and template only when a setting allows it."""
    shown = {"system": "Be kind.", "template": "{{ .Prompt }}", "details": {"family": "llama"}}
    async with FakeUpstream(reply_json(shown)) as upstream, running(upstream, show_prompts=allowed) as proxy:
        answer = await proxy.client.post(f"{proxy.url}/api/show", json={"name": "tiny", "model": ""})
        assert answer.json() == (shown if allowed else {"details": {"family": "llama"}})
        assert upstream.requests[0].json() == {"model": "tiny", "verbose": False}
        refused = await proxy.client.post(f"{proxy.url}/api/show", json={"model": 5})
        assert refused.status_code == 400
        assert isinstance(refused.json()["error"], str)


@pytest.mark.anyio
async def test_moderations() -> None:
    """POST /v1/moderations answers from the loaded policies, of both directions, and asks nobody."""
    policies = Policies(input=[block("BAD")], output=[flag("so so")], policies=[Named("test")])
    async with FakeUpstream([]) as upstream, running(upstream, policies) as proxy:
        answer = await proxy.client.post(f"{proxy.url}/v1/moderations", json={"input": ["fine", "BAD", "so so"]})
        results = answer.json()["results"]
        assert [result["flagged"] for result in results] == [False, True, True]
        assert results[1]["categories"]["test/block.BAD"]
        assert results[2]["categories"]["test/flag.so so"]
        assert answer.headers["x-safety-proxy-policy"] == "revision-1"
        assert (await proxy.client.post(f"{proxy.url}/v1/moderations", json={"input": 7})).status_code == 400
        assert upstream.connections == 0


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions"])
async def test_the_model_servers_own_path_comes_first(path: str) -> None:
    """An upstream whose URL has a path is asked below that path."""
    async with FakeUpstream(reply_json({"data": []})) as upstream, running(f"{upstream.url}/below/") as proxy:
        method = "GET" if path == "/v1/models" else "POST"
        await proxy.client.request(method, proxy.url + path, json={"messages": [{"role": "user", "content": "Hi"}]})
        assert upstream.requests[0].target == f"/below{path}"
