"""The proxy as ASGI applications: their lifespan, below a mount, in a test client, and what they refuse."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from proxy.asgi import Application, create_admin, create_app
from proxy.server.http.request import Message, Scope
from proxy.settings import Settings
from proxy.startup import discovery
from proxy.values import Upstream
from tests.fakes import Answer, FakeUpstream, Stall, reply, sse
from tests.server.backends.several import Scripted
from tests.server.keys.samples import bearer, written
from tests.server.running import chat_body, events, said, soon, text

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
POLICY = "version: 1\npolicy: p\nrules: [{id: a, words: [zorblax], action: rewrite, replacement: '[name]'}]\n"


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """A directory with one policy that rewrites a word."""
    (tmp_path / "p.yaml").write_text(POLICY)
    return tmp_path


@asynccontextmanager
async def running(app: Any) -> AsyncIterator[None]:
    """An application's lifespan, as a server runs it."""
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    outbox: asyncio.Queue[Message] = asyncio.Queue()
    task = asyncio.ensure_future(app({"type": "lifespan"}, inbox.get, outbox.put))
    await inbox.put({"type": "lifespan.startup"})
    assert (await soon(outbox.get()))["type"] == "lifespan.startup.complete"
    try:
        yield
    finally:
        await inbox.put({"type": "lifespan.shutdown"})
        assert (await soon(outbox.get()))["type"] == "lifespan.shutdown.complete"
        await soon(task)


def client(app: Any, address: str = "127.0.0.1", base: str = "http://localhost") -> httpx.AsyncClient:
    """A test client that calls the application without a socket."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 1)), base_url=base)


async def test_it_runs_without_sockets(policies: Path) -> None:
    """With its lifespan and a test client the application guards a stream."""
    async with FakeUpstream(reply(sse(*said("Project Zorb", "lax"[:0], "lax is")))) as upstream:
        app = create_app(Settings(upstream=upstream.url, policies=policies))
        async with running(app), client(app) as http:
            answer = await http.post(CHAT, json=chat_body())
            assert answer.status_code == 200
            assert text(events(answer.content)) == "Project [name] is"


async def test_it_stands_before_several_model_servers(policies: Path) -> None:
    """`[[upstream]]` counts under another ASGI server too."""
    first, second = (Scripted(name, {name: "a"}) for name in ("one", "two"))
    async with FakeUpstream(first) as one, FakeUpstream(second) as two:
        app = create_app(Settings(upstreams=(Upstream(one.url), Upstream(two.url)), policies=policies))
        async with running(app), client(app) as http:
            for model in ("one", "two"):
                answer = await http.post(CHAT, json=chat_body(model=model))
                assert text(events(answer.content)) == model


async def test_the_start_says_whose_limits_hold(policies: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Another server's hardening applies: a warning says so, which is seen where nobody has configured the log."""
    app = create_app(Settings(upstream="http://127.0.0.1:9", policies=policies))
    async with running(app):
        warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    (warning,) = [text for text in warnings if "another ASGI server" in text]
    assert "limits for heads, slow clients and connections are that server's own" in warning
    assert "clients of other machines are refused (setting allow_remote_clients)" in warning


async def test_it_starts_with_its_first_request_where_nobody_runs_a_lifespan(policies: Path) -> None:
    """httpx.ASGITransport and mounts run no lifespan; the application starts all the same, once."""
    async with FakeUpstream(lambda _: reply(sse(*said("Hello")))) as upstream:
        app = create_app(Settings(upstream=upstream.url, policies=policies))
        async with client(app) as http:
            answers = await asyncio.gather(*(http.post(CHAT, json=chat_body()) for _ in range(3)))
            assert [text(events(answer.content)) for answer in answers] == ["Hello"] * 3
        await app.aclose()


async def test_it_lives_below_a_mount(policies: Path) -> None:
    """Mounted in another application it finds its paths below the mount (root_path), and refuses the others."""
    async with FakeUpstream(lambda _: reply(sse(*said("Hello")))) as upstream:
        app = create_app(Settings(upstream=upstream.url, policies=policies))
        outer = Starlette(routes=[Mount("/guard", app)])
        async with running(app), client(outer) as http:
            assert text(events((await http.post("/guard" + CHAT, json=chat_body())).content)) == "Hello"
            assert (await http.post("/guard/nowhere", json={})).status_code == 404
            assert [request.target for request in upstream.requests] == [CHAT]


