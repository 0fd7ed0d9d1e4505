"""`outside: code` leaves fenced blocks and inline code alone, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.checks.code import CodeScan
from proxy.checks.detectors import DETECTORS, detector_pass
from proxy.checks.outside import OutsideCode, searching_rule
from proxy.core.gate import Gate
from proxy.core.types import Action, Rule
from proxy.matching.compiled import compile_rule
from proxy.matching.matcher import Matcher
from proxy.matching.rules import HidingPass, MatchRule
from proxy.matching.scan import MatchPass
from tests.laws import check_laws, cut

ALPHABET = ["`", "``", "```", "~~~", "\n", "\n\n", " ", "\\", ">", "x", "bob@example.com", "abcab", "word", "a" * 300]


def email(action: Action) -> Matcher:
    """Addresses, but not in code."""
    rule = Rule("p", "email", action)
    return Matcher([], others=[OutsideCode(rule, detector_pass(DETECTORS["email"], searching_rule(rule)))])


def letters(action: Action) -> Matcher:
    """A pattern of which matches grow and overlap."""
    rule = Rule("p", "letters", action)
    inner: HidingPass = MatchPass([compile_rule(MatchRule(searching_rule(rule), "ab(?:ca?b?)?|x`+x?|w.{0,3}d"))])
    return Matcher([], others=[OutsideCode(rule, inner)])


MATCHERS = {make: {action: make(action) for action in Action} for make in (email, letters)}


def code_of(text: str, pieces: list[str]) -> list[bool]:
    """For each character whether it is code."""
    scan = CodeScan()
    marks = [False] * len(text)
    for i, piece in enumerate([*pieces, ""]):
        for start, end in scan.feed(piece, i == len(pieces)).code:
            marks[start:end] = [True] * (end - start)
    return marks


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a `b` c", "`b`"),
        ("a ``b ` c`` d", "``b ` c``"),
        ("a ` b", ""),
        ("a \\`b` c", ""),
        ("a `b\n\nc` d", ""),
        ("```py\nx\n```\ny", "```py\nx\n```"),
        ("t\n~~~\nx\n~~~\ny", "~~~\nx\n~~~"),
        ("```\nx\n", "```\nx\n"),
        ("a\n```\nx ``` y\n````\nz", "```\nx ``` y\n````"),
        ("```x``` y", "```x```"),
        ("> ```\n> x\n> ```\ny", "```\n> x\n> ```"),
        ("a ```b``` c", "```b```"),
        ("a `" + "b" * 300 + "` c", ""),
    ],
)
def test_code_is_what_a_reader_of_markdown_sees_as_code(text: str, code: str) -> None:
    """Fenced blocks and inline code; an unclosed backtick is text, an unclosed fence is code."""
    marks = code_of(text, [text])
    assert "".join(char for char, is_code in zip(text, marks, strict=True) if is_code) == code


@settings(deadline=None)
@given(data=st.data())
def test_code_is_the_same_however_the_text_is_cut(data: st.DataObject) -> None:
    """And it is known within a bounded number of characters."""
    text = "".join(data.draw(st.lists(st.sampled_from(ALPHABET), max_size=12)))
    pieces = cut(text, data.draw(st.integers(0, 2 ** len(text) - 1)))
    assert code_of(text, pieces) == code_of(text, [text]) == code_of(text, list(text))


@pytest.mark.parametrize("action", Action, ids=lambda action: action.name)
@pytest.mark.parametrize("make", MATCHERS, ids=lambda make: make.__name__)
@settings(deadline=None)
@given(data=st.data())
def test_it_obeys_the_laws(make: object, action: Action, data: st.DataObject) -> None:
    """With code anywhere, closed or not, cut anywhere."""
    text = "".join(data.draw(st.lists(st.sampled_from(ALPHABET), max_size=10)))
    check_laws(MATCHERS[make][action], text, data.draw(st.integers(0, 2 ** len(text) - 1)))  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bob@example.com and `bob@example.com`", "[removed] and `bob@example.com`"),
        ("```\nbob@example.com\n```\nbob@example.com", "```\nbob@example.com\n```\n[removed]"),
        ("a ` bob@example.com", "a ` [removed]"),
        ("```\nbob@example.com", "```\nbob@example.com"),
    ],
)
def test_what_lies_in_code_stays(text: str, shown: str) -> None:
    """And what lies beside it does not."""
    assert Gate([MATCHERS[email][Action.REWRITE]]).feed(text, final=True) == shown


def test_a_block_in_code_does_not_end_the_text() -> None:
    """What comes behind the code may."""
    gate = Gate([MATCHERS[email][Action.BLOCK]])
    assert gate.feed("`a@example.com` b@example.com", final=True) == "`a@example.com` "
    assert gate.blocked is not None
