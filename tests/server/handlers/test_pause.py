"""The kill switch in a running server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy.core.types import Action
from proxy.errors import SettingsError
from proxy.server.state.directory import StateDirectory
from proxy.server.state.pause import FILE, MESSAGE, Pause
from tests.checks.questions import asking
from tests.fakes import Answer, FakeUpstream, Stall, ndjson, reply, reply_json, sse
from tests.phrases import rewrite
from tests.server.asks.scripted import Scripted
from tests.server.running import Policies, Proxy, chat_body, chunk, running, said
from tests.waiting import until

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
SENTENCE = "Back at nine."
BUSY = reply([*sse(chunk("Hello")), Stall()])


async def pause(proxy: Proxy, **body: Any) -> dict[str, Any]:
    """What the admin listener says to it."""
    answer = await proxy.client.post(f"{proxy.admin_url}/admin/pause", json=body)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(
    ("path", "said_as"),
    [
        (CHAT, lambda body: body["error"]["message"]),
        ("/v1/messages", lambda body: body["error"]["message"]),
        ("/api/chat", lambda body: body["error"]),
        ("/api/v1/chat", lambda body: body["error"]["message"]),
        ("/v1/embeddings", lambda body: body["error"]["message"]),
    ],
)
async def test_generation_is_refused_with_the_operators_sentence(path: str, said_as: Any) -> None:
    """503 in the shape of the path, and programs are told not to try again. Lists are shown all the same."""
    async with FakeUpstream(lambda _: reply_json({"data": []})) as upstream, running(upstream) as proxy:
        await pause(proxy, message=SENTENCE)
        answer = await proxy.client.post(proxy.url + path, json=chat_body())
        assert answer.status_code == 503
        assert said_as(answer.json()) == SENTENCE
        assert answer.headers["x-should-retry"] == "false"
        assert not upstream.requests
        assert (await proxy.client.get(f"{proxy.url}/v1/models")).status_code == 200
        assert proxy.metric("paused") == 1
        assert proxy.metric("paused_requests_total", what="refused") == 1
        assert (await proxy.client.get(f"{proxy.admin_url}/admin/status")).json()["paused"] == SENTENCE


async def test_it_serves_again() -> None:
    """After resume everything is as before."""
    async with FakeUpstream(reply(sse(*said("Hello")))) as upstream, running(upstream) as proxy:
        assert (await pause(proxy)) == {"paused": MESSAGE, "survives_restart": False}
        assert (await proxy.chat()).status == 503
        assert (await proxy.client.post(f"{proxy.admin_url}/admin/resume")).json()["paused"] is None
        assert (await proxy.chat()).text() == "Hello"
        assert proxy.metric("paused") == 0


async def test_a_running_stream_ends_as_a_block_does() -> None:
    """What was said stays, the notice follows, then the reason and the end; the model server's connection is closed."""
    async with FakeUpstream(BUSY) as upstream, running(upstream) as proxy, proxy.wire() as wire:
        await wire.post(CHAT, chat_body())
        await wire.until(b"Hello")
        await pause(proxy, message=SENTENCE)
        answer = await wire.answer()
        exchange = await proxy.exchange()
        assert answer.complete
        assert answer.text() == f"Hello\n\n{SENTENCE} (request {exchange.id})"
        assert answer.events()[-1] == "[DONE]"
        assert answer.events()[-2]["choices"][0]["finish_reason"] == "content_filter"
        await (await upstream.exchange()).wait_client_closed()
        assert exchange.outcome == "rejected"
        assert proxy.metric("paused_requests_total", what="ended") == 1


async def test_held_text_is_decided_first() -> None:
    """What waited for its verdict is shown, or rewritten, before the notice."""
    policies = Policies(output=[rewrite("Hello there", "[x]")])
    answers = reply([*sse(chunk("Well. "), chunk("Hello")), Stall()])
    async with FakeUpstream(answers) as upstream, running(upstream, policies) as proxy, proxy.wire() as wire:
        await wire.post(CHAT, chat_body())
        await wire.until(b"Well. ")
        await until(lambda: any(exchange.held_since for exchange in proxy.seen.begun))
        await pause(proxy, message=SENTENCE)
        answer = await wire.answer()
        assert answer.text().startswith(f"Well. Hello\n\n{SENTENCE}")


