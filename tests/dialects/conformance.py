"""What every dialect of a text stream has to do, as one class of tests: a dialect's own tests subclass it with a Wire.

    class TestChat(Conformance):
        wire = ChatWire()

A Wire tells how an upstream of the dialect speaks and what a client of it understands; it shares no code with the
dialect. Golden streams come whole, byte by byte and in random pieces; forbidden words stand at every place.
"""

from __future__ import annotations

import json
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, cycle, islice
from types import MappingProxyType
from typing import Any, ClassVar

import pytest

from proxy.core.check import Check, Progress
from proxy.core.guard import Guard
from proxy.core.types import Action, Finding, Rule
from proxy.dialects import base
from proxy.dialects.base import Answer, Dialect, Options
from proxy.dialects.common import named_events
from proxy.dialects.ollama import answer as ollama_answer
from proxy.dialects.openai import chunk_stream
from proxy.errors import UpstreamTimeout
from tests.dialects.golden_files import Golden, golden
from tests.phrases import PhrasePlan, block, rewrite

BAD = "NEVERSAID"
NOTICE = "<stopped here>"
STOPPED = Rule("", "stopped", Action.BLOCK)
WORDS = "All that is clean. "
GARBAGE = b"data: NEVERSAID\n\n\xff\xfe{]"
ODD: Sequence[Any] = (None, [1], True, {}, 7, [], "odd", ["a", {}], -1.5, {"type": {}}, 1e300, {"id": []}, "")
OWN = ("input", "arguments", "parameters")  # free JSON: a call's arguments, a tool's schema
Deltas = Sequence[tuple[str, str]]  # field and text


def notice(finding: Finding) -> str:
    """What stands for a policy's message."""
    return NOTICE


@dataclass
class Told:
    """What a client of a dialect understands.

    texts:  by choice and field, put together from the deltas (or as they stand in a whole answer)
    finish: how the answer ended in the dialect's words, by choice; empty: it has no proper end
    failed: an error was told
    """

    texts: dict[tuple[int, str], str] = field(default_factory=dict)
    finish: dict[int, str] = field(default_factory=dict)
    failed: bool = False

    def say(self, key: tuple[int, str], text: str | None) -> None:
        """Add to a text; nothing may be said of a choice after its end."""
        if text:
            assert key[0] not in self.finish, f"text after the end: {text!r}"
            self.texts[key] = self.texts.get(key, "") + text

    def of(self, name: str) -> str:
        """All text of a field, over all choices, calls and blocks."""
        return "".join(text for (_, key), text in self.texts.items() if key == name or key.endswith(f".{name}"))


@dataclass(frozen=True)
class Stream:
    """A golden stream. identical: when no rule minds it, it passes byte for byte; else its meaning stays (`why`).

    asks: what its request asked for besides
    """

    name: str
    identical: bool = True
    why: str = ""
    asks: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    @property
    def golden(self) -> Golden:
        """The captured answer."""
        return golden(self.name)


