"""The census at the door itself: every route over real sockets, with words in all that a model server can send."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

from proxy.dialects.lmstudio import models as lmstudio_models
from proxy.dialects.ollama import models as ollama_models
from proxy.dialects.openai import models as openai_models
from proxy.server.routing.routes import TABLE, Access, Route
from tests.census.answer_fields import Fate
from tests.census.doors import DOORS, Door
from tests.census.driving import BLOCK, REWRITE, RULES, TAKEN, policies
from tests.census.planting import AFTER, BAD, BEFORE, CLEAN, LABEL, PLAIN, leaks
from tests.census.test_census_answers import events, source, whole
from tests.census.test_census_keys import words_of
from tests.fakes import Answer, FakeUpstream, Framing, reply, split_at
from tests.fakes.answers import chunk
from tests.server.running import Parser, Policies, Wire, head, running

pytestmark = pytest.mark.anyio
SHOWN = [route for route in TABLE if route.access is Access.READ_ONLY]
CLOSED = [r for r in TABLE if r.access in (Access.ADMIN, Access.REFUSED) and r.method != "HEAD"]


class Got(NamedTuple):
    """An answer: all its bytes, and what an app makes of them."""

    raw: bytes
    status: int
    body: bytes


class Scene:
    """A proxy with real policies before a model server that sends what it is told."""

    def __init__(self, connect: Callable[[], Any], upstream: FakeUpstream) -> None:
        self._connect = connect
        self.upstream = upstream
        self.answer = reply(b"")

    async def ask(self, method: str, path: str, body: object = None) -> Got:
        """One exchange on a connection of its own."""
        TAKEN[0] += 1
        data = b"" if body is None else json.dumps(body).encode()
        wire: Wire
        async with self._connect() as wire:
            await wire.send(head(path, "connection: close", f"content-length: {len(data)}", method=method) + data)
            raw = await wire.ended()
        parser = Parser()
        parser.feed(raw)
        assert parser.done
        return Got(raw, parser.status, parser.body)


@asynccontextmanager
async def scene(rule: str) -> AsyncIterator[Scene]:
    """One, with the policy of that rule."""
    told: list[Scene] = []
    async with (
        FakeUpstream(lambda _: told[0].answer) as upstream,
        running(upstream, cast(Policies, policies(rule)), context_margin=0.0) as proxy,
    ):
        told.append(Scene(proxy.wire, upstream))
        yield told[0]


def request(door: Door, stream: bool) -> dict[str, Any]:
    """A request of a path."""
    return {**door.script.request, "stream": stream}


def good(door: Door, text: str, *, as_stream: bool) -> Answer:
    """An answer of the model server that says the text: a stream that is cut inside it, or one body."""
    content = next(
        field for field in door.script.fields if field.name in (door.script.content, "error", "x_more", "others")
    )
    if content.event is None or not as_stream:
        return reply(whole(content, text), content_type="application/json", framing=Framing.LENGTH)
    body = events(door, content, source(content, text))
    at = max(body.find("ö".encode()), 0)
    return reply(split_at(body, at + 1, at + 3), content_type=door.dialect.stream_type)


TALKING = [door for door in DOORS if any(field.fate is Fate.GUARDED for field in door.script.fields)]


@pytest.mark.parametrize("rule", RULES)
async def test_an_answer_on_every_path(rule: str) -> None:
    """For both kinds of client and of model server: a clean text arrives, a forbidden one does not."""
    async with scene(rule) as at:
        for door in TALKING:
            for stream in (True, False):
                for as_stream in (True, False):
                    at.answer = good(door, CLEAN, as_stream=as_stream)
                    clean = await at.ask("POST", door.path, request(door, stream))
                    assert clean.status == 200
                    assert leaks(clean.body, CLEAN)
                    at.answer = good(door, BEFORE + BAD + AFTER, as_stream=as_stream)
                    got = await at.ask("POST", door.path, request(door, stream))
                    assert got.status == 200
                    assert not leaks(got.body, BAD) + leaks(got.raw, BAD)
                    assert bool(leaks(got.body, LABEL)) == (rule == REWRITE)


def errors() -> Iterator[tuple[str, bytes]]:
    """Error bodies of every shape, each full of the words."""
    for word in (BAD, PLAIN):
        described = {"message": word, "type": word, "code": word, "param": word}
        yield "application/json", json.dumps({"error": described}).encode()
        yield "application/json", json.dumps({"error": word, "signin_url": word}).encode()
        yield "application/json", json.dumps({"type": word, "error": described, "request_id": word}).encode()
        yield "application/json", json.dumps({"error": json.dumps({"error": described})}).encode()
        yield "application/json", json.dumps({"detail": word, word: word}).encode()
        yield "application/json", json.dumps([word]).encode()
        yield "application/json", json.dumps({"error": described}, ensure_ascii=True).encode()[:-1]
        yield "text/plain", word.encode()
        yield "text/html", f"<html>{word}</html>".encode()
        yield "text/plain", word.encode("utf-16")


async def test_an_error_on_every_path() -> None:
    """Whatever status and shape it has, its words do not arrive; on paths that are only read none of them does."""
    async with scene(BLOCK) as at:
        for kind, body in errors():
            for status in (400, 404, 429, 500, 503):
                at.answer = reply(body, status=status, content_type=kind, framing=Framing.LENGTH)
                for door in DOORS:
                    got = await at.ask("POST", door.path, request(door, True))
                    assert got.status == status
                    assert not leaks(got.body, BAD, PLAIN) + leaks(got.raw, BAD, PLAIN)
            at.answer = reply(body, content_type=kind, framing=Framing.LENGTH)
            for door in DOORS:
                got = await at.ask("POST", door.path, request(door, False))
                assert not leaks(got.body, BAD, PLAIN) + leaks(got.raw, BAD, PLAIN)


def oddly_framed(door: Door) -> Iterator[Answer]:
    """Good answers with words in everything that HTTP has around them."""
    answer = good(door, CLEAN, as_stream=True)
    start, *steps = answer.steps
    assert isinstance(start, bytes)
    for name in ("Server", "X-Words", "Set-Cookie", "Retry-After", "Location", "X-Request-Id", "openai-model", PLAIN):
        yield Answer((start.replace(b"\r\n\r\n", f"\r\n{name}: {PLAIN}\r\n\r\n".encode()), *steps))
    yield Answer((start.replace(b"200 OK", f"200 {PLAIN}".encode()), *steps))
    early = f"HTTP/1.1 103 {PLAIN}\r\nLink: {PLAIN}\r\n\r\n".encode()
    yield Answer((early + start, *steps))
    if b"chunked" in start:
        said = b"".join(step for step in steps if isinstance(step, bytes))
        yield Answer((start, said.removesuffix(b"0\r\n\r\n"), f"0\r\nX-Trailer: {PLAIN}\r\n\r\n".encode()))
        yield Answer((start, f"3;{PLAIN}\r\n: x\r\n2\r\n\n\n\r\n".encode() + said))
        yield Answer(
            (start, said.removesuffix(b"0\r\n\r\n"), chunk(b"data: " + PLAIN.encode() + b"\n\n"), b"0\r\n\r\n")
        )


async def test_words_around_an_answer() -> None:
    """Headers, the reason, an early hint, trailers, chunk extensions, what follows the end: nothing of them arrives."""
    async with scene(BLOCK) as at:
        for door in DOORS:
            for stream in (True, False):
                for at.answer in oddly_framed(door):
                    got = await at.ask("POST", door.path, request(door, stream))
                    assert not leaks(got.body, PLAIN) + leaks(got.raw, PLAIN)


WAITS = (("7", True), ("Wed, 21 Oct 2026 07:28:00 GMT", True), (PLAIN, False), (f"7, {PLAIN}", False))


async def test_a_header_with_a_refusal() -> None:
    """How long to wait is passed on when it is a number or a date, not when it says something else."""
    async with scene(BLOCK) as at:
        for value, passes in (
            ("7", True),
            ("Wed, 21 Oct 2026 07:28:00 GMT", True),
            (PLAIN, False),
            (f"7 {PLAIN}", False),
        ):
            for method, path in (("POST", "/v1/chat/completions"), ("GET", "/v1/models")):
                at.answer = reply(b"{}", status=503, headers=[("Retry-After", value)], framing=Framing.LENGTH)
                got = await at.ask(method, path, request(DOORS[0], True) if method == "POST" else None)
                assert (value.encode() in got.raw) == passes
                assert not leaks(got.raw, PLAIN)


LISTS = (openai_models, ollama_models, lmstudio_models)


def lists() -> Iterator[bytes]:
    """What a model server may answer on a path that is only read: prose under every key that the code names."""
    keys = set[str]().union(*(words_of(Path(str(module.__file__))) for module in LISTS))
    prose = f"So {BAD}, it is."
    for value in (prose, [prose], {"a": prose}, [{"name": prose, "id": prose, "type": prose}]):
        full: dict[str, Any] = {**dict.fromkeys(keys, value), "x_more": value, prose: value}
        model = {**full, "id": "tiny", "name": "tiny", "key": "tiny"}
        nested = {
            **model,
            "details": full,
            "meta": full,
            "capabilities": full,
            "model_info": full,
            "quantization": full,
        }
        around = {"data": [model, nested, full], "models": [model, nested, full], "version": "1.2", "status": "ok"}
        yield json.dumps({**nested, **around}).encode()
        yield json.dumps({**nested, **around, "cloud": {**full, "disabled": False}}).encode()
        yield json.dumps({**model, **around, "loaded_instances": [full, {"id": "a", "config": full}]}).encode()
    for key in ("id", "name", "key", "version", "status", "data", "models"):
        model = {"id": "tiny", "name": "tiny", "key": "tiny", key: prose}
        yield json.dumps({"data": [model], "models": [model], "version": "1.2", "status": "ok", **model}).encode()
    yield prose.encode()
    yield json.dumps(prose).encode()


@pytest.mark.parametrize("route", SHOWN, ids=lambda route: f"{route.method} {route.path}")
async def test_prose_on_paths_that_are_only_read(route: Route) -> None:
    """No sentence passes, under whatever key, as a value, in an array or as a key itself."""
    path = route.path.replace("{model}", "tiny")
    body = {"model": "tiny"} if route.method == "POST" else None
    shown = 0
    async with scene(BLOCK) as at:
        for answer in lists():
            at.answer = reply(answer, content_type="application/json", framing=Framing.LENGTH)
            got = await at.ask(route.method, path, body)
            shown += got.status == 200
            assert not leaks(got.body, BAD) + leaks(got.raw, BAD)
    assert shown


async def test_closed_paths_and_paths_that_nobody_knows() -> None:
    """They are 404 with whatever is sent, and nothing goes upstream."""
    async with scene(BLOCK) as at:
        doors = [(route.method, route.path.partition("{")[0] + "x" * ("{" in route.path)) for route in CLOSED]
        doors += [(route.method, f"{route.path.partition('{')[0].rstrip('/')}/x/y") for route in CLOSED]
        for method, path in doors:
            got = await at.ask(method, path, {"prompt": BAD})
            assert got.status in (404, 405)
            assert not leaks(got.body, BAD)
        assert at.upstream.connections == 0


async def test_our_own_path_repeats_nothing() -> None:
    """The moderation call says which rules found something, and not what."""
    async with scene(BLOCK) as at:
        asked = [BAD, PLAIN, [BEFORE + BAD, "x"], [{"type": "text", "text": BAD}]]
        for given in asked:
            got = await at.ask("POST", "/v1/moderations", {"input": given, "model": PLAIN})
            assert got.status == 200
            assert b'"flagged":true' in got.body
            assert not leaks(got.body, BAD, PLAIN) + leaks(got.raw, BAD, PLAIN)
        assert at.upstream.connections == 0


async def test_a_forbidden_prompt_on_every_path() -> None:
    """It is 400, its words are not repeated, and nothing goes upstream."""
    async with scene(BLOCK) as at:
        for door in DOORS:
            for stream in (True, False):
                asked = json.loads(json.dumps(request(door, stream)).replace('"hi"', json.dumps(BEFORE + BAD)))
                got = await at.ask("POST", door.path, asked)
                assert got.status == 400
                assert not leaks(got.body, BAD) + leaks(got.raw, BAD)
        assert at.upstream.connections == 0