async def test_nobody_waits_for_a_guard() -> None:
    """What a guard model has not judged yet is not shown, and the end comes at once."""
    answers = reply([*sse(*said("One. Two.")[:-2]), Stall()])
    policies = Policies(output=[asking(Action.BLOCK)])
    async with FakeUpstream(answers) as upstream, running(upstream, policies) as proxy, proxy.wire() as wire:
        guard = proxy.server.runtime.desk.answerers[str] = Scripted()
        await wire.post(CHAT, chat_body())
        await guard.was_asked("One.", " Two.")
        guard.say("One.")
        await wire.until(b"One.")
        await pause(proxy, message=SENTENCE)
        answer = await wire.answer()
        assert answer.complete
        assert answer.text().startswith(f"One.\n\n{SENTENCE}")
        assert answer.events()[-1] == "[DONE]"
        assert b"Two" not in answer.body
        await guard.until(lambda: guard.cancelled == [" Two."])


async def test_an_ollama_stream_ends_with_a_last_line() -> None:
    """In that dialect too: `done`, behind the notice."""
    first = {"model": "tiny", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": "Hi"}}
    answers = reply([*ndjson(first | {"done": False}), Stall()])
    async with FakeUpstream(answers) as upstream, running(upstream) as proxy, proxy.wire() as wire:
        await wire.post("/api/chat", chat_body())
        await wire.until(b"Hi")
        await pause(proxy, message=SENTENCE)
        body = (await wire.answer()).body
        assert SENTENCE.encode() in body
        assert b'"done":true' in body.splitlines()[-1]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_without_an_answer_gets_503(stream: bool) -> None:
    """Also one that does not stream, whatever of its answer has come."""
    answers = Answer((Stall(),)) if stream else BUSY
    async with FakeUpstream(answers) as upstream, running(upstream) as proxy, proxy.wire() as wire:
        await wire.post(CHAT, chat_body(stream=stream))
        await upstream.exchange()
        await pause(proxy, message=SENTENCE)
        answer = await wire.answer()
        assert (answer.status, answer.json()["error"]["message"]) == (503, SENTENCE)


async def test_a_stream_that_was_only_kept_alive_gets_an_error_event() -> None:
    """Its head has been sent, and nothing of an answer."""
    async with (
        FakeUpstream(Answer((Stall(),))) as upstream,
        running(upstream, keep_alive=0.02) as proxy,
        proxy.wire() as wire,
    ):
        await wire.post(CHAT, chat_body())
        await wire.until(b":")
        await pause(proxy, message=SENTENCE)
        answer = await wire.answer()
        assert answer.complete
        assert answer.events()[-1]["error"]["message"] == SENTENCE


async def test_a_restart_does_not_resume(tmp_path: Path) -> None:
    """With state_dir a pause outlives the process, and so does its sentence; resume does too."""
    state = StateDirectory.open(tmp_path / "state")
    async with FakeUpstream([]) as upstream, running(upstream, state=state) as proxy:
        assert (await pause(proxy, message=SENTENCE))["survives_restart"]
    async with FakeUpstream([]) as upstream, running(upstream, state=StateDirectory.open(state.path)) as proxy:
        assert (await proxy.chat()).json()["error"]["message"] == SENTENCE
        await proxy.client.post(f"{proxy.admin_url}/admin/resume")
    assert Pause(StateDirectory.open(state.path)).message is None


async def test_a_disk_that_is_full_does_not_undo_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It holds in this process; that it will not survive a restart is said in the response and in the log."""
    state = StateDirectory.open(tmp_path / "state")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(StateDirectory, "write", full)
    async with FakeUpstream([]) as upstream, running(upstream, state=state) as proxy:
        assert not (await pause(proxy))["survives_restart"]
        assert (await proxy.chat()).status == 503
    assert "it ends with a restart" in caplog.text


@pytest.mark.parametrize("content", ["", "{}", '{"message": 1, "since": 2}', '{"message": "x"}'])
def test_a_file_that_cannot_be_read_stops_the_start(tmp_path: Path, content: str) -> None:
    """Nobody knows whether it was a pause, so nothing is served."""
    state = StateDirectory.open(tmp_path / "state")
    (state.path / FILE).write_text(content)
    with pytest.raises(SettingsError, match="is not what the proxy has written: remove it"):
        Pause(state)


@pytest.mark.parametrize("body", [b"[]", b"nonsense", b'{"message": 5}'])
async def test_a_wrong_body_pauses_nothing(body: bytes) -> None:
    """400 with what is wanted."""
    async with FakeUpstream([]) as upstream, running(upstream) as proxy:
        answer = await proxy.client.post(f"{proxy.admin_url}/admin/pause", content=body)
        assert answer.status_code == 400
        assert proxy.metric("paused") == 0
