"""A request's texts before they go upstream: judged as the model will read them, then written back."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

from proxy.checks.markers import family_of
from proxy.core.check import Check, asking, without_asking
from proxy.core.guard import CHECK_FAILED
from proxy.core.json_checks import json_checks
from proxy.core.prompt import SLICE, Located, PromptScan
from proxy.core.prompt_memory import PromptMemory, Recall
from proxy.core.types import Action, Finding, Kind, Rule
from proxy.dialects.answer import Notice
from proxy.dialects.common.request_fields import MOST_TEXTS, too_many_texts
from proxy.dialects.common.request_texts import SYSTEM
from proxy.dialects.request import InputText
from proxy.server.exchange.prompt_asks import Answers, TextQuestions, blocks, conversation, nobody
from proxy.server.exchange.record import Exchange, Outcome

Later = Callable[[], Coroutine[Any, Any, bool]]
"""What is left to be asked about a prompt. Whether that has changed it. Raises Blocked."""
GroupKey = tuple[str, int, Kind, bool, str]
UNSTABLE = Rule("internal", "unstable_rewrite", Action.BLOCK)
OPENING = 64  # to begin with a text takes as long as so many characters
PASSES = 8  # rewriting may bring up new matches; a rule set that never comes to rest ends the request
SHORT = 200  # characters of a text that is remembered when nothing was found in it: a name, a word of a tool's schema
_MESSAGE = re.compile(r"(?:messages|input|system|system_prompt|instructions)(?![a-z_])")
"""Where a system text stands that is no part of a tool's definition or of a format."""
REMEMBERED = 4096  # such texts of one plan


class InputPlan(Protocol):
    """What a policy set says about texts of one role."""

    def checks(self, kind: Kind, escaped: bool = False) -> Iterable[Check]:
        """The checks for text of this kind."""

    def markers(self, kind: Kind, escaped: bool = False) -> Iterable[Check]:
        """The checks for markers of chat templates alone."""

    @property
    def shared(self) -> bool:
        """Whether the checks are those of all exchanges, and find the same in each: no plug-in is among them."""

    @property
    def history(self) -> str:
        """What a block in an earlier turn does: `replace` or `block`."""

    @property
    def admitted(self) -> set[tuple[Kind, str]]:
        """Short texts in which nothing was found, remembered for the next request: tools come with each."""


class Blocked(Exception):
    """A rule refuses the request; `text`: for what stands in there, where that is known."""

    def __init__(self, finding: Finding, text: InputText | None = None) -> None:
        super().__init__(finding.rule.name)
        self.finding = finding if text is None else finding.named(text.text, finding.start)
        self.text = text


class _NotJudged(Blocked):
    """What the texts say could not be decided: fail closed."""


async def judge_request(
    texts: Sequence[InputText],
    joiner: str,
    plan_for: Callable[[str], InputPlan],
    notice: Notice,
    exchange: Exchange,
    block_history: bool = False,
    answer_notice: Notice | None = None,
    memory: PromptMemory | None = None,
    apart: str = "",
    answers: Answers = nobody,
    parallel: bool = False,
) -> Later | None:
    """Judge and rewrite every text. Raises Blocked when a rule ends the request, BadRequest for far too many texts.

    Texts of one group are judged joined, because the model reads them so, whatever stands between them in the request:
    a backend takes tool results and thinking out of the middle of a message. A block in a text of an earlier turn puts
    the notice in that text's place, so that the conversation can go on, unless `history` says block. A block that needs
    a new text ends the request. `answer_notice` stands in place of what the model said.

    With a memory nothing is read again that was read for an earlier request. The result is the same. `apart`: whose
    requests share what is remembered.

    What checks ask is asked when all texts have been judged by the others: `answers`. With `parallel`, where all that
    ask allow it, that is left to the caller: it is returned.
    """
    if len(texts) > MOST_TEXTS:
        raise too_many_texts(texts[MOST_TEXTS].param)
    pace = _Pace()
    groups: dict[GroupKey, list[InputText]] = {}
    for text in texts:
        groups.setdefault(group_key(text), []).append(text)
        await pace.step(OPENING)
    readers: dict[tuple[str, Kind, bool, bool], _Reader] = {}
    asked: list[_Group] = []
    for (role, _, kind, is_name, _), group in groups.items():
        await pace.step(OPENING)
        escaped = group[0].escaped
        reader = readers.get((role, kind, is_name, escaped))
        if reader is None:
            plan = plan_for(role)
            known = None
            if memory is not None and plan.shared:
                known = partial(memory.recall, role, kind, is_name, escaped, apart=apart)
            reader = readers[role, kind, is_name, escaped] = _Reader(plan, kind, escaped, known)
        is_judged = reader.checks and not (len(group) == 1 and reader.passes(group[0].text, joiner))
        if not is_judged and not reader.asking:
            continue
        strict = block_history or reader.plan.history == "block"
        earlier = 0 if strict else _count_earlier(group)
        own_notice = answer_notice if answer_notice is not None and role == "assistant" else notice
        settling = _Group(group, earlier, joiner, reader, own_notice, exchange, pace)
        if is_judged:
            await settling.settle()
        if reader.asking:
            asked.append(settling)
    if not asked:
        return None
    later = partial(_settle_asked, asked, texts, answers, pace)
    if parallel and all(group.is_parallel for group in asked):
        return later
    await later()
    return None


