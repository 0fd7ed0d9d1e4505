"""The memory of prompts: bounded, counted as it is, apart for all that differs, and dropped with the policies."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.fail_open import FailOpen
from proxy.core import prompt
from proxy.core.check import Check, Progress
from proxy.core.prompt import PromptScan
from proxy.core.prompt_chain import PIECE, WALKED
from proxy.core.prompt_memory import ENTRY, NOTHING, SHARE, SWEPT, PromptMemory, Recall, Result, footprint
from proxy.core.types import Action, Finding, Replacement, Rule
from proxy.matching.compiled import compile_rule
from proxy.matching.matcher import Matcher
from proxy.matching.rules import MatchRule

KEY = b"k" * 32
LARGE = 1 << 24
WORD = Rule("test", "word", Action.REWRITE, 1, Replacement("#"))
BLOCK = Rule("test", "block", Action.BLOCK, 2)


def matcher(pattern: str = "b.d", rule: Rule = WORD) -> Matcher:
    """A check with a rule or two."""
    return Matcher([compile_rule(MatchRule(rule, pattern))])


class Counting:
    """A check that counts the characters that its scans read."""

    hold = None

    def __init__(self, inner: Check) -> None:
        self.inner = inner
        self.read = 0

    def open(self) -> _CountingScan:
        """A scan of the inner check."""
        return _CountingScan(self, self.inner.open())


class _CountingScan:
    def __init__(self, check: Counting, scan: object) -> None:
        self._check = check
        self._scan = scan

    def feed(self, text: str, final: bool = False) -> Progress:
        self._check.read += len(text)
        return self._scan.feed(text, final)  # type: ignore[attr-defined, no-any-return]

    def save(self) -> object:
        return self._scan.save()  # type: ignore[attr-defined]

    def restore(self, mark: object) -> None:
        self._scan.restore(mark)  # type: ignore[attr-defined]


def read(
    parts: Sequence[str], recall: Recall | None, check: Check, joiner: str = "\n\n", earlier: int = 0
) -> PromptScan:
    """Read all of the parts, and apply the rewrites."""
    scan = PromptScan(parts, joiner, [check], earlier=earlier, recall=recall)
    for _ in scan.run():
        pass
    if scan.blocked is None:
        for _ in scan.apply_rewrites():
            pass
    return scan


def recall(memory: PromptMemory, check: Check, role: str = "user") -> Recall:
    """What is known of content."""
    return memory.recall(role, "content", False, False, (check,))


def test_the_same_texts_are_not_read_again() -> None:
    """Nor where one more follows: then only that is read."""
    check, memory = Counting(matcher()), PromptMemory(KEY, LARGE)
    parts = ["one bad thing", "another", "a third"]
    first = read(parts, recall(memory, check), check)
    assert check.read == len("\n\n".join(parts))
    again = read(parts, recall(memory, check), check)
    assert (again.parts, check.read) == (first.parts, len("\n\n".join(parts)))
    check.read = 0
    more = read([*parts, "bid"], recall(memory, check), check)
    assert more.parts == [*first.parts, "#"]
    assert check.read == len("\n\nbid")
    assert (memory.whole, memory.begun, memory.unknown) == (1, 1, 1)


def test_a_long_text_that_grows_is_read_from_its_last_piece_on() -> None:
    """As a prompt that holds a whole conversation, which the model is to continue."""
    check, memory = Counting(matcher()), PromptMemory(KEY, LARGE)
    text = "a b c " * PIECE
    read([text], recall(memory, check), check)
    check.read = 0
    grown = read([text + "bad"], recall(memory, check), check)
    assert check.read <= PIECE + len("bad")
    assert grown.parts == read([text + "bad"], None, check).parts


def test_a_block_is_known_again_and_the_notice_is_read_once() -> None:
    """The notice is the same in each turn, so the second turn reads nothing."""
    check, memory = Counting(matcher("b.d", BLOCK)), PromptMemory(KEY, LARGE)
    sizes = []
    for _ in range(2):
        check.read = 0
        scan = PromptScan(["bad", "fine", "new"], "\n\n", [check], earlier=2, recall=recall(memory, check))
        assert [*scan.run()] == []
        assert (scan.blocked_parts, scan.past_earlier) == (range(1), False)
        scan.replace(0, "notice")
        for _ in scan.run():
            pass
        assert scan.parts == ["notice", "fine", "new"]
        assert scan.blocked is None
        sizes.append(check.read)
    assert sizes[0] > 0
    assert sizes[1] == 0


def test_what_a_block_needs_may_differ_from_turn_to_turn() -> None:
    """What was found is remembered, not what became of it: which texts are new decides that."""
    check, memory = matcher(r"(?s)x.*?y", BLOCK), PromptMemory(KEY, LARGE)
    for earlier in (2, 0, 1, 2, 0):
        scan = read(["a x", "y b", "c"], recall(memory, check), check, earlier=earlier)
        assert scan.blocked_parts == range(2)
        assert scan.past_earlier is (earlier < 2)
        for _ in scan.run_earlier():
            pass
        assert (scan.blocked is not None) is (earlier == 2)


def test_states_behind_a_replaced_text_are_not_those_behind_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The block reaches into a long text of which a piece was remembered; then the text before it is replaced."""
    for name, size in (("PIECE", 4), ("SLICE", 2), ("MIN_STRIDE", 1), ("SPACED", 1)):
        monkeypatch.setattr(prompt, name, size)
    monkeypatch.setattr("proxy.core.prompt_chain.PIECE", 4)
    check, memory = matcher(r"x.{4,12}y", BLOCK), PromptMemory(KEY, LARGE)
    for _ in range(3):
        scan = read(["longer x", "1234567y89abcdef"], recall(memory, check), check, joiner="", earlier=2)
        assert scan.blocked_parts == range(2)
        scan.replace(0, "N")
        for _ in scan.run():
            pass
        assert scan.blocked is None


