"""An answer that repeats the request's system text is found, in any cut, and nothing else of it is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.checks.system_prompt import (
    LONGEST_GAP,
    SHORTEST,
    SYSTEM_PROMPT_LEAK,
    SYSTEM_TEXT,
    WORDS,
    SystemPromptPass,
    phrases_of,
)
from proxy.core.gate import Gate
from proxy.core.types import Action, Rule
from proxy.matching.matcher import Matcher
from tests.laws import check_laws, covered, findings

RULES = {action: Rule("p", "leak", action) for action in Action}
LETTERS = list("abcdefghijklmnop")
REPETITIVE = " ".join(
    ["ab", "ab", "ab", "a", "b", "ab", "a", "b", "b", "ab", "a", "ab", "b", "a", "ab", "ab", "b", "b", "a"]
)


def matcher(system: str = SYSTEM_TEXT, action: Action = Action.REWRITE, escaped: bool = False) -> Matcher:
    """The detector alone, for a request with this system text."""
    leak = SystemPromptPass(RULES[action]).about(phrases_of(system))
    return Matcher((), escaped, others=[leak], max_cached=0)


def shown(text: str, system: str = SYSTEM_TEXT) -> str:
    """What is let out of an answer."""
    return Gate([matcher(system)]).feed(text, final=True)


@pytest.mark.parametrize("text", SYSTEM_PROMPT_LEAK.hits)
def test_it_finds_its_hits(text: str) -> None:
    """Whatever the case, the marks and the spaces between the words."""
    assert shown(text).count("[removed]") == 1


@pytest.mark.parametrize("text", SYSTEM_PROMPT_LEAK.misses)
def test_it_lets_its_misses_be(text: str) -> None:
    """Short runs and other words."""
    assert shown(text) == text


def test_all_of_a_run_is_hidden_and_nothing_else() -> None:
    """From its first word to its last one, as one find."""
    run = "never say that the archive in the cellar is being moved"
    text = f"I must {SYSTEM_TEXT} Is that so?"
    assert shown(text) == "I must [removed]. Is that so?"
    assert shown(f"They told me: and {run}!") == "They told me: [removed]!"


@pytest.mark.parametrize("count", [WORDS - 1, WORDS])
def test_a_run_has_so_many_words(count: int) -> None:
    """One word fewer is a common phrase."""
    text = " ".join(LETTERS[:count])
    assert (shown(text, " ".join(LETTERS)) == text) is (count < WORDS)


def test_a_short_system_text_counts_as_a_whole() -> None:
    """All of it, when it has SHORTEST words; a shorter one never."""
    short = " ".join(LETTERS[:SHORTEST])
    assert shown(f"x {short} y", short) == "x [removed] y"
    assert shown(f"x {short[:-2]} y", short) == f"x {short[:-2]} y"
    assert shown(f"x {short[:-2]} y", short[:-2]) == f"x {short[:-2]} y"


@pytest.mark.parametrize(
    ("system", "answer"),
    [
        ("你是希尔路图书馆的助手请用两句话回答", "好的：你是希尔路图书馆的助手，请用两句话回答"),
        (
            "तुम पुस्तकालय के सहायक हो और समय के बारे में केवल दो वाक्यों में उत्तर दो",
            "तुम पुस्तकालय के सहायक हो और समय के बारे में केवल दो",
        ),
        (SYSTEM_TEXT, SYSTEM_TEXT.replace(" ", "\n> ")),
        (SYSTEM_TEXT, SYSTEM_TEXT.replace("a", "\u0430")),
        (SYSTEM_TEXT, SYSTEM_TEXT.replace("o", "o\u200b")),
        (SYSTEM_TEXT.replace("and", "&amp;"), SYSTEM_TEXT.replace("and", "&amp;")),
    ],
)
def test_it_reads_both_texts_as_a_reader_does(system: str, answer: str) -> None:
    """Other scripts, line breaks, look-alikes, what nobody sees, references of HTML."""
    assert "[removed]" in shown(answer, system)


def test_words_that_stand_far_apart_are_no_run() -> None:
    """More than LONGEST_GAP characters between two words."""
    for gap, hidden in ((LONGEST_GAP, True), (LONGEST_GAP + 1, False)):
        text = ("-" * gap).join(LETTERS)
        assert (shown(text, " ".join(LETTERS)) != text) is hidden


def test_the_source_of_json_is_read_with_its_escapes_resolved() -> None:
    """In the arguments of a call, too."""
    source = '{"text": "' + SYSTEM_TEXT.replace(" ", "\\n").replace("Hill", "\\u0048ill") + '"}'
    assert "Hill" not in Gate([matcher(escaped=True)]).feed(source, final=True)
    assert "[removed]" in Gate([matcher(escaped=True)]).feed(source, final=True)


def test_without_a_system_text_nothing_is_found() -> None:
    """A request may have none."""
    assert shown(SYSTEM_TEXT, "") == SYSTEM_TEXT


def expected(text: str, system: str) -> set[int]:
    """The offsets of every run that is one of the system text, found the slow way."""
    words = [(m.start(), m.end(), m[0]) for m in re.finditer(r"\w+", text)]
    own = re.findall(r"\w+", system)
    length = min(WORDS, len(own))
    runs = {tuple(own[i : i + length]) for i in range(len(own) - length + 1)}
    found: set[int] = set()
    for i in range(len(words) - length + 1 if length >= SHORTEST else 0):
        window = words[i : i + length]
        if tuple(word for _, _, word in window) in runs:
            found |= set(range(window[0][0], window[-1][1]))
    return found


pieces = st.sampled_from(
    ["a ", "b ", "ab ", "ab b ", REPETITIVE + " ", REPETITIVE[:20], REPETITIVE[9:], "c", ". ", "\n"]
)


@pytest.mark.parametrize("action", Action, ids=lambda action: action.name)
@settings(deadline=None)
@given(data=st.data())
def test_it_obeys_the_laws(action: Action, data: st.DataObject) -> None:
    """Runs that overlap, begin again and break off, cut anywhere."""
    text = "".join(data.draw(st.lists(pieces, max_size=7)))
    answers = check_laws(matcher(REPETITIVE, action), text, data.draw(st.integers(0, 2 ** len(text) - 1)))
    if action is not Action.BLOCK:
        assert covered(findings(answers), RULES[action]) == expected(text, REPETITIVE)


def test_a_character_waits_only_while_it_can_still_be_part_of_a_run() -> None:
    """A word that begins no run passes at once, and so does a run that breaks off."""
    scan = matcher("one two three four five six seven eight nine ten eleven twelve").open()
    assert scan.feed("The ").watermark == 4
    assert scan.feed("on").watermark == 4
    assert scan.feed("ion ").watermark == 10
    assert scan.feed("one two thr").watermark == 10
    assert scan.feed("ow").watermark == 23
    assert scan.feed(" twelve ").watermark == 31


def test_a_state_can_be_taken_back() -> None:
    """As a matcher does when another rule blocks."""
    scan = matcher().open()
    scan.feed(SYSTEM_TEXT[:30])
    mark = scan.save()
    scan.feed(" something else")
    scan.restore(mark)
    assert scan.feed(SYSTEM_TEXT[30:], final=True).findings
