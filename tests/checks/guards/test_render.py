"""Prompts of guards: as their makers wrote them, safe from the texts in them, and with room for all of a text."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.guards.format import Judged
from proxy.checks.guards.neutral import neutral
from proxy.checks.guards.render import LEAST_ROOM, NoRoom, estimated_tokens, render
from proxy.checks.markers import BREAK, FORM, LISTED
from proxy.core.check import Said
from tests.checks.guards.formats import BOTH, FORMATS, GOLDEN, asked, golden_prompt, wanted, whole

HARMLESS = "a cake with three eggs"
FORMAT_AND_JUDGED = st.sampled_from(BOTH)
SPELLED = sorted(
    {mark for guard in FORMATS.values() for mark in (*guard.marks.tokens, *guard.marks.lines)}
    | {"<|eot_id|>", "<|im_end|>", "<|im_start|>", "<|end_of_text|>", "</s>", "[/INST]", "{conversation}", "{user}"}
)
PIECES = st.sampled_from([*SPELLED, *"<>|[]{}:\n\r \u2028\x85", "a word", "user", "END", "<|", "|>", BREAK, "é", "中"])
LINES = st.sampled_from([f"\n{line}" for guard in FORMATS.values() for line in guard.marks.lines])
HOSTILE = st.lists(PIECES | LINES, max_size=25).map("".join)
PARTS = st.lists(st.sampled_from(["word ", "中文", "x" * 30, "<|eot_id|>", "\n", "User: "]), max_size=9).map("".join)
LONG = st.builds(lambda part, times: (part * times)[:9_000], PARTS, st.integers(1, 900))


def marks_in(name: str, text: str) -> dict[str, int]:
    """How often each structural mark of a format stands in a text."""
    guard = FORMATS[name]
    tokens = {mark: text.count(mark) for mark in (*guard.marks.tokens, *LISTED)}
    lines = {f"line {mark}": len(re.findall(rf"(?m)^{re.escape(mark)}", text)) for mark in guard.marks.lines}
    return tokens | lines | {"control tokens": len(re.findall(FORM, text))}


@pytest.mark.parametrize(("name", "judged"), BOTH)
def test_golden_prompts(name: str, judged: Judged) -> None:
    """A conversation is written as in the golden file, which holds what the makers' own templates make of it."""
    assert golden_prompt(name, judged) == (GOLDEN / f"{name}.{judged}.txt").read_text(encoding="utf-8")


@given(FORMAT_AND_JUDGED, HOSTILE, HOSTILE, HOSTILE)
def test_texts_bring_no_marks_in(both: tuple[str, Judged], text: str, question: str, answer: str) -> None:
    """Whatever stands in a text or in the conversation, the prompt has its own marks exactly as often as ever."""
    name, judged = both
    turns = [Said("user", f"1{question}"), Said("assistant", f"2{answer}")]
    turns += [Said("user", f"3{question}")] if judged == "answer" else []
    harmless = [Said(turn.role, HARMLESS) for turn in turns]
    hostile, ordinary = asked(name, judged, f"4{text}", turns), asked(name, judged, HARMLESS, harmless)
    assert len(hostile) == len(ordinary)
    for one, other in zip(hostile, ordinary, strict=True):
        assert marks_in(name, whole(one)) == marks_in(name, whole(other))
        assert [message.role for message in one.messages] == [message.role for message in other.messages]


@given(st.sampled_from(sorted(FORMATS)), HOSTILE)
def test_neutral_texts_read_the_same(name: str, text: str) -> None:
    """Nothing is taken out of a text: without what was put in, it is what it was."""
    made = neutral(FORMATS[name], text)
    assert made.replace(BREAK, "").replace("> ", "") == text.replace(BREAK, "").replace("> ", "")


@given(FORMAT_AND_JUDGED, LONG, st.integers(1_700, 2_600))
def test_pieces_cover_all(both: tuple[str, Judged], text: str, tokens: int) -> None:
    """Each character of a text is in a piece, pieces overlap, and each has room in the context with its reply."""
    name, judged = both
    context = tokens + FORMATS[name].reply.tokens
    prompts = asked(name, judged, text, [Said("user", "a question " * 40)], context)
    for category in {prompt.category for prompt in prompts}:
        pieces = [prompt for prompt in prompts if prompt.category == category]
        assert pieces[0].start == 0
        assert pieces[-1].end == len(text)
        assert all(after.start <= before.end for before, after in pairwise(pieces))
        assert all(before.start < after.start for before, after in pairwise(pieces))
    for prompt in prompts:
        assert estimated_tokens(whole(prompt)) + FORMATS[name].reply.tokens <= context


