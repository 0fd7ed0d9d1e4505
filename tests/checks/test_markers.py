"""Markers of chat templates: found by form and by name, whole and in pieces, and broken up so that none is left."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.markers import (
    BREAK,
    FORM,
    LISTED,
    LONGEST,
    MARKER_DETECTORS,
    MARKERS,
    OTHER,
    TABLE,
    Marker,
    MarkerKind,
    MarkerPass,
    family_of,
    find,
    named,
    standing_in,
)
from proxy.core.check import Check
from proxy.core.gate import Gate
from proxy.core.json_gate import JsonGate
from proxy.core.types import Action, Ending, Replacement, Rule
from proxy.matching.matcher import Matcher
from tests.laws import check_laws, cut

REWRITE = Rule("test", "markers", Action.REWRITE, replacement=Replacement("", insert=BREAK))
STOP = Rule("test", "stop", Action.BLOCK, ending=Ending.STOP)
ALL = MarkerPass(REWRITE)
FORMS = [marker.text for marker in TABLE if marker.text not in LISTED]
PIECES = [
    *("<", "|", "|>", ">", "<|", "\uff5c", "[", "]", "~", "/", "s", "im_end", '"', "\u2581", "a b", "\n", BREAK),
    *("<|im_end|>", "[INST]", "</s>", "<<SYS>>", "]~b]", "[e~[", "\uff5cDSML\uff5c", "<think>", "x" * 64),
]
texts = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


def matcher(markers: MarkerPass = ALL, escaped: bool = False) -> Check:
    """A check that looks for markers alone."""
    return Matcher([], escaped, others=[markers])


def neutralised(text: str, markers: MarkerPass = ALL, escaped: bool = False) -> str:
    """What a gate makes of the text."""
    gate = JsonGate if escaped else Gate
    return gate([matcher(markers, escaped)]).feed(text, final=True)


@pytest.mark.parametrize("marker", TABLE, ids=lambda marker: marker.text)
def test_every_marker_of_the_table_is_broken_up_once(marker: Marker) -> None:
    """One character is put behind the first; nothing else changes."""
    text = marker.text
    assert neutralised(f"a{text}b") == f"a{text[0]}{BREAK}{text[1:]}b"


@pytest.mark.parametrize("marker", TABLE, ids=lambda marker: marker.text)
def test_no_marker_is_longer_than_what_may_wait(marker: Marker) -> None:
    """The bound on what is held is the length of the longest marker."""
    assert len(marker.text) <= LONGEST


def test_a_text_stands_in_the_table_once() -> None:
    """A marker has one family and one kind."""
    assert len(MARKERS) == len(TABLE)


@pytest.mark.parametrize(
    "text",
    [
        *("<|im_end|>", "<|x>", "<x|>", '<|"|>', "<|a.b-c_9|>", "<\uff5cUser\uff5c>", "<|\u2581|>"),
        *("<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<|\u4f60\u597d|>", "<|" + "x" * 64 + "|>"),
    ],
)
def test_forms_are_found(text: str) -> None:
    """A name of up to 64 word characters, dots, hyphens or quotes, with a bar on one side or on both."""
    assert [match[0] for match in find(f"a {text} b")] == [text]


@pytest.mark.parametrize(
    "text", ["<||>", "<|a b|>", "<|" + "x" * 65 + "|>", "<x>", "|x|", "<|x|", "< |x|>", "<|x|\u200b>", "<\u200b|x|>"]
)
def test_what_has_not_the_form_is_let_be(text: str) -> None:
    """Blanks, names that are too long, no bar, an end that is missing."""
    assert neutralised(text) == text


@pytest.mark.parametrize("text", ["[inst]", "<|IM_END", "\uff1c|im_end|\uff1e", "</S>", "<Think>", "<tools>"])
def test_spelling_is_exact(text: str) -> None:
    """A tokenizer folds nothing, so nothing is folded here."""
    assert neutralised(text) == text


def test_a_marker_of_the_list_counts_only_where_the_template_knows_it() -> None:
    """HTML's `</s>` is left alone for a model to which it means nothing; forms count whatever is known."""
    known = ALL.narrowed(standing_in("{{ '[INST] ' + content + ' [/INST]' }}"))
    assert neutralised("[INST] <s>no</s> <|im_end|>", known) == f"[{BREAK}INST] <s>no</s> <{BREAK}|im_end|>"
    assert neutralised("<s>", ALL.narrowed(None)) == f"<{BREAK}s>"
    assert neutralised("<s> [INST]", ALL.narrowed(frozenset())) == "<s> [INST]"


