"""A check of a plug-in as a pass of the matcher: exact beside the others, and watched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.fail_open import FailedOpen, failed_open
from proxy.checks.outside import searching_rule
from proxy.checks.plugin_pass import Budget, PluginRule
from proxy.core.check import Check, Progress
from proxy.core.failures import CheckFailed, Failures, Reason
from proxy.core.gate import Gate
from proxy.core.types import Action, Finding, Replacement, Rule
from proxy.matching.compiled import compile_rule
from proxy.matching.matcher import Matcher
from proxy.matching.rules import MatchRule
from tests.checks.plugin_checks import Feed, Odd, Scripted, Word
from tests.laws import check_laws, cut

REWRITE = Rule("p", "plug-in", Action.REWRITE, 1, Replacement("[X]"))
BLOCK = replace(REWRITE, action=Action.BLOCK)
FLAG = replace(REWRITE, action=Action.FLAG)


def word_rule(rule: Rule, word: str = "bomb", **how: Any) -> PluginRule:
    """A rule of a plug-in that finds a word."""
    check = Word(searching_rule(rule), word)
    return PluginRule(rule, "word", check, check.hold, **how)


def matcher(*plugins: PluginRule, rules: tuple[MatchRule, ...] = (), escaped: bool = False) -> Matcher:
    """All of them as one check."""
    return Matcher([compile_rule(rule) for rule in rules], beside=plugins, escaped=escaped)


def let_out(check: Check, chunks: list[str]) -> str:
    """What a gate lets out of a stream."""
    gate = Gate([check])
    return "".join([gate.feed(chunk) for chunk in chunks]) + gate.feed("", final=True)


@pytest.mark.parametrize("rule", [FLAG, REWRITE, BLOCK])
@pytest.mark.parametrize("how", [{}, {"fold": True}, {"outside": True}, {"fails_open": True}])
@given(text=st.text("bom `", max_size=14), places=st.integers(0, 2**14))
def test_it_obeys_the_laws_with_every_action(rule: Rule, how: dict[str, Any], text: str, places: int) -> None:
    """Flag, rewrite and block, on the text as it is, folded, outside of code, failing open."""
    check_laws(matcher(word_rule(rule, **how)), text, places)


@given(text=st.text("bomab", max_size=14), places=st.integers(0, 2**14), block=st.sampled_from((0, 1, 2)))
def test_beside_other_rules_the_cut_does_not_matter(text: str, places: int, block: int) -> None:
    """Two plug-ins and a pattern, any of which may end the text: what is let out is what the whole text says."""
    actions = [Action.BLOCK if i == block else Action.REWRITE for i in range(3)]
    one, two, own = (Rule("p", f"r{i}", action, i, Replacement(f"[{i}]")) for i, action in enumerate(actions))
    check = matcher(word_rule(one, "bom"), word_rule(two, "ma"), rules=(MatchRule(own, "bo+b"),))
    assert let_out(check, cut(text, places)) == let_out(check, [text])
    check_laws(check, text, places)


@given(text=st.text("bom\\u06dn", max_size=14), places=st.integers(0, 2**14))
def test_in_json_source_it_reads_what_the_source_says(text: str, places: int) -> None:
    """Escapes are resolved, as for the proxy's own detectors."""
    check_laws(matcher(word_rule(REWRITE), escaped=True), text, places)
    assert let_out(matcher(word_rule(REWRITE), escaped=True), list("a b\\u006fmb")) == "a [X]"


def test_no_character_before_a_block_is_kept_and_none_behind_it_leaves() -> None:
    """The text before the find goes out, in whatever pieces it came."""
    for chunks in (["a bomb b"], list("a bomb b"), ["a bo", "mb b"]):
        assert let_out(matcher(word_rule(BLOCK)), chunks) == "a "


def test_a_rule_that_is_not_enforced_holds_nothing() -> None:
    """It reports, all of what it finds, and nothing waits."""
    check = matcher(word_rule(BLOCK).enforced(False))
    gate = Gate([check])
    assert [gate.feed(text) for text in ("a bo", "mb, a bomb")] == ["a bo", "mb, a bomb"]
    assert [f.start for f in gate.findings] == [2, 10]
    assert check.hold == 0


