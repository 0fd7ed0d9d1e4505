"""`safety-proxy demo`: the real proxy in front of the demo model, with what goes in beside what comes out."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, TextIO

import httpx

from proxy.cli.banner import bold
from proxy.cli.event_loop import run
from proxy.core.types import Action, Direction, Finding
from proxy.demo import script
from proxy.demo.backend import DemoBackend
from proxy.demo.display import Display, display_for, summary
from proxy.errors import SettingsError
from proxy.server.app import Server
from proxy.server.config import ServerConfig
from proxy.server.exchange.record import Exchange
from proxy.settings import DEMO_POLICIES
from proxy.startup.policies import load

TOKEN_INTERVAL = 0.06  # seconds from token to token at speed 1, about as fast as people read
REDRAW_INTERVAL = 0.03  # seconds between two drawings of the texts
COLUMNS = ("rule", "action", "what", "held at most", "longest wait", "model stopped")
ACTIONS = {Action.FLAG: "flagged", Action.REWRITE: "rewritten", Action.BLOCK: "blocked"}


def demo(args: argparse.Namespace) -> int:
    """Run the prompts of the script, or one of your own. Raises SettingsError and PolicyError."""
    speed = _speed(args.speed)
    prompts = [" ".join(args.prompt)] if args.prompt else [answer.prompt for answer in script.ANSWERS]
    folder = Path(args.policies).expanduser() if args.policies else DEMO_POLICIES
    run(_run_demo(prompts, TOKEN_INTERVAL / speed if speed else 0.0, folder, sys.stdout))
    return 0


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = -1.0
    if not 0 <= speed < math.inf:
        raise SettingsError(f"flag --speed takes a number; 0 is as fast as possible (it is {text!r})")
    return speed


@dataclass
class Trial:
    """A prompt, and both sides of its answer.

    tokens:        what the model has sent
    received:      the text that the client has received
    waiting_since: when the model sent the first token of which the client has nothing yet (monotonic); 0.0: none waits
    longest_wait:  the longest such wait, in seconds
    """

    prompt: str
    tokens: list[str] = field(default_factory=list)
    received: str = ""
    waiting_since: float = 0.0
    longest_wait: float = 0.0
    exchange: Exchange | None = None

    def token_sent(self, token: str) -> None:
        """The model has sent a token."""
        self.tokens.append(token)
        self.waiting_since = self.waiting_since or monotonic()

    def text_received(self, text: str) -> None:
        """The client has received text."""
        self.received += text
        if text and self.waiting_since:
            self.longest_wait = max(self.longest_wait, monotonic() - self.waiting_since)
            self.waiting_since = 0.0

    @property
    def raw(self) -> str:
        """What the model has sent so far."""
        return "".join(self.tokens)


class TrialRecorder:
    """Records what the model sends and how each exchange ends, for one trial after the other."""

    def __init__(self) -> None:
        self.current = Trial("")
        self.finished = asyncio.Event()

    def follow(self, trial: Trial) -> None:
        """From now on everything belongs to this trial."""
        self.current = trial
        self.finished.clear()

    def token_sent(self, token: str) -> None:
        """The model has sent a token; called in its thread."""
        self.current.token_sent(token)

    def end(self, exchange: Exchange) -> None:
        """It has ended. Its record says what was held and which rules acted."""
        self.current.exchange = exchange
        self.finished.set()


async def _run_demo(prompts: Sequence[str], pace: float, folder: Path, out: TextIO) -> None:
    store = await load(folder)
    trials = [Trial(prompt) for prompt in prompts]
    recorder = TrialRecorder()
    with DemoBackend(pace, recorder.token_sent) as backend:
        config = ServerConfig(upstream=backend.url, listen=("127.0.0.1", 0), admin=None)
        async with Server(config, store, observers=[recorder]) as server:
            for trial in trials:
                recorder.follow(trial)
                out.write(bold(f"> {trial.prompt}", out) + "\n\n")
                await _run_trial(trial, f"http://127.0.0.1:{server.bound.listen[1]}", display_for(out))
                await recorder.finished.wait()
                out.write("\n")
    out.write(summary(out, COLUMNS, [row for trial in trials for row in _rows(trial)]))
    names = ", ".join(policy.name for policy in store.current.policies)
    out.write(f"\npolicies {names} of {folder}, revision {store.current.revision[:12]}\n")


async def _run_trial(trial: Trial, url: str, display: Display) -> None:
    """Send the prompt through the proxy and show both texts until the answer ends."""
    drawing = asyncio.create_task(_draw(trial, display))
    try:
        async for text in _ask(url, trial.prompt):
            trial.text_received(text)
    finally:
        drawing.cancel()
    display.close(trial.raw, trial.received)


async def _draw(trial: Trial, display: Display) -> None:
    while True:
        display.show(trial.raw, trial.received)
        await asyncio.sleep(REDRAW_INTERVAL)


async def _ask(url: str, prompt: str) -> AsyncIterator[str]:
    """The text of a streamed answer, piece by piece; or the message of an error."""
    body = {"model": script.MODEL, "stream": True, "messages": [{"role": "user", "content": prompt}]}
    async with (
        httpx.AsyncClient(trust_env=False, timeout=None) as client,
        client.stream("POST", f"{url}/v1/chat/completions", json=body) as response,
    ):
        if response.status_code != 200:
            yield f"[{response.status_code}] " + json.loads(await response.aread())["error"]["message"]
            return
        async for event in _events(response.aiter_raw()):
            for choice in event.get("choices", ()):
                yield choice["delta"].get("content") or ""


async def _events(reads: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """The JSON of a stream of the demo model's: one data line for each event."""
    rest = b""
    async for read in reads:
        *events, rest = (rest + read).split(b"\n\n")
        for event in events:
            if event.startswith(b"data: {"):
                yield json.loads(event.removeprefix(b"data: "))


def _rows(trial: Trial) -> Iterator[tuple[str, ...]]:
    """A row for each finding. What is true of the whole answer is in the first one."""
    assert trial.exchange is not None
    whole = sum(1 for _ in script.tokens(script.answer_for(trial.prompt).answer))
    stopped = f"after {len(trial.tokens)} of {whole} tokens" if len(trial.tokens) < whole else "no"
    rest = (f"{trial.exchange.max_held} characters", f"{trial.longest_wait * 1000:.0f} ms", stopped)
    if not trial.exchange.findings:
        yield ("none", "-", "-", *rest)
    for direction, finding in trial.exchange.findings:
        text = trial.prompt if direction == Direction.INPUT else trial.raw
        yield (finding.rule.name, ACTIONS[finding.rule.action], _excerpt(text, finding), *rest)
        rest = ("", "", "")


def _excerpt(text: str, finding: Finding, most: int = 24) -> str:
    """What a rule matched, or the beginning of it. The words of the demo model are no secret."""
    match = text[finding.start : finding.end]
    return match if len(match) <= most else match[: most - 3] + "..."
