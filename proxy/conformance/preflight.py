"""Before anything is judged: is there a guard at the target, and does it ask the scripted server?"""

from __future__ import annotations

import asyncio
from time import monotonic

from proxy.conformance.cases import Case, Exchange, Part
from proxy.conformance.client import Client, Reply
from proxy.conformance.dialects.base import Dialect
from proxy.conformance.server import Script, Server

REST = 0.5
"""Seconds between two looks at a target that is not there yet."""
NOT_A_VERDICT = (401, 404, 405, 407, 421)
"""Of a 4xx: nobody has judged the request."""
PROBE = Exchange(Case("probe", "A harmless answer.", "fidelity"), stream=True, parts=(Part("Hello"), Part(" there.")))


class TargetError(Exception):
    """The target cannot be tested. The message says why, and what to do."""


async def find(client: Client, server: Server, dialect: Dialect, wait: float) -> None:
    """Wait until the target answers, for at most `wait` seconds. Raises TargetError."""
    until = monotonic() + wait
    while True:
        try:
            await probe(client, server, dialect)
            return
        except TargetError:
            if monotonic() >= until:
                raise
        await asyncio.sleep(REST)


async def probe(client: Client, server: Server, dialect: Dialect) -> None:
    """One harmless exchange. Raises TargetError."""
    server.script = script = Script(PROBE, dialect, client.patience)
    reply = await client.ask(PROBE, dialect, script)
    where = f"{client.url}{dialect.path}"
    if reply.cut and not reply.status:
        raise TargetError(f"{where} cannot be asked ({reply.cut}): start the guard, or name its address in --target")
    if reply.hung:
        told = "asked the scripted server and sent no end" if script.asked else "did not answer"
        raise TargetError(f"{where} {told} within {client.patience:g} s")
    if reply.address is not None and any(asked.peer == reply.address[:2] for asked in script.asked):
        raise TargetError(f"{where} is the scripted server itself: --target has to be the guard in front of it")
    if len(script.asked) > 1:
        raise TargetError(
            f"{where} asked the scripted server {len(script.asked)} times for one request: is there a loop?"
        )
    if not script.asked and not _refused(reply, dialect):
        raise TargetError(_elsewhere(where, reply, server))


def _refused(reply: Reply, dialect: Dialect) -> bool:
    """Whether it looks like a guard's refusal, which is a verdict. Another server's answer is none."""
    refused = 400 <= reply.status < 500 and reply.status not in NOT_A_VERDICT
    return refused and isinstance(reply.json(), dict)


def _elsewhere(where: str, reply: Reply, server: Server) -> str:
    began = reply.body[:120].decode("utf-8", "replace")
    return (
        f"{where} answered {reply.status} and asked nothing of the scripted server ({began!r}): "
        f"set the guard's model server to {server.url}"
    )