@given(FORMAT_AND_JUDGED, LONG)
def test_pieces_are_judged_whole(both: tuple[str, Judged], text: str) -> None:
    """What a piece covers stands in its prompt."""
    name, judged = both
    guard = FORMATS[name]
    for prompt in asked(name, judged, text, context=2_400 + guard.reply.tokens):
        said = text[prompt.start : prompt.end]
        assert neutral(guard, said.strip() if guard.strip else said) in whole(prompt)


def test_overlap() -> None:
    """A long text is cut at words, and a word that one piece ends with stands in the next one too."""
    text = " ".join(f"word{i}" for i in range(3_000))
    pieces = asked("llama-guard-3-8b", "prompt", text, context=1_024)
    assert len(pieces) > 5
    for before, after in pairwise(pieces):
        assert before.end - after.start > 100
        assert text[after.start - 1] == " "
        assert text[before.end - 1] == " "


def test_old_turns_are_left_out_first() -> None:
    """In a short context the oldest turns are missing; of the question next to the answer at least the end stays."""
    turns = [
        Said("user", "oldest " * 300),
        Said("assistant", "older " * 300),
        Said("user", "third " * 300 + "at last?"),
    ]
    (prompt,) = asked("llama-guard-3-8b", "answer", "So it is.", turns, context=1_024)
    assert "oldest" not in prompt.raw
    assert "older" not in prompt.raw
    assert "third at last?" in prompt.raw
    assert "Agent: So it is." in prompt.raw


def test_each_category_is_asked_about() -> None:
    """A guard that judges by one criterion gets a prompt for each; another one gets one prompt for all."""
    assert [prompt.category for prompt in asked("shieldgemma", "prompt", HARMLESS)] == [
        "dangerous",
        "harassment",
        "hate",
        "sexual",
    ]
    (prompt,) = asked("llama-guard-3-8b", "prompt", HARMLESS)
    assert prompt.category == ""


def test_categories_that_are_not_wanted() -> None:
    """The prompt names only the categories that are asked about."""
    guard = FORMATS["llama-guard-3-8b"]
    some = wanted(guard, "prompt")._replace(categories=guard.categories[:2])
    (prompt,) = render(guard, "prompt", HARMLESS, [], some)
    assert "S1: Violent Crimes.\nS2: Non-Violent Crimes.\n<END" in prompt.raw


@pytest.mark.parametrize(
    "turns",
    [
        [Said("assistant", "Good day!"), Said("user", "Hello")],
        [Said("tool", "42"), Said("user", "Hello")],
        [Said("system", "Be nice."), Said("user", "Hello"), Said("assistant", " ")],
    ],
)
def test_roles_alternate(turns: list[Said]) -> None:
    """Whatever the conversation was, the prompt has the user's turn and the answer, one after the other."""
    (prompt,) = asked("llama-guard-3-8b", "answer", "Hi.", turns)
    assert "<BEGIN CONVERSATION>\n\nUser: Hello\n\nAgent: Hi.\n\n<END CONVERSATION>" in prompt.raw


def test_an_answer_without_a_question() -> None:
    """An answer to nothing is judged all the same, behind an empty turn of the user."""
    (prompt,) = asked("llama-guard-3-8b", "answer", "Hi.")
    assert "User: \n\nAgent: Hi." in prompt.raw


def test_no_room() -> None:
    """A context that the guard's own prompt fills is an error, and so is asking it for what it cannot judge."""
    with pytest.raises(NoRoom, match=r"a context of 512 tokens has no room .* about \d+"):
        asked("qwen3guard-gen", "answer", HARMLESS, context=512)
    assert LEAST_ROOM > 0


def test_every_piece_of_a_text_without_blanks() -> None:
    """A text without a blank is cut anywhere, and still covered."""
    pieces = asked("llama-guard-3-8b", "prompt", "x" * 9_000, context=1_024)
    assert pieces[-1].end == 9_000
    assert sum(prompt.end - prompt.start for prompt in pieces) > 9_000


def test_lone_surrogates() -> None:
    """A text that no JSON can hold is judged all the same, with a mark in its place."""
    (prompt,) = asked("llama-guard-3-8b", "prompt", "a\ud800b \U0001f600", [Said("user", "\udfff")])
    assert "a\ufffdb \U0001f600" in prompt.raw
    prompt.raw.encode()