class Wire(ABC):
    """One dialect, seen from outside.

    streamed: fields that are released as they come; `whole` ones only when they are complete
    content:  the field in which a person reads the notice
    finish:   how an ordinary answer ends, and `blocked` one that a rule has ended
    gap:      what stands between two events, and `lead` before the JSON of one
    odd, failing: an event of an unknown type, and one that tells of an error with `%b` in it
    """

    dialect: ClassVar[Dialect]
    streams: ClassVar[tuple[Stream, ...]]
    streamed: ClassVar[tuple[str, ...]]
    whole: ClassVar[tuple[str, ...]] = ()
    content: ClassVar[str] = "content"
    finish: ClassVar[str]
    blocked: ClassVar[str]
    gap: ClassVar[bytes] = b"\n\n"
    lead: ClassVar[bytes] = b"data: "
    asks: Mapping[str, Any] = MappingProxyType({})
    odd: ClassVar[tuple[bytes, ...]] = (
        b'event: response.new_thing\ndata: {"type":"response.new_thing","delta":"unheard of","choices":[]}',
        b": unheard of",
    )
    failing: ClassVar[bytes] = b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"%b"}}'

    def kind(self, name: str) -> str:
        """What a field is to its reader: several may be thinking."""
        return "thinking" if name.startswith(("reasoning", "thinking", "summary")) else name

    @abstractmethod
    def request(self, **extra: Any) -> bytes:
        """A client's request."""

    @abstractmethod
    def json_mode(self) -> dict[str, Any]:
        """The keys that ask for JSON."""

    @abstractmethod
    def speak(self, deltas: Deltas) -> bytes:
        """An upstream's stream."""

    @abstractmethod
    def speak_whole(self, deltas: Deltas) -> bytes:
        """The same as one JSON answer."""

    @abstractmethod
    def read(self, data: bytes) -> Told:
        """What a streaming client understands; it checks that the stream is well-formed and agrees with itself."""

    @abstractmethod
    def read_whole(self, data: bytes) -> Told:
        """What a client that waits for the whole understands."""

    # -- driving

    def answer(self, checks: Iterable[Check] = (), **extra: Any) -> Answer:
        """The answer of an exchange."""
        request = self.dialect.parse(self.request(**{**self.asks, **extra}), Options())
        return self.dialect.answer(request, Guard(PhrasePlan(tuple(checks)), request.json_content), notice)

    def stream(self, pieces: Iterable[bytes], *checks: Check, **extra: Any) -> tuple[Answer, bytes]:
        """Carry a stream to a streaming client; the answer and all bytes."""
        answer = self.answer(checks, stream=True, **extra)
        out = b"".join(answer.feed(piece) for piece in pieces)
        return answer, out + answer.finish()

    def collect(self, pieces: Iterable[bytes], *checks: Check, **extra: Any) -> tuple[Answer, bytes]:
        """Carry a stream to a client that waits; the answer and its body, b"" if it failed."""
        answer = self.answer(checks, stream=False, **extra)
        for piece in pieces:
            assert answer.feed(piece) == b""
        assert answer.finish() == b""
        return answer, b"" if answer.failed else answer.result()

    def whole_to(self, body: bytes, *checks: Check, stream: bool) -> tuple[Answer, Told]:
        """Carry one JSON answer to a client of either kind."""
        answer = self.answer(checks, stream=stream)
        out = answer.whole(body)
        if stream:
            return answer, self.read(out)
        return answer, Told(failed=True) if answer.failed else self.read_whole(answer.result())


class Late:
    """A check that needs the whole text, and blocks it at the end."""

    hold = None

    def __init__(self) -> None:
        self._size = 0

    def open(self) -> Late:
        """A fresh scan."""
        return Late()

    def feed(self, text: str, final: bool = False) -> Progress:
        """Nothing is decided before the end."""
        self._size += len(text)
        if not (final and self._size):
            return Progress(0)
        return Progress(0, (Finding(0, self._size, Rule("test", "late", Action.BLOCK)),))


