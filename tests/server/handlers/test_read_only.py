"""Lists and descriptions: whose names are shown, and what is said of a model that is not there."""

from __future__ import annotations

import logging

import pytest

from proxy.dialects.request import Options
from tests.fakes import FakeUpstream, reply_json
from tests.fakes.ollama import Ollama
from tests.phrases import block
from tests.server.running import Policies, running

pytestmark = pytest.mark.anyio

LISTED = {
    "object": "list",
    "data": [{"id": "通义千问-7b"}, {"id": "a SECRET model"}, {"id": "x\u202ey"}, {"id": "tiny"}],
}


async def test_names_are_judged_and_a_name_that_is_not_shown_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """A rule minds one name, another has no form of one: both are left out, and the log says each once."""
    policies = Policies(output=[block("SECRET")])
    with caplog.at_level(logging.WARNING, "safety_proxy.server"):
        async with FakeUpstream(reply_json(LISTED)) as upstream, running(upstream, policies) as proxy:
            for _ in range(2):
                answer = await proxy.client.get(f"{proxy.url}/v1/models")
                assert [model["id"] for model in answer.json()["data"]] == ["通义千问-7b", "tiny"]
    told = [record.getMessage() for record in caplog.records if "left out of the lists" in record.getMessage()]
    assert sorted(line.split("'")[1] for line in told) == ["a SECRET model", r"x\u202ey"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/show", {"model": "nobody:7b"}),
        ("POST", "/api/show", {"name": "nobody:7b", "model": ""}),
        ("GET", "/v1/models/nobody:7b", None),
        ("POST", "/api/chat", {"model": "nobody:7b", "messages": [{"role": "user", "content": "hi"}]}),
        ("POST", "/v1/chat/completions", {"model": "nobody:7b", "messages": [{"role": "user", "content": "hi"}]}),
    ],
)
async def test_a_model_that_is_not_there(method: str, path: str, body: object) -> None:
    """404 in Ollama's own words, in the shape of the path: its command looks for them and offers to pull the model."""
    missing = reply_json({"error": "model 'nobody:7b' not found"}, status=404)
    async with FakeUpstream(missing) as upstream, running(upstream) as proxy:
        answer = await proxy.client.request(method, proxy.url + path, json=body)
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error if isinstance(error, str) else error["message"]) == "model 'nobody:7b' not found"


async def test_another_refusal_of_a_list_bears_no_words_of_the_model_server() -> None:
    """Where no model was asked for, or it was another status, only the status is told."""
    for status, path in ((404, "/v1/models"), (500, "/v1/models/tiny")):
        async with (
            FakeUpstream(reply_json({"error": "a secret"}, status=status)) as upstream,
            running(upstream) as proxy,
        ):
            answer = await proxy.client.get(proxy.url + path)
            assert (answer.status_code, "secret" in answer.text) == (status, False)
            assert str(status) in answer.text


@pytest.mark.parametrize("allowed", [True, False])
async def test_whether_there_are_cloud_models_is_the_operators_word(allowed: bool) -> None:
    """GET /api/status: none, unless they are allowed and Ollama has them."""
    ollama = Ollama({"GET /api/status": reply_json({"cloud": {"disabled": False, "source": "none"}})})
    options = Options(allow_cloud_models=allowed)
    async with FakeUpstream(ollama) as upstream, running(upstream, options=options) as proxy:
        answer = await proxy.client.get(f"{proxy.url}/api/status")
    assert answer.json() == {"cloud": {"disabled": False, "source": "none"} if allowed else {"disabled": True}}
