"""Keys, limits and a pause, as the packages of OpenAI, Anthropic and Ollama tell their users of them."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import ollama
import openai
import pytest

from proxy.demo.backend import DemoBackend
from proxy.demo.script import MODEL
from tests.plain_http import get, post
from tests.policies import COPIES
from tests.proxy_process import ProxyProcess
from tests.server.keys.samples import secret, written

pytestmark = pytest.mark.sdk

SENTENCE = "Back at nine."


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    """A proxy that asks for a key. Carl may ask once a minute."""
    folder = tmp_path_factory.mktemp("keys")
    specs = ({"name": "alice"}, {"name": "carl", "limits": {"requests_per_minute": 1}})
    keys = written(folder / "keys.yaml", *specs)
    arguments = ("--keys", str(keys))
    with DemoBackend(0) as backend, ProxyProcess(upstream=backend.url, policies=COPIES, arguments=arguments) as served:
        yield served


def ask_openai(proxy: ProxyProcess, key: str, retries: int = 0) -> str:
    """What the openai package shows."""
    with openai.OpenAI(api_key=key, base_url=proxy.base_url, max_retries=retries) as client:
        answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hello"}])
        return answer.choices[0].message.content or ""


def ask_anthropic(proxy: ProxyProcess, key: str) -> None:
    """Ask through the anthropic package; the demo model does not speak its dialect."""
    with anthropic.Anthropic(api_key=key, base_url=proxy.url, max_retries=0) as client:
        client.messages.create(model=MODEL, max_tokens=5, messages=[{"role": "user", "content": "Hello"}])


def test_their_key_is_what_they_send(proxy: ProxyProcess) -> None:
    """openai's api_key opens the proxy, and no other key does."""
    assert ask_openai(proxy, secret("alice"))
    with pytest.raises(openai.AuthenticationError, match="This key is not valid here") as caught:
        ask_openai(proxy, "wrong")
    assert caught.value.code == "invalid_api_key"


def test_anthropics_key_too(proxy: ProxyProcess) -> None:
    """It comes as x-api-key: with the right one the request reaches the model server, which does not know the path."""
    with pytest.raises(anthropic.AuthenticationError, match="This key is not valid here"):
        ask_anthropic(proxy, "wrong")
    with pytest.raises(anthropic.NotFoundError):
        ask_anthropic(proxy, secret("alice"))


def test_ollamas_headers_too(proxy: ProxyProcess) -> None:
    """The package has no setting for a key; a header does it."""
    messages = [{"role": "user", "content": "Hello"}]
    for headers, status in (({}, 401), ({"Authorization": f"Bearer {secret('alice')}"}, 404)):
        with ollama.Client(proxy.url, headers=headers) as client, pytest.raises(ollama.ResponseError) as caught:
            client.chat(MODEL, messages)
        assert caught.value.status_code == status


def test_a_limit_is_their_rate_limit_error(proxy: ProxyProcess) -> None:
    """With the time after which they may ask again."""
    assert ask_openai(proxy, secret("carl"))
    with pytest.raises(openai.RateLimitError, match="1 requests a minute") as caught:
        ask_openai(proxy, secret("carl"))
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
    with pytest.raises(anthropic.RateLimitError, match="1 requests a minute"):
        ask_anthropic(proxy, secret("carl"))


def test_a_pause_is_told_once(proxy: ProxyProcess) -> None:
    """The package would ask three times at a 503; the response says that it should not."""
    post(f"{proxy.admin_url}/admin/pause", json={"message": SENTENCE})
    try:
        with pytest.raises(openai.InternalServerError, match=SENTENCE) as caught:
            ask_openai(proxy, secret("alice"), retries=2)
        assert caught.value.status_code == 503
        assert 'safety_proxy_paused_requests_total{what="refused"} 1.0' in get(f"{proxy.admin_url}/metrics").text
    finally:
        post(f"{proxy.admin_url}/admin/resume")