def cuts(data: bytes, seed: int) -> list[bytes]:
    """`data` in random pieces."""
    generator = random.Random(seed)
    places = sorted(generator.randrange(len(data)) for _ in range(generator.randrange(1, 40)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def letters(name: str, text: str) -> Deltas:
    """One delta for each character."""
    return [(name, letter) for letter in text]


# -- JSON inside events


def frames_with_json(body: bytes, wire: Wire) -> Iterator[tuple[int, bytes, Any]]:
    """The place and the JSON of each event of a stream, with what stands before it."""
    for i, frame in enumerate(body.split(wire.gap)):
        at = frame.rfind(wire.lead) + len(wire.lead) if wire.lead else 0
        if frame[at : at + 1] == b"{":
            yield i, frame[:at], json.loads(frame[at:])


def replaced(body: bytes, wire: Wire, place: int, head: bytes, value: Any) -> bytes:
    """The stream with another JSON in one event."""
    frames = body.split(wire.gap)
    frames[place] = head + json.dumps(value).encode()
    return wire.gap.join(frames)


def typical(body: bytes, wire: Wire, most: int = 2) -> Iterator[tuple[int, bytes, Any]]:
    """The same without the many events that differ from `most` others in their strings and numbers only."""
    seen: dict[str, int] = {}
    for place, head, value in frames_with_json(body, wire):
        shape = re.sub(r'": ("(?:[^"\\\\]|\\\\.)*"|[0-9.e-]+|\[[0-9, ]*\])', '": 0', json.dumps(value))
        seen[shape] = seen.get(shape, 0) + 1
        if seen[shape] <= most:
            yield place, head, value


def shortened(body: bytes, wire: Wire) -> bytes:
    """The stream with four of the events that are alike, where what is left is a right answer; else the whole."""
    kept = {place for place, _, _ in typical(body, wire, 4)}
    left_out = {place for place, _, _ in frames_with_json(body, wire)} - kept
    short = wire.gap.join(frame for i, frame in enumerate(body.split(wire.gap)) if i not in left_out)
    try:
        told, everything = wire.read(short), wire.read(body)
    except (AssertionError, ValueError):
        return body
    same = (told.finish, told.failed, told.texts.keys()) == (everything.finish, False, everything.texts.keys())
    return short if same and all(told.of(name) == everything.of(name) for name in wire.whole) else body


def planted(value: Any, word: str) -> Iterator[Any]:
    """Copies of a JSON value, each with `word` in the place of one string or as the name of one key.

    The items of a long list are alike: its first and its last stand for all.
    """
    if isinstance(value, str):
        yield word
    elif isinstance(value, dict):
        for key, item in value.items():
            for changed in planted(item, word):
                yield {**value, key: changed}
        yield {**value, word: 1}
    elif isinstance(value, list):
        for i in sorted({0, len(value) - 1}) if value else ():
            for changed in planted(value[i], word):
                yield [*value[:i], changed, *value[i + 1 :]]
        yield [*value, word]


def mistyped(value: Any, odd: Iterator[Any]) -> Iterator[Any]:
    """Copies of a JSON value, each with the next of `odd` in the place of one value inside it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        for changed in chain((next(odd),), mistyped(item, odd)):
            if isinstance(value, dict):
                yield {**value, key: changed}
            else:
                yield [*value[:key], changed, *value[key + 1 :]]


def overgrown(value: Any, word: str) -> Any:
    """A JSON value with an unknown key that holds `word` in each of its objects, but for a tool's own."""
    if isinstance(value, dict):
        return {**{k: v if k in OWN else overgrown(v, word) for k, v in value.items()}, "x_unknown": word}
    if isinstance(value, list):
        return [overgrown(item, word) for item in value]
    return value


def overgrow(body: bytes, wire: Wire, word: str) -> bytes:
    """The same for every event of a stream."""
    for place, head, value in list(frames_with_json(body, wire)):
        body = replaced(body, wire, place, head, overgrown(value, word))
    return body


def scramble(streams: Sequence[Sequence[bytes]], generator: random.Random) -> list[bytes]:
    """The frames of one of the streams after a few accidents."""
    frames = list(generator.choice(streams))
    for _ in range(generator.randrange(1, 6)):
        place, other = generator.randrange(len(frames)), generator.randrange(len(frames))
        accident = generator.randrange(4)
        if accident == 0:
            frames[place], frames[other] = frames[other], frames[place]
        elif accident == 1:
            frames.insert(place, frames[other])
        elif accident == 2:
            frames.insert(place, generator.choice(generator.choice(streams)))
        elif len(frames) > 1:
            del frames[place]
    return frames


class Conformance:
    """The tests."""

    wire: ClassVar[Wire]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for each golden stream, field and kind of client."""
        wire = self.wire
        values: dict[str, Sequence[Any]] = {
            "golden_stream": wire.streams,
            "streamed": wire.streamed,
            "whole": wire.whole,
            "any_field": (*wire.streamed, *wire.whole),
            "streams_to_client": (True, False),
        }
        for name, choices in values.items():
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, choices, ids=lambda v: getattr(v, "name", str(v)))

    @pytest.fixture(autouse=True)
    def _ask_for_it(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        """A golden stream answers its own request."""
        if "golden_stream" in request.fixturenames:
            monkeypatch.setattr(self.wire, "asks", request.getfixturevalue("golden_stream").asks)

    # -- nothing to do

    def test_a_clean_stream_passes(self, golden_stream: Stream) -> None:
        """A stream that no rule minds arrives as it was sent, byte for byte or, where it says why, in its meaning."""
        body = golden_stream.golden.body
        answer, out = self.wire.stream([body])
        assert answer.failed is None
        assert answer.done
        if golden_stream.identical:
            assert out == body
        else:
            assert golden_stream.why
            assert out != body
        assert self.wire.read(out) == self.wire.read(body)

    def test_chunking_changes_nothing(self, golden_stream: Stream) -> None:
        """Byte by byte and in random pieces the same bytes arrive, with and without a rewrite."""
        body = golden_stream.golden.body
        for checks in ((), (rewrite("e"), rewrite("he v")), (block("ai"),)):
            _, expected = self.wire.stream([body], *checks)
            for pieces in ([bytes([b]) for b in body], *(cuts(body, seed) for seed in range(5))):
                assert self.wire.stream(pieces, *checks)[1] == expected

    @pytest.mark.parametrize("step", [1, 7, 100])
    def test_steps_change_nothing(
        self, golden_stream: Stream, streams_to_client: bool, step: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In steps of any size, with other shares of the bytes and every event a large one, the same bytes arrive."""
        body = golden_stream.golden.body
        for checks in ((), (rewrite("e"), rewrite("he v")), (block("ai"),), (Late(),)):
            expected = self._through(body, checks, streams_to_client)
            with monkeypatch.context() as patched:
                patched.setattr(base, "FIRST_SHARE", 10 * step)
                patched.setattr(base, "SHARE", 20 * step)
                patched.setattr(base, "STEP", step)
                for module in (chunk_stream, named_events, ollama_answer):
                    patched.setattr(module, "LARGE", 0)
                assert self._through(body, checks, streams_to_client, step) == expected

    def _through(self, body: bytes, checks: Iterable[Check], stream: bool, step: int = 10**9) -> bytes:
        """All bytes that a client gets of a stream that comes in one read."""
        answer = self.wire.answer(checks, stream=stream)
        answer.guard.step = step
        out = [answer.take(body)]
        while answer.work is not None:
            out.append(answer.step())
        out.append(answer.finish())
        return b"".join(out) if stream or answer.failed else answer.result()

    def test_work_that_is_given_up(self, golden_stream: Stream) -> None:
        """An answer that ends between two steps says that it is not complete, and nothing after a gap."""
        body = golden_stream.golden.body
        for steps in range(1, 9):
            answer = self.wire.answer((rewrite("he v"), Late()), stream=True)
            answer.guard.step = 1
            out = answer.take(body)
            for _ in range(steps):
                out += answer.step() if answer.work is not None else b""
            if answer.work is None:
                break
            out += answer.finish(UpstreamTimeout("silent", "timeout"))
            assert answer.done
            assert answer.failed is not None
            assert self.wire.read(out).failed
            assert answer.work is None

    def test_a_stop_in_the_middle(self, golden_stream: Stream) -> None:
        """Wherever an answer is stopped from outside it ends as a block does: what came before stays, the notice stands
        in the content, and the end is a proper one. Held text is decided. Between two steps it has failed instead."""
        body = golden_stream.golden.body
        everything = self.wire.read(body)
        ends = [match.end() for match in re.finditer(re.escape(self.wire.gap), body)]
        for checks, step in (((), 10**9), ((rewrite("he v"),), 10**9), ((Late(),), 10**9), ((), 1)):
            for at in ends[:: max(1, len(ends) // 12)]:
                answer = self.wire.answer(checks, stream=True)
                answer.guard.step = step
                out = answer.take(body[:at])
                if not answer.events:
                    continue
                given_up = answer.work is not None
                out += answer.take_stop(Finding(0, 0, STOPPED))
                while answer.work is not None:
                    out += answer.step()
                assert answer.done
                told = self.wire.read(out)
                assert told.failed is given_up is (answer.failed is not None)
                if given_up:
                    continue
                assert told.finish
                for key, text in told.texts.items():
                    shown = text.removesuffix(NOTICE).rstrip("\n")
                    if not checks:
                        assert everything.texts.get(key, "").startswith(shown) or shown in everything.texts.values()
                stopped = {self.wire.blocked} & set(told.finish.values())
                assert stopped or set(told.finish) == set(everything.finish)

    def test_nothing_follows_the_end(self, golden_stream: Stream) -> None:
        """What an upstream sends after its end is not looked at."""
        body = golden_stream.golden.body
        _, expected = self.wire.stream([body])
        assert self.wire.stream([body, GARBAGE])[1] == expected
        assert self.wire.stream([body + GARBAGE])[1] == expected

    def test_a_whole_answer_says_the_same(self, golden_stream: Stream) -> None:
        """A client that does not stream gets the same texts and the same end."""
        body = golden_stream.golden.body
        answer, whole = self.wire.collect([body])
        assert answer.failed is None
        assert self.wire.read_whole(whole) == self.wire.read(body)

    def test_line_ends_do_not_matter(self, golden_stream: Stream) -> None:
        """CRLF between lines means the same as LF."""
        body = golden_stream.golden.body
        _, out = self.wire.stream(cuts(body.replace(b"\n", b"\r\n"), 1))
        assert self.wire.read(out.replace(b"\r\n", b"\n")) == self.wire.read(body)

    # -- rules

    def test_a_rewrite(self, any_field: str, streams_to_client: bool) -> None:
        """A word that is split over deltas is replaced in every field, for both kinds of client."""
        body = self.wire.speak(letters(any_field, _told_in(any_field, WORDS + BAD + WORDS)))
        told = self._told([body], rewrite(BAD), stream=streams_to_client)
        assert told.of(any_field) == _told_in(any_field, WORDS + "[X]" + WORDS)
        assert told.finish == {0: self.wire.finish}

    def test_a_block_at_every_position(self, streamed: str, streams_to_client: bool) -> None:
        """Everything before the match arrives, nothing of it or after it, and the notice stands in the content."""
        for at in range(len(WORDS) + 1):
            body = self.wire.speak(letters(streamed, WORDS[:at] + BAD + WORDS[at:]))
            told = self._told([body], block(BAD), stream=streams_to_client)
            shown = told.of(streamed)
            if streamed == self.wire.content:
                assert shown == WORDS[:at] + ("\n\n" if at else "") + NOTICE
            else:
                assert shown == WORDS[:at]
                assert told.of(self.wire.content) == NOTICE
            assert told.finish == {0: self.wire.blocked}

    def test_a_block_in_what_is_judged_whole(self, whole: str, streams_to_client: bool) -> None:
        """Nothing of a tool call arrives when a word of it is blocked, wherever it stands."""
        for at in range(len(WORDS) + 1):
            body = self.wire.speak(letters(whole, _told_in(whole, WORDS[:at] + BAD + WORDS[at:])))
            told = self._told([body], block(BAD), stream=streams_to_client)
            assert told.of(whole) == ""
            assert told.of(self.wire.content) == NOTICE
            assert told.finish == {0: self.wire.blocked}

    def test_a_block_that_is_all_of_the_text(self, any_field: str, streams_to_client: bool) -> None:
        """A match from the first delta to the last leaves nothing but the notice."""
        text = _told_in(any_field, BAD)
        told = self._told([self.wire.speak(letters(any_field, text))], block(text), stream=streams_to_client)
        assert set(told.texts.values()) == {NOTICE}
        assert told.finish == {0: self.wire.blocked}

    def test_a_block_in_the_second_field(self, any_field: str) -> None:
        """What was said before in another field stays, and is not ended twice."""
        for other in (name for name in self.wire.streamed if name != any_field):
            body = self.wire.speak([(other, "well"), (any_field, _told_in(any_field, BAD))])
            if next(iter(self._told([body], stream=True).texts.values())) != "well":
                continue  # an upstream of this dialect says it in another order
            told = self._told([body], block(BAD), stream=True)
            said = [told.of(name).replace("\n\n", "") for name in dict.fromkeys((other, self.wire.content))]
            assert said == (["well" + NOTICE] if other == self.wire.content else ["well", NOTICE])
            assert told.finish == {0: self.wire.blocked}

    def test_a_block_at_the_very_end(self, streamed: str, streams_to_client: bool) -> None:
        """A rule that decides when the text is complete ends the answer like any other."""
        told = self._told([self.wire.speak(letters(streamed, WORDS))], Late(), stream=streams_to_client)
        assert set(told.texts.values()) == {NOTICE}
        assert told.finish == {0: self.wire.blocked}

    def test_a_held_end_is_released_before_the_end(self, streamed: str, streams_to_client: bool) -> None:
        """The beginning of a match that never comes is text like any other."""
        for size in range(1, len(BAD)):
            body = self.wire.speak(letters(streamed, WORDS + BAD[:size]))
            told = self._told([body], block(BAD), stream=streams_to_client)
            assert told.of(streamed) == WORDS + BAD[:size]
            assert told.finish == {0: self.wire.finish}

    def test_half_a_surrogate_pair(self, streams_to_client: bool) -> None:
        """JSON can escape what UTF-8 cannot write: a call with it that a rule rewrote is written again, or an error."""
        if "arguments" not in self.wire.whole:
            pytest.skip("no tool calls in this dialect")
        source = json.dumps({"a": "\ud800 " + BAD})
        answer, out = self._carried([self.wire.speak([("arguments", source)])], rewrite(BAD), stream=streams_to_client)
        assert answer.done
        assert BAD.encode() not in out

    def test_fields_do_not_run_into_each_other(self, any_field: str) -> None:
        """A word whose halves stand in two fields is no match, and each half stays in its field."""
        others = [name for name in (*self.wire.streamed, *self.wire.whole) if name != any_field]
        for other in others:
            half, rest = _told_in(any_field, BAD[:5]), _told_in(other, BAD[5:])
            body = self.wire.speak([(any_field, half), (other, rest)])
            told = self._told([body], block(BAD), stream=True)
            assert (told.of(any_field), told.of(other)) == (half, rest)
            assert told.finish == {0: self.wire.finish}

    def test_thinking_ends_before_the_answer_begins(self, streamed: str) -> None:
        """What a field still holds is told before the first word of another kind of text, not at the end."""
        for other in (name for name in self.wire.streamed if self.wire.kind(name) != self.wire.kind(streamed)):
            body = self.wire.speak([(streamed, f"so {BAD[:4]}"), (other, "answer"), (other, " more")])
            direct = body.index(BAD[:4].encode()) < body.index(b"answer")
            _, out = self.wire.stream([body], block(BAD))
            assert (out.index(BAD[:4].encode()) < out.index(b"answer")) == direct
            told = self.wire.read(out)
            assert (told.of(streamed), told.of(other)) == (f"so {BAD[:4]}", "answer more")

    def test_a_block_stops_the_upstream(self) -> None:
        """After a block the answer is done at once: nothing more of the upstream is needed or looked at."""
        body = self.wire.speak(letters(self.wire.content, WORDS + BAD + WORDS * 3))
        answer = self.wire.answer([block(BAD)], stream=True)
        frames = body.split(self.wire.gap)
        fed = 0
        for fed, frame in enumerate(frames):  # noqa: B007
            answer.feed(frame + self.wire.gap)
            if answer.done:
                break
        assert fed < len(frames) - 20
        assert answer.failed is None
        assert answer.feed(body) == b""

    def test_no_notice_in_json(self, streams_to_client: bool) -> None:
        """Content that a program reads as JSON has no notice put into it: it is closed, and the end tells the rest."""
        body = self.wire.speak(letters(self.wire.content, '{"a": "' + BAD + '"}'))
        told = self._told([body], block(BAD), stream=streams_to_client, **self.wire.json_mode())
        assert told.of(self.wire.content) == '{"a": ""}'
        assert told.finish == {0: self.wire.blocked}

    # -- an upstream that fails

    def test_a_cut_stream_never_looks_complete(self, golden_stream: Stream) -> None:
        """Wherever an upstream dies, the client is told of an error, unless everything had been said."""
        body = golden_stream.golden.body
        everything = self.wire.read(body)
        frames = body.split(self.wire.gap)
        for end in range(len(frames)):
            head = b"".join(frame + self.wire.gap for frame in frames[:end])
            for piece in (head, head + frames[end][: len(frames[end]) // 2]):
                answer, out = self.wire.stream([piece])
                told = self.wire.read(out)
                assert told.failed == (answer.failed is not None)
                assert told.failed or told == everything
                assert not (told.failed and len(told.finish) == len(everything.finish))

    def test_an_error_of_the_transport(self, golden_stream: Stream) -> None:
        """A connection that breaks in mid-answer is told as an error, after what was held."""
        frames = golden_stream.golden.body.split(self.wire.gap)
        answer = self.wire.answer(stream=True)
        error = UpstreamTimeout("the model server said nothing for too long", "timeout")
        out = answer.feed(b"".join(frame + self.wire.gap for frame in frames[:2])) + answer.finish(error)
        assert self.wire.read(out).failed
        assert answer.failed is error

    @pytest.mark.parametrize("bad", [b"{", b"[]", b'"text"', b"\xff", b"{}}", b'{"a":' * 300 + b"1" + b"}" * 300])
    def test_what_cannot_be_read_ends_the_answer(self, golden_stream: Stream, bad: bytes) -> None:
        """An event that is not the dialect's JSON is not forwarded, and the client is told of an error."""
        frames = golden_stream.golden.body.split(self.wire.gap)
        for at in (0, 2, len(frames) // 2):
            event = self.wire.lead + bad + BAD.encode()
            body = self.wire.gap.join([*frames[:at], event, *frames[at:]])
            answer, out = self.wire.stream([body])
            assert answer.failed is not None
            assert self.wire.read(out).failed
            assert BAD.encode() not in out

    def test_an_error_event(self, golden_stream: Stream) -> None:
        """An error that the upstream tells in its stream is told to the client, its words withheld if a rule minds."""
        frames = golden_stream.golden.body.split(self.wire.gap)
        for words in ("out of memory", f"no {BAD} memory"):
            event = self.wire.failing % words.encode()
            answer, out = self.wire.stream([self.wire.gap.join([frames[0], event, *frames[1:]])], block(BAD))
            assert answer.failed is not None
            assert self.wire.read(out).failed
            assert (b"out of memory" in out) == (words == "out of memory")
            assert BAD.encode() not in out

    # -- fields that nobody knows

    def test_unknown_fields_are_dropped(self, golden_stream: Stream) -> None:
        """A string under a key that is not understood does not arrive, and everything else does."""
        body = golden_stream.golden.body
        answer, out = self.wire.stream([overgrow(body, self.wire, "unheard of")])
        assert b"unheard of" not in out
        assert answer.failed is None
        assert self.wire.read(out) == self.wire.read(body)

    def test_a_key_twice(self, golden_stream: Stream) -> None:
        """A key that stands twice is read by us once, so the other value does not arrive."""
        body = golden_stream.golden.body
        for place, _, value in islice(typical(body, self.wire), 32):
            for key in value:
                frames = body.split(self.wire.gap)
                frames[place] = frames[place].replace(b"{", b'{"%b":"%b",' % (key.encode(), BAD.encode()), 1)
                _, out = self.wire.stream([self.wire.gap.join(frames)])
                assert BAD.encode() not in out

    def test_other_lines_of_an_event(self, golden_stream: Stream) -> None:
        """Server-sent events can have ids, names and more: of these only the dialect's own names arrive."""
        if not self.wire.lead:
            pytest.skip("not server-sent events")
        body = golden_stream.golden.body
        for line in (f"id: {BAD}", f": {BAD}", f"x: {BAD}", f"event: {BAD}", "retry: 7"):
            _, out = self.wire.stream([body.replace(b"\ndata: ", b"\n%b\ndata: " % line.encode())])
            assert BAD.encode() not in out
            assert b"retry" not in out
            assert self.wire.read(out) == self.wire.read(body)

    def test_unknown_events_are_dropped(self, golden_stream: Stream) -> None:
        """An event of a type that is not understood does not arrive; comments do, without their words."""
        frames = golden_stream.golden.body.split(self.wire.gap)
        body = self.wire.gap.join([frames[0], *self.wire.odd, *frames[1:]])
        answer, out = self.wire.stream([body])
        assert answer.failed is None
        assert b"unheard of" not in out
        assert self.wire.read(out) == self.wire.read(golden_stream.golden.body)

    def test_a_planted_word_never_arrives(self, golden_stream: Stream) -> None:
        """A blocked word in the place of any string, as a key, plain or escaped, in any event: it stays out."""
        body = shortened(golden_stream.golden.body, self.wire)
        count = 0
        for word in (BAD, f"so {BAD} it is"):
            for place, head, value in islice(typical(body, self.wire), 32):
                for changed in planted(value, word):
                    changed_body = replaced(body, self.wire, place, head, changed)
                    escaped = changed_body.replace(BAD.encode(), b"\\u004eEVERSAID")
                    for stream in (changed_body, escaped):
                        self._stays_out(stream)
                        count += 1
        assert count > 40

    def test_wrong_types_are_survived(self, golden_stream: Stream) -> None:
        """A value of another JSON type at any place of any event is left out or an error for the client, never ours."""
        body = shortened(golden_stream.golden.body, self.wire)
        odd = cycle(ODD)
        for place, head, value in islice(typical(body, self.wire), 16):
            for changed in mistyped(value, odd):
                stream = replaced(body, self.wire, place, head, changed)
                _, out = self.wire.stream([stream], rewrite("e"))
                assert out.endswith(b"\n")
                self.wire.collect([stream])

    def test_scrambled_streams_are_survived(self) -> None:
        """Events lost, doubled, swapped or from another stream: an answer or an error, never an exception of ours."""
        wire = self.wire
        bodies = [stream.golden.body for stream in wire.streams]
        bodies += [wire.speak([(name, _told_in(name, "hello"))]) for name in (*wire.streamed, *wire.whole)]
        rules: list[tuple[Check, ...]] = [(), (rewrite("e"),), (block("ai"),), (rewrite("he"), block("nt"))]
        for seed in range(200):
            generator = random.Random(seed)
            scrambled = scramble([body.split(wire.gap)[:-1] for body in bodies], generator)
            checks = generator.choice(rules)
            for stream in (True, False):
                answer, _ = self._carried([frame + wire.gap for frame in scrambled], *checks, stream=stream)
                assert answer.done

    def _stays_out(self, body: bytes) -> None:
        _, out = self.wire.stream([body], block(BAD))
        assert BAD.encode() not in out
        assert b"004eEVERSAID" not in out
        _, whole = self.wire.collect([body], block(BAD))
        assert BAD.encode() not in whole

    # -- one JSON answer from the upstream

    def test_a_whole_answer_from_the_upstream(self, any_field: str, streams_to_client: bool) -> None:
        """An upstream that answers with one JSON all the same: the same texts for both kinds of client."""
        text = _told_in(any_field, WORDS)
        answer, told = self.wire.whole_to(self.wire.speak_whole([(any_field, text)]), stream=streams_to_client)
        assert answer.failed is None
        assert told.of(any_field) == text
        assert told.finish == {0: self.wire.finish}

    def test_rules_in_a_whole_answer_from_the_upstream(self, any_field: str, streams_to_client: bool) -> None:
        """The same gates: a rewrite, and a block with its notice."""
        text = _told_in(any_field, WORDS + BAD)
        body = self.wire.speak_whole([(any_field, text)])
        _, told = self.wire.whole_to(body, rewrite(BAD), stream=streams_to_client)
        assert told.of(any_field) == _told_in(any_field, WORDS + "[X]")
        answer, told = self.wire.whole_to(body, block(BAD), stream=streams_to_client)
        assert answer.failed is None
        assert NOTICE in told.of(self.wire.content)
        assert BAD not in str(told)
        assert told.finish == {0: self.wire.blocked}

    @pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b"<html>", b'{"error":"NEVERSAID"}'])
    def test_a_whole_answer_that_is_none(self, body: bytes, streams_to_client: bool) -> None:
        """What is not an answer is an error."""
        answer, told = self.wire.whole_to(body, block(BAD), stream=streams_to_client)
        assert answer.failed is not None
        assert BAD not in str(answer.failed)
        assert told.failed

    def _carried(self, pieces: Iterable[bytes], *checks: Check, stream: bool, **extra: Any) -> tuple[Answer, bytes]:
        return (self.wire.stream if stream else self.wire.collect)(pieces, *checks, **extra)

    def _told(self, pieces: Iterable[bytes], *checks: Check, stream: bool, **extra: Any) -> Told:
        answer, out = self._carried(pieces, *checks, stream=stream, **extra)
        assert answer.failed is None
        return self.wire.read(out) if stream else self.wire.read_whole(out)


def _told_in(name: str, text: str) -> str:
    """A text as it stands in a field: arguments are JSON."""
    return json.dumps({"a": text}) if name == "arguments" else text
