"""The texts of one exchange, kept for the decision log. There is one only where the setting record_text asks for it.

They are kept as they came, before any rule. What of them may be recorded is decided when the record is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from proxy.core.check import NO_TURN, Check, Turn
from proxy.core.events import Frame, Release
from proxy.core.guard import PLAIN_TEXT_PARTS, Guard
from proxy.core.json_checks import json_checks
from proxy.core.preceding import MAX_PRECEDING
from proxy.core.steps import Steps
from proxy.core.types import Channel, Kind
from proxy.dialects.request import InputText, Request
from proxy.policy.plan import Plan
from proxy.server.exchange.prompt_filter import GroupKey, InputPlan, group_key
from proxy.server.exchange.record import Exchange

MAX_TEXT = 64 * 1024  # characters of a text that are recorded
MAX_TOTAL = 256 * 1024  # characters of a prompt: of texts behind them only the length is recorded
MARGIN = 8 * 1024  # characters behind them that are read too, so that a match which reaches beyond is found whole
ROLES = ("user", "system", "assistant", "tool")
AnswerKey = tuple[int, Kind, str]
"""Equal for the channels of an answer that people read as one text."""


@dataclass(slots=True)
class Text:
    """One text, with the checks of its exchange.

    role:     whose it is; the model's own: `assistant`
    parts:    what the model reads as one text, or the pieces in which an answer came
    joiner:   what stands between the parts; they are also read without it
    checks:   of the policies in force when the exchange began
    others:   their checks for other roles, channels and the other direction, which mask this text too
    complete: nothing is missing at its end
    length:   of the whole text, with what was not kept
    escaped:  it is JSON source
    before:   what the model was made to continue: read with the text, and not recorded with it
    """

    role: str
    kind: Kind
    choice: int = 0
    parts: list[str] = field(default_factory=list)
    joiner: str = ""
    checks: tuple[Check, ...] = ()
    others: tuple[Check, ...] = ()
    complete: bool = True
    length: int = 0
    escaped: bool = False
    before: str = ""

    def add(self, text: str, length: int | None = None) -> None:
        """One more part. What is too long is counted, not kept. `length`: of the part, if it is not given whole."""
        missing = MAX_TEXT + MARGIN - self.length
        self.length += len(text) if length is None else length
        if missing > 0:
            self.parts.append(text[:missing])


@dataclass(slots=True)
class Transcript:
    """What was asked and what the model said.

    plans: of the exchange, for its prompt and its answer
    """

    prompt: list[Text] = field(default_factory=list)
    answer: dict[AnswerKey, Text] = field(default_factory=dict)
    plans: tuple[InputPlan | Plan, ...] = ()

    def add_prompt(
        self, texts: Iterable[InputText], joiner: str, plan_for: Callable[[str], InputPlan], answer_plan: Plan
    ) -> None:
        """The texts of a prompt, before they are judged."""
        self.plans = (answer_plan, *map(plan_for, ROLES))
        groups: dict[GroupKey, list[InputText]] = {}
        for one in texts:
            groups.setdefault(group_key(one), []).append(one)
        kept = 0
        for (role, _, kind, _, _), group in groups.items():
            escaped = group[0].escaped
            plan = plan_for(role)
            text = Text(role, kind, joiner=joiner, checks=_checks(plan, kind, escaped), escaped=escaped)
            text.others = self.other_checks(plan, kind, escaped)
            for part in group:
                text.add(part.text if kept < MAX_TOTAL else "", len(part.text))
                kept += len(part.text)
            self.prompt.append(text)

    def other_checks(self, own: InputPlan | Plan, kind: Kind, escaped: bool) -> tuple[Check, ...]:
        """The checks of all plans and channels but these, each set once."""
        sets = {_identity(plan, other, escaped): (plan, other) for plan in self.plans for other in Kind}
        sets.pop(_identity(own, kind, escaped), None)
        return tuple(check for plan, other in sets.values() for check in _checks(plan, other, escaped))


def record_prompt(
    exchange: Exchange, request: Request, plan_for: Callable[[str], InputPlan], answer_plan: Plan
) -> None:
    """Keep the texts of a prompt before they are judged."""
    exchange.transcript = transcript = Transcript()
    transcript.add_prompt(request.texts, request.joiner, plan_for, answer_plan)


def recording_guard(plan: Plan, request: Request, exchange: Exchange, turn: Turn) -> Guard:
    """The guard of an answer that is kept beside its prompt."""
    assert isinstance(exchange.transcript, Transcript)
    return RecordingGuard(plan, request, exchange.transcript, turn)


class RecordingGuard(Guard):
    """A guard that keeps what the model said, as it came. Apps show the channels of one kind as one text, and as one
    they are kept."""

    def __init__(self, plan: Plan, request: Request, transcript: Transcript, turn: Turn = NO_TURN) -> None:
        super().__init__(plan, request.json_content, request.prefills(), turn=turn)
        self._answer_plan = plan
        self._json = request.json_content
        self._transcript = transcript

    def release_delta(self, channel: Channel, text: str) -> Release | None:
        """See Guard."""
        self._keep(channel, text)
        return super().release_delta(channel, text)

    def release_steps(self, frame: Frame) -> Steps[Release | None]:
        """See Guard."""
        for channel, text in frame.deltas:
            self._keep(channel, text)
        return super().release_steps(frame)

    def end(self) -> None:
        """The answer is over. A text that was held to the last was not decided."""
        for channel, gate in self._opened:
            text = self._transcript.answer.get(_key(channel))
            if text is not None and gate.held:
                text.complete = False

    def _keep(self, channel: Channel, text: str) -> None:
        if not text:
            return
        answer, key = self._transcript.answer, _key(channel)
        if key not in answer:
            answer[key] = self._begin(channel)
        answer[key].add(text)

    def _begin(self, channel: Channel) -> Text:
        choice, kind, name = channel
        is_call = kind is Kind.TOOL_ARGUMENTS and not name.endswith(PLAIN_TEXT_PARTS)
        escaped = is_call or (self._json and kind is Kind.CONTENT)
        text = Text("assistant", kind, choice, checks=_checks(self._answer_plan, kind, escaped), escaped=escaped)
        text.others = self._transcript.other_checks(self._answer_plan, kind, escaped)
        begun = self.preceding_texts.get(choice, "") if kind is Kind.CONTENT else ""
        text.before = self._prefills.get(kind, begun)[-MAX_PRECEDING:]
        return text


def _key(channel: Channel) -> AnswerKey:
    """Each part of a tool call is a text of its own; apps show all other channels of one kind as one text."""
    return channel.choice, channel.kind, channel.name if channel.kind is Kind.TOOL_ARGUMENTS else ""


def _identity(plan: InputPlan | Plan, kind: Kind, escaped: bool) -> tuple[int, ...]:
    return tuple(map(id, plan.checks(kind, escaped)))


def _checks(plan: InputPlan | Plan, kind: Kind, escaped: bool) -> tuple[Check, ...]:
    if escaped:
        return json_checks(lambda as_source: plan.checks(kind, as_source))
    return tuple(plan.checks(kind))