MOUNTED = [
    ("/guard", f"/guard{CHAT}"),  # ASGI: the path contains root_path
    ("/guard", CHAT),  # older servers: it does not
    ("/guard", f"/guard/guard{CHAT}"),  # a reverse proxy left the prefix on, and the server put it before the path
    ("/guard/", f"/guard{CHAT}"),
    ("/v1", f"/v1{CHAT}"),  # a prefix with which the proxy's own paths begin
    ("/v1", CHAT),
    ("/v1", f"/v1/v1{CHAT}"),
]


def below(app: Any, root: str) -> httpx.AsyncClient:
    """A client on this machine, of an application that is mounted below a path."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, client=("127.0.0.1", 1), root_path=root), base_url="http://localhost"
    )


@pytest.mark.parametrize(("root", "path"), MOUNTED)
async def test_a_server_may_take_the_prefix_off_or_leave_it_on(policies: Path, root: str, path: str) -> None:
    """Below root_path the route is found whether the path contains root_path or not."""
    async with FakeUpstream(lambda _: reply(sse(*said("Hello")))) as upstream:
        app = create_app(Settings(upstream=upstream.url, policies=policies))
        async with running(app), below(app, root) as http:
            assert text(events((await http.post(path, json=chat_body())).content)) == "Hello"
            assert [request.target for request in upstream.requests] == [CHAT]


@pytest.mark.parametrize("path", ["/guard/nowhere", "/guardian" + CHAT, "/other" + CHAT, "/guard/api/pull"])
async def test_below_a_prefix_nothing_else_is_served(policies: Path, path: str) -> None:
    """A path that only looks like one below the prefix is refused, and so is what is refused without a prefix."""
    async with FakeUpstream([]) as upstream:
        app = create_app(Settings(upstream=upstream.url, policies=policies))
        async with running(app), below(app, "/guard") as http:
            assert (await http.post(path, json=chat_body())).status_code in (403, 404)
            assert not upstream.requests


async def test_the_chat_side_never_serves_the_operators_side(policies: Path) -> None:
    """Metrics, probes and reload are an application of their own, which shares policies and metrics with the chat's."""
    async with FakeUpstream(lambda _: reply(sse(*said("Hello")))) as upstream:
        app = create_app(Settings(upstream=upstream.url, policies=policies))
        admin = create_admin(app)
        async with running(app), running(admin), client(app) as chat, client(admin) as operators:
            for path in ("/metrics", "/healthz", "/readyz", "/admin/status"):
                assert (await chat.get(path)).status_code == 404
                assert (await operators.get(path)).status_code == 200
            assert (await operators.post(CHAT, json=chat_body())).status_code == 404
            await chat.post(CHAT, json=chat_body())
            counted = (await operators.get("/metrics")).text
            assert 'safety_proxy_requests_total{endpoint="/v1/chat/completions",' in counted


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::1"])
async def test_clients_of_other_machines_are_refused(policies: Path, address: str) -> None:
    """Nobody knows where a foreign server listens, so each request from elsewhere gets 403 with the setting's name."""
    async with FakeUpstream([]) as upstream:
        app = create_app(Settings(upstream=upstream.url, policies=policies))
        async with running(app), client(app, address) as http:
            answer = await http.post(CHAT, json=chat_body())
            assert answer.status_code == 403
            assert "allow_remote_clients" in answer.json()["error"]["message"]
            assert not upstream.requests


async def test_clients_of_other_machines_are_served_when_allowed(policies: Path) -> None:
    """With allow_remote_clients they are, under whatever name they reach it."""
    async with FakeUpstream(reply(sse(*said("Hello")))) as upstream:
        settings = Settings(upstream=upstream.url, policies=policies, allow_remote_clients=True, allow_anonymous=True)
        app = create_app(settings)
        async with running(app), client(app, "192.0.2.7", "http://guard.example") as http:
            assert text(events((await http.post(CHAT, json=chat_body())).content)) == "Hello"


