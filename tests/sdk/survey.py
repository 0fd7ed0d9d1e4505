"""Asks every client every case once, in front of a real llama.cpp server and of a scripted one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.e2e.llama_server import LlamaServer
from tests.e2e.scripts import SCRIPTS
from tests.e2e.tiny_model import write_model
from tests.fakes import FakeUpstreamThread
from tests.proxy_process import REPOSITORY, ProxyProcess
from tests.sdk import npm, scripted
from tests.sdk.asking import CASES, DEATHS, MAX_TOKENS, POLICY, SCHEMA, Case, Told, Way
from tests.sdk.ways import NODE, PYTHON

RUN_SECONDS: Final = 900
"""Some 30 on a quiet machine."""
PYTHON_PROGRAM: Final = (sys.executable, "-m", "tests.sdk.python_driver")
NODE_PROGRAM: Final = ("node", str(npm.FOLDER / "driver.mjs"))

Results = dict[tuple[str, str], Told]
"""By the names of way and case."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Three proxies: each counts twenty names of models apart, and the ways are more."""

    healthy: ProxyProcess
    dying: ProxyProcess
    scripted: ProxyProcess

    def proxy(self, way: Way, case: Case) -> ProxyProcess:
        """Whom to ask."""
        if way.scripted:
            return self.scripted
        return self.dying if case.name in DEATHS else self.healthy

    def plan(self, ways: Iterable[Way]) -> str:
        """What a program has to do, as JSON."""
        cases = [{"name": case.name, "prompt": case.prompt, "tools": case.tools} for case in CASES]
        urls = {way.name: {case.name: self.proxy(way, case).url for case in CASES} for way in ways}
        admin = [proxy.admin_url for proxy in (self.healthy, self.dying, self.scripted)]
        return json.dumps({"urls": urls, "admin": admin, "cases": cases, "schema": SCHEMA, "maxTokens": MAX_TOKENS})


class Program:
    """A program at work that prints what each of its ways told of each case."""

    def __init__(self, command: Sequence[str], plan: str) -> None:
        self._process = subprocess.Popen(
            [*command, plan],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with self._process:
            self._process.kill()

    def results(self) -> Results:
        """All of it. AssertionError if the program fails, or takes too long."""
        try:
            out, err = self._process.communicate(timeout=RUN_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self._process.args!r} did not end within {RUN_SECONDS} s") from None
        assert self._process.returncode == 0, err
        return dict(_read(json.loads(line)) for line in out.splitlines() if line.startswith("{"))


def _read(line: dict[str, Any]) -> tuple[tuple[str, str], Told]:
    key = line.pop("way"), line.pop("case")
    told = Told(**line)
    told.settle()
    return key, told


def survey(folder: Path, *, node: bool) -> Results:
    """What every way told of every case; without the ways of Node if not `node`. `folder` is for files on the way."""
    with ExitStack() as stack:
        stage = _stage(stack, folder)
        wanted = [(PYTHON_PROGRAM, PYTHON), (NODE_PROGRAM, NODE)] if node else [(PYTHON_PROGRAM, PYTHON)]
        programs = [stack.enter_context(Program(command, stage.plan(ways))) for command, ways in wanted]
        return {key: told for program in programs for key, told in program.results().items()}


def _stage(stack: ExitStack, folder: Path) -> Stage:
    policies = folder / "policies"
    policies.mkdir()
    (policies / "house.yaml").write_text(POLICY, encoding="utf-8")
    model = folder / "tiny.gguf"
    write_model(model, SCRIPTS)
    llama = stack.enter_context(LlamaServer(model))
    fake = stack.enter_context(FakeUpstreamThread(scripted.answer))
    proxies = [ProxyProcess(upstream=url, policies=policies) for url in (llama.url, fake.url, fake.url)]
    return Stage(*(stack.enter_context(proxy) for proxy in proxies))
