"""Tool call arguments: judged whole, decoded, and never left half changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.arguments import ArgumentsGate, WholeGate, pieces
from proxy.core.check import Check
from proxy.core.json_checks import json_checks
from proxy.core.json_gate import JsonGate
from proxy.core.json_values import JsonValues
from proxy.core.steps import in_one_go
from tests.core.test_json_gate import SOURCES
from tests.literals import Literal
from tests.phrases import block, flag, rewrite


def gate(*checks: Check) -> ArgumentsGate:
    """A gate for a call's arguments with these checks."""
    return ArgumentsGate(lambda escaped: checks)


def judged(source: str, *checks: Check, chunks: Iterable[str] | None = None) -> str | None:
    """The arguments that go out; None when the call is blocked."""
    g = gate(*checks)
    assert [g.feed(chunk) for chunk in (chunks or list(source))] == [""] * len(list(chunks or source))
    out = g.feed("", final=True)
    return None if g.blocked else out


def test_arguments_leave_only_when_they_are_complete() -> None:
    """Nothing of a call goes out before its end, and untouched arguments leave as they were written."""
    source = '{ "city":"Oslo",  "n": 1.50e2, "deep": [null, {"x": true}] }'
    assert judged(source, block("bomb")) == source


@pytest.mark.parametrize(
    "source",
    [
        '{"a": "bomb"}',
        '{"a": "\\u0062omb"}',
        '{"\\u0062omb": 1}',
        '{"a": {"b": ["x", "a bomb"]}}',
        '{"a": "bomb", "a": "ok"}',
        '{"a": "bomb',
    ],
)
def test_a_word_in_any_key_or_value_is_seen_decoded(source: str) -> None:
    """A word written with escapes, in a key, deep down, in a duplicate key, or in broken JSON, is seen."""
    assert judged(source, block("bomb")) is None


def test_a_rewrite_leaves_valid_json() -> None:
    """A hidden value is replaced inside its string, and the rest stays what it was."""
    out = judged('{"to": "\\u0062ob", "n": 12345678901234567890}', rewrite("bob", 'a "b"'))
    assert out is not None
    assert json.loads(out) == {"to": 'a "b"', "n": 12345678901234567890}


def test_a_number_can_be_hidden() -> None:
    """A number is judged as it is written and becomes a string when a rule hides it."""
    assert judged('{"card": 4111}', rewrite("4111", "[card]")) == '{"card": "[card]"}'


def test_a_rewrite_across_the_punctuation_leaves_json() -> None:
    """A match that only shows across JSON's own punctuation is hidden in the values; the punctuation stays."""
    assert judged('{"a": "x", "b": "y"}', rewrite('x", "b')) == '{"a": "[X]", "": "y"}'


def test_any_depth_is_read() -> None:
    """Arguments that are nested as deep as nobody writes them are judged like others."""
    deep = "[" * 100_000 + '"bomb"' + "]" * 100_000
    assert judged(deep, flag("bomb"), chunks=[deep]) == deep
    assert judged(deep, block("bomb"), chunks=[deep]) is None


def test_findings_are_reported_once() -> None:
    """What is found decoded is not counted again in the source."""
    g = gate(flag("bomb"))
    g.feed('{"a": "bomb"}', final=True)
    assert len(g.findings) == 1


def test_a_name_waits_for_its_end() -> None:
    """A tool's name is judged whole."""
    g = WholeGate(lambda escaped: [rewrite("bomb")])
    assert [g.feed("bo"), g.feed("mb"), g.held, g.feed("er", final=True)] == ["", "", 4, "[X]er"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text('ab\\"\n\u00e9', max_size=5),
        lambda leaf: st.lists(leaf, max_size=3) | st.dictionaries(st.text("ab", max_size=3), leaf, max_size=3),
    ),
    st.booleans(),
)
def test_any_arguments_keep_their_meaning(value: object, ascii_only: bool) -> None:
    """A rewrite changes the hidden words and nothing else; what is not hidden keeps its meaning."""

    def hidden(v: object) -> object:
        if isinstance(v, str):
            return v.replace("ab", "#")
        if isinstance(v, list):
            return [hidden(x) for x in v]
        return {hidden(k): hidden(x) for k, x in v.items()} if isinstance(v, dict) else v

    out = judged(json.dumps(value, ensure_ascii=ascii_only), rewrite("ab", "#"))
    assert out is not None
    assert json.loads(out) == hidden(value)


def test_keys_and_values_that_come_again_are_read_once() -> None:
    """A call with a table of a thousand rows is judged cell by cell, and each text in it once."""
    check = Literal("bomb", flag("bomb").rule)
    source = json.dumps([{"kind": "row", "size": 3}] * 1000)
    assert judged(source, check, chunks=[source]) == source
    assert check.opened == len({"kind", "row", "size", "3"}) + 1  # and the text as it is written


def test_what_is_found_again_is_told_again() -> None:
    """Only a text in which nothing was found need not be looked at again."""
    source = json.dumps(["bomb"] * 3)
    arguments = gate(flag("bomb"))
    assert arguments.feed(source, final=True) == source
    assert len(arguments.findings) == 3


TEXTS = st.sampled_from(["a", "b\n", "1", '"'])


def checks_of(*actions: Callable[[str], Check]) -> st.SearchStrategy[list[Check]]:
    """Some checks that do that."""
    return st.lists(st.builds(lambda action, text: action(text), st.sampled_from(actions), TEXTS), max_size=3)


@given(SOURCES, checks_of(block, flag, rewrite), st.integers(1, 40))
def test_a_call_is_judged_as_a_json_answer_is(source: str, checks: list[Check], step: int) -> None:
    """Though nothing is written where nothing is found: the same goes out, and the same is found, at any step."""
    whole = gate(*checks)
    whole.feed(source)
    out = in_one_go(whole.finish(lambda: step))
    written = JsonGate(json_checks(lambda escaped: checks))
    expected = "".join(written.feed(piece) for piece in pieces(source, lambda: step)) + written.feed("", final=True)
    assert whole.blocked == written.blocked
    assert out == ("" if written.blocked else expected)
    assert whole.findings == written.findings


@given(SOURCES, checks_of(flag, rewrite))
def test_values_with_escapes_are_read_at_one_look_as_they_are_piece_by_piece(source: str, checks: list[Check]) -> None:
    """What is found in them, and where."""
    whole, stepwise = JsonValues(checks).open(), JsonValues(checks).open()
    found = [*whole.feed(source).findings, *whole.feed("", final=True).findings]
    others = [finding for char in source for finding in stepwise.feed(char).findings]
    assert found == [*others, *stepwise.feed("", final=True).findings]
