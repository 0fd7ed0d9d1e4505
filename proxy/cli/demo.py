"""`safety-proxy demo`: the real proxy in front of the demo model, and on the stage what goes in and what comes out."""

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
from proxy.demo.stage import Stage, stage, summary
from proxy.errors import SettingsError
from proxy.server.app import Server
from proxy.server.config import ServerConfig
from proxy.server.exchange.record import Exchange
from proxy.settings import SHIPPED
from proxy.startup.policies import load

PACE = 0.06  # seconds from token to token at speed 1: about as fast as people read
FRAME = 0.03  # seconds between two drawings
HEAD = ("rule", "action", "what", "held at most", "longest wait", "model stopped")
DID = {Action.FLAG: "flagged", Action.REWRITE: "rewrote", Action.BLOCK: "blocked"}


def demo(args: argparse.Namespace) -> int:
    """Play the scenes, or one prompt. Raises SettingsError and PolicyError."""
    speed = _speed(args.speed)
    prompts = [" ".join(args.prompt)] if args.prompt else [scene.prompt for scene in script.SCENES]
    folder = Path(args.policies).expanduser() if args.policies else SHIPPED
    run(_play(prompts, PACE / speed if speed else 0.0, folder, sys.stdout))
    return 0


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = -1.0
    if not 0 <= speed < math.inf:
        raise SettingsError(f"flag --speed takes a number, 0 for as fast as can be (it is {text!r})")
    return speed


@dataclass
class Take:
    """A prompt and what became of the answer.

    said:    the model's tokens, as they left it
    shown:   what the client has got
    waiting: since when the client has got nothing although the model has said something; 0.0 if it has (monotonic)
    longest: the longest such wait, in seconds
    """

    prompt: str
    said: list[str] = field(default_factory=list)
    shown: str = ""
    waiting: float = 0.0
    longest: float = 0.0
    exchange: Exchange | None = None

    def say(self, piece: str) -> None:
        """The model has said a token."""
        self.said.append(piece)
        self.waiting = self.waiting or monotonic()

    def show(self, text: str) -> None:
        """The client has got text."""
        self.shown += text
        if text and self.waiting:
            self.longest = max(self.longest, monotonic() - self.waiting)
            self.waiting = 0.0

    @property
    def raw(self) -> str:
        """What the model has said so far."""
        return "".join(self.said)


class Witness:
    """Sees what the model says and how each exchange ends, for one take after the other."""

    def __init__(self) -> None:
        self.take = Take("")
        self.over = asyncio.Event()

    def follow(self, take: Take) -> None:
        """From now on everything belongs to this take."""
        self.take = take
        self.over.clear()

    def said(self, piece: str) -> None:
        """The model has said a token; called in its thread."""
        self.take.say(piece)

    def begin(self, exchange: Exchange) -> None:
        """An exchange has begun."""

    def end(self, exchange: Exchange) -> None:
        """It is over, and knows what was held and which rules acted."""
        self.take.exchange = exchange
        self.over.set()


async def _play(prompts: Sequence[str], pace: float, folder: Path, out: TextIO) -> None:
    store = await load(folder)
    takes = [Take(prompt) for prompt in prompts]
    witness = Witness()
    with DemoBackend(pace, witness.said) as backend:
        config = ServerConfig(upstream=backend.url, listen=("127.0.0.1", 0), admin=None)
        async with Server(config, store, observers=[witness]) as server:
            for take in takes:
                witness.follow(take)
                out.write(bold(f"> {take.prompt}", out) + "\n\n")
                await _perform(take, f"http://127.0.0.1:{server.bound.listen[1]}", stage(out))
                await witness.over.wait()
                out.write("\n")
    out.write(summary(out, HEAD, [row for take in takes for row in _rows(take)]))
    names = ", ".join(policy.name for policy in store.current.policies)
    out.write(f"\npolicies {names} of {folder}, revision {store.current.revision[:12]}\n")


async def _perform(take: Take, url: str, on: Stage) -> None:
    """Ask through the proxy and show both texts until the answer has ended."""
    drawing = asyncio.create_task(_draw(take, on))
    try:
        async for text in _ask(url, take.prompt):
            take.show(text)
    finally:
        drawing.cancel()
    on.close(take.raw, take.shown)


async def _draw(take: Take, on: Stage) -> None:
    while True:
        on.show(take.raw, take.shown)
        await asyncio.sleep(FRAME)


async def _ask(url: str, prompt: str) -> AsyncIterator[str]:
    """The text of a streamed answer, piece by piece; of a refusal its message."""
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
    """The JSON of an event stream of our own making: one data line an event."""
    rest = b""
    async for read in reads:
        *events, rest = (rest + read).split(b"\n\n")
        for event in events:
            if event.startswith(b"data: {"):
                yield json.loads(event.removeprefix(b"data: "))


def _rows(take: Take) -> Iterator[tuple[str, ...]]:
    """A line for each finding; what holds for the whole answer stands on the first."""
    assert take.exchange is not None
    whole = sum(1 for _ in script.pieces(script.scene_for(take.prompt).answer))
    stopped = f"after {len(take.said)} of {whole} tokens" if len(take.said) < whole else "no"
    rest = (f"{take.exchange.held_most} characters", f"{take.longest * 1000:.0f} ms", stopped)
    if not take.exchange.found:
        yield ("none", "-", "-", *rest)
    for direction, finding in take.exchange.found:
        text = take.prompt if direction == Direction.INPUT else take.raw
        yield (finding.rule.name, DID[finding.rule.action], _excerpt(text, finding), *rest)
        rest = ("", "", "")


def _excerpt(text: str, finding: Finding, most: int = 24) -> str:
    """What a rule matched; of a long match the beginning. The demo model's words are nobody's secret."""
    match = text[finding.start : finding.end]
    return match if len(match) <= most else match[: most - 3] + "..."