async def _settle_asked(groups: Sequence[_Group], texts: Sequence[InputText], answers: Answers, pace: _Pace) -> bool:
    """Ask until no answer changes anything any more: what is sent is what was asked about. Whether any has changed
    something. Raises Blocked."""
    for number in range(PASSES):
        questions = []
        for group in groups:
            questions.append(group.questions(texts))
            for characters in questions[-1].read():
                await pace.step(characters)
        replies = await answers([data for one in questions for data in one.data])
        changed = [group for group, one in zip(groups, questions, strict=True) if await group.take(one.answer(replies))]
        if not changed:
            return number > 0
        for group in changed:
            await group.settle()
    raise Blocked(Finding(0, 0, UNSTABLE))


class _Reader:
    """What reads the texts of one role and kind.

    checks: those of a text that ask nobody; of JSON source all of them as one
    asking: those that ask
    recall: what the memory knows of such texts
    """

    def __init__(
        self, plan: InputPlan, kind: Kind, escaped: bool, recall: Callable[[tuple[Check, ...]], Recall] | None
    ) -> None:
        self.plan = plan
        self.escaped = escaped
        self._kind = kind
        own = without_asking(plan.checks(kind))
        source = tuple(plan.checks(kind, True)) if escaped else ()
        self.asking = asking(source if escaped else plan.checks(kind))
        self.checks = without_asking(json_checks(partial(plan.checks, kind))) if escaped else own
        self.recall = recall((*own, *without_asking(source))) if recall is not None and self.checks else None

    def passes(self, text: str, joiner: str) -> bool:
        """Whether nothing at all is found in a text that stands alone. False for any that needs a closer look."""
        if len(text) <= SHORT and not self.escaped:
            return self._passes_short(text)
        return self.recall is not None and self.recall.is_silent(joiner, text)

    def _passes_short(self, text: str) -> bool:
        known, asked = self.plan.admitted, (self._kind, text)
        if asked in known:
            return True
        try:
            if any(check.open().feed(text, final=True).findings for check in self.checks):
                return False
        except Exception:  # it will be told where the text is looked at closely
            return False
        if len(known) >= REMEMBERED:
            known.clear()
        known.add(asked)
        return True


def group_key(text: InputText) -> GroupKey:
    """Equal for texts that are judged as one: whose they are, of which group and kind, whether they are names."""
    alone = text.param if text.escaped else ""  # a string left open in one JSON source must not reach another's
    return text.role, text.group, text.kind, text.is_name, alone


def system_text(texts: Iterable[InputText], own: Iterable[str] = ()) -> str:
    """What the operator and the app tell the model, without the definitions of tools. own: the policies' texts."""
    said = (text for text in texts if text.role in SYSTEM and _MESSAGE.match(text.param) and not text.is_name)
    return "\n".join((*own, *(text.text for text in said if text.kind is Kind.CONTENT)))


