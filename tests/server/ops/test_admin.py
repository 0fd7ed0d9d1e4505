"""The admin listener."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from proxy import __version__
from proxy.server.exchange.record import Exchange
from proxy.server.ops.admin import expose
from proxy.server.ops.metrics import Metrics
from tests.fakes import FakeUpstream, reply, sse
from tests.server.running import Named, Policies, running, said

pytestmark = pytest.mark.anyio

NOWHERE = "http://127.0.0.1:9"


async def test_probes() -> None:
    """/healthz and /readyz say yes while the model server is down: clients then get a quick, clear 502."""
    async with running(NOWHERE) as proxy:
        for path in ("healthz", "readyz"):
            assert (await proxy.client.get(f"{proxy.admin_url}/{path}")).status_code == 200
        assert (await proxy.chat()).status == 502


async def test_metrics_are_exposed() -> None:
    """/metrics speaks Prometheus' text format, and OpenMetrics to those who ask for it."""
    async with FakeUpstream(reply(sse(*said("Hello")))) as upstream, running(upstream) as proxy:
        await proxy.chat()
        await proxy.exchange()
        plain = await proxy.client.get(f"{proxy.admin_url}/metrics")
        assert plain.headers["content-type"].startswith("text/plain")
        assert 'safety_proxy_requests_total{endpoint="/v1/chat/completions"' in plain.text
        opened = await proxy.client.get(
            f"{proxy.admin_url}/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}
        )
        assert opened.headers["content-type"].startswith("application/openmetrics-text")
        assert opened.text.endswith("# EOF\n")
        assert opened.text.count("# EOF") == 1


@pytest.mark.parametrize("encode", [generate_latest, generate_openmetrics])
def test_metric_by_metric_is_the_same_text(encode: Callable[[CollectorRegistry], bytes]) -> None:
    """What is exposed a metric at a time is what the library exposes in one go, in both formats."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.end(Exchange("/v1/chat/completions", model="m", sent_upstream=1.0, upstream_text=2.0))
    assert expose(registry, encode) == encode(registry)


async def test_status() -> None:
    """/admin/status tells the version, the policies in force, how loading went, and the model server."""
    policies = Policies(policies=[Named("starter")])
    async with running(NOWHERE, policies) as proxy:
        status = (await proxy.client.get(f"{proxy.admin_url}/admin/status")).json()
        assert status["version"] == __version__
        assert status["upstream"] == NOWHERE
        assert status["policies"]["revision"] == "revision-1"
        assert status["policies"]["loaded"] == [{"name": "starter", "enforced": True}]
        assert status["policies"]["error"] is None
        assert status["ready"]
        assert status["uptime_seconds"] >= 0


async def test_reload() -> None:
    """POST /admin/reload loads the policies; when they are wrong it says why, and the old ones stay."""
    async with running(NOWHERE) as proxy:
        refused = await proxy.client.post(f"{proxy.admin_url}/admin/reload")
        assert refused.status_code == 422
        assert refused.json()["policies"]["error"] == "policies/a.yaml:1:1: unknown key"
        proxy.store.next = Policies(revision="revision-2")
        accepted = await proxy.client.post(f"{proxy.admin_url}/admin/reload")
        assert accepted.json()["reloaded"]
        assert accepted.json()["policies"]["revision"] == "revision-2"
        assert (await proxy.client.get(f"{proxy.admin_url}/admin/reload")).status_code == 405


@pytest.mark.parametrize("headers", [{"origin": "http://localhost"}, {"host": "evil.example"}])
async def test_web_pages_have_no_business_here(headers: dict[str, str]) -> None:
    """A web page, and a name that merely resolves to this machine, get 403 from the admin listener."""
    async with running(NOWHERE) as proxy:
        for method, path in (("GET", "metrics"), ("POST", "admin/reload")):
            answer = await proxy.client.request(method, f"{proxy.admin_url}/{path}", headers=headers)
            assert answer.status_code == 403


async def test_no_admin_listener() -> None:
    """With admin off there is no admin listener, and its paths are not on the chat listener."""
    async with running(NOWHERE, admin=None) as proxy:
        assert proxy.server.bound.admin is None
        for path in ("metrics", "healthz", "admin/status"):
            assert (await proxy.client.get(f"{proxy.url}/{path}")).status_code == 404
