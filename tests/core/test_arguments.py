"""Tool call arguments: judged whole, decoded, and never left half changed."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.arguments import ArgumentsGate, WholeGate
from proxy.core.check import Check
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