def _count_earlier(group: Sequence[InputText]) -> int:
    """How many texts stand before the first new one."""
    return next((i for i, text in enumerate(group) if text.newest), len(group))


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
    """Texts that the model reads as one: first those from earlier turns, then those that are new.

    earlier: how many of them are from earlier turns; the notice may take their place
    """

    def __init__(
        self,
        texts: list[InputText],
        earlier: int,
        joiner: str,
        reader: _Reader,
        notice: Notice,
        exchange: Exchange,
        pace: _Pace,
    ) -> None:
        self._texts = texts
        self._earlier = earlier
        self._joiner = joiner
        self._reader = reader
        self._notice = notice
        self._exchange = exchange
        self._pace = pace
        self._changes = 0  # passes that changed something
        self._replaced: set[int] = set()
        self._reported: set[tuple[int, Rule]] = set()

    async def settle(self) -> None:
        """Until nothing changes any more: what is sent is what was judged. Raises Blocked when a new text is refused.

        Where the checks fail, or rewriting does not come to rest, the notice takes the place of earlier texts.
        """
        while True:
            try:
                return await self._rest_in_both()
            except _NotJudged as problem:
                replaced = await self._replace_unjudged(problem.finding)
                self._exchange.add_finding("history" if replaced else "input", problem.finding, self._texts[0].kind)
                if not replaced:
                    raise

    # Questions

    @property
    def is_parallel(self) -> bool:
        """Whether all who are asked about these texts may be asked while the model already reads them."""
        return all(getattr(check, "parallel", False) for check in self._reader.asking)

    def questions(self, texts: Sequence[InputText]) -> TextQuestions:
        """What the checks ask about these texts, among all of the request."""
        said = conversation(texts, self._texts[0])
        return TextQuestions(self._reader.asking, self._texts, self._joiner, said, self._earlier)

    async def take(self, scan: PromptScan) -> bool:
        """Do what the answers say. Whether a text has changed. Raises Blocked when a new text is refused."""
        seen: set[tuple[int, Rule]] = set()
        found = scan.new_findings()
        self._report(found, seen)
        self._reported |= seen
        stopping = dict(reversed(blocks(found)))
        for part, finding in sorted(stopping.items(), reverse=True):
            if part >= self._earlier or part in self._replaced:
                raise Blocked(finding, self._texts[part])
            self._put_notice(part, finding)
        if stopping:
            return True
        await self._work(scan.apply_rewrites(), scan)
        return self._write_back(scan.parts)

    async def _rest_in_both(self) -> None:
        """Read with the joiner and without: there are templates that put nothing between a message's parts."""
        self._changes = 0
        await self._rests(self._joiner)
        if len(self._texts) > 1 and self._joiner:
            while await self._rests("") and await self._rests(self._joiner):
                pass

    async def _rests(self, joiner: str) -> bool:
        """One reading, until nothing changes in it any more. Whether anything did."""
        before = self._changes
        while await self._pass(joiner):
            self._changes += 1
            if self._changes > PASSES:
                raise _NotJudged(Finding(0, 0, UNSTABLE))
        return self._changes > before

    async def _pass(self, joiner: str) -> bool:
        """Judge all texts once; blocked texts of earlier turns are replaced. Whether any has changed."""
        texts = [text.text for text in self._texts]
        reader = self._reader
        scan = PromptScan(texts, joiner, reader.checks, reader.escaped, self._earlier, reader.recall)
        changed = False
        await self._work(scan.run(), scan)
        while scan.blocked is not None:
            part, finding = await self._to_replace(scan, scan.blocked)
            self._put_notice(part, finding)
            scan.replace(part, self._texts[part].text)
            changed = True
            await self._work(scan.run(), scan)
        await self._work(scan.apply_rewrites(), scan)
        return self._write_back(scan.parts) or changed

    async def _to_replace(self, scan: PromptScan, blocked: Located) -> Located:
        """Which text of an earlier turn the notice is to replace. Raises Blocked when the block needs a new text.

        It needs one when the earlier texts alone would not be blocked.
        """
        finding = blocked.finding
        if blocked.part < self._earlier and scan.past_earlier:
            await self._work(scan.run_earlier(), scan)
        if blocked.part >= self._earlier or scan.blocked is None:
            raise Blocked(finding, self._texts[blocked.part])
        for part in scan.blocked_parts:
            if part not in self._replaced:
                return Located(part, scan.blocked.finding)
        raise Blocked(finding)  # the notice itself is blocked

    async def _replace_unjudged(self, finding: Finding) -> bool:
        """Put the notice in place of earlier texts: of those that fail alone, else of all. False: that cannot help."""
        left = [part for part in range(len(self._texts)) if part not in self._replaced]
        failing = [part for part in left if finding.rule is CHECK_FAILED and await self._fails(part)]
        hidden = failing or [part for part in left if part < self._earlier]
        if not hidden or hidden[-1] >= self._earlier:
            return False
        for part in hidden:
            self._put_notice(part, finding)
        return True

    async def _fails(self, part: int) -> bool:
        """Whether a check fails on a text that stands alone."""
        text = self._texts[part]
        try:
            for characters in PromptScan([text.text], "", self._reader.checks, text.escaped).run():
                await self._pace.step(characters)
        except Exception:
            return True
        return False

    async def _work(self, steps: Iterator[int], scan: PromptScan) -> None:
        """Take the steps, and tell what is found. A check that raises blocks: fail closed."""
        seen: set[tuple[int, Rule]] = set()
        try:
            for characters in steps:
                self._report(scan.new_findings(), seen)
                await self._pace.step(characters)
        except Exception as error:
            self._exchange.check_errors.append(error)
            raise _NotJudged(Finding(0, 0, CHECK_FAILED)) from None
        self._report(scan.new_findings(), seen)
        self._reported |= seen

    def _report(self, found: Iterable[Located], seen: set[tuple[int, Rule]]) -> None:
        """What was found, once: what is read again is seen again, so that adds only what is new in its text."""
        for part, finding in found:
            if (part, finding.rule) in self._reported:
                continue
            seen.add((part, finding.rule))
            text = self._texts[part]
            self._exchange.add_finding("input" if text.newest else "history", finding, text.kind)
            if finding.rule.holds and finding.rule.replacement.insert:
                self._count_marker(self._texts[part].text[finding.start : finding.end])

    def _count_marker(self, text: str) -> None:
        markers, family = self._exchange.markers, family_of(text)
        markers[family] = markers.get(family, 0) + 1

    def _put_notice(self, part: int, finding: Finding) -> None:
        """The notice takes the place of a text; in a call's arguments as JSON, which the model server will parse."""
        self._replaced.add(part)
        text, notice = self._texts[part], self._notice(finding)
        text.put(json.dumps({"notice": notice}, ensure_ascii=False) if text.escaped else notice)
        self._exchange.outcome = Outcome.REWRITTEN

    def _write_back(self, parts: Sequence[str]) -> bool:
        """Whether anything was rewritten."""
        changed = False
        for text, part in zip(self._texts, parts, strict=True):
            if part is not text.text:
                text.put(part)
                changed = True
        return changed
