"""The arithmetic of the bench: ratios within a round, limits, and what stands in the tables."""

from __future__ import annotations

import pytest

from bench import contestants as who
from bench import fairness, prompts
from bench.gate import Limit, Verdict, fairness_verdict, prompt_verdicts
from bench.load import Result
from bench.report import Reach, spread, worst_by_part
from bench.runs import Figures


def figures(**cpu: list[float]) -> Figures:
    """Rounds of one scenario."""
    return Figures({"paced": {name: [Result(cpu=value) for value in values] for name, values in cpu.items()}})


def test_ratios_are_taken_within_a_round() -> None:
    """A round in which the machine was slow for both does not count as slow."""
    measured = figures(one=[30.0, 300.0], other=[10.0, 100.0])
    assert measured.ratios("paced", "one", "other", lambda result: result.cpu) == [3.0, 3.0]


@pytest.mark.parametrize(("cpu", "passed"), [([20.0, 30.0, 90.0], True), ([20.0, 31.0, 90.0], False)])
def test_the_median_decides(cpu: list[float], passed: bool) -> None:
    """One bad round of three does not fail the gate; two do."""
    measured = Figures(
        {"paced": {who.HUNDRED: [Result(cpu=c) for c in cpu], who.NAIVE: [Result(cpu=10.0)] * 3}},
    )
    assert Limit("paced", who.NAIVE, 3.0).check(measured).passed is passed


def test_only_nginx_may_be_missing() -> None:
    """A gate that measured nothing does not pass."""
    assert Verdict(Limit("paced", who.NGINX, 3.0), None).passed
    assert not Verdict(Limit("paced", who.NAIVE, 3.0), None).passed


def test_a_row_says_by_how_much_it_is_missed() -> None:
    """Of the median."""
    row = Reach("CPU", 10.0, lambda _: [11.0, 12.0, 20.0], 0)
    assert row.line(Figures()) == "| CPU | 10 | 12 (11-20) | missed by 20% |"
    assert row._replace(most=12.0).line(Figures()).endswith("| reached |")
    assert row._replace(values=lambda _: []).line(Figures()).endswith("| not measured |")


def test_one_value_has_no_range() -> None:
    """Median and range, or the value alone."""
    assert spread([2.0]) == "2.0"
    assert spread([3.0, 1.0, 2.0]) == "2.0 (1.0-3.0)"
    assert spread([]) == "-"


def test_the_longest_delay_is_told_for_each_disturbance() -> None:
    """Seconds 0 to 2 are undisturbed, then come the reload, the scrape and the long prompt."""
    result = Result(worst_ms=[1.0, 2.0, 1.0, 9.0, 1.0, 1.0, 4.0, 1.0, 1.0, 7.0, 8.0])
    assert worst_by_part(result) == [2.0, 9.0, 4.0, 8.0]


@pytest.mark.parametrize(("known", "passed"), [([4.0, 5.0, 90.0], True), ([60.0, 50.0, 4.0], False)])
def test_the_next_turn_of_a_long_conversation_is_guarded(known: list[float], passed: bool) -> None:
    """Against a proxy without rules, and one without a memory; each round by itself, and the median counts."""
    cpu = {who.NONE: [3.0] * 3, prompts.SHIPPED: known, who.HUNDRED: [7.0] * 3, prompts.OFF: [130.0] * 3}
    again = {name: prompts.Row(cpu=values) for name, values in cpu.items()}
    cold = {name: prompts.Row(cpu=[10.0]) for name in cpu}
    assert [verdict.passed for verdict in prompt_verdicts({"again": again, "cold": cold})] == [passed, True, True, True]


@pytest.mark.parametrize(("took", "passed"), [([40.0, 50.0, 300.0], True), ([140.0, 130.0, 40.0], False)])
def test_a_long_conversation_that_nobody_has_seen_is_guarded(took: list[float], passed: bool) -> None:
    """With 100 rules it takes the quick look, and not the time to read all of it."""
    cold = {who.NONE: [3.0] * 3, prompts.SHIPPED: [10.0] * 3, who.HUNDRED: took}
    rows = {name: prompts.Row(cpu=values) for name, values in cold.items()}
    again = {name: prompts.Row(cpu=[1.0]) for name in (who.NONE, prompts.SHIPPED)}
    again |= {who.HUNDRED: prompts.Row(cpu=[7.0]), prompts.OFF: prompts.Row(cpu=[130.0])}
    assert [verdict.passed for verdict in prompt_verdicts({"again": again, "cold": rows})] == [True, True, True, passed]


def test_an_answer_is_whole_when_its_length_is_there() -> None:
    """Or, in events, its last one; the head alone is nothing."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"
    assert [prompts._is_whole(head + body) for body in (b"", b"ab", b"abc")] == [False, False, True]
    assert not prompts._is_whole(b"HTTP/1.1 200 OK\r\n\r\ndata: {}")
    assert prompts._is_whole(b"HTTP/1.1 200 OK\r\n\r\ndata: {}\n\ndata: [DONE]\n\n")


def test_a_prompt_begins_like_no_other() -> None:
    """So nothing of it is known; the next turn adds two messages to it."""
    one, other = prompts.conversation(1), prompts.conversation(2)
    assert len(one) == prompts.MESSAGES + 1
    assert not {message["content"] for message in one} & {message["content"] for message in other}
    again = next(case for case in prompts.CASES if case.key == "again")
    assert again.before is not None
    assert again.before(one) == one[:-2]


@pytest.mark.parametrize(("late", "passed"), [([9.0, 12.0, 1300.0], True), ([9.0, 1300.0, 1300.0], False)])
def test_streams_beside_a_flood_are_guarded(late: list[float], passed: bool) -> None:
    """Against nginx beside the same flood; one bad round of three does not fail the gate, nor does a missing nginx."""
    rows = [fairness.Row(who.HUNDRED, fairness.FLOOD, [1.0, 2.0, ms, ms]) for ms in late]
    nginx = [fairness.Row(who.NGINX, fairness.FLOOD, [0.1, 0.2, 8.0, 9.0])] * 3
    assert fairness_verdict([*rows, *nginx]).passed is passed
    assert fairness_verdict(rows).passed


def test_a_table_has_a_line_for_each_contestant_and_neighbour() -> None:
    """The median over the rounds, with the range; what was not measured is a dash."""
    rows = [fairness.Row("one", fairness.FLOOD, [1.0, 2.0, ms, ms], probe=2.0) for ms in (4.0, 5.0, 9.0)]
    assert list(fairness.table(rows))[2] == (
        "| one | 8 floods | 1.0 (1.0-1.0) | 5.0 (4.0-9.0) | 5.0 (4.0-9.0) | 2.0 (2.0-2.0) | - | - | - | - |"
    )
