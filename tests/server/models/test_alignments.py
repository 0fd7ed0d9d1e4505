"""What is known of the models of a model server: when it is asked, and what holds until it has said it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.alignment.claims import NOT_LISTED, NOT_LOOKED_AT, SILENT
from proxy.errors import BadRequest, UpstreamTimeout
from proxy.policy.document import Source
from proxy.policy.models_file import Review, Reviews, read_models_file
from proxy.server.config import ServerConfig
from proxy.server.models import alignments
from proxy.server.models.alignments import (
    AGAIN_AFTER,
    EXPIRES_AFTER,
    MAX_MODELS,
    REFRESH_AFTER,
    Alignments,
    Row,
)
from proxy.server.models.api import ModelServerApi
from proxy.server.upstream.client import create_upstream
from tests.fakes import FakeUpstream, Stall, reply_json
from tests.fakes.answers import Answer, Close
from tests.fakes.connection import Request
from tests.fakes.ollama import Ollama
from tests.waiting import until

pytestmark = pytest.mark.anyio

DATA = Path(__file__).parent.parent.parent / "data" / "alignment"
LIST, SHOW = "GET /api/tags", "POST /api/show"


class Clock:
    """Time that a test makes pass."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Given:
    """Reviews that a test gives."""

    def __init__(self, text: str = "version: 1") -> None:
        self.text = text

    @property
    def current(self) -> Reviews:
        """Read anew, as after an edit."""
        return read_models_file(Source("models.yaml", self.text.encode()))


class Known:
    """Alignments in front of a fake, and what they report."""

    def __init__(self, url: str) -> None:
        self.http = create_upstream(ServerConfig(upstream=url))
        self.api = ModelServerApi(self.http)
        self.clock = Clock()
        self.models = Alignments(self.api, self.clock)
        self.reports: list[list[Row]] = []
        self.lapsed: list[Review] = []
        self.models.report = self.reports.append
        self.models.lapsed = self.lapsed.append

    async def learnt(self, name: str) -> str:
        """The status once everything that was started is done."""
        self.models.get(name)
        await self.api.wait_idle()
        return self.models.known(name).status


@asynccontextmanager
async def known(answers: Any) -> AsyncIterator[Known]:
    """What is known of the models of a fake server."""
    async with FakeUpstream(answers, tells_models=True) as upstream:
        one = Known(upstream.url)
        yield one
        await one.api.aclose()
        await one.http.aclose()


def with_digest(ollama: Ollama, name: str, digest: str) -> None:
    """Another model under the name."""
    next(entry for entry in ollama.tags["models"] if entry["name"] == name)["digest"] = digest


def digest_of(ollama: Ollama, name: str) -> str:
    """Of a model in the list."""
    return str(next(entry for entry in ollama.tags["models"] if entry["name"] == name)["digest"])


def paths(asked: dict[str, Any]) -> Any:
    """A server that answers these paths with JSON, and no others."""

    def answers(request: Request) -> Answer:
        value = asked.get(request.target)
        return reply_json({"error": "unknown path"}, status=404) if value is None else reply_json(value)

    return answers


def cases(name: str) -> list[dict[str, Any]]:
    """Shapes of one model server."""
    found: list[dict[str, Any]] = json.loads((DATA / f"{name}.json").read_text("utf-8"))
    return found


# -- when it is asked


async def test_a_first_request_does_not_wait() -> None:
    """It gets `unknown` at once, and the look runs beside it."""
    ollama = Ollama()
    async with known(ollama) as one:
        assert one.models.known("tiny") == NOT_LOOKED_AT
        assert one.models.get("tiny") == NOT_LOOKED_AT
        assert ollama.asked == []
        assert await one.learnt("tiny") == "instruct"
        assert await one.learnt("tiny:base") == "base"


async def test_a_description_is_asked_for_once_for_each_digest() -> None:
    """The list is asked again after a while, the description only for another digest."""
    ollama = Ollama()
    async with known(ollama) as one:
        for _ in range(3):
            await one.learnt("tiny")
        assert ollama.asked == [LIST, SHOW]
        one.clock.now += REFRESH_AFTER
        assert await one.learnt("tiny") == "instruct"
        assert ollama.asked == [LIST, SHOW, LIST]
        with_digest(ollama, "tiny:latest", "f" * 64)
        ollama.shown["tiny"]["model_info"]["general.finetune"] = "abliterated"
        one.clock.now += REFRESH_AFTER
        assert await one.learnt("tiny") == "unaligned"
        assert ollama.asked == [LIST, SHOW, LIST, LIST, SHOW]


