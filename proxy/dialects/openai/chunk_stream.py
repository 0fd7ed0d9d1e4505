"""What answers of OpenAI's chat and completions share: chunks with choices in; the same, or one whole answer, out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import orjson

from proxy.core.events import LARGE, PAUSE, Frame, Release, TextDelta
from proxy.core.guard import ALL, Guard
from proxy.core.steps import Steps
from proxy.core.types import Channel, Ending, Kind
from proxy.dialects.answer import Answer, Notice
from proxy.dialects.common import upstream_errors
from proxy.dialects.common.counts import is_index
from proxy.dialects.common.ends import end_reason
from proxy.dialects.common.unknown_numbers import UnknownNumbers
from proxy.dialects.openai import errors as openai_errors
from proxy.dialects.openai.chunk import FINISH_REASONS
from proxy.dialects.openai.message import Whole
from proxy.dialects.request import Request
from proxy.dialects.wire import sse
from proxy.dialects.wire.json_body import parse_upstream, says_more
from proxy.dialects.wire.skeleton import Skeleton, VaryingSkeleton
from proxy.errors import UpstreamBroken, UpstreamError, UpstreamTimeout

DONE = b"data: [DONE]\n\n"
COMMENT = b": \n\n"
LAST = Frame(b"", finishes=(ALL,))
"""[DONE]: it is written when what was held has gone out."""
MOST_CHOICES = 1024
"""In one event, if not more were asked for: all of them are read in one go, while everybody waits."""
LONGEST_WORD = 16  # bytes of data that may be a word instead of a chunk
HEAD = ("id", "created", "model", "system_fingerprint")
EXTRAS = ("usage", "timings", "prompt_progress")
"""Numbers beside the choices: what was counted, and with llama.cpp's return_progress how far the prompt is read."""
_CHUNK_KEYS = frozenset((*HEAD, "object", "choices", *EXTRAS))
FINISHES = {Ending.FILTERED: "content_filter", Ending.STOP: "stop", Ending.LENGTH: "length"}
FILTERED = {"content_filter_results": {"safety_proxy": {"filtered": True}}}


