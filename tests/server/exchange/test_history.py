"""What becomes of blocked texts of earlier turns, for random rules and texts: by brute force, and by what must hold."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.prompt import judge
from proxy.core.types import Action, Finding, Replacement, Rule
from proxy.dialects.request import InputText
from proxy.matching.compiled import compile_rule
from proxy.matching.matcher import Matcher
from proxy.matching.rules import MatchRule
from proxy.server.exchange.prompt_filter import PASSES, Blocked, judge_request
from proxy.server.exchange.record import Exchange
from tests import oracle
from tests.matching import strategies as some
from tests.matching.strategies import BLOCK, CASES, Made
from tests.server.running import Plan

NOTICES = ["#", "a b", "K1"]
"""One that no rule finds, and two that many do."""


class RefusedError(Exception):
    """A rule ends the request."""


class RewritesError(Exception):
    """The rewriting rules have changed the texts too often."""


class Slow:
    """The definition: what is blocked is found by trying all places, and everything is read from the beginning."""

    def __init__(self, made: Sequence[Made], parts: Sequence[str], earlier: int, joiner: str, notice: str) -> None:
        self.parts = list(parts)
        self._rules = [rule for rule, _ in made]
        rewriting = [compiled for rule, compiled in made if rule.rule.action is Action.REWRITE]
        self._rewriting = [Matcher(rewriting)] if rewriting else []
        self._earlier = earlier
        self._joiner = joiner
        self._notice = notice
        self._replaced: set[int] = set()
        self._changes = 0

    def settle(self) -> list[str]:
        """The texts that are sent. Raises RefusedError."""
        while True:
            self._changes = 0
            try:
                self._settle(self._joiner)
                while self._joiner and len(self.parts) > 1 and self._settle("") and self._settle(self._joiner):
                    pass
                return self.parts
            except RewritesError:
                left = set(range(self._earlier)) - self._replaced
                if not left:
                    raise RefusedError from None
                for part in left:
                    self._replace(part)

    def _settle(self, joiner: str) -> bool:
        changed = False
        while self._pass(joiner):
            changed = True
            self._changes += 1
            if self._changes > PASSES:
                raise RewritesError
        return changed

    def _pass(self, joiner: str) -> bool:
        before = list(self.parts)
        replaced = set(self._replaced)
        while (covered := self._blocked(self.parts, joiner)) is not None:
            if covered[0] >= self._earlier:
                raise RefusedError
            alone = self._blocked(self.parts[: self._earlier], joiner)
            if alone is None:
                raise RefusedError
            free = [part for part in alone if part not in self._replaced]
            if not free:
                raise RefusedError
            self._replace(free[0])
        *_, judged = judge(self.parts, joiner, self._rewriting)
        assert judged is not None
        self.parts = list(judged.parts)
        return self.parts != before or self._replaced != replaced

    def _replace(self, part: int) -> None:
        self.parts[part] = self._notice
        self._replaced.add(part)

    def _blocked(self, parts: Sequence[str], joiner: str) -> list[int] | None:
        """The parts over which the first block lies."""
        owners: list[tuple[int, int]] = []  # of each character: the part for what begins there, and for what ends there
        for i, part in enumerate(parts):
            owners += [(i, i)] * len(part)
            owners += [(i + 1, i)] * (len(joiner) if i < len(parts) - 1 else 0)
        found = oracle.block(self._rules, joiner.join(parts), CASES)
        if found is None:
            return None
        verdict, start, _ = found
        first, last = owners[start][0], owners[verdict.end - 1][1]
        while first < len(parts) - 1 and not parts[first]:
            first += 1
        return list(range(first, max(first, last) + 1))


def sent(made: Sequence[Made], parts: Sequence[str], earlier: int, joiner: str, notice: str) -> list[str] | None:
    """What goes upstream, or None for a request that is refused."""
    body = list(parts)
    texts = [InputText("user", text, f"messages[{i}].content", body, i, i >= earlier) for i, text in enumerate(parts)]
    plan = Plan([Matcher([compiled for _, compiled in made])])

    def told(finding: Finding) -> str:
        return notice

    try:
        asyncio.run(judge_request(texts, joiner, lambda _: plan, told, Exchange("/x")))
    except Blocked:
        return None
    assert [text.text for text in texts] == body
    return body


PATTERNS = [
    *("ab", "ba", "aab", "a b", "1a1", r"a\s*b", "(?s:a.{0,4}1)", "b\n+a", r"b\s+b", r"(?s:1.{2,6}b)", "a1?b"),
    *(r"a\Z", r"\bab\b", "a(?=b)", r"b(?!\Z)", "(?m:^)b1", r"1\s*#", r"#\s*b", r"(?<!a)b\Z", r"1\s*\Z"),
]
"""Most of them reach from one text into the next, or look at what stands beside them."""
ACTIONS = st.sampled_from([Action.BLOCK, Action.BLOCK, Action.BLOCK, Action.REWRITE, Action.FLAG])


@cache
def rule_of(order: int, pattern: str, action: Action, label: str) -> Made:
    """A rule, and the same compiled."""
    made = MatchRule(Rule("p", f"{order}", action, order, Replacement(label)), pattern)
    return made, compile_rule(made)


@st.composite
def spanning(draw: st.DrawFn) -> list[Made]:
    """A few rules; the label of one may be a part of what another finds."""
    patterns = draw(st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=4, unique=True))
    labels = st.sampled_from(["", "a", "<"])
    return [rule_of(order, pattern, draw(ACTIONS), draw(labels)) for order, pattern in enumerate(patterns)]


def loads(made: list[Made]) -> bool:
    """Whether no rule acts on another's label, which no policy may."""
    labels = [rule.rule.replacement.text for rule, _ in made if rule.rule.action is Action.REWRITE]
    return not any(oracle.matches(rule, label) for rule, _ in made for label in labels)


