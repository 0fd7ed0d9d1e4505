"""The automaton: states depend on the text alone, are shared, and may be forgotten at any time."""

from __future__ import annotations

import sys

import pytest

from proxy.core.types import Action, Rule
from proxy.matching.compiled import UNLIMITED, CompiledRule, classify, compile_rule
from proxy.matching.lazy_dfa import Change, LazyTaggedDfa, State
from proxy.matching.rules import MatchRule


def compiled(*patterns: str, **options: object) -> list[CompiledRule]:
    """Rules that rewrite."""
    rule = Rule("p", "r", Action.REWRITE)
    return [compile_rule(MatchRule(rule, pattern, **options)) for pattern in patterns]  # type: ignore[arg-type]


def automaton(*patterns: str, remembered: int = 1000, **options: object) -> LazyTaggedDfa:
    """The patterns as one automaton."""
    rules = compiled(*patterns, **options)
    return LazyTaggedDfa(list(zip(range(len(rules)), rules, classify(rules), strict=True)), remembered)


def read(state: State, text: str) -> tuple[State, list[int]]:
    """The state and the registers after a text."""
    registers: list[int] = []
    for position, char in enumerate(text):
        state, change = state[char]
        if change is not None:
            registers = change.applied(registers, position)
    return state, registers


def test_a_state_depends_on_what_can_still_matter_only() -> None:
    """Different texts that leave the same matches open lead to the same state; the registers tell them apart."""
    machine = automaton(r"\bab+c", "b1")
    one, first = read(machine.start, "xx ab")
    two, second = read(machine.start, "1 abbb")
    assert one is two
    assert (first, second) == ([3, 4], [2, 5])


def test_the_oldest_match_is_the_first_register() -> None:
    """An item stands in the oldest group that reaches it, and dead groups give up their registers."""
    machine = automaton("a..d", "bc")
    assert read(machine.start, "abx")[1] == [0]
    assert read(machine.start, "aab")[1] == [0, 1, 2]
    assert read(machine.start, "aabd")[1] == [1]


def test_characters_that_no_set_tells_apart_share_transitions() -> None:
    """A thousand ideographs cost one transition, not a thousand: what is looked up is the atom."""
    machine = automaton("ab", r"\w+x")
    before = machine.transitions
    for code in range(0x4E00, 0x4E00 + 1000):
        machine.start[chr(code)]
    assert machine.transitions - before <= 2
    assert len({id(machine.start[chr(code)]) for code in range(0x4E01, 0x4E00 + 1000)}) == 1


def test_a_flush_forgets_states_and_disturbs_no_stream() -> None:
    """With one transition remembered, a stream reads on from a state that is forgotten already."""
    machine = automaton("a[ab]{3}c", remembered=1)
    state, registers = read(machine.start, "abba")
    assert registers == [0, 3]
    following, change = state["c"]
    assert change is not None
    assert change.event is not None
    assert change.event.after[0].registers == (0,)
    assert read(following, "xab")[0] is not machine.start


def test_memory_for_states_is_bounded() -> None:
    """States of many groups count for more, so that hostile text cannot fill the memory."""
    machine = automaton("a.{64}c", remembered=500)
    state = machine.start
    for n in range(3000):
        state, _ = state["ab"[(n * n // 7) % 2]]
    assert len(machine._states) <= 500
    assert sum(len(s.groups) for s in machine._states.values()) < 6000


@pytest.mark.parametrize(
    ("change", "registers", "after"),
    [
        (Change(None, True, None), [1, 2], [1, 2, 9]),
        (Change(slice(0, 1), False, None), [1, 2], [2]),
        (Change(slice(1, 2), True, None), [1, 2, 3], [1, 3, 9]),
    ],
)
def test_a_change_cuts_first_and_then_begins(change: Change, registers: list[int], after: list[int]) -> None:
    """Registers are cut out in one piece; a new one stands for a match that begins at the character read."""
    assert change.applied(registers, 9) == after


def test_rules_share_a_class_when_they_wait_alike() -> None:
    """Bounded rules join one that releases late enough not to matter; the others keep their own limits."""
    rules = compiled("ab", "a+b") + compiled("a+c", max_hold=3) + compiled("a+d", max_hold=3, on_overflow="cover")
    bounded, late, early, covering = classify(rules)
    assert bounded is early
    assert (late.limit, early.limit, covering.limit) == (256, 3, 3)
    assert covering.number == 3
    assert classify(compiled("ab"))[0].limit == UNLIMITED


def test_flags_and_validators_have_classes_of_their_own() -> None:
    """What only flags holds nothing; what a validator judges keeps every start."""
    flag = compile_rule(MatchRule(Rule("p", "r", Action.FLAG), "a+"))
    validated = compile_rule(MatchRule(Rule("p", "r", Action.REWRITE), "a{1,3}", validate=str.isupper))
    flags, judged = classify([flag, validated])
    assert (flags.holds, flags.every_start) == (False, False)
    assert (judged.holds, judged.every_start) == (True, True)


def test_a_state_is_small() -> None:
    """A state without transitions takes a few hundred bytes."""
    assert sys.getsizeof(automaton("ab").start) < 400
