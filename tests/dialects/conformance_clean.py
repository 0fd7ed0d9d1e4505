"""What no rule minds arrives as it was sent, at any cut and in any steps."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from proxy.core.check import Check
from proxy.core.types import Action, Finding, Rule
from proxy.dialects import answer as answer_module
from proxy.dialects.common import named_events
from proxy.dialects.ollama import answer as ollama_answer
from proxy.dialects.openai import chunk_stream
from proxy.errors import UpstreamTimeout
from tests.dialects.driven import Driven
from tests.dialects.wires import (
    GARBAGE,
    NOTICE,
    Late,
    Stream,
    cuts,
)
from tests.phrases import block, rewrite

STOPPED = Rule("", "stopped", Action.BLOCK)


class CleanAnswers(Driven):
    """The tests."""

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
                patched.setattr(answer_module, "FIRST_SHARE", 10 * step)
                patched.setattr(answer_module, "SHARE", 20 * step)
                patched.setattr(answer_module, "STEP", step)
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
                assert (answer.failed is not None) is given_up
                if given_up:
                    continue
                told = self.wire.read(out)
                assert not told.failed
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
