"""What a real llama.cpp server tells beside an answer, and the forms that a client may choose: as without the proxy."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.llama_server import LlamaServer
from tests.proxy_process import ProxyProcess
from tests.waiting import PATIENCE

pytestmark = pytest.mark.e2e
QUIET = "version: 1\npolicy: quiet\nrules:\n  - id: quiet\n    words: [nothing at all]\n    action: block\n"
ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Please speak. [[think]]"}]},
    "/v1/responses": {"input": "Please speak. [[think]]"},
}
WHOLE = ("total", "completion_tokens", "output_tokens", "predicted_n")
"""Numbers that are the same each time; others tell of time, or of what was in the cache."""


@pytest.fixture(scope="module")
def proxy(llama: LlamaServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    """The proxy with a rule that minds nothing."""
    folder = tmp_path_factory.mktemp("policies")
    (folder / "quiet.yaml").write_text(QUIET)
    with ProxyProcess(upstream=llama.url, policies=folder) as process:
        yield process


def events(url: str, path: str, **more: Any) -> list[Any]:
    """The JSON of a stream's events."""
    body = json.dumps({"model": "tiny", "stream": True, **ASKED[path], **more}).encode()
    request = urllib.request.Request(url + path, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        lines = response.read().decode().split("\n")
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def shape(value: Any, key: str = "") -> Any:
    """A value without what is new each time: names, times, and what was in the cache."""
    if isinstance(value, dict):
        return {key: shape(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return [shape(part) for part in value]
    is_new = key in ("id", "item_id", "call_id", "created", "created_at") or isinstance(value, int | float)
    return type(value) in (int, float) if is_new and key not in WHOLE else value


@pytest.mark.parametrize("more", [{}, {"reasoning_format": "none"}], ids=str)
@pytest.mark.parametrize("path", ASKED)
def test_timings_and_progress_come_as_without_the_proxy(
    proxy: ProxyProcess, llama: LlamaServer, path: str, more: dict[str, Any]
) -> None:
    """f19: with each token, in chat and in responses; and the thinking stands where it was asked for."""
    asked = {"timings_per_token": True, "return_progress": True, **more}
    direct, through = (events(url, path, **asked) for url in (llama.url, proxy.url))
    last = [event for event in direct if "prompt_progress" not in event]
    assert [shape(event) for event in through if "prompt_progress" not in event] == [shape(event) for event in last]
    assert any("prompt_progress" in event for event in through)
    assert all("timings" in event for event in through if "delta" in str(event.get("type", "")))
