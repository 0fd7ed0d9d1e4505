"""Work in steps: the same as in one go, at any size of a step, and no step is larger than it may be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.check import Check, Progress
from proxy.core.events import Frame, Release, TextDelta
from proxy.core.gate import MOST_REPORTED, Gate
from proxy.core.guard import ALL, NO_PREFILLS, Guard
from proxy.core.steps import LEAST_STEP, LONG, MOST_STEP, SHORT, STEP, in_one_go, next_step
from proxy.core.types import Channel, Finding, Kind
from tests.phrases import AtEnd, PhrasePlan, block, flag, rewrite

CONTENT = Channel(0, Kind.CONTENT, "content")
REASONING = Channel(0, Kind.REASONING, "reasoning")
CALL = Channel(0, Kind.TOOL_ARGUMENTS, "0")
NAME = Channel(0, Kind.TOOL_ARGUMENTS, "0.name")
SECOND = Channel(1, Kind.CONTENT, "content")
CHECKS: Mapping[str, Check] = {
    "rewrite": rewrite("ab", "[X]"),
    "longer": rewrite("abba", "[Y]", 1),
    "block": block("bbb"),
    "flag": flag("aa"),
    "end": AtEnd("a"),
}
WHOLE = 10**9
texts = st.text('ab"\\{}:1 ', max_size=24)
channels = st.sampled_from((CONTENT, REASONING, CALL, NAME, SECOND))
deltas = st.lists(st.builds(TextDelta, channels, texts), max_size=4)
frames = st.lists(deltas, min_size=1, max_size=5)
some_checks = st.sets(st.sampled_from(sorted(CHECKS)), max_size=3)


def through(guard: Guard, given_frames: Sequence[Sequence[TextDelta]]) -> list[Release]:
    """Everything that the guard releases of these frames, and at their end. Whether a frame's own bytes may be sent for
    the same text makes no difference."""
    told: list[Release] = []
    ends = (Frame(b"", closes=(CALL,)), Frame(b"", finishes=(ALL,)))
    for frame in (*(Frame(b"", tuple(frame)) for frame in given_frames), *ends):
        release = in_one_go(guard.release_steps(frame))
        own = tuple(delta.text for delta in frame.deltas)
        told.append(Release(own) if release is None else release._replace(unchanged=False))
    return [*told, Release((), *in_one_go(guard.finish_steps()))]


@given(frames, some_checks, st.integers(1, 9), st.booleans(), st.sampled_from(("", "a", "bb")))
def test_steps_of_any_size_release_the_same(
    given_frames: list[list[TextDelta]], names: set[str], step: int, json: bool, prefill: str
) -> None:
    """Frame by frame the guard releases the same in steps of any size as it does in one go."""
    checks = [CHECKS[name] for name in sorted(names)]
    prefills = {Kind.CONTENT: prefill} if prefill else NO_PREFILLS
    one, stepwise = (Guard(PhrasePlan(checks), json, prefills, size) for size in (WHOLE, step))
    assert through(one, given_frames) == through(stepwise, given_frames)
    assert [named(f) for f in one.blocked_choices.values()] == [named(f) for f in stepwise.blocked_choices.values()]
    if not one.blocked_choices:  # what was read beyond a block depends on the chunks
        assert {named(f) for _, f in one.findings()} == {named(f) for _, f in stepwise.findings()}


def named(finding: Finding) -> tuple[int, int, str]:
    """Where it is, and of which rule."""
    return finding.start, finding.end, finding.rule.id


class Counting:
    """A check that notes how much it is given at once."""

    hold = 0

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def open(self) -> Counting:
        """The same one."""
        return self

    def feed(self, text: str, final: bool = False) -> Progress:
        """Nothing is found."""
        self.sizes.append(len(text))
        return Progress(sum(self.sizes))


def test_no_step_judges_more_than_it_may() -> None:
    """Between two steps at most so many characters are judged: of a long text, of many short ones, of a call's end."""
    check = Counting()
    guard = Guard(PhrasePlan([check]), step=100)
    in_one_go(guard.release_steps(Frame(b"", (TextDelta(CALL, '"' + "c" * 950 + '"'), TextDelta(NAME, "n" * 950)))))
    many = tuple(TextDelta(CONTENT, "word ") for _ in range(200))
    work = (
        Frame(b"", (TextDelta(CONTENT, "x" * 1000),)),
        Frame(b"", many),
        Frame(b"", (TextDelta(SECOND, "y" * 1000), TextDelta(REASONING, "z" * 1000))),
        Frame(b"", closes=(NAME, CALL), finishes=(0,)),
    )
    check.sizes.clear()
    for frame in work:
        steps = list(judged(guard, frame, check))
        assert max(steps) < 3 * 100  # a call's source is read as it is written and as it decodes
        assert len(steps) >= 9


