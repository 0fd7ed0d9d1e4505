"""One exchange: frames in, releases out."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.limits import LengthLimit
from proxy.core.check import Check, Progress
from proxy.core.events import Frame, Release, TextDelta
from proxy.core.guard import ALL, CHECK_FAILED, Guard
from proxy.core.types import Action, Channel, Kind, Rule
from tests.core.test_gate import AtStart
from tests.phrases import AtEnd, PhrasePlan, block, rewrite

CONTENT = Channel(0, Kind.CONTENT, "content")
OTHER = Channel(1, Kind.CONTENT, "content")
REASONING = Channel(0, Kind.REASONING, "reasoning")
CALL = Channel(0, Kind.TOOL_ARGUMENTS, "0")


def says(channel: Channel, text: str, *finishes: int) -> Frame:
    """A frame with one text."""
    return Frame(b"raw", (TextDelta(channel, text),), finishes=finishes)


def test_a_frame_that_no_rule_minds_passes_as_it_is() -> None:
    """None says: forward the bytes."""
    assert Guard(PhrasePlan([block("bomb")])).release(says(CONTENT, "hello")) is None


def test_held_text_leaves_before_the_finish_of_its_choice() -> None:
    """What still waits when a choice ends is decided and sent before the end."""
    guard = Guard(PhrasePlan([rewrite("bomb")]))
    assert guard.release(says(CONTENT, "a bo")) == Release(("a ",))
    assert guard.release(Frame(b"", finishes=(0,))) == Release((), (TextDelta(CONTENT, "bo"),))


def test_a_kind_of_text_is_decided_before_another_begins() -> None:
    """The end of the thinking comes before the answer begins, whose own frame passes as it is."""
    guard = Guard(PhrasePlan([rewrite("bomb")]))
    guard.release(says(REASONING, "bo"))
    release = guard.release(says(CONTENT, "hello"))
    assert release == Release(("hello",), earlier=(TextDelta(REASONING, "bo"),), unchanged=True)
    assert guard.held == 0


def test_texts_of_one_frame_stay_in_order() -> None:
    """What a frame's own thinking holds is released with it, since the answer beside it has begun."""
    guard = Guard(PhrasePlan([rewrite("bomb")]))
    guard.release(says(REASONING, "b"))
    frame = Frame(b"raw", (TextDelta(REASONING, "omb bo"), TextDelta(CONTENT, "hi")))
    assert guard.release(frame) == Release(("[X] bo", "hi"))


def test_a_block_in_what_was_held_ends_the_answer_before_it_begins() -> None:
    """The end of the thinking decides; nothing of the answer is released."""
    guard = Guard(PhrasePlan([AtEnd("bo")]))
    guard.release(says(REASONING, "a bo"))
    assert guard.release(says(CONTENT, "hello")) == Release(("",), (), (0,), (TextDelta(REASONING, "a "),))
    assert [channel for channel, _ in guard.findings()] == [REASONING]


def test_nothing_waits_for_another_choice_or_for_text_that_is_empty() -> None:
    """Choices do not push each other, and a field that stands empty beside the thinking is no answer yet."""
    guard = Guard(PhrasePlan([rewrite("bomb")]))
    guard.release(says(REASONING, "bo"))
    assert guard.release(says(OTHER, "hello")) is None
    assert guard.release(says(CONTENT, "")) is None
    assert guard.held == 2


def test_a_phrase_over_a_pause() -> None:
    """Thinking that goes on after the answer has begun is read together with its beginning, which has been shown."""
    for check, last in ((rewrite("bolt"), "[X]"), (block("bolt"), "")):
        guard = Guard(PhrasePlan([check]))
        guard.release(says(REASONING, "a bo"))
        guard.release(says(CONTENT, "hello"))
        release = guard.release(says(REASONING, "lt"))
        assert release is not None
        assert release.texts == (last,)


def test_what_follows_a_pause_is_judged_alone_too() -> None:
    """An app may show it alone: then a word begins at its first letter."""
    guard = Guard(PhrasePlan([AtStart(), rewrite("no!")]))
    guard.release(says(CONTENT, "yes no"))
    guard.release(says(REASONING, "hm"))
    assert guard.release(says(CONTENT, "bomb")) == Release(("[removed]",))


def test_a_phrase_over_many_pauses() -> None:
    """A word that comes letter by letter, each in a run of its own, is found with its last letter."""
    guard = Guard(PhrasePlan([block("bolt"), rewrite("bolts")]))
    for letter in "bol":
        guard.release(says(CONTENT, letter))
        guard.release(says(REASONING, "hm"))
    assert guard.release(says(CONTENT, "t")) == Release(("",), (), (0,))


@pytest.mark.parametrize("pauses", [0, 1, 3])
def test_a_limit_counts_on_over_a_pause(pauses: int) -> None:
    """Where an answer is interrupted by thinking, its length is that of all of it: a loop of both comes to an end."""
    limit = LengthLimit(Rule("test", "length", Action.BLOCK), 22)
    guard = Guard(PhrasePlan([limit, rewrite("bomb", "")]))
    shown = ""
    for text in [*["bomb bo"] * pauses, "x" * 30]:
        for channel, said in ((CONTENT, text), (REASONING, "hm")):
            release = guard.release(says(channel, said))
            texts = [*(release.earlier if release else ()), TextDelta(channel, release.texts[0] if release else said)]
            shown += "".join(text for channel, text in texts if channel is CONTENT)
    assert shown == ("bomb bo" * pauses + "x" * 30)[:22].replace("bomb", "")
    assert guard.blocked_choices[0].rule is limit.rule