class ChunkedAnswer(Answer):
    """One exchange whose stream is chunks of choices and ends with [DONE]. Subclasses know what a choice looks like."""

    object_name: str  # of a chunk
    extras: tuple[str, ...] = EXTRAS  # what may stand beside the choices

    whole_class: type[Whole]  # puts an answer together for a client that does not stream

    def __init__(self, request: Request, guard: Guard, notice: Notice) -> None:
        super().__init__(request, guard, notice)
        self._sse = sse.Parser()
        self._unfinished = self._sse.parts
        self._head: dict[str, Any] = {}
        self._seen: set[int] = set()
        self._finished: set[int] = set()  # choices that the upstream has finished
        self._spoke: set[int] = set()  # choices that have had text without an end
        self._beside: set[int] = set()  # those whose last end came beside their first text
        self._waiting: list[Frame] = []  # the end of a choice, until what follows shows that it is one
        self._late: dict[int, str] = {}  # reasons for ends that were none, by choice
        self._over = False  # the upstream has said [DONE]
        self._usage: dict[str, Any] | None = None
        self._usage_sent = False  # in a chunk of its own, as the last but [DONE]
        self._unknown = UnknownNumbers(guard.admits)
        self._whole = None if request.stream else self.whole_class()

    # -- what a choice looks like

    @abstractmethod
    def _clean_choice(self, choice: Any) -> dict[str, Any]:
        """A choice without what is not understood."""

    @abstractmethod
    def _as_delta(self, choice: Any) -> Any:
        """A choice of a whole answer as the only one of a stream."""

    @abstractmethod
    def _text_deltas(self, index: int, choice: dict[str, Any]) -> list[TextDelta]:
        """The model text in a choice, in reading order."""

    @abstractmethod
    def _texts(self, index: int, upstream: dict[str, Any], own: list[TextDelta]) -> Iterator[dict[str, Any]]:
        """The choices that carry released text."""

    def _calls(self, index: int, own: list[TextDelta]) -> Iterator[dict[str, Any]]:
        """The choices that carry complete tool calls."""
        return iter(())

    @abstractmethod
    def _text_choice(self, index: int, text: str) -> dict[str, Any]:
        """A choice with `text` as its only text."""

    @abstractmethod
    def _end(self, index: int, reason: str) -> dict[str, Any]:
        """A choice that ends."""

    # -- reading

    def _frames(self, data: bytes) -> Iterator[Frame]:
        events = self._sse.feed(data)
        return self._settled(self._one_by_one(events) if self.request.stream else self._gathered(events))

    def _one_by_one(self, events: Iterable[sse.Event]) -> Iterator[Frame]:
        for event in events:
            if len(event.raw) > LARGE:
                yield PAUSE
            skeleton = self._skeleton
            frame = skeleton.frame(event.raw) if skeleton is not None else None
            if skeleton is None or frame is None or not self._admits_value(skeleton):
                frame = self._read(event)
            if frame is not None:
                yield frame

    def _gathered(self, events: Iterable[sse.Event]) -> Iterator[Frame]:
        """Of an answer that is put together: what was read at once is one frame, as far as it can be."""
        raw, deltas = b"", list[TextDelta]()
        for event in events:
            skeleton = self._skeleton
            text = skeleton.text(event.raw) if skeleton is not None else None
            if skeleton is not None and text is not None and self._admits_value(skeleton):
                raw = event.raw
                deltas.append(TextDelta(skeleton.channel, text))
                continue
            if deltas:
                yield Frame.merged(raw, deltas)
                deltas.clear()
            if len(event.raw) > LARGE:
                yield PAUSE
            frame = self._read(event)
            if frame is not None:
                yield frame
        if deltas:
            yield Frame.merged(raw, deltas)

    def _last_frames(self) -> Iterator[Frame]:
        yield from self._settled(filter(None, map(self._read, self._sse.finish())))
        yield from self._take_waiting()
        yield from self._late_ends()

    def _end_steps(self, error: UpstreamError | None, given_up: bool = False) -> Steps[None]:
        """See Answer. An end that waits is told also where an error follows. Of an end beside the first text nobody
        knew whether more would come: where nothing has, the answer is complete."""
        if isinstance(error, UpstreamTimeout) and self._beside and self._is_complete() and not given_up:
            error = None
        if error is not None and self._waiting:
            yield from self._guarded_steps(lambda _: self._take_waiting(), b"")
        yield from super()._end_steps(error, given_up)

    def _settled(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """The frames, the end of a choice when something follows that shows that it is one: some servers say it with
        every chunk, and an end that more of its choice follows is none."""
        try:
            for frame in frames:
                if not self._waiting or frame.finishes or _says(frame):
                    if self._waiting or frame is LAST:
                        yield from self._take_waiting(frame)
                    self._over = frame is LAST
                    if not frame.finishes or frame is LAST:
                        yield frame
                        continue
                elif frame.body is None:
                    yield frame  # a comment
                    continue
                self._waiting.append(frame)
                self._skeleton = None  # the next event is looked at closely
        except UpstreamBroken:
            yield from self._take_waiting()
            raise

    def _take_waiting(self, following: Frame | None = None) -> Iterator[Frame]:
        """The end that waits, and what came behind it. Ends are none where the frame that follows goes on, and wait for
        the last one where it may go on later."""
        frames = self._waiting[:]
        self._waiting.clear()
        if following is LAST:
            yield from self._late_ends(frames)
        for frame in frames:
            if following is not None and (_goes_on(frame, following) or self._may_go_on(frame, following)):
                yield self._without_end(frame)
            else:
                for index in frame.finishes:
                    self._late.pop(index, None)
                yield frame

    def _may_go_on(self, ending: Frame, following: Frame) -> bool:
        """Whether a choice may say more although another one speaks now: its end came beside text, and a server that
        says one with every chunk does so too."""
        return following is not LAST and self.request.choices > 1 and not self._beside.isdisjoint(ending.finishes)

    def _late_ends(self, frames: Iterable[Frame] = ()) -> Iterator[Frame]:
        """The ends of choices that said more after them, and did not end once more in these frames."""
        told = {index for frame in frames for index in frame.finishes}
        reasons, self._late = self._late, {}
        for index, reason in reasons.items():
            if index in told:
                continue
            body = self._chunk([self._end(index, reason)])
            yield Frame(self._encode(body), finishes=(index,), body=body)

    def _without_end(self, frame: Frame) -> Frame:
        """What a frame says beside its end."""
        self._late |= {c["index"]: c["finish_reason"] for c in frame.body["choices"] if c["index"] in frame.finishes}
        body = {**frame.body, "choices": [{**choice, "finish_reason": None} for choice in frame.body["choices"]]}
        return replace(frame, raw=self._encode(body), finishes=(), body=body)

    def _whole_frames(self, body: bytes) -> Iterator[Frame]:
        value = parse_upstream(body)
        self._check_error(value)
        choices = [self._as_delta(choice) for choice in _choices(value, self.request.choices)]
        if not choices:
            raise UpstreamBroken("the model server sent an answer without choices", "protocol")
        chunk = self._clean({**value, "object": self.object_name, "choices": choices})
        usage = chunk.pop("usage", None)
        yield self._frame(chunk, self._encode(chunk))
        if usage and self._usage_wanted:
            tail = self._chunk([], usage=usage)
            yield self._frame(tail, self._encode(tail))
        self._over = True
        yield LAST

    def _read(self, event: sse.Event) -> Frame | None:
        data = event.data
        if data is None:
            return Frame(COMMENT) if self.request.stream else None
        if len(data) > LONGEST_WORD or data.strip() not in (b"[DONE]", b"null"):
            return self._read_chunk(event, data)
        if data.strip() == b"null":  # llama.cpp begins the stream of several prompts with it
            return None
        if not self._is_complete():
            raise UpstreamBroken("the model server ended a stream without finishing its answer", "truncated")
        return LAST

    def _read_chunk(self, event: sse.Event, data: bytes) -> Frame | None:
        chunk = parse_upstream(data)
        self._check_error(chunk)
        if chunk.get("model") == "" and self._head.get("model"):  # Ollama's rendering of an error of its engine
            raise UpstreamBroken("the model server failed in the middle of its answer", "truncated")
        before = dict(self._head)
        clean = self._clean(chunk)
        if not (clean["choices"] or any(map(clean.get, self.extras)) or not clean.keys() <= _CHUNK_KEYS):
            return None  # it says nothing, or nothing that is understood
        frame = self._frame(clean)
        if self.request.stream or frame.is_one_delta:
            unchanged = event.plain and clean == chunk and not says_more(data, chunk)
            frame.raw = event.raw if unchanged else self._encode(clean)
            one_text = unchanged and frame.is_one_delta and frame.deltas[0].channel.kind is not Kind.TOOL_ARGUMENTS
            if one_text and not self.request.logprobs:  # each token has probabilities of its own
                self._skeleton = _skeleton_of(frame, before, self._head) or self._skeleton
        self._skeleton = self._skeleton if self._unknown.steady else None
        return frame

    def _check_error(self, value: dict[str, Any]) -> None:
        """Raise what the model server reports, in OpenAI's shape or in the older one of vLLM."""
        if value.get("error") is not None or value.get("object") == "error":
            raise upstream_errors.reported(value.get("error") or value, self.guard)

    def _clean(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """The part of a chunk that is understood; nothing else is forwarded."""
        clean: dict[str, Any] = {k: v for k, v in chunk.items() if k in _CHUNK_KEYS}
        for key in HEAD:
            if key in clean and (key not in self._head or clean[key] != self._head[key]):
                self._admit(clean, key)
        if "object" in clean:
            clean["object"] = self.object_name
        self._unknown.ending = _is_last(chunk)
        for key in EXTRAS:
            if key in clean:
                clean[key] = self._unknown.statistics(clean[key], key)
        self._usage = clean.get("usage") or self._usage
        self._count_tokens(clean.get("timings"), "", "predicted_n")  # its prompt_n is without what was in the cache
        self._count_tokens(self._usage, "prompt_tokens", "completion_tokens")
        given = _choices(clean, self.request.choices)
        clean["choices"] = choices = [self._with_numbers(choice, self._clean_choice(choice)) for choice in given]
        for choice in choices:
            if choice.get("finish_reason") is not None:
                self.refused |= choice["finish_reason"] == "content_filter"
                choice["finish_reason"] = end_reason(choice["finish_reason"], FINISH_REASONS, "stop", self.guard.admits)
        return self._unknown.beside(chunk, clean)

    def _with_numbers(self, given: dict[str, Any], clean: dict[str, Any]) -> dict[str, Any]:
        """A clean choice, and the numbers that it and its delta have under unknown keys."""
        place = f"choices.{clean['index']}"
        delta, said = given.get("delta"), clean.get("delta")
        if isinstance(delta, dict) and said is not None:
            clean["delta"] = self._unknown.beside(delta, said, f"{place}.delta")
        return self._unknown.beside(given, clean, place)

    def _admit(self, clean: dict[str, Any], key: str) -> None:
        """An id or a model's name may pass when no rule minds it."""
        value = clean[key]
        plain = value is None or type(value) in (int, float)
        if plain or (isinstance(value, str) and len(value) <= 512 and self.guard.admits(value)):
            self._head[key] = value
        else:
            clean[key] = self._head.setdefault(key, 0 if key == "created" else "withheld")

    def _frame(self, chunk: dict[str, Any], raw: bytes = b"") -> Frame:
        deltas: list[TextDelta] = []
        finishes: list[int] = []
        for choice in chunk["choices"]:
            index = choice["index"]
            self._seen.add(index)
            own = self._text_deltas(index, choice)
            if choice.get("finish_reason") is not None:
                finishes.append(index)
                self._finished.add(index)
                in_doubt = index not in self._spoke and any(text for _, text in own)
                (self._beside.add if in_doubt else self._beside.discard)(index)
            elif index not in self._spoke and any(text for _, text in own):
                self._spoke.add(index)
            deltas += own or [TextDelta(Channel(index, Kind.CONTENT, "content"), "")]
        if chunk.get("usage") and (finishes or not chunk["choices"]):
            self._usage_sent = True
        return Frame(raw, tuple(deltas), finishes=tuple(dict.fromkeys(finishes)), body=chunk)

    # -- writing

    def _write(self, frame: Frame, release: Release) -> Iterator[dict[str, Any]]:
        chunk = self._body(frame) or {}
        choices = list(self._written(frame, release, chunk.get("choices", ())))
        keys = EXTRAS if release.blocked_choices else self.extras  # a block is not the end that the statistics tell of
        extras = {key: chunk[key] for key in keys if chunk.get(key)}
        if extras and not choices:  # what was counted comes where it came, though the text beside it waits
            open_ones = (c["index"] for c in chunk["choices"] if c["index"] not in self.guard.blocked_choices)
            choices = [self._text_choice(index, "") for index in open_ones]
        if not release.blocked_choices:
            extras |= {key: part for key, part in chunk.items() if key not in _CHUNK_KEYS and key not in self.extras}
        for place, choice in enumerate(choices, start=1):
            yield self._chunk([choice], **(extras if place == len(choices) else {}))

    def _written(self, frame: Frame, release: Release, given: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The choices that go out in the place of those of a frame, each for a chunk of its own."""
        texts = [TextDelta(p.channel, t) for p, t in zip(frame.deltas, release.texts, strict=True)]
        released = [delta for delta in (*texts, *release.flushed) if delta.text]
        spoke = {channel.choice for channel, text in frame.deltas if text}
        choices = {choice["index"]: choice for choice in given}
        for index in dict.fromkeys((*choices, *(p.channel.choice for p in released), *release.blocked_choices)):
            own = [delta for delta in released if delta.channel.choice == index]
            if index in release.blocked_choices:
                yield from self._texts(index, choices.get(index, {}), own)
                yield from self._ending(index)
            elif index not in self.guard.blocked_choices:  # of what was cut earlier nothing goes out any more
                yield from self._choice(index, choices.get(index, {}), own, index in spoke)

    def _choice(
        self, index: int, upstream: dict[str, Any], own: list[TextDelta], spoke: bool
    ) -> Iterator[dict[str, Any]]:
        """Text, complete calls, and the end. `spoke`: it had text itself, which then stays with its end."""
        parts = [*self._texts(index, upstream, own), *self._calls(index, own)]
        reason = upstream.get("finish_reason")
        if reason is None:
            yield from parts
        elif spoke and parts:
            yield self._joined(parts) | {"finish_reason": reason}
        else:
            yield from parts
            yield self._end(index, reason)

    def _joined(self, parts: list[dict[str, Any]]) -> dict[str, Any]:
        """Choices of one index as one."""
        return parts[-1]

    def _ending(self, index: int) -> Iterator[dict[str, Any]]:
        """A choice that a rule has ended: the notice, if there is one, and the finish."""
        notice = self.notice_for(index)
        if notice:
            yield self._text_choice(index, notice)
        reason = FINISHES[self.guard.blocked_choices[index].rule.ending]
        yield self._end(index, reason) | (FILTERED if reason == "content_filter" else {})

    def _chunk(self, choices: list[dict[str, Any]], **extras: Any) -> dict[str, Any]:
        return {"object": self.object_name, **self._head, "choices": choices, **extras}

    # -- ending

    def _is_complete(self) -> bool:
        return bool(self._seen) and self._seen <= self._finished | set(self.guard.blocked_choices)

    def _open_choices(self) -> Iterable[int]:
        return [choice for choice in range(self.request.choices) if choice not in self._finished]

    @property
    def finished(self) -> bool:
        """See Answer. A server that was asked for several choices may not have begun all of them."""
        ended = self._surely_finished | set(self.guard.blocked_choices)
        return super().finished and self._seen <= ended and len(ended) >= self.request.choices

    @property
    def _surely_finished(self) -> set[int]:
        """Choices that will say no more: no end of theirs was none, and the last one did not come beside text."""
        return self._finished - self._beside - self._late.keys()

    def _settle(self, out: list[bytes]) -> None:
        blocked_choices = self.guard.blocked_choices
        if self._over:
            self._put_done(out)
        elif self._is_for_nothing(set(blocked_choices), self._surely_finished):
            self._put_terminal(out)

    def _is_for_nothing(self, blocked: set[int], finished: set[int]) -> bool:
        """Whether the model is still at work on what was cut, and on nothing else."""
        return bool(blocked - finished) and len(finished | blocked) >= self.request.choices

    def _put_terminal(self, out: list[bytes]) -> None:
        if self._usage_wanted and not self._usage_sent:
            self._put([self._chunk([], usage=self._usage or self._estimated_usage())], out)
        self._put_done(out)

    @property
    def _usage_wanted(self) -> bool:
        """Whether the client gets usage: when it asks for it, and with every whole answer."""
        return self.request.include_usage or not self.request.stream

    def _put_done(self, out: list[bytes]) -> None:
        if self.request.stream:
            out.append(DONE)
        self.done = True

    def _estimated_usage(self) -> dict[str, Any]:
        """The upstream was stopped before it counted: one event is about one token."""
        return {"prompt_tokens": 0, "completion_tokens": self.events, "total_tokens": self.events, "estimated": True}

    def result(self) -> bytes:
        """The whole answer."""
        assert self._whole is not None
        return orjson.dumps(self._whole.body(self._head))

    def _body(self, frame: Frame) -> Any:
        if frame.body is None and frame.deltas:
            return orjson.loads(frame.raw[5:])
        return frame.body

    def _encode(self, body: Any) -> bytes:
        return sse.encode(orjson.dumps(body))

    def _collect_text(self, delta: TextDelta) -> None:
        assert self._whole is not None
        self._whole.say(delta.channel.choice, delta.channel.name, delta.text)

    def _collect(self, body: Any) -> None:
        assert self._whole is not None
        if body is not None:
            self._whole.add(body)

    def _error_event(self, error: UpstreamError) -> bytes:
        return sse.encode(orjson.dumps(openai_errors.event(error)))


def _says(frame: Frame) -> bool:
    return any(text for _, text in frame.deltas)


def _goes_on(ending: Frame, frame: Frame) -> bool:
    """Whether a frame says more of a choice that has ended, or ends it once more."""
    again = any(index in ending.finishes for index in frame.finishes)
    return again or any(text and channel.choice in ending.finishes for channel, text in frame.deltas)


def _is_last(chunk: dict[str, Any]) -> bool:
    """Whether a chunk ends a choice, or comes when all have ended."""
    choices = chunk.get("choices")
    if not choices or not isinstance(choices, list):
        return True
    return any(isinstance(choice, dict) and choice.get("finish_reason") for choice in choices)


def _choices(chunk: dict[str, Any], asked: int) -> list[Any]:
    choices = chunk.get("choices") or []
    if not isinstance(choices, list):
        raise UpstreamBroken("the model server sent choices that are not an array", "protocol")
    if len(choices) > max(MOST_CHOICES, asked):
        raise UpstreamBroken(f"the model server sent {len(choices)} choices at once", "protocol")
    return [_numbered(choice, place, asked) for place, choice in enumerate(choices)]


def _numbered(choice: Any, place: int, asked: int) -> Any:
    """A choice with its index; where that is none, its place among the choices stands for it.

    Where one choice was asked for, apps show the first of each chunk, whatever its index. So all are one text.
    """
    if not isinstance(choice, dict):
        return choice
    own = choice.get("index")
    index = own if isinstance(own, int) and is_index(own) else place
    if index >= asked > 1:
        raise UpstreamBroken("the model server sent a choice that nobody asked for", "protocol")
    index = index if asked > 1 else 0
    return choice if own is index else {**choice, "index": index}


def _skeleton_of(frame: Frame, before: dict[str, Any], head: dict[str, Any]) -> Skeleton | VaryingSkeleton | None:
    """How the next events will look, judged by what was new in this one."""
    text_key = frame.deltas[0].channel.name
    varying = [key for key in before if head[key] != before[key]]
    if len(varying) == 1:
        return VaryingSkeleton.of(frame, text_key, varying[0], number=isinstance(head[varying[0]], int))
    return Skeleton.of(frame, text_key)
