"""One exchange: its gates, what has been cut, and what to tell afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from proxy.core.arguments import ArgumentsGate, WholeGate
from proxy.core.check import Check
from proxy.core.events import Frame, Release, TextDelta
from proxy.core.gate import Gate
from proxy.core.types import Action, Channel, Finding, Kind, Rule

WHOLE = (".name", ".id")  # channels of a tool call that are judged as plain text
CHECK_FAILED = Rule("internal", "check_failed", Action.BLOCK)
NO_DIGITS = dict.fromkeys(map(ord, "0123456789."))
LEAD = 1024  # characters of the text before a channel that are kept in mind
NO_PREFILLS: Mapping[Kind, str] = {}
ADMITTED = 512  # names that a plan remembers
ALL = -1  # in Frame.finishes: every choice


class Plan(Protocol):
    """Which checks apply to an answer: made from the policies for one model, key and direction."""

    def checks(self, kind: Kind, escaped: bool = False) -> Iterable[Check]:
        """The checks for text of this kind; `escaped`: for text that is JSON source."""

    @property
    def admitted(self) -> set[tuple[Kind, str]]:
        """Short texts that passed as they are, remembered for the next answer; kept small by the guard."""


class AnyGate(Protocol):
    """Gate, WholeGate or ArgumentsGate."""

    blocked: Finding | None

    @property
    def findings(self) -> list[Finding]:
        """What rules found."""

    @property
    def held(self) -> int:
        """Characters that wait for a verdict."""

    def feed(self, text: str, final: bool = False) -> str:
        """Read on; return what may go out now."""


class Guard:
    """Feeds each channel's text to its gate and says what may go out of a frame.

    json_content: the client asked for JSON, so content is judged decoded as well as raw
    prefills:     the beginning of the answer, given by the client, by kind: text is judged from there on
    leads:        by choice: text that apps show before the content (a prompt to be completed), for phrases that begin
                  in it

    Text of one kind that comes in several channels (content blocks) is shown as one, so a channel begins with the end
    of the one before it in mind. A check that raises ends the choice like a block: fail closed.
    """

    def __init__(self, plan: Plan, json_content: bool = False, prefills: Mapping[Kind, str] = NO_PREFILLS) -> None:
        self._plan = plan
        self._prefills = prefills
        self.preceding_texts: Mapping[int, str] = {}
        self._json_content = json_content
        self._gates: dict[Channel, AnyGate] = {}
        self._latest: Channel | None = None
        self._latest_gate: AnyGate | None = None
        self._closed: set[Channel] = set()
        self._fresh: list[int] = []  # choices cut since the last passage
        self.blocked_choices: dict[int, Finding] = {}
        self.errors: list[Exception] = []
        self.failed: list[tuple[Channel, Finding]] = []  # what stands for a check that raised

    def release(self, frame: Frame) -> Release | None:
        """What may go out of the frame; None: all of it, as it is."""
        deltas = frame.deltas
        if len(deltas) == 1 and not frame.closes and not frame.finishes:
            return self.release_delta(*deltas[0])
        texts = tuple(self._feed(channel, text) for channel, text in frame.deltas)
        flushed = tuple(self._close(frame))
        blocked_choices = self._new_cuts()
        same = all(
            out is text and channel.kind is not Kind.TOOL_ARGUMENTS  # nothing of a call passes before it is complete
            for out, (channel, text) in zip(texts, frame.deltas, strict=True)
        )
        if same and not (flushed or blocked_choices or self._touches_cut(frame)):
            return None
        return Release(texts, flushed, blocked_choices)

    def release_delta(self, channel: Channel, text: str) -> Release | None:
        """What may go out of a frame that says this and nothing else; None: all of it."""
        gate = self._latest_gate
        if gate is None or channel is not self._latest or self.blocked_choices or self._closed:
            out = self._feed(channel, text)
        else:
            out = self._fed(channel, gate, text, False)
        if out is text and channel.choice not in self.blocked_choices and channel.kind is not Kind.TOOL_ARGUMENTS:
            return None
        return Release((out,), (), self._new_cuts())

    def finish(self) -> tuple[tuple[TextDelta, ...], tuple[int, ...]]:
        """The upstream has ended: what was still held, and the choices cut by that."""
        flushed = tuple(self._flush(list(self._gates)))
        return flushed, self._new_cuts()

    def admits(self, text: str, kind: Kind = Kind.CONTENT) -> bool:
        """Whether a short text beside the answer (an id, a name) may pass as it is."""
        known = self._plan.admitted
        if (kind, text) in known:
            return True
        try:
            scans = [check.open().feed(text, final=True) for check in self._plan.checks(kind)]
        except Exception as error:
            self.errors.append(error)
            return False
        found = [finding for progress in scans for finding in progress.findings]
        if found:
            return not any(finding.rule.holds for finding in found)
        if len(known) >= ADMITTED:
            known.clear()
        known.add((kind, text))
        return True

    def has_released_text(self, choice: int) -> bool:
        """Whether a client has seen content of this choice."""
        gates = (g for c, g in self._gates.items() if c.choice == choice and c.kind is Kind.CONTENT)
        return any(isinstance(gate, Gate) and gate.started for gate in gates)

    @property
    def held(self) -> int:
        """Characters that wait for a verdict, in all channels."""
        return sum(gate.held for gate in self._gates.values())

    def findings(self) -> Iterator[tuple[Channel, Finding]]:
        """Everything that rules reported, channel by channel."""
        for channel, gate in self._gates.items():
            for finding in gate.findings:
                yield channel, finding
        yield from self.failed

    def _feed(self, channel: Channel, text: str, final: bool = False) -> str:
        gate = self._gates.get(channel)
        if gate is None:
            gate = self._gates[channel] = self._open(channel)
        if channel.choice in self.blocked_choices or channel in self._closed:
            return ""
        self._latest, self._latest_gate = channel, gate
        return self._fed(channel, gate, text, final)

    def _fed(self, channel: Channel, gate: AnyGate, text: str, final: bool) -> str:
        try:
            out = gate.feed(text, final)
        except Exception as error:
            self.errors.append(error)
            gate.blocked = Finding(0, 0, CHECK_FAILED)
            self.failed.append((channel, gate.blocked))
            out = ""
        if gate.blocked is not None:
            self.blocked_choices[channel.choice] = gate.blocked
            self._fresh.append(channel.choice)
        return out

    def _open(self, channel: Channel) -> AnyGate:
        kind = channel.kind
        if kind is Kind.TOOL_ARGUMENTS:
            call = WholeGate if channel.name.endswith(WHOLE) else ArgumentsGate
            return call(lambda escaped: self._plan.checks(kind, escaped))
        escaped = self._json_content and kind is Kind.CONTENT
        prefill = self._prefills.get(kind)
        if prefill is not None:
            gate = Gate(self._plan.checks(kind, escaped), escaped)
            gate.prime(prefill)
            return gate
        return self._led(channel, escaped)

    def _led(self, channel: Channel, escaped: bool) -> Gate:
        """A gate that knows how the text before it ended. Blocks that lie in that text are not this channel's."""
        lead = self._lead(channel)[-LEAD:]
        while True:
            gate = Gate(self._plan.checks(channel.kind, escaped), escaped)
            if not lead:
                return gate
            gate.prime(lead)
            if gate.blocked is None:
                return gate
            lead = lead[max(gate.blocked.end, 1) :]

    def _lead(self, channel: Channel) -> str:
        """What a client reads right before this channel's text."""
        for other, gate in reversed(self._gates.items()):
            if _run(other) == _run(channel) and isinstance(gate, Gate):
                return gate.released
        return self.preceding_texts.get(channel.choice, "") if channel.kind is Kind.CONTENT else ""

    def _close(self, frame: Frame) -> Iterator[TextDelta]:
        """The held text of the channels that end with this frame."""
        for choice in frame.finishes:
            yield from self._flush([c for c in self._gates if choice in (c.choice, ALL)])
        yield from self._flush(frame.closes)

    def _flush(self, channels: Iterable[Channel]) -> Iterator[TextDelta]:
        for channel in channels:
            if channel in self._gates and channel not in self._closed:
                text = self._feed(channel, "", final=True)
                self._closed.add(channel)
                if text:
                    yield TextDelta(channel, text)

    def _new_cuts(self) -> tuple[int, ...]:
        if not self._fresh:
            return ()
        fresh, self._fresh = tuple(self._fresh), []
        return fresh

    def _touches_cut(self, frame: Frame) -> bool:
        return bool(self.blocked_choices) and any(
            choice in self.blocked_choices
            for choice in (*frame.finishes, *(delta.channel.choice for delta in frame.deltas))
        )


def _run(channel: Channel) -> tuple[int, Kind, str]:
    """Channels that are shown as one text: they differ in a number only, that of a block or an item."""
    return channel.choice, channel.kind, channel.name.translate(NO_DIGITS)
