"""An answer while it comes, as every dialect makes it: the upstream's bytes through the guard, in steps.

What belongs to a wire format is abstract here; a dialect's own `answer` module fills it in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from proxy.core.answer_gates import Question
from proxy.core.events import PAUSE, Frame, Release, TextDelta
from proxy.core.guard import ENDING, Guard
from proxy.core.steps import STALLED, STEP, Steps
from proxy.core.types import Channel, Ending, Finding, Kind
from proxy.dialects.request import Request
from proxy.dialects.wire.slots import saying
from proxy.errors import UpstreamBroken, UpstreamError

FIRST_SHARE, SHARE = 16 * 1024, 64 * 1024
"""Bytes of the upstream's that are read in one step. The first step does not wait for a turn, so it is a short one."""

MOST_CHANNELS = 12_288
"""Texts of an answer, and ids, names and arguments of its calls: what ends with one event goes out in one step."""

SILENT = 16  # a frame without text, such as a comment, takes as long as so many characters

Notice = Callable[[Finding], str]
"""The sentence that a person reads when a rule has ended an answer: names policy and request id, never the match."""


class EventSkeleton(Protocol):
    """The bytes that many events have around their text; see proxy.dialects.wire.skeleton."""

    silent: bool
    value: bytes
    channel: Channel

    def text(self, raw: bytes) -> str | None:
        """The text of an event of this form; None for any other event."""

    def saying(self, raw: bytes, text: str) -> bytes:
        """The event that `text` has just read, with another text; b"" for none."""

    def frame(self, raw: bytes) -> Frame | None:
        """The event as a frame whose text may be exchanged; None for any other event."""


