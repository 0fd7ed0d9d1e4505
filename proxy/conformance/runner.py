"""Carries out the cases one after the other, and keeps their results."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from proxy.conformance.cases import Case, Exchange, Expect, Part, exchanges
from proxy.conformance.client import Client, Reply
from proxy.conformance.dialects.base import Dialect
from proxy.conformance.judge import faults
from proxy.conformance.server import Script, Server

KEPT_BYTES = 4000
"""Of the answer that a failed case shows."""
SHOWN = 3
"""Failed exchanges of a case that are kept with their bytes; the others are counted."""


@dataclass(frozen=True)
class Failure:
    """An exchange that went wrong, and what came."""

    exchange: str
    faults: tuple[str, ...]
    status: int
    body: bytes


@dataclass
class Result:
    """A case in one dialect. same_bytes: an untouched answer came byte for byte; None where that is not asked."""

    case: Case
    dialect: str
    exchanges: int = 0
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)
    same_bytes: bool | None = None

    @property
    def passed(self) -> bool:
        """Nothing was wrong."""
        return not self.failed


Progress = Callable[[int, int, Case, str], None]
"""How many are done, of how many, and the next one with its dialect."""


def applies(case: Case, dialect: Dialect) -> bool:
    """Whether a dialect has what a case is about."""
    has_fields = {part.field for part in case.send} <= dialect.fields
    has_choices = dialect.many or not any(part.choice for part in case.send)
    return has_fields and has_choices and (not case.dialects or dialect.name in case.dialects)


async def run(
    cases: Sequence[Case], dialects: Sequence[Dialect], client: Client, server: Server, progress: Progress
) -> list[Result]:
    """All results, in the order of dialects and cases."""
    work = [(case, dialect) for dialect in dialects for case in cases if applies(case, dialect)]
    results = []
    for done, (case, dialect) in enumerate(work):
        progress(done, len(work), case, dialect.name)
        results.append(await run_case(case, dialect, client, server))
    return results


async def run_case(case: Case, dialect: Dialect, client: Client, server: Server) -> Result:
    """One result."""
    result = Result(case, dialect.name)
    for exchange in exchanges(case):
        reply, found, script = await _carry_out(exchange, dialect, client, server)
        result.exchanges += 1
        if case.expect.same:
            result.same_bytes = result.same_bytes is not False and reply.body == b"".join(script.pieces())
        if found:
            result.failed += 1
            if len(result.failures) < SHOWN:
                result.failures.append(Failure(exchange.name, tuple(found), reply.status, reply.body[:KEPT_BYTES]))
    return result


async def _carry_out(
    exchange: Exchange, dialect: Dialect, client: Client, server: Server
) -> tuple[Reply, list[str], Script]:
    server.script = script = Script(exchange, dialect, client.patience)
    reply = await client.ask(exchange, dialect, script)
    if exchange.case.expect.cancelled:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(client.patience):
                await script.over.wait()
    found = faults(exchange, dialect, reply, script)
    if exchange.case.expect.goes_on and not found:
        found = await _go_on(exchange, dialect, reply, client, server)
    return reply, found, script


async def _go_on(exchange: Exchange, dialect: Dialect, reply: Reply, client: Client, server: Server) -> list[str]:
    """The next message of the same conversation."""
    heard = dialect.understood(reply.body, exchange.stream).of("content") or "I cannot say that."
    turns = [("user", exchange.case.prompt), ("assistant", heard), ("user", "Then tell me about trees.")]
    expect = Expect(same=True)
    case = Case(exchange.case.id, exchange.case.says, exchange.case.group, expect=expect)
    following = Exchange(case, exchange.stream, None, (Part("Trees "), Part("are tall.")))
    server.script = script = Script(following, dialect, client.patience)
    again = await client.ask(following, dialect, script, turns)
    return [f"in the next turn: {fault}" for fault in faults(following, dialect, again, script)]
