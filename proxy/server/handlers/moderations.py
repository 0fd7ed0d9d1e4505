"""POST /v1/moderations: what the loaded policies find in a text. Nothing is sent to the model server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from proxy.core.check import Asking, Turn, asking, without_asking
from proxy.core.prompt import judge
from proxy.core.types import Direction, Finding, Kind, Rule
from proxy.dialects.openai import moderations
from proxy.server.asks.asker import Asker
from proxy.server.asks.desk import About, Desk
from proxy.server.config import ServerConfig
from proxy.server.exchange.policies import ActivePolicies, Snapshot
from proxy.server.http.body import ClientGone
from proxy.server.http.request import RequestContext
from proxy.server.limits.admission import Admission
from proxy.server.routing.routes import RouteMatch


class ModerationsHandler:
    """Serves it. Rules of both directions count, because nobody knows who wrote the text."""

    def __init__(self, config: ServerConfig, policies: ActivePolicies, admission: Admission, desk: Desk) -> None:
        self._admission = admission
        self._desk = desk
        self._config = config
        self._policies = policies

    async def run(self, match: RouteMatch, request: RequestContext) -> None:
        """Serve one request."""
        await self._admission.count(request.key)
        try:
            body = await request.read(self._config.max_body, self._config.body_timeout)
        except ClientGone:
            return
        policies = self._policies.snapshot(request.key)
        asked = moderations.parse(body)
        key = None if request.key is None else request.key.name
        asker = Asker(self._desk, About(request.id, moderations.MODEL, key))
        try:
            results = [list((await _found(policies, parts, asker)).values()) for parts in asked.inputs]
        finally:
            asker.close()
        answer = moderations.answer(results, request.id, [rule.name for rule in policies.policies.rules])
        headers = [
            (b"content-type", b"application/json"),
            (b"x-safety-proxy-request-id", request.id.encode()),
            (b"x-safety-proxy-policy", policies.revision.encode()),
        ]
        await request.reply(200, headers, answer)


async def _found(policies: Snapshot, parts: Sequence[str], asker: Asker) -> dict[Rule, Finding]:
    """The first finding of each rule. A rule that asks somebody who does not answer shows as the check that failed."""
    found: dict[Rule, Finding] = {}
    for direction in Direction:
        every = policies.plan(direction, moderations.MODEL).checks(Kind.CONTENT)
        checks = without_asking(every)
        for finding in await _answered(asking(every), direction, moderations.JOINER.join(parts), asker):
            found.setdefault(finding.rule, finding)
        for judged in judge(parts, moderations.JOINER, checks):
            if judged is None:
                await asyncio.sleep(0)
            else:
                for located in judged.found:
                    found.setdefault(located.finding.rule, located.finding)
    return found


async def _answered(checks: Sequence[Asking], direction: Direction, text: str, asker: Asker) -> list[Finding]:
    """What those find who are asked, all questions beside each other."""
    scans = [
        check.open(Turn(direction, role="user" if direction is Direction.INPUT else "assistant")) for check in checks
    ]
    asks = [(scan, ask) for scan in scans for ask in scan.feed(text, final=True).asks]
    replies = await asker.answers([ask.data for _, ask in asks])
    return [finding for scan, ask in asks for finding in scan.answer(ask.number, replies[ask.data]).findings]
