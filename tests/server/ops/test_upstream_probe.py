"""Whether the model server answers, and what /readyz makes of it."""

from __future__ import annotations

import pytest

from proxy.server.backends import look
from tests.fakes import Answer, FakeUpstream, Request, reply, reply_json, sse
from tests.server.running import running, said
from tests.waiting import PATIENCE

pytestmark = pytest.mark.anyio

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However late a busy machine lets an answer be, it is one."""
    monkeypatch.setattr(look, "TIMEOUT", PATIENCE)


async def test_a_model_server_that_answers_is_up() -> None:
    """Whatever it answers."""
    async with FakeUpstream(reply(b"no", status=503), tells_models=True) as upstream, running(upstream) as proxy:
        probe = proxy.server.runtime.probe
        await probe.look()
        assert probe.up
        assert proxy.metric("upstream_up", upstream=upstream.url) == 1


async def test_one_that_has_traffic_is_not_asked() -> None:
    """Once it is known what it is, the traffic tells whether it answers."""
    unknown = reply(b"no", status=404, content_type="text/plain")
    answers = {"/v1/models": reply_json({"data": []}), "/v1/chat/completions": reply(sse(*said("Hello")))}

    def answer(request: Request) -> Answer:
        return answers.get(request.path, unknown)

    async with FakeUpstream(answer, tells_models=True) as upstream, running(upstream) as proxy:
        probe = proxy.server.runtime.probe
        await probe.look()
        await proxy.chat()
        await proxy.exchange()
        await probe.look()
        asked = [request.path for request in upstream.requests]
        assert [path for path in asked if path.startswith("/v1/")] == ["/v1/models", "/v1/chat/completions"]


async def test_one_that_cannot_be_reached_is_down() -> None:
    """The traffic tells that too, before anybody asks."""
    async with running(NOWHERE) as proxy:
        await proxy.chat()
        await proxy.exchange()
        assert proxy.server.runtime.probe.up is False
        assert proxy.registry.get_sample_value("safety_proxy_upstream_up", {"upstream": NOWHERE}) == 0
        await proxy.server.runtime.probe.look()
        await proxy.server.runtime.probe.look()
        assert proxy.server.runtime.probe.up is False


async def test_readiness_may_need_the_model_server() -> None:
    """With ready_needs_upstream /readyz says no until the model server has answered, and again when it is gone; without
    it /readyz says yes. /healthz always does."""
    async with (
        FakeUpstream(reply(sse(*said("Hello")))) as upstream,
        running(upstream, ready_needs_upstream=True) as proxy,
    ):
        probe = proxy.server.runtime.probe

        async def status(path: str) -> int:
            return (await proxy.client.get(f"{proxy.admin_url}/{path}")).status_code

        assert await status("readyz") == 503
        await probe.look()
        assert await status("readyz") == 200
        proxy.server.runtime.backends.all[0].tell(False)
        assert (await status("readyz"), await status("healthz")) == (503, 200)
    async with running(NOWHERE) as proxy:
        await proxy.server.runtime.probe.look()
        assert (await proxy.client.get(f"{proxy.admin_url}/readyz")).status_code == 200