def judged(guard: Guard, frame: Frame, check: Counting) -> Iterator[int]:
    """How much is judged in each step."""
    before = sum(check.sizes)
    for _ in guard.release_steps(frame):
        yield sum(check.sizes) - before
        before = sum(check.sizes)


def test_what_is_read_once_more_counts() -> None:
    """Where thinking and answer take turns with each word, each word is a step: what stands before it is read again."""
    guard = Guard(PhrasePlan([rewrite("bomb")]), step=100)
    words = [TextDelta((CONTENT, REASONING)[i % 2], f"{'w' * 99} bo") for i in range(60)]
    before = guard.reread
    assert len(list(guard.release_steps(Frame(b"", tuple(words))))) >= 50
    assert guard.reread - before > 50 * 100


def test_the_ends_of_very_many_texts_are_several_steps() -> None:
    """A thousand calls that end with one event are not judged in one go."""
    guard = Guard(PhrasePlan([rewrite("bomb")]))
    names = [Channel(0, Kind.TOOL_ARGUMENTS, f"{i}.name") for i in range(1000)]
    in_one_go(guard.release_steps(Frame(b"", tuple(TextDelta(name, "n") for name in names))))
    assert guard.channels == 1000
    assert len(list(guard.release_steps(Frame(b"", finishes=(0,))))) >= 30


def test_a_text_that_passes_in_steps_is_passed_as_it_is() -> None:
    """Where nothing of a long text is changed, the frame itself may be sent, though its pieces waited in between."""
    guard = Guard(PhrasePlan([rewrite("bomb")]), step=2)
    assert in_one_go(guard.release_steps(Frame(b"", (TextDelta(CONTENT, "a bob is here"),)))) is None
    assert in_one_go(guard.release_steps(Frame(b"", (TextDelta(CONTENT, "and a bomb to"),)))) is not None


def test_a_block_ends_the_steps() -> None:
    """What follows a block in a long text is not judged any more."""
    check = Counting()
    guard = Guard(PhrasePlan([block("bad"), check]), step=10)
    release = in_one_go(guard.release_steps(Frame(b"", (TextDelta(CONTENT, "a bad " + "x" * 1000),))))
    assert release == Release(("a ",), (), (0,))
    assert sum(check.sizes) <= 10


class Broken:
    """A check that raises when it has read a lot."""

    hold = 0

    def __init__(self) -> None:
        self._size = 0

    def open(self) -> Broken:
        """A fresh scan."""
        return Broken()

    def feed(self, text: str, final: bool = False) -> Progress:
        """Nothing is found."""
        self._size += len(text)
        if self._size > 50:
            raise ValueError("too much")
        return Progress(self._size)


def test_a_check_that_fails_in_a_step_blocks_the_choice() -> None:
    """In the middle of a long text, and in that of a call: fail closed."""
    for channel in (CONTENT, CALL):
        guard = Guard(PhrasePlan([Broken()]), step=10)
        in_one_go(guard.release_steps(Frame(b"", (TextDelta(channel, "7" * 100),))))
        in_one_go(guard.release_steps(Frame(b"", finishes=(0,))))
        assert 0 in guard.blocked_choices
        assert len(guard.errors) == 1


def test_of_very_many_findings_the_first_are_kept_and_all_are_counted() -> None:
    """An answer of nothing but matches does not fill the memory, and the last matches are hidden as the first are."""
    guard = Guard(PhrasePlan([rewrite("ab", "-"), flag("aba")]))
    for _ in range(MOST_REPORTED + 10):
        release = guard.release_delta(CONTENT, "ab ")
        assert release is not None
        assert release.texts == ("- ",)
    assert len(list(guard.findings())) == MOST_REPORTED
    assert [(rule.id, times) for _, rule, times in guard.more_findings()] == [("rewrite.ab", 10)]


def test_whoever_looks_for_findings_gets_all() -> None:
    """A gate alone keeps every finding."""
    gate = Gate([rewrite("ab", "-")])
    for _ in range(MOST_REPORTED + 10):
        gate.feed("ab ")
    assert len(gate.findings) == MOST_REPORTED + 10
    assert not gate.more


def test_a_step_grows_and_shrinks_with_the_time_that_it_takes() -> None:
    """Short steps double, long ones are halved, within bounds; those in between stay."""
    assert next_step(STEP, SHORT / 2) == 2 * STEP
    assert next_step(STEP, LONG * 2) == STEP // 2
    assert next_step(STEP, (SHORT + LONG) / 2) == STEP
    assert next_step(MOST_STEP, 0.0) == MOST_STEP
    assert next_step(LEAST_STEP, 1.0) == LEAST_STEP
