"""JSON source of which parts are hidden: it is JSON again, and nothing hidden is left, decoded or as it is written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.check import Check
from proxy.core.gate import Gate
from proxy.core.json_checks import JsonSource, json_checks
from proxy.core.json_gate import JsonGate
from proxy.core.prompt import judge
from proxy.core.types import Action, Replacement, Rule
from tests.laws import check_laws, cut
from tests.phrases import Phrase, block, flag, rewrite

LETTERS = 'abn1\\"\n\u00e9\U0001f600 ,:'
TEXTS = st.text(LETTERS, max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-120, 1200) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
SOURCES = st.builds(
    lambda value, ascii_only, indent: json.dumps(value, ensure_ascii=ascii_only, indent=indent),
    VALUES,
    st.booleans(),
    st.sampled_from([None, None, 1]),
)
WORDS = st.text("abn1", min_size=1, max_size=3) | st.sampled_from(["u00", "ue9", "true", "ul", "e", "0", "e-", "d83d"])
PHRASES = WORDS | st.text(LETTERS, min_size=1, max_size=3) | st.sampled_from(['", "', '": ', "\\n", ', "', "}", "[]"])
CUTS = st.integers(0, 2**80)
LABEL = "#"
relaxed = settings(deadline=None)


def gate(*checks: Check) -> JsonGate:
    """A gate with these checks for the source and for its values."""
    return JsonGate(json_checks(lambda escaped: checks))


def through(source: str, checks: Sequence[Check], places: int = 0) -> tuple[JsonGate, str]:
    """A source in pieces, and what goes out."""
    g = gate(*checks)
    return g, "".join([*map(g.feed, cut(source, places)), g.feed("", final=True)])


def read(value: Any) -> Iterator[str]:
    """Every key, text and number of a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from read(item)
    elif isinstance(value, dict):
        yield from value
        yield from read(list(value.values()))
    elif type(value) in (int, float):
        yield json.dumps(value)


def rules(phrases: Iterable[str], label: str = LABEL) -> list[Phrase]:
    """A rule that rewrites, for each of them."""
    return [rewrite(phrase, label, order) for order, phrase in enumerate(phrases)]


@relaxed
@given(SOURCES, st.lists(PHRASES, min_size=1, max_size=3), CUTS)
def test_a_rewrite_leaves_json(source: str, phrases: list[str], places: int) -> None:
    """Whatever is hidden and however it comes: it can be read, and no value has a phrase in it."""
    _, out = through(source, rules(phrases), places)
    value = json.loads(out)
    assert not [text for text in read(value) for phrase in phrases if phrase in text]
    assert type(value) in (type(json.loads(source)), str)


@relaxed
@given(SOURCES, st.lists(WORDS, min_size=1, max_size=3), CUTS)
def test_a_rewrite_leaves_nothing_in_the_source(source: str, phrases: list[str], places: int) -> None:
    """Nor does who reads the source find a phrase there, also where an escape spells its beginning."""
    _, out = through(source, rules(phrases), places)
    assert not [phrase for phrase in phrases if phrase in out]


@relaxed
@given(SOURCES, st.lists(PHRASES, max_size=3), st.lists(PHRASES, max_size=1), CUTS)
def test_the_cut_does_not_matter(source: str, rewritten: list[str], blocked: list[str], places: int) -> None:
    """The same goes out in whatever pieces it comes, in one piece and letter by letter."""
    checks = [*rules(rewritten), *(block(phrase) for phrase in blocked)]
    whole, expected = through(source, checks)
    for cuts in (places, -1):
        other, out = through(source, checks, cuts)
        assert out == expected
        assert other.closing == whole.closing
        assert (other.blocked is None) == (whole.blocked is None)


@relaxed
@given(SOURCES, PHRASES, CUTS)
def test_a_block_can_be_closed(source: str, phrase: str, places: int) -> None:
    """What goes out before a block is the beginning of the source, and with its closing it is JSON, or nothing."""
    g, out = through(source, [block(phrase)], places)
    assert source.startswith(out)
    if g.blocked is None:
        assert out == source
    else:
        assert_closed(out, g)


@relaxed
@given(SOURCES, st.lists(PHRASES, min_size=1, max_size=2), PHRASES, CUTS)
def test_a_block_in_what_is_hidden_can_be_closed(source: str, hidden: list[str], phrase: str, places: int) -> None:
    """The same where a label would have stood."""
    g, out = through(source, [*rules(hidden), block(phrase), block(hidden[0][1:] or "zz")], places)
    if g.blocked is not None:
        assert_closed(out, g)


