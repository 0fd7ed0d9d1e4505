"""Rewrites and blocks, in every field, for both kinds of client, in a stream and in one body."""

from __future__ import annotations

import json

import pytest

from tests.dialects.driven import Driven
from tests.dialects.wires import (
    BAD,
    NOTICE,
    WORDS,
    Late,
    letters,
    told_in,
)
from tests.phrases import block, rewrite


class RuledAnswers(Driven):
    """The tests."""

    def test_a_rewrite(self, any_field: str, streams_to_client: bool) -> None:
        """A word that is split over deltas is replaced in every field, for both kinds of client."""
        body = self.wire.speak(letters(any_field, told_in(any_field, WORDS + BAD + WORDS)))
        told = self._told([body], rewrite(BAD), stream=streams_to_client)
        assert told.of(any_field) == told_in(any_field, WORDS + "[X]" + WORDS)
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
            body = self.wire.speak(letters(whole, told_in(whole, WORDS[:at] + BAD + WORDS[at:])))
            told = self._told([body], block(BAD), stream=streams_to_client)
            assert told.of(whole) == ""
            assert told.of(self.wire.content) == NOTICE
            assert told.finish == {0: self.wire.blocked}

    def test_a_block_that_is_all_of_the_text(self, any_field: str, streams_to_client: bool) -> None:
        """A match from the first delta to the last leaves nothing but the notice."""
        text = told_in(any_field, BAD)
        told = self._told([self.wire.speak(letters(any_field, text))], block(text), stream=streams_to_client)
        assert set(told.texts.values()) == {NOTICE}
        assert told.finish == {0: self.wire.blocked}

    def test_a_block_in_the_second_field(self, any_field: str) -> None:
        """What was said before in another field stays, and is not ended twice."""
        for other in (name for name in self.wire.streamed if name != any_field):
            body = self.wire.speak([(other, "well"), (any_field, told_in(any_field, BAD))])
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
            half, rest = told_in(any_field, BAD[:5]), told_in(other, BAD[5:])
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

    # -- one JSON answer from the upstream

    def test_a_whole_answer_from_the_upstream(self, any_field: str, streams_to_client: bool) -> None:
        """An upstream that answers with one JSON all the same: the same texts for both kinds of client."""
        text = told_in(any_field, WORDS)
        answer, told = self.wire.whole_to(self.wire.speak_whole([(any_field, text)]), stream=streams_to_client)
        assert answer.failed is None
        assert told.of(any_field) == text
        assert told.finish == {0: self.wire.finish}

    def test_rules_in_a_whole_answer_from_the_upstream(self, any_field: str, streams_to_client: bool) -> None:
        """The same gates: a rewrite, and a block with its notice."""
        text = told_in(any_field, WORDS + BAD)
        body = self.wire.speak_whole([(any_field, text)])
        _, told = self.wire.whole_to(body, rewrite(BAD), stream=streams_to_client)
        assert told.of(any_field) == told_in(any_field, WORDS + "[X]")
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