class Answer(ABC):
    """One answer while it comes: the upstream's bytes in, what may go out of them out. Subclasses know the wire format.

    done:   everything that the client will get has been written; the upstream is to be closed
    failed: why the answer is not complete, if it is not
    prompt_tokens, answer_tokens: how many the upstream says the prompt and the answer had; 0: it has not said
    refused: the upstream says that the model refused, or that a filter of its own ended the answer
    events: frames of model text that came from the upstream (most backends send one a token)
    work:   what is left to do of what was taken last; call `step` until it is None
    stalled: `work` stands still until a question of the guard is answered: `reply`
    """

    def __init__(self, request: Request, guard: Guard, notice: Notice) -> None:
        self.request = request
        self.guard = guard
        self.notice = notice
        self.done = False
        self.failed: UpstreamError | None = None
        self.events = 0
        self.prompt_tokens = 0
        self.answer_tokens = 0
        self.refused = False
        self._skeleton: EventSkeleton | None = None  # how the events look of which one is read at a time, most often
        self._unfinished: list[bytes] = []  # of an event that is not complete yet; a dialect puts its parser's here
        self.work: Steps[None] | None = None
        self.stalled = False
        self._out: list[bytes] = []  # what the step has written so far

    # -- what the handler calls

    def take(self, data: bytes) -> bytes:
        """The upstream's bytes in; bytes for a streaming client out (b"" for one that waits for the whole).

        Where that is much work it stops after the first step, and what is left is `work`.
        """
        skeleton = self._skeleton
        quick = skeleton is not None and len(data) <= STEP and not self._unfinished and not self.done
        text = skeleton.text(data) if quick and skeleton is not None else None
        if skeleton is None or text is None or not (skeleton.silent or self._admits_value(skeleton)):
            return self._start_work(self._read_steps(data))
        if self.guard.asking and self.guard.stalls(skeleton.channel):
            return self._start_work(self._read_steps(data))
        self.events += 1
        release = self.guard.release_delta(skeleton.channel, text)
        if self.request.stream:
            if release is None:
                return data
            if not release.blocked_choices and not release.earlier:
                return skeleton.saying(data, release.texts[0])
        out: list[bytes] = []
        frame = skeleton.frame(data)
        assert frame is not None
        self._forward(frame, release, out)
        return b"".join(out)

    def take_whole(self, body: bytes) -> bytes:
        """The upstream answered with one plain body all the same: through the same gates, and the end."""
        return self._start_work(self._whole_steps(body))

    def take_end(self, error: UpstreamError | None = None) -> bytes:
        """The upstream has ended, in order or not: what was still held, then a proper end or an explicit error.

        What is left of `work` is given up, and then the answer has failed.
        """
        given_up = self.work is not None
        if self.work is not None:
            self.work.close()
        if given_up and error is None:
            error = _cut_off()
        return self._start_work(self._end_steps(error, given_up))

    def take_stop(self, finding: Finding) -> bytes:
        """Nobody may say more: what was held is decided, and each choice that goes on ends as if the finding's rule had
        ended it here. For an answer of which an event has been read. What is left of `work` is given up, and then the
        answer has failed."""
        given_up = self.work is not None
        if self.work is not None:
            self.work.close()
        return self._start_work(self._stop_steps(finding, given_up))

    def step(self) -> bytes:
        """One more step of `work`; bytes for a streaming client."""
        assert self.work is not None
        for stop in self.work:
            self.stalled = stop is STALLED
            break
        else:
            self.work, self.stalled = None, False
        out = b"".join(self._out)
        self._out.clear()
        return out

    def reply(self, question: Question, reply: object) -> bytes:
        """A question of the guard is answered; bytes for a streaming client. It may end the answer."""
        self.stalled = False
        release = None if self.done else self.guard.answer(question, reply)
        if release is None:
            return b""
        out: list[bytes] = []
        self._put(self._write(Frame(b""), release), out)
        if release.blocked_choices:
            self._settle(out)
        self._give_up_work()
        return b"".join(out)

    def _give_up_work(self) -> None:
        """What is left to do, if the answer is done."""
        if self.done and self.work is not None:
            self.work.close()
            self.work = None

    def feed(self, data: bytes) -> bytes:
        """`take` and all its steps."""
        return self._in_one_go(self.take(data))

    def whole(self, body: bytes) -> bytes:
        """`take_whole` and all its steps."""
        return self._in_one_go(self.take_whole(body))

    def finish(self, error: UpstreamError | None = None) -> bytes:
        """`take_end` and all its steps."""
        return self._in_one_go(self.take_end(error))

    @property
    def finished(self) -> bool:
        """Whether the upstream has ended every answer that was asked for, so that at most a count and the end follow.

        Whoever waits for these may stop at any time, and call `finish`: then the answer is complete.
        """
        return not self.done and self._is_complete()

    @abstractmethod
    def result(self) -> bytes:
        """The whole answer, for a client that does not stream; only when `failed` is None."""

    def notice_for(self, choice: int) -> str:
        """What is written where a rule has ended a choice: a sentence for people, or what makes JSON whole.

        There is none in JSON, since a program reads it, nor when the rule ends the answer like an ordinary one.
        """
        finding = self.guard.blocked_choices[choice]
        if self.request.json_content:
            return "".join([text for _, text in self.guard.closing(choice)])
        if finding.rule.ending is not Ending.FILTERED:
            return ""
        return ("\n\n" if self.guard.has_released_text(choice) else "") + self.notice(finding)

    def _count_tokens(self, usage: Any, prompt: str, answer: str) -> None:
        """What the upstream has counted, when it has. `prompt`, `answer`: the keys of the two counts."""
        if isinstance(usage, dict):
            self.prompt_tokens = _count(usage.get(prompt)) or self.prompt_tokens
            self.answer_tokens = _count(usage.get(answer)) or self.answer_tokens

    # -- the shared way

    def _start_work(self, work: Steps[None]) -> bytes:
        self.work = work
        return self.step()

    def _in_one_go(self, out: bytes) -> bytes:
        parts = [out]
        while self.work is not None:
            parts.append(self.step())
        return b"".join(parts)

    def _read_steps(self, data: bytes) -> Steps[None]:
        """Bytes of a stream, a share in each step."""
        yield from self._guarded_steps(self._frames, data[:FIRST_SHARE])
        for at in range(FIRST_SHARE, len(data), SHARE):
            if self.done:
                return
            yield None
            yield from self._guarded_steps(self._frames, data[at : at + SHARE])

    def _whole_steps(self, body: bytes) -> Steps[None]:
        yield from self._guarded_steps(self._whole_frames, body)
        yield from self._end_steps(None)

    def _end_steps(self, error: UpstreamError | None, given_up: bool = False) -> Steps[None]:
        if error is None:
            yield from self._guarded_steps(lambda _: self._last_frames(), b"")
        if not self.done and error is None and self._is_complete():
            flushed, blocked_choices = yield from self.guard.finish_steps()
            self._put(self._write(Frame(b""), Release((), flushed, blocked_choices)), self._out)
            self._put_terminal(self._out)
        if not self.done:
            yield from self._fail(error or _cut_off(), given_up)

    def _stop_steps(self, finding: Finding, given_up: bool) -> Steps[None]:
        """Half a tool call is not sent; and of an event of which only a part was judged nothing is. Nobody waits for
        those whom checks have asked, so of such an answer what is held is not sent either."""
        if given_up:
            yield from self._fail(UpstreamError(self.notice(finding), "paused", 503), given_up)
        elif self.finished:
            yield from self._end_steps(None)
        if self.done:
            return
        texts: tuple[TextDelta, ...] = ()
        blocked_choices: tuple[int, ...] = ()
        if not self.guard.asking:
            flushed, blocked_choices = yield from self.guard.finish_steps()
            texts = tuple(delta for delta in flushed if delta.channel.kind is not Kind.TOOL_ARGUMENTS)
        blocked_choices += self.guard.stop(self._open_choices(), finding)
        self._put(self._write(Frame(b""), Release((), texts, blocked_choices)), self._out)
        self._settle(self._out)
        if not self.done:
            self._put_terminal(self._out)

    def _open_choices(self) -> Iterable[int]:
        """The choices that the upstream has not ended."""
        return (0,)

    def _guarded_steps(self, read: Callable[[bytes], Iterable[Frame]], data: bytes) -> Steps[None]:
        """Frames through the guard. What cannot be understood ends the answer: fail closed."""
        if self.done:
            return
        try:
            if self.guard.channels > MOST_CHANNELS:
                raise UpstreamBroken(f"the model server's answer has more than {MOST_CHANNELS} parts", "protocol")
            yield from self._judge_steps(read(data))
        except UpstreamBroken as error:
            yield from self._fail(error)

    def _judge_steps(self, frames: Iterable[Frame]) -> Steps[None]:
        """Frame by frame; others may run whenever as much has been judged as makes a step."""
        guard, judged = self.guard, 0
        for frame in frames:
            if frame is PAUSE:
                yield None
                continue
            deltas = frame.deltas
            if deltas:
                self.events += frame.events
            is_short = len(deltas) == 1 and not frame.closes and not frame.finishes and len(deltas[0].text) <= STEP
            judged += len(deltas[0].text) if is_short else _work(frame)
            if judged > STEP:
                judged = 0
                yield None
            before = guard.reread
            if is_short and not (guard.asking and guard.stalls(deltas[0].channel)):
                release = guard.release_delta(*deltas[0])
            else:
                release = yield from guard.release_steps(frame)
            judged += guard.reread - before
            self._forward(frame, release, self._out)
            if self.done:
                return

    def _forward(self, frame: Frame, release: Release | None, out: list[bytes]) -> None:
        """Write what may go out of a frame."""
        stream = self.request.stream
        if release is not None and release.earlier:
            release = self._put_earlier(release, out)
        if release is None and stream:
            out.append(frame.raw)
        elif frame.slot is not None and (release is None or not release.blocked_choices):
            text = "".join([delta.text for delta in frame.deltas] if release is None else release.texts)
            if text and stream:
                out.append(saying(frame.raw, frame.slot, text))
            elif text:
                self._collect_text(TextDelta(frame.deltas[0].channel, text))
            return
        elif release is None:
            self._collect(self._body(frame))
        else:
            self._put(self._write(frame, release), out)
        if release is not None or frame.finishes:
            self._settle(out)

    def _put_earlier(self, release: Release, out: list[bytes]) -> Release | None:
        """Write what comes before a frame; what is left to be said of the frame itself."""
        self._put(self._write(Frame(b""), Release((), release.earlier)), out)
        return None if release.unchanged else release._replace(earlier=())

    def _put(self, bodies: Iterable[Any], out: list[bytes]) -> None:
        """Frames of our own making."""
        for body in bodies:
            if self.request.stream:
                out.append(self._encode(body))
            else:
                self._collect(body)

    def _fail(self, error: UpstreamError, given_up: bool = False) -> Steps[None]:
        """Release what was held (it is decided: nothing follows), then say that the answer is not complete.

        Half a tool call is not sent. Where the last of the text makes a rule end the answer, it is a blocked answer.
        given_up: of an event of which only a part was judged nothing is sent, so the rest of it is not either
        """
        out = self._out
        if not given_up:
            flushed, blocked_choices = yield from self.guard.finish_steps()
            texts = tuple(delta for delta in flushed if delta.channel.kind is not Kind.TOOL_ARGUMENTS)
            self._put(self._write(Frame(b""), Release((), texts, blocked_choices)), out)
            if blocked_choices:
                self._settle(out)
        if self.done:
            return
        self.failed = error
        self.done = True
        if self.request.stream:
            out.append(self._error_event(error))

    def _admits_value(self, skeleton: EventSkeleton) -> bool:
        """Whether no rule minds what is new in the event just read, beside its text."""
        return skeleton.silent or self.guard.admits(skeleton.value.decode("ascii"))

    # -- what a dialect fills in

    @abstractmethod
    def _frames(self, data: bytes) -> Iterator[Frame]:
        """Complete frames in the bytes so far. Raises UpstreamBroken for what is not this dialect."""

    @abstractmethod
    def _last_frames(self) -> Iterator[Frame]:
        """What stands at the end of the stream without its terminator."""

    @abstractmethod
    def _whole_frames(self, body: bytes) -> Iterator[Frame]:
        """A plain, unstreamed answer as the frames of a stream."""

    @abstractmethod
    def _write(self, frame: Frame, release: Release) -> Iterator[Any]:
        """The bodies to send in place of a frame that could not pass as it is."""

    @abstractmethod
    def _settle(self, out: list[bytes]) -> None:
        """After a frame that ended something: write the terminal and set `done`, if this was the end of all."""

    @abstractmethod
    def _put_terminal(self, out: list[bytes]) -> None:
        """Write the stream's proper end and set `done`."""

    @abstractmethod
    def _is_complete(self) -> bool:
        """Whether the upstream has ended every answer that it began."""

    @abstractmethod
    def _body(self, frame: Frame) -> Any:
        """The parsed form of a frame that passes untouched."""

    @abstractmethod
    def _encode(self, body: Any) -> bytes:
        """A body as the bytes of one event."""

    @abstractmethod
    def _collect(self, body: Any) -> None:
        """Add a body to the whole answer."""

    def _collect_text(self, delta: TextDelta) -> None:
        """Add the text of a frame with a slot to the whole answer."""
        raise AssertionError(f"{type(self).__name__} has no frames with slots")

    @abstractmethod
    def _error_event(self, error: UpstreamError) -> bytes:
        """An error in mid-stream, in the shape that this dialect's clients understand."""


def _work(frame: Frame) -> int:
    """How much there is to judge in a frame, in characters."""
    texts = sum([len(text) for _, text in frame.deltas]) if frame.deltas else SILENT
    return texts + ENDING * (len(frame.closes) + len(frame.finishes))


def _count(value: Any) -> int:
    """A number of tokens; 0 for what is none."""
    return value if type(value) is int and value > 0 else 0


def _cut_off() -> UpstreamBroken:
    return UpstreamBroken("the model server's answer ended before it was complete", "truncated")