async def test_another_digest_is_unknown_until_it_is_described() -> None:
    """What the model before it was says nothing."""
    ollama = Ollama()
    async with known(ollama) as one:
        await one.learnt("tiny")
        with_digest(ollama, "tiny:latest", "f" * 64)
        ollama.answers[SHOW] = reply_json({"error": "busy"}, status=503)
        one.clock.now += REFRESH_AFTER
        assert await one.learnt("tiny") == "unknown"
        del ollama.answers[SHOW]
        assert await one.learnt("tiny") == "unknown"  # it was asked just now
        one.clock.now += AGAIN_AFTER
        assert await one.learnt("tiny") == "instruct"


async def test_a_look_takes_along_whoever_comes_while_it_runs() -> None:
    """Two models at once: one list, two descriptions."""
    ollama = Ollama()
    async with known(ollama) as one:
        one.models.get("tiny")
        one.models.get("tiny:base")
        assert await one.learnt("go-think") == "instruct"
        assert one.models.known("tiny:base").status == "base"
        assert ollama.asked == [LIST, SHOW, SHOW, SHOW]


async def test_all_models_are_looked_at() -> None:
    """So that the first request finds them known; each is reported with its digest."""
    ollama = Ollama()
    async with known(ollama) as one:
        await one.models.look_at_all()
        found = {row.name: row.claim.status for row in one.reports[-1]}
        assert found["tiny:latest"] == "instruct"
        assert found["tiny:base"] == "base"
        assert len(found) == len(ollama.tags["models"]) == ollama.asked.count(SHOW)
        assert [row.claim.digest for row in one.reports[-1]] == [entry["digest"] for entry in ollama.tags["models"]]


async def test_not_more_models_than_that_are_looked_at() -> None:
    """The others wait until somebody asks for them."""
    ollama = Ollama()
    first = ollama.tags["models"][0]
    names = [f"m{number}:latest" for number in range(MAX_MODELS + 2)]
    ollama.tags["models"] = [{**first, "name": name, "digest": f"{number:064x}"} for number, name in enumerate(names)]
    ollama.answers[SHOW] = reply_json(ollama.shown["tiny"])
    async with known(ollama) as one:
        await one.models.look_at_all()
        assert ollama.asked.count(SHOW) == MAX_MODELS
        assert one.models.known(names[-1]).status == "unknown"
        assert await one.learnt(names[-1]) == "instruct"


@pytest.mark.parametrize("answer", [Answer((Close(),)), reply_json({"error": "loading"}, status=503)])
async def test_a_server_that_does_not_answer_gives_unknown(answer: Answer) -> None:
    """And what it said before holds for some minutes."""
    ollama = Ollama()
    async with known(ollama) as one:
        await one.learnt("tiny")
        ollama.answers = dict.fromkeys((LIST, SHOW, "GET /props", "GET /api/v1/models", "GET /v1/models"), answer)
        one.clock.now += REFRESH_AFTER
        assert await one.learnt("tiny") == "instruct"
        one.clock.now += EXPIRES_AFTER
        await one.learnt("tiny")
        assert one.models.known("tiny") == SILENT


async def test_a_name_that_is_not_listed_says_nothing() -> None:
    """A client that asks for `x-instruct` does not get what holds for instruct models."""
    ollama = Ollama()
    async with known(ollama) as one:
        assert await one.learnt("x-instruct") == "unknown"
        assert one.models.get("y-instruct") == NOT_LISTED
        await one.api.wait_idle()
        assert ollama.asked == [LIST]
        one.clock.now += AGAIN_AFTER
        await one.learnt("x-instruct")
        assert ollama.asked == [LIST, LIST]


@pytest.mark.parametrize("name", ["tiny", "TINY:latest", "library/tiny", "registry.ollama.ai/library/tiny:latest"])
async def test_every_spelling_of_a_name(name: str) -> None:
    """As Ollama takes them for the same."""
    async with known(Ollama()) as one:
        assert await one.learnt(name) == "instruct"


async def test_the_log_tells_what_is_not_instruct_and_what_has_changed(caplog: pytest.LogCaptureFixture) -> None:
    """Once for each model, however often it is looked at; a change is a warning."""
    ollama = Ollama()
    async with known(ollama) as one:
        with caplog.at_level(logging.INFO, "safety_proxy.server"):
            for _ in range(2):
                await one.models.look_at_all()
            assert caplog.text.count("model 'tiny:base' is base: template: it is {{ .Prompt }}") == 1
            assert "'tiny:latest'" not in caplog.text
            with_digest(ollama, "tiny:latest", "f" * 64)
            ollama.shown["tiny"]["model_info"]["general.finetune"] = "abliterated"
            for _ in range(2):
                await one.models.look_at_all()
        told = "model 'tiny:latest' is unaligned, and was instruct: metadata: general.finetune has \"abliterat\""
        assert caplog.text.count(told) == 1
        assert [record.levelname for record in caplog.records if "tiny:latest" in record.message] == ["WARNING"]


