"""One exchange: its gates, the choices that are blocked, and what was found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

from proxy.core.answer_gates import AnyGate, Plan, Question
from proxy.core.arguments import ArgumentsGate, WholeGate
from proxy.core.check import NO_TURN, Check, Turn, asks, without_asking
from proxy.core.events import Frame, Release, TextDelta
from proxy.core.gate import MOST_REPORTED, Gate
from proxy.core.json_checks import json_checks
from proxy.core.json_gate import JsonGate
from proxy.core.preceding import Preceding
from proxy.core.steps import STALLED, STEP, Steps, in_one_go
from proxy.core.types import Action, Channel, Finding, Kind, Rule

PLAIN_TEXT_PARTS = (".name", ".id")  # channels of a tool call that hold plain text
CHECK_FAILED = Rule("internal", "check_failed", Action.BLOCK)
NO_PREFILLS: Mapping[Kind, str] = {}
MAX_ADMITTED = 512  # short texts that a plan remembers
LONGEST_ADMITTED = 512  # characters of such a text
ENDING = 64  # the end of a text takes as long as so many characters
ALL = -1  # in Frame.finishes: every choice


class Guard:
    """Feeds each channel's text to its gate and decides what is released of a frame.

    json_content: the client asked for JSON, so content is judged decoded as well as raw
    prefills:     the beginning of the answer by kind, given by the client: judged together with what follows
    step:         characters of a text that are judged before others may run (`release_steps`, `finish_steps`); it may
                  be changed at any time
    reread:       characters that were read once more, since a text goes on behind another kind of text: as much work as
                  others
    preceding_texts: by choice: text that apps show before the content (a prompt to be completed), because a phrase
                  can begin in it

    Apps show text of one kind in several channels (content blocks) as one text. So the checks of a channel first read
    the end of the channel before it. What a channel still holds when another kind of text follows (the answer after the
    thinking) is decided and released first. A check that raises blocks the choice: fail closed.

    Checks may ask. Then `take_questions` has what they want to know, `answer` takes what is said to that, and steps
    stand still (STALLED) where what follows depends on an answer: at the end of a channel, and before another kind of
    text. So the order in which answers come changes nothing.

    turn:   what is told to checks that ask
    asking: one of the checks asks
    """

    def __init__(
        self,
        plan: Plan,
        json_content: bool = False,
        prefills: Mapping[Kind, str] = NO_PREFILLS,
        step: int = STEP,
        turn: Turn = NO_TURN,
    ) -> None:
        self._plan = plan
        self.turn = turn
        self.asking = False
        self._unwritten = False  # a frame's texts are being decided: what answers release is sent with them
        self._late: list[TextDelta] = []  # what they have released meanwhile
        self.step = step
        self.reread = 0
        self._prefills = prefills
        self.preceding_texts: Mapping[int, str] = {}
        self._json_content = json_content
        self._gates: dict[Channel, AnyGate] = {}
        self._opened: list[tuple[Channel, AnyGate]] = []  # all gates, those of channels that went on anew too
        self._preceding = Preceding()
        self._may_hold: dict[int, dict[Channel, None]] = {}  # by choice, what had text since it turned to another kind
        self._speaking: dict[int, Kind] = {}  # the kind of the last text of each choice
        self._latest: Channel | None = None  # of the last text
        self._latest_gate: AnyGate | None = None
        self._closed: set[Channel] = set()
        self._unclosed: dict[Channel, None] = {}
        self._newly_blocked: list[int] = []  # choices blocked since the last release
        self.blocked_choices: dict[int, Finding] = {}
        self.errors: list[Exception] = []
        self.failed: list[tuple[Channel, Finding]] = []  # what stands for a check that raised

    def release(self, frame: Frame) -> Release | None:
        """What is sent for the frame; None: the frame itself, unchanged."""
        deltas = frame.deltas
        if len(deltas) == 1 and not frame.closes and not frame.finishes:
            return self.release_delta(*deltas[0])
        return in_one_go(self.release_steps(frame))

    def release_steps(self, frame: Frame) -> Steps[Release | None]:
        """The same in steps: a frame may have much text, and may end a call that is judged as a whole."""
        deltas = frame.deltas
        self._unwritten = any(text for _, text in deltas)
        texts, earlier = yield from self._feed_all(deltas)
        flushed = tuple((yield from self._close(frame)))
        if self._late:
            flushed, self._late = (*flushed, *self._late), []
        self._unwritten = False
        blocked_choices = self._take_newly_blocked()
        texts_unchanged = all(
            out is text and channel.kind is not Kind.TOOL_ARGUMENTS  # a call is not released before it is complete
            for out, (channel, text) in zip(texts, deltas, strict=True)
        )
        ends_changed = flushed or blocked_choices or self._touches_blocked_choice(frame)
        unchanged = texts_unchanged and not ends_changed
        if unchanged and not earlier:
            return None
        return Release(texts, flushed, blocked_choices, earlier, unchanged)

    def release_delta(self, channel: Channel, text: str) -> Release | None:
        """What is sent for a frame with this one delta; None: the frame itself, unchanged."""
        gate = self._latest_gate
        all_open = not self.blocked_choices and not self._closed
        if all_open and gate is not None and channel is self._latest:  # the short way, for most deltas of a stream
            out = self._feed_gate(channel, gate, text, False)
            earlier: tuple[TextDelta, ...] = ()
        else:
            earlier = in_one_go(self._turn_to(channel)) if text else ()
            out = self._feed(channel, text)
        held_whole = channel.kind is Kind.TOOL_ARGUMENTS
        unchanged = out is text and not held_whole and channel.choice not in self.blocked_choices
        if unchanged and not earlier:
            return None
        return Release((out,), (), self._take_newly_blocked(), earlier, unchanged)

    def stalls(self, channel: Channel) -> bool:
        """Whether text of this channel has to wait for an answer about other text: `release_steps` can wait."""
        if not self.asking or self._speaking.get(channel.choice) is channel.kind:
            return False
        return any(gate.held for other, gate in self._gates.items() if other.choice == channel.choice)

    def is_ending(self, choices: int) -> bool:
        """Whether all of so many choices will be blocked, whatever the model still says."""
        if not self.asking:
            return False
        ending = {c.choice for c, gate in self._opened if isinstance(gate, Gate) and gate.ending}
        return len(ending | self.blocked_choices.keys()) >= choices

    def take_questions(self) -> list[Question]:
        """What checks want to know, since the last call."""
        return [
            Question(channel, gate, asked)
            for channel, gate in self._opened
            if channel.choice not in self.blocked_choices
            for asked in gate.take_asks()
        ]

    def take_dropped(self) -> list[tuple[int, int]]:
        """The names of questions that need no answer any more, since the last call."""
        return [(id(gate), key) for _, gate in self._opened for key in gate.take_dropped()]

    def answer(self, question: Question, reply: object) -> Release | None:
        """A question is answered: what is sent for that. None: nothing, or it is sent with the frame that waits."""
        channel, gate, asked = question
        if channel.choice in self.blocked_choices:
            return None
        try:
            out = gate.answer(asked.key, reply)
        except Exception as error:
            out = self._check_failed(channel, gate, error)
        if gate.blocked is not None:
            self._block(channel.choice, gate.blocked)
        flushed = (TextDelta(channel, out),) if out else ()
        if self._unwritten:
            self._late += flushed
            return None
        blocked_choices = self._take_newly_blocked()
        return Release((), flushed, blocked_choices) if flushed or blocked_choices else None

    def finish(self) -> tuple[tuple[TextDelta, ...], tuple[int, ...]]:
        """The upstream has ended: the flushed text, and the choices that are blocked by that."""
        return in_one_go(self.finish_steps())

    def finish_steps(self) -> Steps[tuple[tuple[TextDelta, ...], tuple[int, ...]]]:
        """The same in steps."""
        self._unwritten, self._late = False, []  # of a frame that was given up nothing is sent
        flushed = yield from self._flush(list(self._unclosed))
        self._unwritten = False
        return tuple(flushed), self._take_newly_blocked()

    def stop(self, choices: Iterable[int], finding: Finding) -> tuple[int, ...]:
        """End these choices here for a reason that lies in no text; the choices that are blocked now."""
        for choice in choices:
            if choice not in self.blocked_choices:
                self._block(choice, finding)
        return self._take_newly_blocked()

    def admits(self, text: str, kind: Kind = Kind.CONTENT) -> bool:
        """Whether a short text beside the answer (an id, a name) may pass as it is."""
        admitted = self._plan.admitted
        if (kind, text) in admitted:
            return True
        try:
            scans = [check.open().feed(text, final=True) for check in without_asking(self._plan.checks(kind))]
        except Exception as error:
            self.errors.append(error)
            return False
        found = [finding for progress in scans for finding in progress.findings]
        if found:
            return not any(finding.rule.holds for finding in found)
        if len(text) <= LONGEST_ADMITTED:
            if len(admitted) >= MAX_ADMITTED:
                admitted.clear()
            admitted.add((kind, text))
        return True

    def has_released_text(self, choice: int) -> bool:
        """Whether content of this choice has been released to the client in which a person sees something."""
        gates = (g for c, g in self._opened if c.choice == choice and c.kind is Kind.CONTENT)
        return any(isinstance(gate, Gate) and gate.released.strip() for gate in gates)

    def end(self) -> None:
        """The answer is over. For guards that keep what they have seen."""

    def closing(self, choice: int) -> tuple[TextDelta, ...]:
        """What makes the JSON of a choice whole where it ends here; nothing where there is nothing to close."""
        gates = ((c, g) for c, g in self._opened if c.choice == choice and isinstance(g, JsonGate))
        return tuple([TextDelta(channel, gate.closing) for channel, gate in gates if gate.closing])

    def has_text(self, kind: Kind) -> bool:
        """Whether there was text of this kind."""
        return any(channel.kind is kind for channel, _ in self._opened)

    def beginning(self, kind: Kind) -> str:
        """How the first text of this kind in the first choice begins, as the model wrote it; "": there is none."""
        gates = (gate for channel, gate in self._opened if channel.kind is kind and channel.choice == 0)
        return next((gate.beginning for gate in gates if isinstance(gate, Gate) and gate.beginning.strip()), "")

    @property
    def channels(self) -> int:
        """How many there are, the ended ones too."""
        return len(self._gates)

    @property
    def waits_for(self) -> Rule | None:
        """The rule for which characters wait now, the one whose match began first; None: none in particular."""
        for gate in self._gates.values():
            if gate.held and isinstance(gate, Gate):
                return gate.waits_for
        return None

    @property
    def held(self) -> int:
        """Characters that wait for a verdict, in all channels."""
        return sum(gate.held for gate in self._gates.values())

    def findings(self) -> Iterator[tuple[Channel, Finding]]:
        """All findings, channel by channel, up to MOST_REPORTED of each."""
        for channel, gate in self._opened:
            for finding in gate.findings:
                yield channel, finding
        yield from self.failed

    def more_findings(self) -> Iterator[tuple[Channel, Rule, int]]:
        """How many findings there were beside those: an answer may have a great many, and the first are kept."""
        for channel, gate in self._opened:
            for rule, times in gate.more.items():
                yield channel, rule, times

    def _feed_all(self, deltas: Sequence[TextDelta]) -> Steps[tuple[tuple[str, ...], tuple[TextDelta, ...]]]:
        """The text that is released for each delta, and what has to be sent before all of them."""
        texts: list[str] = []
        earlier: list[TextDelta] = []
        fed = 0
        for channel, text in deltas:
            for flushed in (yield from self._turn_to(channel)) if text else ():
                own = [i for i in range(len(texts)) if deltas[i].channel == flushed.channel]
                if own:
                    texts[own[-1]] += flushed.text
                else:
                    earlier.append(flushed)
            if len(text) > self.step:
                texts.append((yield from self._feed_long(channel, text)))
                continue
            fed += len(text)
            if fed > self.step:
                fed = len(text)
                yield None
            before = self.reread
            texts.append(self._feed(channel, text))
            fed += self.reread - before
        return tuple(texts), tuple(earlier)

    def _feed_long(self, channel: Channel, text: str) -> Steps[str]:
        """As `_feed`, which returns the text itself where it passes as it is."""
        gate = self._gates.get(channel)
        held = gate is not None and gate.held
        out: list[str] = []
        at = 0
        while at < len(text) and channel.choice not in self.blocked_choices:
            yield None
            step = self.step
            out.append(self._feed(channel, text[at : at + step]))
            at += step
        yield None
        released = "".join(out)
        passed = released == text and not held and not self._gates[channel].held
        return text if passed else released

    def _turn_to(self, channel: Channel) -> Steps[tuple[TextDelta, ...]]:
        """What other kinds of text in the choice still hold, decided: this channel's text follows them."""
        choice, kind, _ = channel
        if self._speaking.get(choice) is kind:
            return ()
        self._speaking[choice] = kind
        fed = self._may_hold.pop(choice, {})
        self._may_hold[choice] = {other: None for other in fed if other.kind is kind}
        waiting = [  # a JSON source is one text, whatever comes in between
            (other, gate)
            for other, gate in ((other, self._gates.get(other)) for other in fed if other.kind is not kind)
            if type(gate) is Gate and gate.held
        ]
        flushed = [TextDelta(other, self._settle(other, gate)) for other, gate in waiting]
        while any(self._is_undecided(other, gate) for other, gate in waiting):
            yield STALLED
        for other, _ in waiting:
            del self._gates[other], self._unclosed[other]  # if it goes on, then in a gate that has read this one's end
        if self._late:
            flushed, self._late = [*flushed, *self._late], []
        return tuple(delta for delta in flushed if delta.text)

    def _is_undecided(self, channel: Channel, gate: AnyGate) -> bool:
        return isinstance(gate, Gate) and gate.undecided and channel.choice not in self.blocked_choices

    def _feed(self, channel: Channel, text: str, final: bool = False) -> str:
        gate = self._gates.get(channel)
        if gate is None:
            gate = self._gates[channel] = self._open(channel)
            self._opened.append((channel, gate))
            self._unclosed[channel] = None
            if isinstance(gate, Gate):
                self._preceding.open(channel, gate)
        if isinstance(gate, Gate):
            self._preceding.feed(gate)
        if channel.choice in self.blocked_choices or channel in self._closed:
            return ""
        if text:
            self._latest, self._latest_gate = channel, gate
            self._may_hold.setdefault(channel.choice, {})[channel] = None
        return self._feed_gate(channel, gate, text, final)

    def _feed_gate(self, channel: Channel, gate: AnyGate, text: str, final: bool) -> str:
        try:
            out = gate.feed(text, final)
        except Exception as error:
            out = self._check_failed(channel, gate, error)
        if gate.blocked is not None:
            self._block(channel.choice, gate.blocked)
        return out

    def _settle(self, channel: Channel, gate: Gate) -> str:
        """What a gate holds, decided before another kind of text."""
        if channel.choice in self.blocked_choices:
            return ""
        self._preceding.feed(gate)
        try:
            out = gate.settle()
        except Exception as error:
            out = self._check_failed(channel, gate, error)
        if gate.blocked is not None:
            self._block(channel.choice, gate.blocked)
        return out

    def _check_failed(self, channel: Channel, gate: AnyGate, error: Exception) -> str:
        """A check has raised: fail closed."""
        self.errors.append(error)
        gate.blocked = Finding(0, 0, CHECK_FAILED)
        self.failed.append((channel, gate.blocked))
        return ""

    def _block(self, choice: int, finding: Finding) -> None:
        self.blocked_choices[choice] = finding
        self._newly_blocked.append(choice)
        for channel, gate in self._opened if self.asking else ():
            if channel.choice == choice:
                gate.give_up()

    def _open(self, channel: Channel) -> AnyGate:
        kind = channel.kind
        if kind is Kind.TOOL_ARGUMENTS:
            call = WholeGate if channel.name.endswith(PLAIN_TEXT_PARTS) else ArgumentsGate
            return call(partial(self._checks, kind), self._turn_of(kind))
        prefill = self._prefills.get(kind)
        if prefill is not None and not self._preceding.goes_on(channel):
            gate = self._fresh(kind)
            gate.prime(prefill)
            return gate
        return self._open_after_preceding(channel)

    def _fresh(self, kind: Kind) -> Gate:
        if self._json_content and kind is Kind.CONTENT:
            gate: Gate = JsonGate(json_checks(partial(self._checks, kind)), self._turn_of(kind))
        else:
            gate = Gate(self._checks(kind), self._turn_of(kind))
        gate.most_reported = MOST_REPORTED
        return gate

    def _checks(self, kind: Kind, escaped: bool = False) -> tuple[Check, ...]:
        checks = tuple(self._plan.checks(kind, escaped) if escaped else self._plan.checks(kind))
        self.asking = self.asking or any(map(asks, checks))
        return checks

    def _turn_of(self, kind: Kind) -> Turn:
        return self.turn if kind is self.turn.kind else self.turn._replace(kind=kind)

    def _open_after_preceding(self, channel: Channel) -> Gate:
        """A gate whose checks have read the preceding text, and go on where the channel was settled."""
        gate = self._primed_gate(channel)
        settled = self._preceding.gate_before(channel)
        if settled is not None:
            gate.go_on(settled)
        return gate

    def _primed_gate(self, channel: Channel) -> Gate:
        """A gate whose checks have read the preceding text. A block that lies in that text does not count here."""
        begun = self.preceding_texts.get(channel.choice, "") if channel.kind is Kind.CONTENT else ""
        preceding = self._preceding.text(channel, self._prefills.get(channel.kind, begun))
        if isinstance(self._latest_gate, Gate):
            self._preceding.feed(self._latest_gate)  # it may be fed in the short way
        goes_on = self._preceding.goes_on(channel)
        while True:
            gate = self._fresh(channel.kind)
            if not preceding:
                return gate
            self.reread += len(preceding)
            if isinstance(gate, JsonGate):
                gate.prime(preceding, begins=False, goes_on=goes_on)
            else:
                gate.prime(preceding, goes_on=goes_on)
            if gate.blocked is None:
                return gate
            preceding = preceding[max(gate.blocked.end, 1) :]

    def _close(self, frame: Frame) -> Steps[list[TextDelta]]:
        """The held text of the channels that end with this frame."""
        flushed: list[TextDelta] = []
        for choice in frame.finishes:
            flushed += yield from self._flush([c for c in self._unclosed if choice in (c.choice, ALL)])
        if frame.closes:
            flushed += yield from self._flush(frame.closes)
        return flushed

    def _flush(self, channels: Iterable[Channel]) -> Steps[list[TextDelta]]:
        flushed: list[TextDelta] = []
        judged = 0
        for channel in channels:
            if channel in self._gates and channel not in self._closed:
                gate = self._gates[channel]
                judged += gate.held + ENDING
                if judged > self.step:
                    judged = 0
                    yield None
                early, self._late = self._late, []  # released before, by answers
                whole = isinstance(gate, WholeGate)
                text = (yield from self._finish_whole(channel)) if whole else self._feed(channel, "", final=True)
                flushed += [*early, *([TextDelta(channel, text)] if text else ())]
                if not self._unwritten and flushed and self._is_undecided(channel, gate):
                    self._unwritten = True  # what is to come has to be sent behind what is here already
                while self._is_undecided(channel, gate):
                    yield STALLED
                flushed += self._late
                self._late = []
                self._closed.add(channel)
                del self._unclosed[channel]
        return flushed

    def _finish_whole(self, channel: Channel) -> Steps[str]:
        """The end of a text that is judged as a whole."""
        gate = self._gates[channel]
        if channel.choice in self.blocked_choices or not isinstance(gate, WholeGate):
            return ""
        try:
            out = yield from gate.finish(lambda: self.step)
        except Exception as error:
            out = self._check_failed(channel, gate, error)
        if gate.blocked is not None and channel.choice not in self.blocked_choices:
            self._block(channel.choice, gate.blocked)
        return "" if channel.choice in self.blocked_choices else out

    def _take_newly_blocked(self) -> tuple[int, ...]:
        if not self._newly_blocked:
            return ()
        fresh, self._newly_blocked = tuple(self._newly_blocked), []
        return fresh

    def _touches_blocked_choice(self, frame: Frame) -> bool:
        return bool(self.blocked_choices) and any(
            choice in self.blocked_choices
            for choice in (*frame.finishes, *(delta.channel.choice for delta in frame.deltas))
        )