RULES = st.one_of(spanning(), some.rules(some.mixed, BLOCK)).filter(loads)
SAID = ["ab", "b1", "1", "a b", "bab", ""]
PARTS = st.lists(
    st.one_of(st.sampled_from(SAID), st.text("aabb1 ", max_size=4), some.texts(CASES, 4)), min_size=1, max_size=5
)
JOINERS = st.sampled_from(["", " ", "\n\n"])


@some.examples(400)
@given(RULES, PARTS, st.integers(0, 5), JOINERS, st.sampled_from(NOTICES))
def test_refused_replaced_and_sent_as_the_definition_says(
    made: list[Made], parts: list[str], earlier: int, joiner: str, notice: str
) -> None:
    """Which request is refused, which earlier text the notice replaces, and what is sent, are those of the slow
    reading."""
    earlier = min(earlier, len(parts))
    try:
        expected: list[str] | None = Slow(made, parts, earlier, joiner, notice).settle()
    except RefusedError:
        expected = None
    assert sent(made, parts, earlier, joiner, notice) == expected


@some.examples(300)
@given(RULES, PARTS, st.integers(0, 5), JOINERS)
def test_nothing_that_a_rule_blocks_is_sent(made: list[Made], parts: list[str], earlier: int, joiner: str) -> None:
    """However the texts are joined, no blocking rule finds anything in what goes upstream."""
    out = sent(made, parts, earlier, joiner, "#")
    if out is not None:
        rules: list[MatchRule] = [rule for rule, _ in made]
        for between in {joiner, ""}:
            assert oracle.block(rules, between.join(out), CASES) is None


HARMLESS = "zz"
"""No rule of `spanning` finds anything in it, or needs it for what it finds in front of it, but one."""
NEEDS_MORE = r"b(?!\Z)"


@some.examples(300)
@given(spanning().filter(loads), PARTS, JOINERS, st.sampled_from(NOTICES))
def test_a_conversation_goes_on(made: list[Made], parts: list[str], joiner: str, notice: str) -> None:
    """Whatever stands in earlier turns, a new text that no rule minds is not refused, and is sent as it is."""
    rules = [one for one in made if one[0].pattern != NEEDS_MORE]
    notices = [between.join([notice, notice, HARMLESS]) for between in (joiner, "")]
    if rules and not any(oracle.matches(rule, text) for rule, _ in rules for text in notices):
        out = sent(rules, [*parts, HARMLESS], len(parts), joiner, notice)
        assert out is not None
        assert out[-1] == HARMLESS
