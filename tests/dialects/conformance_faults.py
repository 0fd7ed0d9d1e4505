"""An upstream that fails, and fields, events and types that nobody knows."""

from __future__ import annotations

import random
from itertools import cycle, islice

import pytest

from proxy.core.check import Check
from proxy.errors import UpstreamTimeout
from tests.dialects.driven import Driven
from tests.dialects.odd_streams import (
    mistyped,
    overgrow,
    planted,
    replaced,
    scramble,
    shortened,
    typical,
)
from tests.dialects.wires import (
    BAD,
    ODD,
    Stream,
    told_in,
)
from tests.phrases import block, rewrite


class FaultyAnswers(Driven):
    """The tests."""

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
        bodies += [wire.speak([(name, told_in(name, "hello"))]) for name in (*wire.streamed, *wire.whole)]
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