def assert_closed(out: str, g: JsonGate) -> None:
    """What went out before a block is JSON with its closing, or nothing; and nothing waits any more."""
    assert g.held == 0
    if out.strip():
        json.loads(out + g.closing)
    else:
        assert g.closing == ""


@relaxed
@given(SOURCES, CUTS, st.integers(0, 200))
def test_what_nobody_minds_is_not_touched(source: str, places: int, end: int) -> None:
    """Every piece goes on as the object that came, unless it waits for the end of a number or an escape."""
    source = source[:end]
    g = gate(rewrite("z"), block("zz"))
    for piece in cut(source, places):
        out = g.feed(piece)
        assert out is piece or out != piece or g.held
    assert through(source, [rewrite("z")], places)[1] == source


@relaxed
@given(st.text('abn\\"{}[]:,1 \n', max_size=12), PHRASES, CUTS)
def test_what_is_no_json_is_plain_text(text: str, phrase: str, places: int) -> None:
    """From the first character on that cannot stand in JSON, a text is hidden as any other."""
    source = "Well: " + text
    plain = Gate(rules([phrase], 'a "label"'))
    assert through(source, rules([phrase], 'a "label"'), places)[1] == plain.feed(source, final=True)


@relaxed
@given(SOURCES, st.text('abn\\"{}[]:,1 \n', max_size=8), st.lists(PHRASES, min_size=1, max_size=2), CUTS)
def test_any_text_is_survived(source: str, rest: str, phrases: list[str], places: int) -> None:
    """Also what begins as JSON and goes on as something else: the cut does not matter, and words are hidden."""
    text = source[: len(source) // 2] + rest
    _, out = through(text, rules(phrases), places)
    assert out == through(text, rules(phrases))[1]
    assert not [phrase for phrase in phrases if phrase.isalnum() and phrase in out]


@relaxed
@given(SOURCES, CUTS)
def test_values_obey_the_laws(source: str, places: int) -> None:
    """The checks of the source and of its values are one check of the source, which obeys the laws of every check."""
    for inner in ((rewrite("ab"),), (block("b"),), (flag("a"), rewrite("n1")), (rewrite("a"), block("1"))):
        check_laws(JsonSource((), inner), source, places)
        check_laws(JsonSource(inner, inner), source, places)


@pytest.mark.parametrize(
    ("source", "phrase", "expected"),
    [
        ('{"note":"Hi\\nbob"}', "bob", '{"note":"Hi\\n#"}'),
        ('{"note":"Hi\\nbob"}', "nbob", '{"note":"Hi\\n#"}'),
        ('{"note":"\\u0062ob"}', "bob", '{"note":"#"}'),
        ('{"k":"a\\tb"}', "t", '{"k":"a#b"}'),
        ('{"n": 41112}', "111", '{"n": "4#2"}'),
        ('{"n": [41, 11, 2]}', "1, 1", '{"n": ["4#", "1", 2]}'),
        ('{"n": 4.111e3}', "4111", '{"n": "#"}'),
        ('{"ok": true}', "ru", '{"ok": "t#e"}'),
        ('{"ab": 1}', "ab", '{"#": 1}'),
        ('{"a": "x", "b": "y"}', 'x", "b', '{"a": "#", "": "y"}'),
        ('{"a": "x"}', '{"a"', '{"#": "x"}'),
        ('{"a": "x"}', '": "', '{"a": "x"}'),
        ('["\\ud83d\\ude00"]', "\U0001f600", '["#"]'),
        ('["\\ud83d\\ude00 de00"]', "de00", '["# #"]'),
        ("12 34", "12", '"#" 34'),
        ("12x", "12", "#x"),
        ("[1x2]", "2", "[1x#]"),
        ('"ab', "ab", '"#'),
        ("", "ab", ""),
    ],
)
def test_what_is_hidden_where(source: str, phrase: str, expected: str) -> None:
    """The cases one by one."""
    for places in (0, -1):
        assert through(source, rules([phrase]), places)[1] == expected


@pytest.mark.parametrize(
    ("source", "shown", "closing"),
    [
        ('{"a": "so bomb"}', '{"a": "so ', '"}'),
        ('{"a": [1, "bomb"]}', '{"a": [1, "', '"]}'),
        ('{"a": 1, "bomb": 2}', '{"a": 1, "', '":null}'),
        ('["bomb"]', '["', '"]'),
        ("bomb", "", ""),
        (' "\\nbomb"', ' "\\n', '"'),
        ("[1, bomb]", "[1, ", "null]"),
        ("[1, x, bomb]", "[1, x, ", ""),
        ("[17bomb]", "[17", "]"),
        ("[1.bomb]", "[", "]"),
    ],
)
def test_closings(source: str, shown: str, closing: str) -> None:
    """What makes whole what was shown before a block; nothing where that is no JSON."""
    g, out = through(source, [block("bomb")])
    assert (out, g.closing) == (shown, closing)


def test_a_block_in_structure() -> None:
    """A block that begins at a key's quote, at a comma, or in a number whose label is not known yet."""
    for source, checks, shown, closing in (
        ('{"a": 1, "bomb": 2}', [block('"bomb')], '{"a": 1, ', '"":null}'),
        ('{"a": 1, "b": 2}', [block(', "b')], '{"a": 1', "}"),
        ('{"a" : 1}', [block(": 1")], '{"a" ', ":null}"),
        ('{"a": 12, "b": 3}', [rewrite('12, "b'), block('2, "b')], '{"a": ', "null}"),
    ):
        g, out = through(source, checks)
        assert (out, g.closing) == (shown, closing)


def test_a_label_is_encoded() -> None:
    """In a string it is part of the string."""
    assert json.loads(through('{"k": "bomb"}', [rewrite("bomb", 'a "quoted"\nlabel')])[1]) == {"k": 'a "quoted"\nlabel'}


def test_a_mask_has_the_length_of_what_is_read() -> None:
    """Not of how it is written."""
    check = Phrase("bob\n", Rule("test", "mask", Action.REWRITE, replacement=Replacement(mask="*")))
    assert through('["\\u0062ob\\n", "bob\\n"]', [check])[1] == '["****", "****"]'


def test_equal_values_have_equal_tags() -> None:
    """However they are written."""
    check = Phrase("bob", Rule("test", "tag", Action.REWRITE, replacement=Replacement("p", hash_key=b"k")))
    first, second, third = json.loads(through('["bob", "\\u0062ob", "\\nbob"]', [check, rewrite("nbob", order=1)])[1])
    assert first == second == third.strip()
    assert first.startswith("[p:")


def test_what_is_found_in_source_and_value_is_one_finding() -> None:
    """A rule's match is counted once, though it is found in both, and each match is."""
    g, _ = through('{"bomb": "bomb bomb"}', [flag("bomb")])
    assert len(g.findings) == 3


def test_a_source_that_the_client_has_begun() -> None:
    """What the model adds to the client's beginning is judged with it and goes on where it stands."""
    for begun, rest, out in (
        ('{"a": "bo', 'mb", "b": 1}', '#", "b": 1}'),
        ('{"a": "x\\', 'n bomb"}', 'n #"}'),
        ('{"a": 4', '2, "bomb": 1}', '2, "#": 1}'),
        ('{"a": 4', "77}", "}"),
        ("{", '"a": 12}', '"a": 12}'),
        ("Well, bo", 'mb "', '# "'),
    ):
        g = gate(rewrite("bomb", LABEL), rewrite("77", LABEL))
        g.prime(begun)
        assert g.feed(rest) + g.feed("", final=True) == out


def test_text_before_a_source_is_not_part_of_it() -> None:
    """A phrase may begin in the text before it, and the source begins anew all the same."""
    g = gate(rewrite("m {", LABEL), rewrite("bomb", LABEL))
    g.prime("a bom", begins=False)
    assert g.feed('{"a": "bomb", "n": 1}') + g.feed("", final=True) == '{"a": "#", "n": 1}'


@relaxed
@given(SOURCES, st.lists(PHRASES, min_size=1, max_size=3))
def test_arguments_of_a_history_stay_json(source: str, phrases: list[str]) -> None:
    """In a prompt the same checks and the same writer leave a call's arguments JSON."""
    *_, judged = judge([source], "", json_checks(lambda escaped: rules(phrases)), escaped=True)
    assert judged is not None
    (out,) = judged.parts
    assert out == through(source, rules(phrases))[1]
    assert (out is source) == (out == source)
