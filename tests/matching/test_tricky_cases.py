"""Cases that break other designs: what may be out after every chunk, to the character."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from proxy.core.gate import Gate
from proxy.core.types import Action, Replacement, Rule
from proxy.matching.matcher import Matcher, compile_rule
from proxy.matching.rules import MatchRule


def luhn(text: str) -> bool:
    """The check digit of payment cards (ISO/IEC 7812-1, annex B)."""
    digits = [int(c) for c in reversed(text) if c.isdigit()]
    return sum(sum(divmod(2 * d, 10)) if i % 2 else d for i, d in enumerate(digits)) % 10 == 0


def rule(name: str, pattern: str, **options: object) -> MatchRule:
    """A rule that puts [name] in the place of what it matches; action=BLOCK makes it block."""
    action = options.pop("action", Action.REWRITE)
    assert isinstance(action, Action)
    return MatchRule(Rule("p", name, action, 0, Replacement(f"[{name}]")), pattern, **options)  # type: ignore[arg-type]


def released(rules: Sequence[MatchRule], chunks: Sequence[str]) -> tuple[list[str], str]:
    """What came out after every chunk and at the end, and the name of the rule that blocked."""
    ordered = [replace(r, rule=replace(r.rule, order=n)) for n, r in enumerate(rules)]
    gate = Gate([Matcher([compile_rule(r) for r in ordered])])
    out = [gate.feed(chunk) for chunk in chunks]
    out.append(gate.feed("", final=True))
    return out, gate.blocked.rule.id if gate.blocked else ""


@dataclass(frozen=True)
class Case:
    """One row: rules, chunks, what is out after each and at the end, the rule that blocks."""

    shows: str
    rules: list[MatchRule]
    chunks: list[str]
    out: list[str]
    blocked: str = ""


CARD = r"\b(?:\d[ -]?){12,18}\d\b"
BLOCK = {"action": Action.BLOCK}
CASES = [
    Case(
        "a word boundary at the end of a chunk is undecided",
        [rule("W", r"\bcat\b")],
        ["the cat", "egory cat", "."],
        ["the ", "category ", "[W].", ""],
    ),
    Case(
        "a match that can grow is labelled once, when it cannot",
        [rule("N", r"\d{3,}")],
        ["id 12", "34", "56 ok"],
        ["id ", "", "[N] ok", ""],
    ),
    Case("the longer alternative may still come", [rule("A", "a|ab")], ["xa", "b", "c"], ["x", "[A]", "c", ""]),
    Case(
        "overlapping matches of one rule leave no residue",
        [rule("P", "aba")],
        ["ab", "aba", "b"],
        ["", "", "", "[P]b"],
    ),
    Case(
        "overlapping matches of two rules are one segment, named after the first rule",
        [rule("A", "abc"), rule("B", "cde")],
        ["ab", "cd", "e", "f"],
        ["", "", "[A]", "f", ""],
    ),
    Case(
        "a match inside one that fails stands by itself",
        [rule("A", "abcd"), rule("B", "bc")],
        ["ab", "c", "x"],
        ["", "", "a[B]x", ""],
    ),
    Case(
        "a match inside one that completes is part of it",
        [rule("A", "abcd"), rule("B", "bc")],
        ["ab", "c", "d"],
        ["", "", "[A]", ""],
    ),
    Case(
        "an address grows to its last character",
        [rule("E", r"[\w.+-]+@[\w-]+\.\w+")],
        ["mail bob", "@ex", "ample.c", "om now"],
        ["mail ", "", "", "[E] ", "now"],
    ),
    Case(
        "look-around sees what was released and what has not come",
        [rule("S", r"(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)")],
        ["078-05-112", "0", "1 078-05-1120", " "],
        ["", "", "078-05-11201 ", "[S] ", ""],
    ),
    Case(
        "a match without an end is hidden as it grows",
        [rule("K", r"key=\S+")],
        ["key", "=ab", "cd", "ef g"],
        ["", "", "", "[K] g", ""],
    ),
    Case(
        "the end of a chunk is not the end of the text",
        [rule("Z", r"end\Z")],
        ["the end", " or end"],
        ["the ", "end or ", "[Z]"],
    ),
    Case(
        "the start of a chunk is not the start of a line",
        [rule("L", "(?m:^)bad")],
        ["not bad\n", "ba", "d"],
        ["not bad\n", "", "[L]", ""],
    ),
    Case(
        "max_hold lets go of unfinished text only, and a late match hides what is left",
        [rule("G", r"BEGIN[\s\S]*END", max_hold=8)],
        ["x BEGIN ab", "cdefghijkl", "END y"],
        ["x ", "BEGIN abcd", "efg", "[G] y"],
    ),
    Case(
        "a block lets out nothing of its match",
        [rule("B", "bomb", **BLOCK)],
        ["a bo", "m", "b now"],
        ["a ", "", "", ""],
        "B",
    ),
    Case(
        "of two blocks at one end the earlier start counts, and the first in file order is named",
        [rule("A", "a", **BLOCK), rule("B", "1a", **BLOCK)],
        ["x1a"],
        ["x", ""],
        "A",
    ),
    Case(
        "a block drops what an unfinished match still holds",
        [rule("A", "abcdef"), rule("B", "cd", **BLOCK)],
        ["xab", "cd", "ef"],
        ["x", "", "", ""],
        "B",
    ),
    Case(
        "the Kelvin sign is a k when case is ignored",
        [rule("C", "(?i)kill")],
        ["KI", "\u212aill k", "ill"],
        ["", "KI[C] ", "[C]", ""],
    ),
    Case("what can never match is not held", [rule("D", r"aa\ba")], ["aa", "a"], ["aa", "a", ""]),
    Case("a failed beginning is let go at once", [rule("O", "ab+c")], ["abab", "b", "d"], ["ab", "", "abbd", ""]),
    Case("the dot is not a line feed", [rule("X", "a.c")], ["a", "\n", "c"], ["", "a\n", "c", ""]),
    Case(
        "a validator decides between two card numbers",
        [rule("CARD", CARD, validate=luhn)],
        ["4111 1111 ", "1111 1111", " and 4111 1111 1111 1112", "."],
        ["", "", "[CARD] and ", "4111 1111 1111 1112.", ""],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.shows)
def test_text_is_released_as_soon_as_it_is_decided_and_not_sooner(case: Case) -> None:
    """Every row of the table comes out as written, chunk by chunk."""
    assert released(case.rules, case.chunks) == (case.out, case.blocked)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.shows)
def test_the_cut_does_not_matter(case: Case) -> None:
    """Every row's text gives the same whole, character by character and in one piece."""
    text = "".join(case.chunks)
    whole = "".join(case.out)
    for chunks in ([text], list(text)):
        out, blocked = released(case.rules, chunks)
        assert ("".join(out), blocked) == (whole, case.blocked)
