"""What of a text is recorded: nothing that any rule finds, at any cut, whatever the rule does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.fail_open import FailOpen
from proxy.core.check import Check, Progress, Scan
from proxy.core.steps import in_one_go
from proxy.core.types import Action, Kind, Rule
from proxy.matching.matcher import Matcher, compile_rule
from proxy.matching.rules import MatchRule
from proxy.server.exchange.transcript import MAX_TEXT, Text
from proxy.server.ops import recorded_texts

FLAG, REWRITE, BLOCK = (Rule("p", action.name.lower(), action, action.value) for action in Action)
WATCH = Rule("p", "watch", Action.BLOCK, 9, enforced=False)
SECRETS = {FLAG: "flagged", REWRITE: "rewritten one", BLOCK: "blocked", WATCH: "watched"}


def checks(*rules: Rule) -> tuple[Check, ...]:
    """One check for the words of some rules."""
    return (Matcher([compile_rule(MatchRule(rule, words=(SECRETS[rule],))) for rule in rules]),)


ALL = checks(FLAG, REWRITE, WATCH)


def text(*parts: str, joiner: str = "", of: tuple[Check, ...] = ALL, complete: bool = True) -> Text:
    """A text in parts."""
    made = Text("user", Kind.CONTENT, joiner=joiner, checks=of, complete=complete)
    for part in parts:
        made.add(part)
    return made


def recorded(text: Text, mode: str) -> Any:
    """It as an object of the record."""
    return in_one_go(recorded_texts.recorded(text, mode))


def rules(record: dict[str, object]) -> list[str]:
    """The rules that found something, as the record has them."""
    found = record["findings"]
    assert isinstance(found, list)
    return [one["rule"] for one in found]


def test_what_a_rule_finds_is_masked_whatever_it_does() -> None:
    """A rule that rewrites, one that flags, and one that only watches; the record says what was erased and where."""
    record = recorded(text("It is flagged, a rewritten one, watched."), "masked")
    assert record["text"] == "It is [p/flag], a [p/rewrite], [p/watch]."
    assert record["findings"][1] == {"policy": "p", "rule": "rewrite", "start": 17, "end": 30, "length": 13}
    assert record["left_out"] == 0


def test_nothing_that_follows_a_block_is_recorded() -> None:
    """Nobody judged it: what stood before is there, and how much was left out."""
    record = recorded(text("It is blocked, and then flagged.", of=checks(FLAG, BLOCK)), "masked")
    assert record["text"] == "It is [p/block]"
    assert record["left_out"] == len(", and then flagged.")


def test_a_match_over_two_parts_is_masked() -> None:
    """The model may read the parts with or without what stands between them; both readings count."""
    for parts, joiner in (
        (("a rewritten", "one b"), "\n\n"),
        (("a flag", "ged b"), "\n\n"),
        (("x", " flag", "ged b"), "+"),
    ):
        record = recorded(text(*parts, joiner=joiner), "masked")
        assert "flag" not in record["text"].replace("[p/flag]", "")
        assert "rewritten" not in record["text"]
        assert len(rules(record)) == 1


def test_an_answer_that_broke_off_ends_where_it_is_decided() -> None:
    """Half a match may be at its end: what could still become one is left out."""
    record = recorded(text("It is a rewrit", complete=False), "masked")
    assert record["text"] == "It is a "
    assert record["left_out"] == len("rewrit")


def test_a_long_text_is_cut_and_no_match_with_it() -> None:
    """A match that reaches beyond the cut is masked whole."""
    record = recorded(text("x" * (MAX_TEXT - 6) + " flagged" + " y" * 10_000), "masked")
    assert record["text"].endswith("x [p/flag]")
    assert record["left_out"] == len(" flagged") - 6 + 20_000
    assert recorded(text("z" * 10 * MAX_TEXT), "full")["left_out"] == 9 * MAX_TEXT


class Broken:
    """A check that fails."""

    hold = 0

    def open(self) -> Scan:
        """Itself."""
        return self

    def feed(self, text: str, final: bool = False) -> Progress:
        """Fail."""
        raise ValueError


@pytest.mark.parametrize("check", [Broken(), FailOpen(Broken())])
def test_what_cannot_be_judged_is_not_recorded(check: Check) -> None:
    """Also where the policy lets the text pass; with `full` it is recorded, as everything is."""
    record = recorded(text("flagged", of=(check,)), "masked")
    assert (record["text"], record["left_out"]) == (None, 7)
    full = recorded(text("flagged", of=(Broken(),)), "full")
    assert (full["text"], full["left_out"]) == ("flagged", 0)


def test_full_is_full() -> None:
    """The text as it is, and what rules find in it."""
    record = recorded(text("It is flagged."), "full")
    assert (record["text"], rules(record)) == ("It is flagged.", ["flag"])


WORDS = st.sampled_from(["flagged", "rewritten", "one", "blocked", "watched", " ", "\n", "flag", "ged", "x", "\u200b"])


@given(st.lists(st.lists(WORDS, max_size=6).map("".join), min_size=1, max_size=4), st.sampled_from(["", "\n\n", " "]))
def test_no_rule_finds_anything_in_a_masked_text(parts: list[str], joiner: str) -> None:
    """Law: what is recorded has nothing in it that a rule finds, beside the labels."""
    of = checks(FLAG, REWRITE, BLOCK, WATCH)
    record = recorded(text(*parts, joiner=joiner, of=of), "masked")
    for rest in _between_labels(record["text"]):
        scan = of[0].open()
        assert not [*scan.feed(rest).findings, *scan.feed("", final=True).findings]


def _between_labels(masked: str) -> Iterable[str]:
    for rule in SECRETS:
        masked = masked.replace(f"[{rule.name}]", "\0")
    return masked.split("\0")