# -- other model servers


async def test_llama_cpp_has_one_model_under_any_name() -> None:
    """So the name that a client writes changes nothing."""
    case = next(case for case in cases("llama_cpp") if case["status"] == "base")
    tags = {"models": [{"name": "m", "model": "m", "digest": ""}]}
    server = paths({"/api/tags": tags, "/props": case["props"], "/v1/models": {"data": [case["entry"]]}})
    async with known(server) as one:
        assert await one.learnt("anything-instruct") == "base"
        assert [row.name for row in one.models.rows()] == [case["entry"]["id"]]


async def test_llama_cpp_with_several_models() -> None:
    """It is not said whose template /props shows, so names alone count."""
    instruct, base = (next(c for c in cases("llama_cpp") if c["status"] == status) for status in ("instruct", "base"))
    entries = [instruct["entry"], base["entry"]]
    server = paths({"/props": instruct["props"], "/v1/models": {"data": entries}})
    async with known(server) as one:
        assert await one.learnt(entries[0]["id"]) == "instruct"
        assert await one.learnt(entries[1]["id"]) == "base"
        assert await one.learnt("other") == "unknown"


@pytest.mark.parametrize(
    ("shapes", "path", "key", "name"),
    [("lmstudio_v1", "/api/v1/models", "models", "key"), ("lmstudio_v0", "/api/v0/models", "data", "id")],
)
async def test_lm_studio(shapes: str, path: str, key: str, name: str) -> None:
    """Both of its lists; what it says to paths that it does not know is an object too."""
    found = [case["entry"] for case in cases(shapes)]
    unknown = {"error": "Unexpected endpoint or method."}
    server = paths({"/api/tags": unknown, "/props": unknown, path: {key: found}})
    async with known(server) as one:
        await one.models.look_at_all()
        statuses = {row.name: row.claim.status for row in one.models.rows()}
        assert statuses == {case["entry"][name]: case["status"] for case in cases(shapes)}
        if shapes == "lmstudio_v1":
            assert one.models.known("openai/gpt-oss-20b").status == "instruct"  # an instance is called so too


async def test_any_server_of_openais_dialect() -> None:
    """Its list of names is all there is."""
    found = [case["entry"] for case in cases("openai")]
    async with known(paths({"/v1/models": {"data": found}})) as one:
        assert await one.learnt("house") == "instruct"
        assert await one.learnt("demo") == "unknown"


async def test_a_server_is_asked_as_what_it_was() -> None:
    """And as anything if it is another one now."""
    asked: list[str] = []
    server: dict[str, Any] = {"/v1/models": {"data": [case["entry"] for case in cases("openai")]}}

    def answers(request: Request) -> Answer:
        asked.append(request.target)
        answer: Answer = paths(server)(request)
        return answer

    async with known(answers) as one:
        await one.learnt("house")
        asked.clear()
        one.clock.now += REFRESH_AFTER
        await one.learnt("house")
        assert asked == ["/v1/models"]
        case = cases("llama_cpp")[0]
        server["/props"], server["/v1/models"] = case["props"], {"data": []}
        one.clock.now += REFRESH_AFTER
        assert await one.learnt("house") == "instruct"
        assert [row.name for row in one.models.rows()] == [case["props"]["model_alias"]]


async def test_a_server_without_a_list() -> None:
    """Every model is unknown."""
    async with known(paths({})) as one:
        assert await one.learnt("any") == "unknown"
        assert one.models.rows() == []


# -- a status that is required


async def test_a_required_status_waits_for_the_look() -> None:
    """The first request too gets what the model server says."""
    async with known(Ollama()) as one:
        results = await asyncio.gather(*(one.models.require("tiny", "instruct") for _ in range(3)))
        assert {claim.status for claim in results} == {"instruct"}


async def test_another_status_is_refused_with_the_evidence() -> None:
    """A sentence with the setting, the status and what it is concluded from."""
    async with known(Ollama()) as one:
        with pytest.raises(BadRequest) as refused:
            await one.models.require("tiny:base", "instruct")
        assert (refused.value.code, refused.value.param, refused.value.status) == ("model_not_aligned", "model", 400)
        assert str(refused.value) == (
            "The model 'tiny:base' is not served here: it has to be instruct (setting require_alignment), and it is "
            'base: template: it is {{ .Prompt }}, which is no chat format at all; name: it has "base" in it'
        )
        with pytest.raises(BadRequest, match="it is unknown: list: the model server does not list it"):
            await one.models.require("not-there", "instruct")


