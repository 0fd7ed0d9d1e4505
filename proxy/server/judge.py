"""A request's texts before they go upstream: judged as the model will read them, then written back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from proxy.checks.markers import family_of
from proxy.core.check import Check
from proxy.core.guard import CHECK_FAILED
from proxy.core.prompt import SLICE, Judged, judge
from proxy.core.types import Action, Finding, Kind, Rule
from proxy.dialects.base import InputText, Notice
from proxy.server.exchange import Exchange, Outcome

UNSTABLE = Rule("internal", "unstable_rewrite", Action.BLOCK)
OPENING = 64  # to begin with a text takes as long as so many characters
PASSES = 4  # rewriting may bring up new matches; a rule set that never comes to rest ends the request


class InputPlan(Protocol):
    """What a policy set says about texts of one role."""

    def checks(self, kind: Kind, escaped: bool = False) -> Iterable[Check]:
        """The checks for text of this kind."""

    def markers(self, kind: Kind, escaped: bool = False) -> Iterable[Check]:
        """The checks for markers of chat templates alone."""

    @property
    def history(self) -> str:
        """What a block in an earlier turn does: `replace` or `block`."""


class Blocked(Exception):
    """A rule refuses the request."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.rule.name)
        self.finding = finding


async def judge_request(
    texts: Sequence[InputText],
    joiner: str,
    plan_for: Callable[[str], InputPlan],
    notice: Notice,
    exchange: Exchange,
    block_history: bool = False,
) -> None:
    """Judge and rewrite every text. Raises Blocked when a rule ends the request.

    Texts of one group are judged joined, because the model reads them so, whatever stands between them in the request:
    a backend takes tool results and thinking out of the middle of a message. A block in an earlier turn puts the
    notice in that text's place, so that a conversation is not dead for ever, unless `history` says block.
    """
    pace = _Pace()
    groups: dict[object, list[InputText]] = {}
    for text in texts:
        alone = text.param if text.escaped else ""  # a string left open in one JSON source must not reach another's
        groups.setdefault((text.role, text.group, text.kind, text.is_name, alone), []).append(text)
    for group in groups.values():
        plan = plan_for(group[0].role)
        checks = tuple(plan.checks(group[0].kind, group[0].escaped))
        if checks:
            strict = block_history or plan.history == "block"
            together = _Group(group, joiner, checks, notice, exchange, pace)
            await together.settle(strict)
            await together.settle_glued(strict)


class _Pace:
    """Lets other streams run after every SLICE characters, not after every text."""

    def __init__(self) -> None:
        self._since = 0

    async def step(self, characters: int) -> None:
        self._since += characters
        if self._since >= SLICE:
            self._since = 0
            await asyncio.sleep(0)


class _Group:
    """Texts that the model reads as one."""

    def __init__(
        self,
        texts: list[InputText],
        joiner: str,
        checks: tuple[Check, ...],
        notice: Notice,
        exchange: Exchange,
        pace: _Pace,
    ) -> None:
        self._texts = texts
        self._joiner = joiner
        self._checks = checks
        self._notice = notice
        self._exchange = exchange
        self._pace = pace
        self._size = sum(len(text.text) for text in texts)
        self._escaped = texts[0].escaped
        self._replaced: set[int] = set()
        self._reported: set[tuple[int, Rule]] = set()

    async def settle(self, strict: bool, first: bool = True) -> None:
        """Until nothing changes any more: what is sent is what was judged."""
        for attempt in range(PASSES + len(self._texts)):
            judged = await self._judge()
            self._report(judged, first=first and attempt == 0)
            if judged.blocked is not None:
                self._replace(judged, strict)
            elif not self._write_back(judged.parts):
                return
        self._block(Finding(0, 0, UNSTABLE))

    async def settle_glued(self, strict: bool) -> None:
        """Once more, as a template reads the texts that puts nothing between the parts of a message."""
        if len(self._texts) > 1:
            self._joiner = ""
            await self.settle(strict, first=False)

    async def _judge(self) -> Judged:
        """One pass. A check that raises blocks: fail closed."""
        try:
            for judged in judge([text.text for text in self._texts], self._joiner, self._checks, self._escaped):
                if judged is not None:
                    return judged
                await self._pace.step(min(self._size, SLICE) + OPENING)
        except Exception as error:
            self._exchange.check_errors.append(error)
        self._block(Finding(0, 0, CHECK_FAILED))
        raise AssertionError

    def _report(self, judged: Judged, first: bool) -> None:
        """What was found, once: later passes see again what stays, so they add only what is new in its text."""
        new = [f for f in judged.found if first or (f.part, f.finding.rule) not in self._reported]
        for part, finding in new:
            self._reported.add((part, finding.rule))
            self._exchange.note("input" if self._texts[part].newest else "history", finding)
            if finding.rule.holds and finding.rule.replacement.insert:
                self._count_marker(self._texts[part].text[finding.start : finding.end])

    def _count_marker(self, text: str) -> None:
        markers, family = self._exchange.markers, family_of(text)
        markers[family] = markers.get(family, 0) + 1

    def _replace(self, judged: Judged, strict: bool) -> None:
        assert judged.blocked is not None
        part, finding = judged.blocked
        text = self._texts[part]
        if text.newest or strict or part in self._replaced:
            self._block(finding)
        self._replaced.add(part)
        text.put(self._notice(finding))
        self._exchange.outcome = Outcome.REWRITTEN

    def _write_back(self, parts: Sequence[str]) -> bool:
        """Whether anything was rewritten."""
        changed = False
        for text, part in zip(self._texts, parts, strict=True):
            if part is not text.text:
                text.put(part)
                changed = True
        return changed

    def _block(self, finding: Finding) -> None:
        raise Blocked(finding)