# -- what may go wrong


def always(mark: Callable[[Scripted], Any], found: Any = ()) -> Odd:
    """A check that answers each feed with such a watermark."""
    return Odd(lambda scan, text, final: (mark(scan), found))


def raises_at_the_third(scan: Scripted, text: str, final: bool) -> Progress:
    """Twice fine, then not."""
    if scan.feeds == 3:
        raise ValueError("the text was: " + text)
    return Progress(scan.read)


def ends_the_program(scan: Scripted, text: str, final: bool) -> Progress:
    """As some library does when it cannot go on."""
    raise SystemExit(3)


RULE = searching_rule(REWRITE)
BROKEN = {
    "ends the program": (Odd(ends_the_program), Reason.RAISED),
    "raises at the third feed": (Odd(raises_at_the_third), Reason.RAISED),
    "answers nothing": (Odd(lambda scan, text, final: None), Reason.WRONG_ANSWER),
    "answers three": (Odd(lambda scan, text, final: (scan.read, (), 1)), Reason.WRONG_ANSWER),
    "answers text": (always(lambda scan: scan.read, "no findings"), Reason.WRONG_ANSWER),
    "finds spans that are none": (always(lambda scan: scan.read, ((0, 1),)), Reason.WRONG_ANSWER),
    "finds places that are none": (
        always(lambda scan: scan.read, (Finding("0", 1, RULE),)),  # type: ignore[arg-type]
        Reason.WRONG_ANSWER,
    ),
    "a watermark that is none": (always(lambda scan: "3"), Reason.WATERMARK),
    "a watermark past the text": (always(lambda scan: scan.read + 1), Reason.WATERMARK),
    "a watermark that goes back": (always(lambda scan: scan.read if scan.feeds < 3 else 1), Reason.WATERMARK),
    "a finding below the watermark": (
        Odd(lambda scan, text, final: Progress(scan.read, (Finding(0, 1, RULE),) if scan.feeds == 2 else ())),
        Reason.FINDING,
    ),
    "a finding past the text": (always(lambda scan: scan.read, (Finding(0, 99, RULE),)), Reason.FINDING),
    "a finding of nothing": (always(lambda scan: scan.read - 1, (Finding(2, 2, RULE),)), Reason.FINDING),
    "findings out of order": (
        always(lambda scan: 0, (Finding(1, 2, RULE), Finding(0, 1, RULE))),
        Reason.FINDING,
    ),
    "holds more than it says": (Odd(lambda scan, text, final: Progress(0), hold=3), Reason.HOLD),
    "holds for ever": (Odd(lambda scan, text, final: Progress(0)), Reason.UNDECIDED),
}


def fed(plugin: PluginRule) -> Iterator[str]:
    """What a gate lets out of a stream of twelve characters, feed by feed."""
    gate = Gate([matcher(plugin)])
    yield from (gate.feed(text) for text in ("abc", "def", "ghi", "jkl"))
    yield gate.feed("", final=True)


@pytest.mark.parametrize(("check", "reason"), BROKEN.values(), ids=list(BROKEN))
@pytest.mark.parametrize("action", Action)
def test_a_law_that_is_broken_stops_the_check(check: Odd, reason: Reason, action: Action) -> None:
    """It fails by name, with the reason, and holds no text of the exchange."""
    failures = Failures()
    plugin = PluginRule(replace(REWRITE, action=action), "odd", check, check.hold, failures=failures)
    with pytest.raises(CheckFailed) as caught:
        list(fed(plugin))
    assert (caught.value.check, caught.value.reason) == ("odd", reason)
    assert "the text was" not in str(caught.value)
    assert [(on_error, failed.reason) for on_error, failed in failures] == [("block", reason)]