def test_kinds_are_told_apart() -> None:
    """A rule for turns leaves channels alone, and the other way round; an unknown form counts as a turn's."""
    turns = MarkerPass(REWRITE, frozenset((MarkerKind.TURN,)))
    channels = MarkerPass(REWRITE, frozenset((MarkerKind.CHANNEL,)))
    text = "<|im_end|><think><|channel|><|new|>"
    assert neutralised(text, turns) == f"<{BREAK}|im_end|><think><|channel|><{BREAK}|new|>"
    assert neutralised(text, channels) == f"<|im_end|><{BREAK}think><{BREAK}|channel|><|new|>"


def test_families() -> None:
    """A marker that only its form gives away is of the family `other`; JSON escapes are read."""
    assert family_of("<|im_end|>") == "chatml"
    assert family_of(r"\u003c|im_end|\u003e") == "chatml"
    assert family_of("[INST]") == "llama2"
    assert family_of("<|new|>") == OTHER
    assert named("<|new|>").kind is MarkerKind.TURN


def test_an_insertion_into_json_source_leaves_it_json() -> None:
    """The character stands behind an escape, not in it."""
    assert neutralised(r'{"a":"\u003c|im_end|>"}', escaped=True) == '{"a":"\\u003c' + BREAK + '|im_end|>"}'
    assert neutralised(r'{"a":"<\/s>"}', escaped=True) == '{"a":"<' + BREAK + r'\/s>"}'


def test_a_filter_that_deletes_would_make_markers_and_this_one_does_not() -> None:
    """The inner marker is broken up and the outer one never comes to be."""
    out = neutralised("<|im_<|im_end|>end|>")
    assert out == f"<|im_<{BREAK}|im_end|>end|>"
    assert not list(find(out))


def test_an_answer_ends_before_the_marker() -> None:
    """A blocking rule lets out what stands before it, and no more."""
    gate = Gate([matcher(MarkerPass(STOP))])
    assert [gate.feed(piece) for piece in ("It is so.\n<", "|im_st", "art|>user")] == ["It is so.\n", "", ""]
    assert gate.blocked is not None
    assert gate.blocked.rule.ending is Ending.STOP


@pytest.mark.parametrize("name", MARKER_DETECTORS)
def test_the_detectors_examples(name: str) -> None:
    """Each finds something in its hits and nothing in its misses."""
    detector = MARKER_DETECTORS[name]
    markers = MarkerPass(REWRITE, detector.kinds)
    assert all(neutralised(text, markers) != text for text in detector.hits)
    assert all(neutralised(text, markers) == text for text in detector.misses)


@given(texts, st.integers(0, 1 << 40), st.sampled_from([REWRITE, STOP, Rule("test", "flag", Action.FLAG)]))
def test_the_laws_hold(text: str, places: int, rule: Rule) -> None:
    """However the text is cut: the same findings, and no more held than the longest marker."""
    check_laws(matcher(MarkerPass(rule)), text, places)


@given(texts, st.integers(0, 1 << 40))
def test_the_cut_does_not_matter_to_the_output(text: str, places: int) -> None:
    """In pieces the same comes out as whole."""
    gate = Gate([matcher()])
    assert "".join(map(gate.feed, cut(text, places))) + gate.feed("", final=True) == neutralised(text)


@given(texts)
def test_neutralising_comes_to_rest(text: str) -> None:
    """Nothing is deleted, the width that one sees stays, and where no new marker came to be a second time changes
    nothing."""
    once = neutralised(text)
    assert once.replace(BREAK, "") == text.replace(BREAK, "")
    twice = neutralised(once)
    assert twice == once or list(find(once))
    while twice != once:
        once, twice = twice, neutralised(twice)
    assert not list(find(once))


@given(st.text(st.sampled_from("ab <>|[]\n/s")))
def test_a_text_without_a_marker_is_the_same(text: str) -> None:
    """Byte for byte, by a definition of its own."""
    if not re.search("|".join((FORM, *map(re.escape, LISTED))), text):
        assert neutralised(text) == text
