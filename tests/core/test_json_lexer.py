"""Runs of whole values are read at one look, and mean what the tokens mean one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.json_lexer import LONGEST_SCALAR, Lexer, Token, Value
from tests.core.test_json_gate import SOURCES
from tests.laws import cut

STRUCTURE = (Token.STRUCTURE, Token.OPEN, Token.CLOSE)


def one_by_one(chunks: list[str]) -> tuple[list[tuple[int, str, bool]], Lexer, str]:
    """The whole values that stand in the text, the lexer after it, and what it has read."""
    lexer = Lexer()
    values: list[tuple[int, str, bool]] = []
    begun: list[tuple[Token, str]] = []
    at = start = 0
    for chunk in chunks:
        for token, piece in lexer.feed(chunk):
            if token in STRUCTURE and begun:
                values += [(start, "".join(text for _, text in begun), begun[0][0] is Token.SCALAR)]
                begun.clear()
            elif token is Token.CLOSE:
                values.append((at, "", False))
            if token not in STRUCTURE:
                start = start if begun else at
                begun.append((token, piece))
            at += len(piece)
    return values, lexer, "".join(chunks)[:at]


def skimmed(chunks: list[str]) -> tuple[list[tuple[int, str, bool]], Lexer, str]:
    """The same with runs."""
    lexer = Lexer()
    values: list[tuple[int, str, bool]] = []
    begun: list[tuple[Token, str]] = []
    at = start = 0
    for chunk in chunks:
        run: list[Value] = []
        for token, piece in lexer.skim(chunk, run):
            if token in STRUCTURE and begun:
                values += [(start, "".join(text for _, text in begun), begun[0][0] is Token.SCALAR)]
                begun.clear()
            elif token is Token.CLOSE:
                values.append((at, "", False))
            values += [(at + value.at, value.text, value.is_scalar) for value in run]
            run.clear()
            if token not in STRUCTURE:
                start = start if begun else at
                begun.append((token, piece))
            at += len(piece)
    return values, lexer, "".join(chunks)[:at]


def after(lexer: Lexer) -> object:
    """Where a lexer stands."""
    return lexer.stack, lexer.state, lexer.pending, lexer.is_key, lexer.ends_scalar, lexer.place(), [*lexer.finish()]


def check(text: str, places: int) -> None:
    """Both readings agree, in one piece and cut."""
    for chunks in ([text], cut(text, places)):
        values, lexer, read = one_by_one(chunks)
        quick, other, also_read = skimmed(chunks)
        assert (quick, also_read) == (values, read)
        assert after(other) == after(lexer)


def tables() -> Iterator[str]:
    """What programs write: many short values."""
    inner = {"a": [], "b": [1, "x", None], "": {}}
    rows = [{"id": i, "name": f"n{i}", "ok": i % 2 == 0, "in": inner} for i in range(9)]
    for source in ({"rows": rows}, [rows, -1.5e3, "end"], rows[0]):
        yield json.dumps(source)
        yield json.dumps(source, indent=1)
        yield json.dumps(source, separators=(",", ":"))


@pytest.mark.parametrize("source", [*tables()])
@pytest.mark.parametrize("places", [0, 1 << 7, 1 << 40 | 1 << 9, 0x5555_5555])
def test_a_table(source: str, places: int) -> None:
    """However it is written, and cut."""
    check(source, places)


@given(SOURCES, st.integers(0, 1 << 60))
def test_any_json(source: str, places: int) -> None:
    """The values and where they stand, and where the lexer stands afterwards."""
    check(source, places)


@given(st.text('ab\\"{}[]:,10.e-ntrue \n', max_size=40), st.sampled_from(["", "[", '{"a":', '[{"b": 1}, ']))
def test_any_text(text: str, before: str) -> None:
    """Also where it is no JSON after all."""
    check(before + text + " " * 20, 0)
    check('[{"key": "value", "number": 12345}, ' + text + ', "some more text", 1, 2, 3]', 0)


@pytest.mark.parametrize("digits", [399, 400, 401, 402, LONGEST_SCALAR, LONGEST_SCALAR + 1])
def test_long_numbers(digits: int) -> None:
    """The longest that is a number is the same for both."""
    for number in ("1" * digits, "0." + "1" * digits, "1e" + "1" * digits):
        check(f"[1, {number}, 2]", 0)


def test_a_place_does_not_copy_the_brackets_that_are_open() -> None:
    """However deep a text is, to know a place in it takes the same time; it stays what it was when the text goes on."""
    lexer = Lexer()
    list(lexer.feed('[{"a":' * 50_000))
    place = lexer.place()
    assert place.stack is lexer.place().stack
    list(lexer.feed('1},{"b":'))
    assert place.closing() == "null" + "}]" * 50_000
    assert lexer.place().closing() == "null" + "}]" * 50_000