@pytest.mark.parametrize(("check", "reason"), BROKEN.values(), ids=list(BROKEN))
@pytest.mark.parametrize("action", Action)
def test_with_on_error_allow_the_text_passes_and_other_rules_go_on(check: Odd, reason: Reason, action: Action) -> None:
    """All of it, once: what the check held is released, and one finding tells of the failure."""
    failures = Failures()
    rule = replace(REWRITE, action=action)
    plugin = PluginRule(rule, "odd", check, check.hold, fails_open=True, failures=failures)
    gate = Gate([matcher(plugin, word_rule(REWRITE, "kl"))])
    out = "".join([gate.feed(text) for text in ("abc", "def", "ghi", "jkl")]) + gate.feed("", final=True)
    assert out.endswith("j[X]")
    assert out.startswith("ab") or action is Action.BLOCK
    assert [f.rule for f in gate.findings if isinstance(f.rule, FailedOpen)] == [failed_open("odd", reason)]
    assert [(on_error, failed.reason) for on_error, failed in failures] == [("allow", reason)]


def test_a_check_that_changes_its_answer_fails_instead_of_leaking() -> None:
    """A find that is not there when the text is read again blocks nothing for certain: so the check has failed."""

    def only_once(scan: Scripted, text: str, final: bool) -> Progress:
        times.append(scan)
        return Progress(scan.read, (Finding(scan.read - 1, scan.read, RULE),) if len(times) == 2 else ())

    times: list[Scripted] = []
    check = Odd(only_once)
    with pytest.raises(CheckFailed) as caught:
        let_out(matcher(PluginRule(BLOCK, "odd", check, None)), ["abc", "def"])
    assert caught.value.reason is Reason.WRONG_ANSWER


def test_what_opens_no_scan_fails() -> None:
    """Also where `open` raises."""

    class NoScan:
        hold = None

        def open(self) -> Any:
            return "no scan"

    class Raises(NoScan):
        def open(self) -> Any:
            raise KeyError

    for check, reason in ((NoScan(), Reason.WRONG_ANSWER), (Raises(), Reason.RAISED)):
        with pytest.raises(CheckFailed) as caught:
            let_out(matcher(PluginRule(REWRITE, "odd", check, None)), ["abc"])
        assert caught.value.reason is reason


class Clock:
    """A clock that tests put forward."""

    def __init__(self) -> None:
        self.cpu = self.wall = 0.0

    def __call__(self) -> tuple[float, float]:
        return self.cpu, self.wall


def slow(clock: Clock, cpu: float, wall: float) -> Odd:
    """A check that takes so long for each feed."""

    def take(scan: Scripted, text: str, final: bool) -> Progress:
        clock.cpu += cpu
        clock.wall += wall
        return Progress(scan.read)

    return Odd(take)


@pytest.mark.parametrize(
    ("cpu", "wall", "fails"), [(0.04, 0.04, False), (0.06, 0.06, True), (0.0, 0.9, False), (0.0, 1.1, True)]
)
def test_time_is_the_processors_and_much_more_on_the_wall(cpu: float, wall: float, fails: bool) -> None:
    """50 ms of the processor for a feed; a check that sleeps is told by the clock on the wall, at twenty times that."""
    clock = Clock()
    plugin = PluginRule(REWRITE, "slow", slow(clock, cpu, wall), None, Budget(0.05, clock), fails_open=True)
    gate = Gate([matcher(plugin)])
    assert gate.feed("abc") + gate.feed("", final=True) == "abc"
    assert bool(gate.findings) is fails


def test_a_long_text_has_more_time() -> None:
    """The budget is for 8192 characters, those that wait among them: at the end of a text a check may look at all."""
    clock = Clock()
    holds = slow(clock, 0.14, 0.14)
    plugin = PluginRule(REWRITE, "slow", holds, None, Budget(0.05, clock))
    assert Gate([matcher(plugin)]).feed("a" * 20_000) == "a" * 20_000
    with pytest.raises(CheckFailed):
        Gate([matcher(plugin)]).feed("a" * 10_000)
    at_the_end = Odd(lambda scan, text, final: do(holds.do, scan, text, final) if final else Progress(0))
    plugin = replace(plugin, check=at_the_end)
    assert let_out(matcher(plugin), ["a" * 20_000]) == "a" * 20_000


