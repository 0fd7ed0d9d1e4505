"""docs/policies.md says what `fold` takes for the same, script by script: each pair of its table is tried."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proxy.core.types import Action, Rule
from proxy.matching.matcher import Matcher, compile_rule
from proxy.matching.rules import MatchRule

DOC = (Path(__file__).parent.parent.parent / "docs/policies.md").read_text("utf-8")
TABLE = DOC.split("## Fold by script")[1].split("\n## ")[0]
ROWS = [line.strip("| ").split("|") for line in TABLE.splitlines() if line.startswith("| ")][1:]
PAIR = re.compile("`([^`]+)` `([^`]+)`")


def pairs(column: int) -> list[tuple[str, str]]:
    """The pairs of one column."""
    return [pair for row in ROWS if len(row) > column for pair in PAIR.findall(row[column])]


def is_found(entry: str, text: str) -> bool:
    """Is the whole text found as the entry, read character by character?"""
    scan = Matcher([compile_rule(MatchRule(Rule("p", "w", Action.REWRITE), words=(entry,), fold=True))]).open()
    answers = [*map(scan.feed, f" {text} "), scan.feed("", final=True)]
    return {i for answer in answers for f in answer.findings for i in range(f.start, f.end)} == set(
        range(1, len(text) + 1)
    )


def test_every_script_of_the_table_has_pairs() -> None:
    """The table is read as it is meant."""
    assert len(ROWS) == 13
    assert len(pairs(1)) > 25
    assert len(pairs(2)) > 15


@pytest.mark.parametrize(("one", "other"), pairs(1))
def test_what_is_the_same_is_found_as_each_other(one: str, other: str) -> None:
    """In both directions, as entry and as text."""
    assert is_found(one, other)
    assert is_found(other, one)


@pytest.mark.parametrize(("one", "other"), pairs(2))
def test_what_is_different_is_not_found_as_each_other(one: str, other: str) -> None:
    """Nor is the entry found inside the other."""
    assert not is_found(one, other)
    assert not is_found(other, one)
