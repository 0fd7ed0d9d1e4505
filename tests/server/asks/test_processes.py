"""`isolation: process`: a check of a plug-in in a process of its own, which is killed when it takes too long."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, cast

import pytest

from proxy.checks.isolated import ProcessQuestion
from proxy.checks.kinds import CheckKind
from proxy.checks.registry import Plugin, Registry, RegistryError, make_registry
from proxy.core.failures import CheckFailed, Reason
from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from proxy.server.asks.desk import About
from proxy.server.asks.process import QUEUE, ProcessAnswerer
from proxy.settings import Settings
from proxy.startup.plugins import find_registry
from proxy.startup.worker import Worker, answer
from tests.fakes import FakeUpstream, reply, sse
from tests.server.running import Policies, running, said, soon

pytestmark = pytest.mark.anyio

PLUGIN = """
import os, time
from msgspec import Struct
from proxy.plugins import CheckKind, Finding, Progress

class Options(Struct, frozen=True, forbid_unknown_fields=True):
    word: str = "bomb"

class Check:
    hold = None

    def __init__(self, rule, word):
        print("made, with a line on standard output")
        self.rule, self.word = rule, word

    def open(self):
        return Scan(self)

class Scan:
    def __init__(self, check):
        self.check, self.text = check, ""

    def feed(self, text, final=False):
        self.text += text
        if not final:
            return Progress(0)
        if "sleep" in self.text:
            time.sleep(3600)
        if "die" in self.text:
            os._exit(3)
        if "raise" in self.text:
            raise KeyError(self.text)
        at = self.text.find(self.check.word)
        found = (Finding(at, at + len(self.check.word), self.check.rule),) if at >= 0 else ()
        return Progress(len(self.text), found)

KIND = CheckKind("slow-word", "a word, slowly", lambda rule, o: Check(rule, o.word), Options,
                 isolation="process", reads="sentence", deadline=DEADLINE)
"""
POLICY = """
version: 1
policy: house
on_error: ON_ERROR
rules:
  - {id: word, check: slow-word, action: rewrite, replacement: "[word]", options: {word: dynamite}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the plug-in."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "slow.py").write_text(PLUGIN.replace("DEADLINE", "30.0"))
    return folder


def registry_of(folder: Path) -> Registry:
    """The kinds of a directory."""
    return find_registry(Settings(plugins=folder))


def policies_of(registry: Registry, on_error: str = "block") -> Policies:
    """The policy, compiled."""
    text = POLICY.replace("ON_ERROR", on_error)
    return cast(Policies, compile_policies([Source("p.yaml", text.encode())], hash_key=b"k", registry=registry))


@pytest.mark.parametrize("stream", [True, False])
async def test_it_finds_in_streams_and_prompts(folder: Path, stream: bool) -> None:
    """As a check in the proxy does; it was made with its options in its own process, where it may print."""
    registry = registry_of(folder)
    stream_of = said("There is some dyna", "mite here, and more. Then no", "thing.")
    async with (
        FakeUpstream(reply(sse(*stream_of))) as upstream,
        running(upstream, policies_of(registry), registry=registry) as proxy,
    ):
        got = await proxy.chat(content="my dynamite", stream=stream)
        whole = got.text() if stream else got.json()["choices"][0]["message"]["content"]
        assert whole == "There is some [word] here, and more. Then nothing."
        assert (await upstream.exchange()).request.json()["messages"][-1]["content"] == "my [word]"


@pytest.mark.parametrize(("word", "reason"), [("die", "unreachable"), ("raise", "raised")])
@pytest.mark.parametrize("on_error", ["block", "allow"])
async def test_what_goes_wrong_there_goes_by_on_error(folder: Path, word: str, reason: str, on_error: str) -> None:
    """The proxy goes on, and the next text is judged again."""
    registry = registry_of(folder)
    async with (
        FakeUpstream([reply(sse(*said(f"It will {word} now."))), reply(sse(*said("All is well.")))]) as upstream,
        running(upstream, policies_of(registry, on_error), registry=registry) as proxy,
    ):
        first = await proxy.chat()
        assert first.complete
        assert (word in first.text()) is (on_error == "allow")
        assert (await proxy.chat()).text() == "All is well."
        assert proxy.metric("check_errors_total", check="slow-word", reason=reason, on_error=on_error) == 1


def question(text: str, deadline: float = 30.0) -> ProcessQuestion:
    """About a text."""
    return ProcessQuestion("slow-word", '{"word":"bomb"}', text, deadline)


async def test_a_process_that_takes_too_long_is_killed_and_another_one_started(folder: Path) -> None:
    """With its deadline; nobody waits for what it was doing."""
    answerer = ProcessAnswerer(registry_of(folder).worker)
    assert await soon(answerer.answer(question("a bomb"), About())) == [[2, 6]]
    first = answerer._workers["slow-word"].pid
    assert first is not None
    with pytest.raises(CheckFailed) as caught:
        await soon(answerer.answer(question("sleep", 0.05), About()))
    assert caught.value.reason is Reason.DEADLINE
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    assert await soon(answerer.answer(question("a bomb"), About())) == [[2, 6]]
    assert answerer._workers["slow-word"].pid not in (None, first)
    await answerer.aclose()
    assert answerer._workers["slow-word"].pid is None


async def test_a_question_that_nobody_waits_for_does_not_mix_up_the_next(folder: Path) -> None:
    """A client that leaves while the process computes."""
    answerer = ProcessAnswerer(registry_of(folder).worker)
    left = asyncio.ensure_future(answerer.answer(question("no such word"), About()))
    await asyncio.sleep(0)
    left.cancel()
    assert await soon(answerer.answer(question("the bomb"), About())) == [[4, 8]]
    await answerer.aclose()


async def test_only_so_many_wait_for_a_process() -> None:
    """And one that cannot be started is told by its name."""
    answerer = ProcessAnswerer(())
    with pytest.raises(CheckFailed) as caught:
        await answerer.answer(question("text"), About())
    assert (caught.value.check, caught.value.reason) == ("slow-word", Reason.UNREACHABLE)
    worker = answerer._workers["slow-word"]
    async with worker._turn:
        waiting = [asyncio.ensure_future(worker.ask(question("text"))) for _ in range(QUEUE)]
        await asyncio.sleep(0)
        with pytest.raises(CheckFailed) as caught:
            await worker.ask(question("text"))
        assert caught.value.reason is Reason.OVERLOADED
    assert all(isinstance(one, CheckFailed) for one in await asyncio.gather(*waiting, return_exceptions=True))


def test_a_worker_answers_with_places_or_the_name_of_the_exception(folder: Path) -> None:
    """Without the text."""
    worker = Worker(registry_of(folder))
    asked = '{"kind": "slow-word", "options": "{}", "text": "%s"}'
    assert answer(worker, asked % "a bomb") == [(2, 6)]
    assert answer(worker, asked % "raise it") == {"raised": "KeyError"}


FAULTS: dict[str, Any] = {
    "has the isolation": {"isolation": "thread"},
    "reads": {"isolation": "process", "reads": 0},
    "has the deadline": {"isolation": "process", "deadline": 0},
}


@pytest.mark.parametrize(("says", "how"), FAULTS.items(), ids=list(FAULTS))
def test_what_is_wrong_with_the_declaration_is_told(says: str, how: dict[str, Any]) -> None:
    """When the plug-in is found."""
    kind = CheckKind("odd", "odd", lambda rule, options: rule, **how)  # type: ignore[arg-type, return-value]
    with pytest.raises(RegistryError, match=says):
        make_registry([Plugin(kind, "a test")])
