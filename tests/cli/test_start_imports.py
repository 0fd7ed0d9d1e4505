"""What a start of `serve` imports. Each package that it imports costs time before the first answer."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from tests.fakes import FakeUpstreamThread, reply_json
from tests.proxy_process import ProxyProcess
from tests.waiting import PATIENCE

IMPORTED = re.compile(r"import time: +\d+ \| +\d+ \| +([\w.]+)")
POLICY = """
version: 1
policy: house
rules:
  - id: codename
    words: [zorblaxium]
    action: block
"""
HEAVY = {
    "certifi": "files of certificate authorities, for a model server over https",
    "httpcore": "httpx's transport, for a model server over https",
    "h11": "comes with httpcore",
    "h2": "comes with httpcore",
    "aiohttp": "another transport, for tests",
    "cryptography": "certificates, for tests",
    "websockets": "uvicorn's websockets, which the proxy does not speak",
    "wsproto": "the same",
    "uvicorn.protocols.http.h11_impl": "uvicorn's HTTP without httptools",
    "uvicorn.lifespan.on": "the listener runs no lifespan",
    "hypercorn": "another ASGI server",
    "granian": "another ASGI server",
    "openai": "a client's package",
    "hypothesis": "for tests",
    "proxy.asgi": "for other ASGI servers",
    "proxy.cli.demo": "another command",
    "proxy.cli.init": "another command",
    "proxy.checks.refusals.languages": "phrases of refusals, which wait for an answer with a word of their language",
    "proxy.demo": "the demo model, and what the command demo shows",
    "proxy.policy.commands": "other commands",
    "proxy.policy.explain": "another command",
    "proxy.policy.recorded": "another command",
    "proxy.checks.dropped": "for explain",
    "proxy.server.exchange.transcript": "for record_text",
    "proxy.server.ops.recorded_texts": "for record_text",
    "proxy.server.ops.record_file": "for decision_log",
    "proxy.server.ops.otel": "for otel_endpoint",
    "jinja2": "for the console's first page",
    "sqlalchemy": "for the store",
    "proxy.store": "for the store",
    "opentelemetry": "for otel_endpoint",
}
"""What a start has no use for, and what it is."""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """All modules that `serve` has imported by the time it has answered and stopped."""
    policies: Path = tmp_path_factory.mktemp("policies")
    (policies / "house.yaml").write_text(POLICY)
    environment = {"PYTHONPROFILEIMPORTTIME": "1"}  # as -X importtime: a line on stderr for each import
    with (
        FakeUpstreamThread(reply_json({"object": "list", "data": []})) as upstream,
        ProxyProcess(upstream=upstream.url, policies=policies, environment=environment) as proxy,
    ):
        assert httpx.get(f"{proxy.url}/v1/models", timeout=PATIENCE).status_code == 200
    return frozenset(IMPORTED.findall(proxy.log_text()))


def test_the_imports_are_seen(imported: frozenset[str]) -> None:
    """Both those at the beginning and those that came later."""
    assert {"proxy.cli.serve", "proxy.server.app", "uvicorn", "yaml", "encodings.idna"} <= imported


@pytest.mark.parametrize("name", HEAVY)
def test_a_start_imports_only_what_it_needs(name: str, imported: frozenset[str]) -> None:
    """In front of a model server over plain HTTP none of the packages in HEAVY is imported."""
    assert not {module for module in imported if module == name or module.startswith(f"{name}.")}
