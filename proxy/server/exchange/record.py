"""What happened in one exchange: plain numbers while it runs, which observers read once at its end."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from time import perf_counter
from typing import Protocol, runtime_checkable

from proxy.core.failures import Failures
from proxy.core.guard import Guard
from proxy.core.types import Action, Ending, Finding, Kind, Rule
from proxy.dialects.answer import Answer
from proxy.errors import UpstreamError
from proxy.policy.schema import Alignment
from proxy.server.exchange.check_answers import CheckAnswers
from proxy.server.exchange.refusals import NO_REFUSAL, ModelRefusal, refusal_of
from proxy.server.exchange.tracing import Trace
from proxy.server.http.request import new_id

GAPS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 10)
"""Seconds: the buckets for the times between two reads of an answer, of vLLM's for its tokens and some below them."""
ALL_LOOKED_AT = 4  # waits of an answer: for which rule they are is asked of all of these
SAMPLE = 16  # and of one of so many later ones, which stands for the others: asking costs more than an event
DIRECTIONS = {Kind.REASONING: "reasoning", Kind.TOOL_ARGUMENTS: "tool_call"}

log = logging.getLogger("safety_proxy.server")


class Outcome(StrEnum):
    """How an exchange ended."""

    ALLOWED = "allowed"
    REWRITTEN = "rewritten"
    BLOCKED = "blocked"
    REJECTED = "rejected"
    UPSTREAM_ERROR = "upstream_error"
    PROXY_ERROR = "proxy_error"
    CLIENT_CANCELLED = "client_cancelled"


class HoldShare:
    """What one rule made an answer wait.

    waits:      how often characters waited for it
    seconds:    how long, in all
    characters: the most that waited at once, added up over the waits
    """

    __slots__ = ("characters", "seconds", "waits")

    def __init__(self) -> None:
        self.waits = 0
        self.seconds = 0.0
        self.characters = 0


class Hold:
    """The waits of one answer, by rule: which rule makes people wait.

    rule: for which the characters wait that wait now; None: for no rule in particular, as a tool's call waits for its
          end
    """

    __slots__ = ("_count", "_looked_at", "_most", "_shares", "rule")

    def __init__(self) -> None:
        self.rule: Rule | None = None
        self._shares: dict[Rule | None, HoldShare] | None = None
        self._count = 0
        self._looked_at = False
        self._most = 0

    def begin(self) -> bool:
        """Characters begin to wait. True: set `rule`, this wait is looked at."""
        self._count += 1
        self._most = 0
        self._looked_at = self._count <= ALL_LOOKED_AT or self._count % SAMPLE == 0
        return self._looked_at

    def wait(self, characters: int) -> None:
        """So many wait now."""
        if characters > self._most:
            self._most = characters

    def end(self, seconds: float) -> None:
        """None waits any more; the wait took so long."""
        if not self._looked_at:
            return
        shares = self._shares
        if shares is None:
            shares = self._shares = {}
        share = shares.get(self.rule)
        if share is None:
            share = shares[self.rule] = HoldShare()
        stands_for = 1 if self._count <= ALL_LOOKED_AT else SAMPLE
        share.waits += stands_for
        share.seconds += seconds * stands_for
        share.characters += self._most * stands_for

    def shares(self) -> Iterator[tuple[Rule | None, HoldShare]]:
        """Each rule for which characters waited, with its share."""
        return iter((self._shares or {}).items())