def test_the_memory_is_bounded_and_the_least_recently_used_goes_first() -> None:
    """One that is looked up counts as used."""
    memory = PromptMemory(KEY, 10 * ENTRY)
    area = memory.area((matcher(),))
    for number in range(10):
        area.put(b"%d" % number, NOTHING)
    assert memory.get(b"0") is NOTHING
    area.put(b"10", NOTHING)
    assert (len(memory), memory.size) == (10, 10 * ENTRY)
    assert memory.get(b"0") is NOTHING
    assert memory.get(b"1") is None


def test_a_value_that_would_take_much_of_the_memory_is_not_kept() -> None:
    """It would push out many others."""
    memory = PromptMemory(KEY, SHARE * 4 * ENTRY)
    area = memory.area((matcher(),))
    area.put(b"small", Result((Finding(0, 1, WORD),)))
    area.put(b"large", Result((), Finding(10**4000, 0, WORD)))
    assert [memory.get(key) is None for key in (b"small", b"large")] == [False, True]


def test_a_key_that_is_put_again_counts_once() -> None:
    """Its size is that of its latest value."""
    memory = PromptMemory(KEY, LARGE)
    area = memory.area((matcher(),))
    area.put(b"key", Result((Finding(0, 1, WORD),)))
    area.put(b"key", NOTHING)
    assert (len(memory), memory.size) == (1, ENTRY)


def test_other_checks_find_nothing() -> None:
    """An area belongs to the very objects; after they were dropped its number is not used again."""
    one, other, memory = matcher(), matcher(), PromptMemory(KEY, LARGE)
    read(["bad"], recall(memory, one), one)
    for check, known in ((one, True), (other, False)):
        memory.whole = 0
        read(["bad"], recall(memory, check), check)
        assert bool(memory.whole) is known
    memory.keep_only([other])
    memory.whole = 0
    read(["bad"], recall(memory, one), one)
    assert memory.whole == 0


def test_roles_and_kinds_are_apart() -> None:
    """What the same checks have found in a text of one role tells nothing of whether another one has said it."""
    check, memory = matcher(), PromptMemory(KEY, LARGE)
    begun = {
        memory.recall(role, kind, is_name, escaped, (check,)).begin("\n")
        for role in ("user", "tool")
        for kind in ("content", "reasoning")
        for is_name in (False, True)
        for escaped in (False, True)
    }
    assert len(begun) == 16


def test_what_is_dropped_is_freed_bit_by_bit_and_nothing_is_added_to_it() -> None:
    """So no request waits for it. A request that began before may still come with something."""
    gone, kept, memory = matcher(), matcher(), PromptMemory(KEY, LARGE)
    dropped, area = memory.area((gone,)), memory.area((kept,))
    for number in range(3 * SWEPT):
        dropped.put(b"%d" % number, NOTHING)
    area.put(b"kept", NOTHING)
    memory.keep_only([kept])
    dropped.put(b"late", NOTHING)
    assert memory.get(b"late") is None
    sizes = []
    for _ in range(5):
        area.put(b"another", NOTHING)
        sizes.append(len(memory))
    assert sizes == [2 * SWEPT + 2, SWEPT + 2, 2, 2, 2]
    assert memory.size == 2 * ENTRY
    assert memory.area((kept,)) is area