async def test_two_models_at_once_are_both_looked_at() -> None:
    """The second comes while the look for the first runs."""
    async with known(Ollama()) as one:
        first = asyncio.ensure_future(one.models.require("tiny", "instruct"))
        await asyncio.sleep(0)
        assert (await one.models.require("go-think", "instruct")).status == "instruct"
        await first


async def test_a_silent_server_gets_no_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for a bounded time, then 503."""
    monkeypatch.setattr(alignments, "WAIT", 0.01)
    async with known(Answer((Stall(),))) as one:
        with pytest.raises(UpstreamTimeout, match="setting require_alignment") as refused:
            await one.models.require("tiny", "instruct")
        assert refused.value.status == 503


@pytest.mark.parametrize("path", [LIST, SHOW])
async def test_a_failing_server_gets_no_prompt(path: str) -> None:
    """Of a model that is listed and not described nothing is known."""
    failing = {path: Answer((Close(),)), "GET /props": Answer((Close(),))}
    async with known(Ollama(failing)) as one:
        with pytest.raises(UpstreamTimeout):
            await one.models.require("tiny", "instruct")


# -- reviews


async def test_a_review_goes_before_what_a_model_claims() -> None:
    """For its name or its digest; the other evidence stays to be seen."""
    ollama = Ollama()
    async with known(ollama) as one:
        await one.models.look_at_all()
        digest = digest_of(ollama, "tiny:base")
        one.models.reviews = Given(
            "version: 1\nmodels:\n  - {model: tiny, status: unaligned, on: 2026-11-30}\n"
            f"  - {{digest: '{digest[:12]}', status: instruct}}\n"
        )
        named, pinned = one.models.known("tiny"), one.models.known("tiny:base")
        assert (named.status, pinned.status) == ("unaligned", "instruct")
        assert named.why.startswith("models.yaml: the operator says so, reviewed on 2026-11-30 (but metadata, for")
        assert pinned.evidence[0].reason == "the operator says so, for this digest"
        assert len(pinned.evidence) > 1
        assert not one.lapsed


@pytest.mark.parametrize("entry", ["model: tiny, digest: {digest}", "digest: {digest}"])
async def test_a_review_lapses_with_the_digest(entry: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged and counted, once, and what the model claims holds again."""
    ollama = Ollama()
    pinned = entry.format(digest=f"'{digest_of(ollama, 'tiny:latest')}'")
    async with known(ollama) as one:
        one.models.reviews = Given(f"version: 1\nmodels:\n  - {{{pinned}, status: base}}\n")
        assert await one.learnt("tiny") == "base"
        with_digest(ollama, "tiny:latest", "f" * 64)
        with caplog.at_level(logging.WARNING, "safety_proxy.server"):
            for _ in range(3):
                one.clock.now += REFRESH_AFTER
                assert await one.learnt("tiny") == "instruct"
        assert len(one.lapsed) == 1
        told = "models.yaml:3:5: the review of model 'tiny:latest' does not apply: it is for the digest"
        assert caplog.text.count(told) == 1
        assert "the model server has ffffffffffff; look at the model again" in caplog.text


async def test_a_review_that_never_fitted_is_told_too(caplog: pytest.LogCaptureFixture) -> None:
    """A wrong digest in models.yaml: at the first look, and after an edit."""
    async with known(Ollama()) as one:
        await one.models.look_at_all()
        one.models.reviews = Given("version: 1\nmodels:\n  - {model: tiny, digest: abcdefabcdef, status: base}\n")
        one.models.reviews_changed()
        assert one.models.known("tiny").status == "instruct"
        assert [review.digest for review in one.lapsed] == ["abcdefabcdef"]


async def test_a_review_of_a_silent_model_holds() -> None:
    """The operator knows what the model server does not say; but not of a model that is not in the list."""
    async with known(Ollama({SHOW: reply_json({}, status=503)})) as one:
        one.models.reviews = Given("version: 1\nmodels:\n  - {model: tiny, status: instruct}\n")
        assert await one.learnt("tiny") == "instruct"


async def test_looking_goes_on_until_it_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the background, every INTERVAL."""
    monkeypatch.setattr(alignments, "INTERVAL", 0.0)
    ollama = Ollama()
    async with known(ollama) as one:
        looking = asyncio.ensure_future(one.models.run())
        await until(lambda: len(one.reports) >= 3)
        looking.cancel()
        assert ollama.asked.count(SHOW) == len(ollama.tags["models"])
