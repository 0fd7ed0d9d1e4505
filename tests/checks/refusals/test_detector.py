"""Which answers are refusals, in which language, and when that is known."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.refusals.cues import LANGUAGES, languages_of
from proxy.checks.refusals.detector import HEAD, STEP, Refusal, RefusalReader, classify, language, normalised
from proxy.checks.refusals.language import Example, RefusalKind

HITS = [(code, hit) for code in LANGUAGES for hit in language(code).hits]
MISSES = [(code, miss) for code in LANGUAGES for miss in language(code).misses]
SAFETY, CAPABILITY, PARTIAL = RefusalKind
ENGLISH = Refusal(SAFETY, "en")
FILLER = "The river rises in the hills and runs through three old towns before it meets the sea. "


def read(chunks: list[str]) -> RefusalReader:
    """An answer that came in these chunks, and has ended."""
    reader = RefusalReader()
    for chunk in chunks:
        reader.feed(chunk)
    reader.feed("", final=True)
    return reader


def cut(text: str, places: list[int]) -> list[str]:
    """The text, cut at these places."""
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[a:b] for a, b in pairwise(edges)]


@pytest.mark.parametrize(("code", "hit"), HITS)
def test_each_phrase_is_a_refusal_of_its_kind_and_language(code: str, hit: Example) -> None:
    """Each language's own examples are found, with kind and language."""
    assert classify(hit.text) == Refusal(hit.kind, code)


@pytest.mark.parametrize(("code", "miss"), MISSES)
def test_what_only_sounds_like_a_refusal_is_none(code: str, miss: str) -> None:
    """Counter-speech, a story in which somebody refuses, and "I can't believe" are none, in each language."""
    assert classify(miss) is None


@pytest.mark.parametrize("code", LANGUAGES)
def test_each_language_has_every_kind_and_four_misses(code: str) -> None:
    """No language is a stub: there are sixteen, each with hits of all three kinds, and with misses."""
    assert len(LANGUAGES) == 16
    assert {hit.kind for hit in language(code).hits} == set(RefusalKind)
    assert len(language(code).misses) >= 4


@pytest.mark.parametrize(
    "text",
    [
        "There is no reason why women should not become pilots. Many of them are.",
        "No, it is false that left-handed people die sooner.",
        "I can't believe you found that book! It is about a lighthouse keeper.",
        "I can't help but smile at this question: of course penguins dream.",
        "I cannot recommend this bakery highly enough.",
        "I can't wait to show you: here is the plan.",
        'The knight lowered his sword. "I cannot help you with that," he said, and rode away.',
        "\u201cI\u2019m sorry, but I can\u2019t help with that,\u201d said the clerk, and shut the window.",
        "Sure. To decline politely, write that you are busy that evening.",
        "",
        "I",
        " \n\t ",
    ],
)
def test_the_cases_that_are_none(text: str) -> None:
    """Counter-speech, talk of refusing, quotations, joy, and nothing at all."""
    assert classify(text) is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("I'm sorry, but I can't assist with that request.", SAFETY),
        ("I\u2019m sorry, but I won\u2019t be able to help with that.", SAFETY),
        ("**I cannot** fulfill this request.", SAFETY),
        ("  \n I can't help with that.", SAFETY),
        ("Hello! Thank you for your message. However, I must inform you that I cannot provide such a list.", SAFETY),
        ("Sorry, but I can't xylophone that.", SAFETY),
        ("I do not have access to real-time data.", CAPABILITY),
        ("As an AI language model, I cannot browse the web.", CAPABILITY),
        ("I can't give you medical advice. However, here are some general facts about sleep.", PARTIAL),
        ("Although I can't predict prices, the last ten years look like this.", PARTIAL),
    ],
)
def test_the_cases_that_are_refusals(text: str, kind: RefusalKind) -> None:
    """Other apostrophes, Markdown, a greeting before it, and a verb that no family has behind an apology."""
    assert classify(text) == Refusal(kind, "en")


def test_a_refusal_behind_a_long_answer_is_none() -> None:
    """What comes behind the first 200 characters is not read."""
    assert classify(FILLER * 3 + "I'm sorry, but I can't help with the rest.") is None
    assert read([FILLER * 3, "I'm sorry, but I can't help with the rest."]).refusal is None


def test_a_long_answer_that_begins_with_a_refusal_is_one() -> None:
    """How long it goes on does not matter."""
    assert classify("I'm sorry, but I can't help with that. " + FILLER * 30) == ENGLISH


def test_it_is_decided_before_the_answer_ends() -> None:
    """As soon as the sentence has ended and no help follows: the reader needs not half of what it may read."""
    reader = RefusalReader()
    text = "I'm sorry, but I can't help with that. It would be wrong to do so, as you will understand."
    reader.feed(text)
    assert (reader.decided, reader.refusal) == (True, ENGLISH)
    assert reader.read < HEAD // 2


def test_it_is_not_decided_before_it_is_sure() -> None:
    """ "I can't help" may go on with "but laugh"."""
    reader = RefusalReader()
    reader.feed("I can't help")
    assert not reader.decided
    reader.feed(" but laugh. " + FILLER * 3)
    assert (reader.decided, reader.refusal) == (True, None)


def test_a_decided_reader_keeps_no_text() -> None:
    """What comes later neither changes the verdict nor is kept."""
    reader = read(["I can't help with that."])
    reader.feed(FILLER * 100)
    assert reader.refusal == ENGLISH
    assert reader._head == ""


@given(
    st.sampled_from([hit.text for _, hit in HITS] + [miss for _, miss in MISSES]),
    st.sampled_from(["", FILLER, FILLER * 4, " However, here is what I can say."]),
    st.lists(st.integers(0, 600), max_size=30),
)
def test_the_cut_does_not_matter(text: str, rest: str, places: list[int]) -> None:
    """However an answer comes, the verdict is the same, and is known at the same character."""
    whole, pieces = read([text + rest]), read(cut(text + rest, places))
    assert (pieces.refusal, pieces.read) == (whole.refusal, whole.read)
    assert whole.read <= HEAD


@given(st.text(max_size=300), st.lists(st.integers(0, 300), max_size=10))
def test_any_text_is_read(text: str, places: list[int]) -> None:
    """No text makes it fail, and the reader that sees no end agrees with `classify` of a text too short to be sure."""
    reader = read(cut(text, places))
    assert reader.decided
    if len(text) < STEP:
        assert reader.refusal == classify(text)


@given(st.sampled_from([hit.text for code, hit in HITS if code == "en"]))
def test_reader_and_whole_text_agree(text: str) -> None:
    """An answer that comes in pieces is judged as one that comes whole."""
    assert read(list(text)).refusal == classify(text)


def test_only_languages_of_which_there_is_a_word_are_read() -> None:
    """A text without a cue is searched for nothing."""
    assert languages_of(normalised("Paris has two million people.")) == []
    assert languages_of(normalised("Ich kann das nicht.")) == ["de"]
    assert languages_of(normalised("すみません。")) == ["ja"]


def test_no_phrase_is_loaded_before_it_is_needed() -> None:
    """An English refusal loads English alone: a start, and an answer, wait for no other language."""
    code = (
        "import sys; from proxy.checks.refusals.detector import classify;"
        "before = [m for m in sys.modules if '.languages.' in m]; classify('I cannot help with that.');"
        "print(before, [m.rpartition('.')[2] for m in sys.modules if '.languages.' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] ['en']"