def do(feed: Feed, scan: Scripted, text: str, final: bool) -> Any:
    """What a function says to a feed."""
    return feed(scan, text, final)


def test_without_a_budget_nothing_is_too_slow() -> None:
    """0 is no bound."""
    clock = Clock()
    plugin = PluginRule(REWRITE, "slow", slow(clock, 9.0, 9.0), None, Budget(0, clock))
    assert let_out(matcher(plugin), ["abc"]) == "abc"


@pytest.mark.parametrize("fails_open", [False, True])
def test_what_took_too_long_is_not_asked_again_in_the_exchange(fails_open: bool) -> None:
    """Its other texts go by `on_error` at once; the next exchange asks it again."""
    clock, failures = Clock(), Failures()
    check = slow(clock, 1.0, 1.0)
    shared = matcher(PluginRule(REWRITE, "slow", check, None, Budget(0.05, clock), fails_open))
    for number in range(3):
        gate = Gate([shared.for_exchange(failures)])
        if fails_open:
            assert gate.feed("abc") == "abc"
            assert [f.rule for f in gate.findings] == [failed_open("slow", "time")]
        else:
            with pytest.raises(CheckFailed):
                gate.feed("abc")
        assert len(check.opened) == 1, number
    assert len(failures) == 1
    Gate([shared.for_exchange(Failures())])
    with pytest.raises(CheckFailed) if not fails_open else pytest.MonkeyPatch.context():
        Gate([shared.for_exchange(Failures())]).feed("abc")
    assert len(check.opened) == 2


def test_what_raises_is_asked_again_for_the_next_text() -> None:
    """One poisoned text in a conversation does not decide about all others."""
    failures = Failures()
    check = Odd(raises_at_the_third)
    shared = matcher(PluginRule(REWRITE, "odd", check, None, failures=failures))
    for _ in range(2):
        with pytest.raises(CheckFailed):
            let_out(shared, ["a", "b", "c"])
        assert let_out(shared, ["abc"]) == "abc"
    assert len(failures) == 1


def test_a_rule_that_only_watches_blocks_nothing_when_its_check_fails() -> None:
    """Whatever the policy's `on_error` is: a policy in monitor mode or in the shadow changes nothing."""
    plugin = PluginRule(BLOCK, "odd", Odd(raises_at_the_third), None).enforced(False)
    gate = Gate([matcher(plugin)])
    assert "".join(map(gate.feed, "abcd")) + gate.feed("", final=True) == "abcd"
    assert [f.rule for f in gate.findings] == [failed_open("odd", Reason.RAISED)]


def test_a_long_text_of_many_pieces_is_read_again_from_its_beginning() -> None:
    """Where a scan cannot go back, and another rule ends the text."""
    own = Rule("p", "own", Action.BLOCK, 2)
    check = matcher(word_rule(REWRITE), rules=(MatchRule(own, "zz"),))
    text = "a bomb " * 400 + "bozz bomb"
    assert let_out(check, list(text)) == "a [X] " * 400 + "bo"
    assert let_out(check, [text]) == "a [X] " * 400 + "bo"


def test_it_tells_for_which_rule_text_waits() -> None:
    """For the metric of waits."""
    gate = Gate([matcher(word_rule(REWRITE))])
    gate.feed("a bom")
    assert gate.waits_for is REWRITE


@given(text=st.text("bx", max_size=8), places=st.integers(0, 2**8))
def test_a_block_that_takes_the_end_to_know_lets_the_others_read_to_the_end(text: str, places: int) -> None:
    """What they found does not depend on whether the end came with the last piece."""

    def at_the_end(scan: Scripted, text: str, final: bool) -> Progress:
        found = (Finding(0, 1, RULE),) if final and scan.read else ()
        return Progress(scan.read if final else 0, found)

    plugin = PluginRule(BLOCK, "odd", Odd(at_the_end), None)
    seen = Rule("p", "seen", Action.FLAG, 2)
    check_laws(matcher(plugin, rules=(MatchRule(seen, "x"),)), text, places)