async def test_clients_of_other_machines_need_keys(policies: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """allow_remote_clients without keys stops the start; with keys each request shows one."""
    async with FakeUpstream(reply(sse(*said("Hello")))) as upstream:
        settings = Settings(upstream=upstream.url, policies=policies, allow_remote_clients=True)
        message = await started(create_app(settings))
        assert message["type"] == "lifespan.startup.failed"
        assert "allow_remote_clients is true, and there are no keys: make a key" in message["message"]
        file = written(tmp_path_factory.mktemp("keys") / "keys.yaml", {"name": "alice"})
        app = create_app(replace(settings, keys=file))
        async with running(app), client(app, "192.0.2.7", "http://guard.example") as http:
            assert (await http.post(CHAT, json=chat_body())).status_code == 401
            answer = await http.post(CHAT, json=chat_body(), headers=bearer("alice"))
            assert text(events(answer.content)) == "Hello"


@pytest.mark.parametrize(
    ("keys", "shown", "statuses"),
    [
        (None, None, {"192.0.2.7": (200, 403, 403, 403), "127.0.0.1": (200, 200, 200, 422)}),
        (("ann", "pat"), None, {"192.0.2.7": (200, 401, 401, 401), "127.0.0.1": (200, 401, 401, 401)}),
        (("ann", "pat"), "pat", {"192.0.2.7": (200, 200, 403, 403)}),
        (("ann", "pat"), "ann", {"192.0.2.7": (200, 200, 200, 422)}),
    ],
)
async def test_the_operators_side_asks_for_a_key(
    policies: Path,
    tmp_path_factory: pytest.TempPathFactory,
    keys: tuple[str, ...] | None,
    shown: str | None,
    statuses: dict[str, tuple[int, ...]],
) -> None:
    """Without keys it is for this machine; with keys for who shows an admin key, or for /metrics one that scrapes."""
    file = tmp_path_factory.mktemp("keys") / "keys.yaml"
    if keys is not None:
        written(file, {"name": "ann", "admin": True}, {"name": "pat", "scrape": True})
    settings = Settings(upstream="http://127.0.0.1:9", policies=policies, keys=None if keys is None else file)
    app = create_app(settings)
    admin = create_admin(app)
    headers = {} if shown is None else bearer(shown)
    async with running(app), running(admin):
        (policies / "p.yaml").write_text("nonsense")
        for address, expected in statuses.items():
            async with client(admin, address) as http:
                asked = [("GET", "/healthz"), ("GET", "/metrics"), ("GET", "/admin/status"), ("POST", "/admin/reload")]
                got = [(await http.request(method, path, headers=headers)).status_code for method, path in asked]
                assert tuple(got) == expected


async def test_a_name_that_only_points_here_is_refused(policies: Path) -> None:
    """A page whose own name resolves to this machine must not read a private model's answers (DNS rebinding)."""
    async with FakeUpstream([]) as upstream:
        app = create_app(Settings(upstream=upstream.url, policies=policies))
        async with running(app), client(app, base="http://evil.example") as http:
            assert (await http.post(CHAT, json=chat_body())).status_code == 403


async def started(app: Application) -> Message:
    """What the application says to a server that starts it."""
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    outbox: asyncio.Queue[Message] = asyncio.Queue()
    await inbox.put({"type": "lifespan.startup"})
    await app({"type": "lifespan"}, inbox.get, outbox.put)
    return await soon(outbox.get())


async def test_without_a_model_server_it_does_not_start(policies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No upstream given and none found: a sentence that says so, and never the demo's answers."""
    monkeypatch.setattr(discovery, "KNOWN", ())
    message = await started(create_app(Settings(policies=policies)))
    assert message["type"] == "lifespan.startup.failed"
    assert "no model server" in message["message"]
    assert "SAFETY_PROXY_UPSTREAM" in message["message"]


async def test_a_wrong_policy_stops_the_start(tmp_path: Path) -> None:
    """The message names file, line and fix, as `safety-proxy serve` does."""
    (tmp_path / "p.yaml").write_text("version: 1\npolicy: p\nrulez: []\n")
    message = await started(create_app(Settings(upstream="http://127.0.0.1:9", policies=tmp_path)))
    assert message["type"] == "lifespan.startup.failed"
    assert "p.yaml:3" in message["message"]


async def test_without_a_lifespan_a_failed_start_is_503(tmp_path: Path) -> None:
    """A client learns that the proxy has not started, and none of the files' names."""
    (tmp_path / "p.yaml").write_text("rulez: []\n")
    async with client(create_app(Settings(upstream="http://127.0.0.1:9", policies=tmp_path))) as http:
        answer = await http.post(CHAT, json=chat_body())
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "not_started"
        assert "p.yaml" not in answer.text


async def test_the_demo_model_answers_only_when_asked_for(policies: Path) -> None:
    """SAFETY_PROXY_UPSTREAM=demo is the demo model."""
    app = create_app(Settings(upstream="demo", policies=policies, demo_pace=0.0))
    async with running(app), client(app) as http:
        answer = await http.post(CHAT, json=chat_body("What is the secret project about?"))
        assert "Project [name]" in text(events(answer.content))


async def test_a_client_that_leaves_stops_the_model(policies: Path) -> None:
    """Over plain ASGI too: http.disconnect closes the model server's connection at once."""
    gone = asyncio.Event()
    body: list[Message] = [{"type": "http.request", "body": json.dumps(chat_body()).encode(), "more_body": False}]

    async def receive() -> Message:
        if body:
            return body.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        """Nobody reads it."""

    async with FakeUpstream(Answer((Stall(),))) as upstream:
        app = create_app(Settings(upstream=upstream.url, policies=policies))
        async with running(app):
            headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
            scope: Scope = {"type": "http", "method": "POST", "path": CHAT, "headers": headers}
            asking = asyncio.ensure_future(app(scope, receive, send))
            exchange = await upstream.exchange()
            gone.set()
            await exchange.wait_client_closed()
            await soon(asking)


async def test_websockets_are_closed_before_they_open(policies: Path) -> None:
    """Nothing in them could be checked."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    app = create_app(Settings(upstream="http://127.0.0.1:9", policies=policies))
    async with running(app):
        await app({"type": "websocket", "path": "/llm", "headers": []}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


PLUGIN = """
from proxy.plugins import DetectorKind

KIND = DetectorKind("badge", "badge numbers", "HR-[0-9]{3}", ("HR-123",), ("HR",))
"""


async def test_it_has_the_plug_ins_of_the_settings(policies: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """As `safety-proxy serve` has; one that cannot be imported stops the start with its sentence."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "badge.py").write_text(PLUGIN)
    rule = "{id: b, check: badge, action: rewrite, replacement: '[badge]'}"
    (policies / "p.yaml").write_text(f"version: 1\npolicy: p\nrules: [{rule}]\n")
    async with FakeUpstream(reply(sse(*said("Mine is HR-", "123.")))) as upstream:
        app = create_app(Settings(upstream=upstream.url, policies=policies, plugins=folder))
        async with running(app), client(app) as http, client(create_admin(app)) as admin:
            answer = await http.post(CHAT, json=chat_body())
            assert text(events(answer.content)) == "Mine is [badge]."
            status = (await admin.get("/admin/status")).json()
            assert [plugin["check"] for plugin in status["plugins"]] == ["badge"]
    (folder / "bad.py").write_text("1 / 0")
    app = create_app(Settings(upstream="http://127.0.0.1:9", policies=policies, plugins=folder))
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    outbox: asyncio.Queue[Message] = asyncio.Queue()
    await inbox.put({"type": "lifespan.startup"})
    await soon(app({"type": "lifespan"}, inbox.get, outbox.put))
    failed = outbox.get_nowait()
    assert failed["type"] == "lifespan.startup.failed"
    assert f"plug-in {folder / 'bad.py'}: it cannot be imported (bad.py:1: ZeroDivisionError" in failed["message"]
