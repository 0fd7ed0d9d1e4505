"""`safety-proxy demo`: the real proxy in front of the demo model, and on the stage what goes in and what comes out."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import secrets
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import httpx
import uvloop

from proxy.cli.banner import bold
from proxy.core.types import Action, Direction, Finding
from proxy.demo import script
from proxy.demo.backend import DemoBackend
from proxy.demo.stage import Stage, stage, table
from proxy.errors import SettingsError
from proxy.policy.explain import Sample, outcome
from proxy.policy.policyset import PolicySet
from proxy.policy.store import PolicyStore
from proxy.server.app import Server
from proxy.server.config import ServerConfig
from proxy.settings import SHIPPED

PACE = 0.06  # seconds from token to token at speed 1: about as fast as people read
FRAME = 0.03  # seconds between two drawings
DID = {Action.FLAG: "flagged", Action.REWRITE: "rewrote", Action.BLOCK: "blocked"}


def demo(args: argparse.Namespace) -> int:
    """Play the scenes, or one prompt. Raises SettingsError and PolicyError."""
    speed = _speed(args.speed)
    prompts = [" ".join(args.prompt)] if args.prompt else [scene.prompt for scene in script.SCENES]
    folder = Path(args.policies).expanduser() if args.policies else SHIPPED
    uvloop.run(_play(prompts, PACE / speed if speed else 0.0, folder, sys.stdout))
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
    held:    most characters that waited at once; seconds: how long any did, in all. As the proxy counts them
    """

    prompt: str
    said: list[str] = field(default_factory=list)
    shown: str = ""
    held: int = 0
    seconds: float = 0.0

    @property
    def raw(self) -> str:
        """What the model has said so far."""
        return "".join(self.said)


async def _play(prompts: Sequence[str], pace: float, folder: Path, out: TextIO) -> None:
    store = PolicyStore(folder, hash_key=secrets.token_bytes(32))
    policies = await store.load()
    takes = [Take(prompt) for prompt in prompts]
    said: Iterator[Take] = iter(takes)
    now = [takes[0]]
    with DemoBackend(pace, lambda piece: now[0].said.append(piece)) as backend:
        config = ServerConfig(upstream=backend.url, listen=("127.0.0.1", 0), admin=None)
        async with Server(config, store) as server:
            for now[0] in said:
                out.write(bold(f"> {now[0].prompt}", out) + "\n\n")
                await _perform(now[0], server, stage(out))
                out.write("\n")
    out.write(_summary(takes, policies))


async def _perform(take: Take, server: Server, on: Stage) -> None:
    """Ask through the proxy and show both texts until the answer has ended."""
    before = _totals(server)
    drawing = asyncio.create_task(_draw(take, on))
    try:
        async for text in _ask(f"http://127.0.0.1:{server.bound.listen[1]}", take.prompt):
            take.shown += text
    finally:
        drawing.cancel()
    on.close(take.raw, take.shown)
    after = await _counted(server, before)
    take.held = int(after["held_back_characters_sum"] - before["held_back_characters_sum"])
    take.seconds = after["hold_seconds_sum"] - before["hold_seconds_sum"]


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


def _totals(server: Server) -> Counter[str]:
    """The proxy's metrics, each summed over its labels."""
    totals: Counter[str] = Counter()
    for metric in server.metrics.registry.collect():
        for sample in metric.samples:
            totals[sample.name.removeprefix("safety_proxy_")] += sample.value  # type: ignore[assignment]
    return totals


async def _counted(server: Server, before: Counter[str]) -> Counter[str]:
    """The metrics once the answer is in them: it is counted right after its last byte has been sent."""
    for _ in range(200):
        after = _totals(server)
        if after["requests_total"] > before["requests_total"]:
            break
        await asyncio.sleep(0.005)
    return after


def _summary(takes: Sequence[Take], policies: PolicySet) -> str:
    rows = [row for take in takes for row in _rows(take, policies)]
    head = ("rule", "action", "what", "held at most", "for", "model stopped")
    return (
        table(head, rows)
        + f"\npolicies {', '.join(p.name for p in policies.policies)}, revision {policies.revision[:12]}\n"
    )


def _rows(take: Take, policies: PolicySet) -> Iterator[tuple[str, ...]]:
    """A line for each finding; what holds for the whole answer stands on the first."""
    text, direction, role = (take.raw, Direction.OUTPUT, None) if take.said else (take.prompt, Direction.INPUT, "user")
    found = outcome(policies, Sample(text, direction, model=script.MODEL, role=role)).findings
    whole = sum(1 for _ in script.pieces(script.scene_for(take.prompt).answer))
    stopped = f"after {len(take.said)} of {whole} tokens" if len(take.said) < whole else "no"
    rest = (f"{take.held} characters", f"{take.seconds * 1000:.0f} ms", stopped)
    if not found:
        yield ("none", "-", "-", *rest)
    for finding in found:
        yield (finding.rule.name, DID[finding.rule.action], _excerpt(text, finding), *rest)
        rest = ("", "", "")


def _excerpt(text: str, finding: Finding, most: int = 24) -> str:
    """What a rule matched; of a long match the beginning. The demo model's words are nobody's secret."""
    match = text[finding.start : finding.end]
    return match if len(match) <= most else match[: most - 3] + "..."