@dataclass(slots=True)
class Exchange:
    """One request and its answer. Times are of time.perf_counter(); 0.0: it has not happened.

    judged_after:   a rule lets text of the answer out before its verdict
    queue_place:    its place among the requests that waited for their turn; 0: it did not wait
    client:         address of the client; of a believed reverse proxy, that of its client. "": a unix socket
    key:            name of the key that the request shows; "": it shows none
    alignment:      what the model is known to be, as the policies for this exchange take it
    revision:       of the policies in force when this exchange began; it keeps them
    request_read:   the whole body has arrived
    sent_upstream:  the prompt has been judged, the turn has come, and the request is sent
    queued:         how long it waited for its turn, in seconds
    upstream_bytes, upstream_text: the model server's first byte, and the first model text in it
    client_bytes, client_text:     what the client got: the first byte, and the first after the first model text
    max_held:       most characters that waited for a verdict at once; held_seconds: how long any waited, in all
    held_since:     since when characters wait; 0.0: none does
    hold:           which rules the characters wait for
    gaps:           how many reads of the answer came so long after the one before: a count for each bucket of GAPS and
                    one for what is longer
    gap_seconds:    all these times together. Of the reads one in eight is looked at
    output_sample:  of these reads the bytes, and what judging and writing them took, from the read to their being sent
    events:         frames of model text; most model servers send one for each token
    findings:       every finding, by direction: input, history, output, reasoning, tool_call
    channels:       for each finding the kind of text that it is in
    more_findings:  of an answer with very many findings how many are not among them, by direction and rule
    markers:        chat template markers in the prompt that became plain text, by family
    prompt_cut:     the model server counted so few tokens that it has cut the prompt
    check_errors:   checks that raised
    plugin_failures: what checks of plug-ins did wrong, and how long they took; None: no plug-in judged it
    check_answers:  what models, services and processes said that were asked
    upstream:       the name of the model server that gets the request; "": it was not chosen yet
    moved_from:     names of model servers that could not be asked, so that the next one was, with the reason of each
    asked:          the method and URL of the request to the model server, for the log
    upstream_status: the status of its response; 0: there was none
    prompt_characters: of all texts of the prompt, once it has been judged
    prompt_tokens, answer_tokens: as the model server counted them; 0: it has not
    refusal:        how the model itself refused, or NO_REFUSAL
    upstream_reason: why the model server failed, as a word for metrics
    trace:          the request's place in a trace; None: the model server was not asked
    transcript:     the texts, a proxy.server.exchange.transcript.Transcript; None: they are not recorded
    """

    endpoint: str
    revision: str = ""
    id: str = field(default_factory=new_id)
    client: str = ""
    key: str = ""
    model: str = ""
    alignment: Alignment = "unknown"
    stream: bool = False
    status: int = 0
    outcome: Outcome = Outcome.ALLOWED
    began: float = field(default_factory=perf_counter)
    request_read: float = 0.0
    sent_upstream: float = 0.0
    upstream_bytes: float = 0.0
    upstream_text: float = 0.0
    client_bytes: float = 0.0
    client_text: float = 0.0
    ended: float = 0.0
    max_held: int = 0
    held_seconds: float = 0.0
    held_since: float = 0.0
    hold: Hold = field(default_factory=Hold)
    gaps: list[int] = field(default_factory=lambda: [0] * (len(GAPS) + 1))
    gap_seconds: float = 0.0
    output_sample: tuple[int, float] = (0, 0.0)
    events: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    findings: list[tuple[str, Finding]] = field(default_factory=list)
    more_findings: Counter[tuple[str, Rule]] = field(default_factory=Counter)
    channels: list[Kind] = field(default_factory=list)
    markers: dict[str, int] = field(default_factory=dict)
    prompt_cut: bool = False
    check_errors: list[Exception] = field(default_factory=list)
    plugin_failures: Failures | None = None
    check_answers: CheckAnswers = field(default_factory=CheckAnswers)
    upstream: str = ""
    moved_from: tuple[tuple[str, str], ...] = ()
    asked: str = ""
    upstream_status: int = 0
    prompt_characters: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    refusal: ModelRefusal = NO_REFUSAL
    upstream_reason: str = ""
    judged_after: bool = False
    queue_place: int = 0
    queued: float = 0.0
    transcript: object = None
    trace: Trace | None = None

    def begin_again(self) -> None:
        """The next model server is asked: the prompt will be judged anew, for that one."""
        self.outcome = Outcome.ALLOWED
        for found in (self.findings, self.channels, self.more_findings, self.markers, self.check_errors):
            found.clear()
        self.plugin_failures = self.transcript = None
        self.sent_upstream = 0.0

    def add_finding(self, direction: str, finding: Finding, channel: Kind = Kind.CONTENT) -> None:
        """Add a finding in a text of this kind. A rewrite makes this a rewritten exchange."""
        self.findings.append((direction, finding))
        self.channels.append(channel)
        rule = finding.rule
        if rule.holds and rule.action is Action.REWRITE and self.outcome is Outcome.ALLOWED:
            self.outcome = Outcome.REWRITTEN

    def record_first_sent(self, now: float) -> None:
        """Bytes have been sent to the client, and no model text before them."""
        self.client_bytes = self.client_bytes or now
        if self.upstream_text:
            self.client_text = now

    def record_gap(self, seconds: float) -> None:
        """So long after the read before came one of the answer's text."""
        self.gaps[bisect_left(GAPS, seconds)] += 1
        self.gap_seconds += seconds

    def record_output(self, size: int, seconds: float) -> None:
        """Judging and writing a read of so many bytes took so long."""
        before, took = self.output_sample
        self.output_sample = before + size, took + seconds

    def record_held(self, guard: Guard, now: float) -> None:
        """So many characters of the answer wait for a verdict now."""
        held = guard.held
        if held > self.max_held:
            self.max_held = held
        if held:
            if not self.held_since:
                self.held_since = now
                if self.hold.begin():
                    self.hold.rule = guard.waits_for
            self.hold.wait(held)
        elif self.held_since:
            self.held_seconds += now - self.held_since
            self.hold.end(now - self.held_since)
            self.held_since = 0.0

    @property
    def check_seconds(self) -> dict[str, float]:
        """How long each check with a name took, in all: one that was asked until its answers came, a plug-in's on the
        processor."""
        own = self.plugin_failures.seconds if self.plugin_failures is not None else {}
        return self.check_answers.seconds | own

    @property
    def output_seconds(self) -> float:
        """What judging and writing the answer took, as far as its sample tells."""
        size, seconds = self.output_sample
        return seconds * self.bytes_received / size if size else 0.0

    @property
    def model_seconds(self) -> float:
        """How long the model server was busy with the request, from its being sent to the end of the answer."""
        return self.ended - self.sent_upstream if self.sent_upstream and self.ended else 0.0

    @property
    def action(self) -> str:
        """The strongest action of any rule so far, for a header: allow, flag, rewrite or block."""
        if self.outcome is Outcome.BLOCKED:
            return "block"
        if self.outcome is Outcome.REWRITTEN:
            return "rewrite"
        return "flag" if self.findings else "allow"

    @property
    def added_to_first_text(self) -> float | None:
        """Seconds that the proxy added before the client got the first text; None: no text came."""
        if not (self.client_text and self.sent_upstream):
            return None
        return (self.sent_upstream - self.queued - self.request_read) + (self.client_text - self.upstream_text)


