"""How long a token takes through the guard, against the same without it. Reported, and never judged."""

from __future__ import annotations

from statistics import median

import msgspec

from proxy.conformance.cases import Case, Exchange, Part
from proxy.conformance.client import Client
from proxy.conformance.dialects.base import Dialect
from proxy.conformance.server import Script, Server

ROUNDS = 15
TOKENS = 200
EXCHANGE = Exchange(
    Case("timing", "A harmless answer.", "streaming"), stream=True, parts=tuple([Part("token ")] * TOKENS)
)


class Timing(msgspec.Struct, frozen=True):
    """Medians in milliseconds: to the first text, and for each token after it."""

    dialect: str
    first_direct: float
    first: float
    token_direct: float
    token: float

    @property
    def first_ratio(self) -> float:
        """Times as long as without the guard."""
        return self.first / self.first_direct

    @property
    def token_ratio(self) -> float:
        """Times as long as without the guard."""
        return self.token / self.token_direct


async def measure(client: Client, direct: Client, server: Server, dialect: Dialect) -> Timing | None:
    """By turns, so that a busy machine is busy for both. None if the target gave no text."""
    found: dict[Client, list[tuple[float, float]]] = {client: [], direct: []}
    for _ in range(ROUNDS):
        for one, times in found.items():
            server.script = script = Script(EXCHANGE, dialect, client.patience)
            reply = await one.ask(EXCHANGE, dialect, script)
            if not reply.first:
                return None
            times.append((reply.first * 1000, (reply.last - reply.first) * 1000 / TOKENS))
    (first, token), (first_direct, token_direct) = (_medians(times) for times in found.values())
    return Timing(dialect.name, first_direct, first, token_direct, token)


def _medians(times: list[tuple[float, float]]) -> tuple[float, float]:
    return median(first for first, _ in times), median(token for _, token in times)