PIECES = st.lists(st.tuples(st.sampled_from([REASONING, CONTENT, OTHER]), st.text("bom ", max_size=5)), max_size=12)


@given(PIECES, st.sampled_from([rewrite("bomb"), block("mob"), AtEnd("b")]))
def test_kinds_come_in_their_order(pieces: list[tuple[Channel, str]], check: Check) -> None:
    """Whatever is held: of one choice, no text comes after text of another kind that began later."""
    guard = Guard(PhrasePlan([check]))
    shown: list[tuple[int, Channel]] = []  # of each text that went out, the number of its piece, or of its kind's last
    last: dict[Channel, int] = {}
    for number, (channel, text) in enumerate(pieces):
        release = guard.release(says(channel, text))
        shown += [(last[earlier], earlier) for earlier, _ in (release.earlier if release else ())]
        shown += [(number, channel)] if (release.texts[0] if release else text) else []
        last[channel] = number if text else last.get(channel, number)
    shown += [(last[channel], channel) for channel, _ in guard.finish()[0]]
    for choice in (0, 1):
        numbers = [number for number, channel in shown if channel.choice == choice]
        assert numbers == sorted(numbers)


def test_a_block_ends_its_own_choice_only() -> None:
    """With several answers the others go on."""
    guard = Guard(PhrasePlan([block("bomb")]))
    assert guard.release(says(CONTENT, "a bomb")) == Release(("a ",), (), (0,))
    assert guard.release(says(OTHER, "fine")) is None
    assert guard.release(says(CONTENT, "more")) == Release(("",))
    assert list(guard.blocked_choices) == [0]


def test_a_block_in_one_field_ends_all_fields_of_the_choice() -> None:
    """What a rule ends in the reasoning does not go on in the content."""
    guard = Guard(PhrasePlan([block("bomb")]))
    guard.release(says(REASONING, "bomb"))
    assert guard.release(says(CONTENT, "hello")) == Release(("",))


def test_text_after_the_end_of_its_choice_is_dropped() -> None:
    """A phrase cannot be carried over the end of a choice."""
    guard = Guard(PhrasePlan([block("bomb")]))
    guard.release(says(CONTENT, "bo", 0))
    assert guard.release(says(CONTENT, "mb")) == Release(("",))


def test_a_block_at_the_very_end_is_one() -> None:
    """A match that is only certain at the end of the text still blocks."""
    guard = Guard(PhrasePlan([block("bomb")]))
    assert guard.release(says(CALL, '{"a":"bomb"}')) == Release(("",))
    assert guard.release(Frame(b"", finishes=(ALL,))) == Release((), (), (0,))


def test_a_tool_call_leaves_whole() -> None:
    """A call's arguments come out at the end of its choice, all at once."""
    guard = Guard(PhrasePlan([block("bomb")]))
    for part in ('{"a"', ':"b"}'):
        assert guard.release(says(CALL, part)) == Release(("",))
    assert guard.release(Frame(b"", closes=(CALL,))) == Release((), (TextDelta(CALL, '{"a":"b"}'),))


class Broken:
    """A check that raises."""

    hold = 0

    def open(self) -> Broken:
        """Itself."""
        return self

    def feed(self, text: str, final: bool = False) -> Progress:
        """Fail."""
        raise RuntimeError("a fault")


def test_a_check_that_raises_ends_the_answer() -> None:
    """A broken check lets nothing through and is counted apart from policy blocks."""
    guard = Guard(PhrasePlan([Broken()]))
    assert guard.release(says(CONTENT, "hello")) == Release(("",), (), (0,))
    assert guard.blocked_choices[0].rule is CHECK_FAILED
    assert [str(e) for e in guard.errors] == ["a fault"]
    assert [f.rule for _, f in guard.findings()] == [CHECK_FAILED]
    assert not guard.admits("anything")


def test_json_content_is_judged_by_the_checks_for_json() -> None:
    """When the client asked for JSON, content is judged as JSON source and by its values; other text is not."""
    asked: list[tuple[Kind, bool]] = []

    class Plan:
        admitted: set[tuple[Kind, str]] = set()

        def checks(self, kind: Kind, escaped: bool = False) -> Iterable[Check]:
            asked.append((kind, escaped))
            return ()

    guard = Guard(Plan(), json_content=True)
    guard.release(says(CONTENT, "{}"))
    guard.release(says(REASONING, "x"))
    assert asked == [(Kind.CONTENT, False), (Kind.CONTENT, True), (Kind.REASONING, False)]


def test_output_is_judged_from_the_beginning_of_the_prefill() -> None:
    """A phrase that the client began and the model completes is seen."""
    guard = Guard(PhrasePlan([block("bomb")]), prefills={Kind.CONTENT: "a bo"})
    assert guard.release(says(CONTENT, "mb")) == Release(("",), (), (0,))
    assert not guard.has_released_text(0)


def test_ids_and_names_pass_only_when_no_rule_minds_them() -> None:
    """A short text beside the answer is judged too."""
    guard = Guard(PhrasePlan([rewrite("bomb")]))
    assert guard.admits("chatcmpl-1")
    assert not guard.admits("bomb-7b")