class Observer(Protocol):
    """Counts exchanges that have ended, or logs them."""

    def end(self, exchange: Exchange) -> None:
        """An exchange has ended and will not change any more."""


@runtime_checkable
class BeginObserver(Observer, Protocol):
    """An observer that is told of beginnings too."""

    def begin(self, exchange: Exchange) -> None:
        """An exchange has begun."""


def record_outcome(exchange: Exchange, guard: Guard, answer: Answer) -> None:
    """The answer has ended: record what the guard saw, and the outcome if none is recorded yet."""
    exchange.events = answer.events
    exchange.prompt_tokens, exchange.answer_tokens = answer.prompt_tokens, answer.answer_tokens
    exchange.refusal = refusal_of(guard, answer)
    exchange.check_errors += guard.errors
    for channel, finding in guard.findings():
        exchange.add_finding(DIRECTIONS.get(channel.kind, "output"), finding, channel.kind)
    for channel, rule, times in guard.more_findings():
        exchange.more_findings[DIRECTIONS.get(channel.kind, "output"), rule] += times
    if exchange.outcome not in (Outcome.ALLOWED, Outcome.REWRITTEN):
        return
    if guard.blocked_choices:
        filtered = any(finding.rule.ending is Ending.FILTERED for finding in guard.blocked_choices.values())
        exchange.outcome = Outcome.BLOCKED if filtered else Outcome.REWRITTEN
    elif answer.failed is not None:
        exchange.outcome = Outcome.UPSTREAM_ERROR
        exchange.upstream_reason = answer.failed.reason
        log_failure(exchange, answer.failed)


def log_failure(exchange: Exchange, error: UpstreamError) -> None:
    """Log one line: what the model server was asked, and what went wrong."""
    asked = f"{exchange.asked}: " if exchange.asked else ""
    reason = error.__cause__ or error.reason
    log.warning("request %s: %s%s (%s)", exchange.id, asked, error.for_log, reason, extra=_place(exchange, error))


def _place(exchange: Exchange, error: UpstreamError) -> dict[str, str | int]:
    """For programs that read the log: which request, what was asked of the model server, and what it said."""
    fields: dict[str, str | int] = {"request_id": exchange.id, "reason": error.reason}
    if exchange.asked:
        fields["url"] = exchange.asked.partition(" ")[2]
    if exchange.upstream_status:
        fields["upstream_status"] = exchange.upstream_status
    return fields | {"in_message": True}