def test_the_number_of_areas_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was not asked for for the longest time goes."""
    monkeypatch.setattr("proxy.core.prompt_memory.MOST_AREAS", 2)
    memory, checks = PromptMemory(KEY, LARGE), [matcher() for _ in range(3)]
    first, second = memory.area((checks[0],)), memory.area((checks[1],))
    assert memory.area((checks[0],)) is first
    memory.area((checks[2],))
    assert (first.alive, second.alive) == (True, False)


def test_the_digests_depend_on_the_key() -> None:
    """Without it nobody can look for texts that lead to one digest."""
    digests = {PromptMemory(bytes([number]) * 32, 1).digest(b"text") for number in range(3)}
    assert len(digests) == 3


def test_a_cut_between_texts_is_part_of_the_digest() -> None:
    """So is where a text begins, and whether it goes on."""
    memory = PromptMemory(KEY, LARGE)
    known = recall(memory, matcher())
    start = known.begin("")
    texts = [["ab"], ["a", "b"], ["", "ab"], ["ab", ""], ["abtext"], []]
    digests = set[bytes]()
    for parts in texts:
        digest = start
        for part, text in enumerate(parts):
            digest = known.add(digest, part, text)
        digests.add(digest)
    assert len({*digests, known.add_piece(start, "ab"), known.begin("\n")}) == len(texts) + 2


def test_a_lone_surrogate_has_a_digest_of_its_own() -> None:
    """Whatever reads a request refuses it, but the memory does not fail."""
    known = recall(PromptMemory(KEY, LARGE), matcher())
    digests = {known.add(known.begin(""), 0, text) for text in ("\ud83d\ude00", "\ud83d", "?", "\U0001f600")}
    assert len(digests) == 4


class Failing:
    """A check that fails once it reads an X."""

    hold = 0

    def open(self) -> Failing:
        """Itself."""
        return self

    def feed(self, text: str, final: bool = False) -> Progress:
        """Nothing, or a failure."""
        if "X" in text:
            raise ValueError
        return Progress(0)

    def save(self) -> object:
        """Nothing."""
        return ()

    def restore(self, mark: object) -> None:
        """Nothing."""


def test_a_failure_is_not_remembered() -> None:
    """Whatever made a check fail may be over at the next request."""
    check, memory = FailOpen(Failing()), PromptMemory(KEY, LARGE)
    for _ in range(2):
        scan = read(["a", "X", "b"], recall(memory, check), check)
        assert [located.finding.rule.id for located in scan.new_findings()] == ["check_failed_open"]
    assert (len(memory), memory.unknown) == (0, 2)


@given(st.lists(st.text("abd ", max_size=40), min_size=1, max_size=30), st.integers(50, 2_000))
def test_the_size_is_that_of_the_entries(texts: list[str], limit: int) -> None:
    """Whatever is put, replaced and forgotten, and never more than the limit."""
    check, memory = matcher(), PromptMemory(KEY, limit)
    for end in range(1, len(texts) + 1):
        read(texts[:end], recall(memory, check), check)
        assert memory.size == sum(entry.size for entry in memory._entries.values()) <= limit


def _fill(memory: PromptMemory, check: Check, count: int) -> None:
    known = recall(memory, check)
    for number in range(count):
        parts = [f"{number} bad " * 40, "and more", f"with a bid{number} in it"]
        for _ in PromptScan(parts, "\n\n", [check], recall=known).run():
            pass
        known._digests.clear()


def test_the_size_is_what_the_interpreter_takes() -> None:
    """Measured with tracemalloc, for texts in which something is found, and for others."""
    rules = [MatchRule(WORD, "b.d"), MatchRule(Rule("test", "folded", Action.FLAG, 3), r"more\s+\w+", fold=True)]
    for check in (Matcher(map(compile_rule, rules)), matcher("never")):
        _fill(PromptMemory(KEY, LARGE), check, 300)  # the automata are built
        tracemalloc.start()
        try:
            before, memory = tracemalloc.get_traced_memory()[0], PromptMemory(KEY, LARGE)
            _fill(memory, check, 600)
            taken = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert 0.8 < memory.size / taken < 1.6


def test_what_belongs_to_the_checks_is_not_counted() -> None:
    """States of automata and rules live as long as their policy."""
    shared = object()
    assert footprint((shared, 1)) == footprint((None, 1)) > 0
    once = ("text",)
    assert footprint((once, once)) < footprint((once, ("other",)))


@pytest.mark.parametrize("count", [1, WALKED + 3, 3 * WALKED])
def test_others_may_run_while_many_texts_are_hashed(count: int) -> None:
    """And while a known beginning is looked for."""
    check, memory = matcher("never"), PromptMemory(KEY, LARGE)
    parts = [f"{number}" for number in range(count)]
    for _ in range(2):
        scan = PromptScan(parts, "\n\n", [check], recall=recall(memory, check))
        assert len([*scan.run()]) >= count // WALKED


def test_the_memory_is_asked_a_few_times_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt full of blocked texts would be hashed again and again; the scan goes on by itself then."""
    monkeypatch.setattr(prompt, "MOST_LOOKS", 2)
    check, memory = matcher("b.d", BLOCK), PromptMemory(KEY, LARGE)
    for _ in range(2):
        scan = PromptScan(["bad"] * 5, "\n\n", [check], earlier=5, recall=recall(memory, check))
        while True:
            for _ in scan.run():
                pass
            if scan.blocked is None:
                break
            scan.replace(scan.blocked_parts[0], "notice")
        assert scan.parts == ["notice"] * 5
    assert memory.whole + memory.begun + memory.unknown == 4
