"""Rewrites and blocks in Ollama's own dialect, and how an answer ends."""

from __future__ import annotations

import json

import pytest
from ollama import ChatResponse, GenerateResponse

from proxy.core.guard import Guard
from proxy.core.types import Action, Ending, Rule
from proxy.dialects.ollama.line import is_stamp
from tests.dialects.golden_files import golden
from tests.dialects.ollama.lines import (
    CHAT,
    GENERATE,
    NOTICE,
    WHEN,
    answering,
    dialect_of,
    end,
    line,
    lines,
    notice,
    parsed,
    text_of,
    through,
)
from tests.phrases import Phrase, PhrasePlan, block, rewrite


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("ollama_api_chat_stream", "content"),
        ("ollama_api_generate_stream", "response"),
        ("ollama_api_chat_think_stream", "thinking"),
        ("ollama_api_generate_think_stream", "thinking"),
        ("ollama_api_chat_emoji_stream", "content"),
    ],
)
def test_every_phrase_is_rewritten(name: str, key: str) -> None:
    """Each stretch of six characters of a real answer, wherever it is cut, is replaced exactly where it stands."""
    body = golden(name).body
    text = text_of(body, key)
    for at in range(0, len(text) - 6, 3):
        phrase = text[at : at + 6]
        out = through(answering(dialect_of(name), rewrite(phrase)), body)
        assert text_of(out, key) == text.replace(phrase, "[X]")
        assert lines(out)[-1]["done_reason"] == "stop"
        assert lines(out)[-1]["eval_count"] == lines(body)[-1]["eval_count"]


@pytest.mark.parametrize("at", range(1, 9))
def test_a_block_is_visible_text_and_a_proper_end(at: int) -> None:
    """What was shown stays, the notice follows as content, and a last line with counters says content_filter."""
    parts = "fine. a SECRET, more"
    data = line(parts[:at]) + line(parts[at:]) + line("never shown") + end()
    answer = answering(CHAT, block("SECRET"))
    out = through(answer, data)
    assert text_of(out) == "fine. a \n\n" + NOTICE
    assert [got["done"] for got in lines(out)][-1] is True
    last = lines(out)[-1]
    assert last["done_reason"] == "content_filter"
    assert last["eval_count"] == 2
    assert "error" not in last
    assert answer.done
    assert answer.failed is None
    assert all(is_stamp(got["created_at"]) for got in lines(out))
    assert [ChatResponse(**got).done_reason for got in lines(out)][-1] == "content_filter"


def test_a_block_in_generate() -> None:
    """The same under `response`, also when it is the last line that shows it, with the counters that came."""
    data = b'{"model":"m","created_at":"%b","response":"SEC","done":false}\n' % WHEN.encode()
    data += b'{"model":"m","created_at":"%b","response":"RET","done":true,"eval_count":7}\n' % WHEN.encode()
    out = through(answering(GENERATE, block("SECRET")), data)
    assert text_of(out, "response") == NOTICE
    assert lines(out)[-1] == {
        "model": "m",
        "created_at": WHEN,
        "response": "",
        "done": True,
        "done_reason": "content_filter",
        "eval_count": 7,
    }
    assert GenerateResponse(**lines(out)[-1]).response == ""


def test_a_block_without_streaming() -> None:
    """One object whose content is what may be shown and the notice."""
    answer = answering(CHAT, block("SECRET"), stream=False)
    assert through(answer, line("a SECRET") + end()) == b""
    result = json.loads(answer.result())
    assert result["message"] == {"role": "assistant", "content": "a \n\n" + NOTICE}
    assert (result["done"], result["done_reason"]) == (True, "content_filter")


def test_no_notice_in_json() -> None:
    """An answer that a program parses gets no sentence put into it."""
    out = through(answering(CHAT, block("SECRET"), format="json"), line('{"a": "SECRET"}') + end())
    assert text_of(out) == '{"a": ""}'
    assert lines(out)[-1]["done_reason"] == "content_filter"


def test_held_text_comes_before_the_end() -> None:
    """Text that was held until the end is a line of its own before the last one, whose counters stay."""
    out = through(answering(CHAT, block("SECRET")), line("a SEC") + end())
    assert [(got["message"]["content"], got["done"]) for got in lines(out)] == [
        ("a ", False),
        ("SEC", False),
        ("", True),
    ]
    assert lines(out)[-1]["eval_count"] == 3


def test_output_is_judged_from_the_prefill_on() -> None:
    """A last message of the assistant is gone on with: a phrase that begins in it is found."""
    body = {"messages": [{"role": "user", "content": "go"}, {"role": "assistant", "content": "the SEC"}]}
    request = parsed(body)
    assert request.prefill == "the SEC"
    answer = CHAT.answer(request, Guard(PhrasePlan([block("SECRET")]), prefills=request.prefills()), notice)
    assert text_of(through(answer, line("RET") + end())) == NOTICE


@pytest.mark.parametrize(("ending", "reason"), [(Ending.STOP, "stop"), (Ending.LENGTH, "length")])
def test_a_rule_may_end_an_answer_like_the_model(ending: Ending, reason: str) -> None:
    """Such an end has the dialect's ordinary word and no notice."""
    rule = Rule("p", "r", Action.BLOCK, ending=ending)
    out = through(answering(CHAT, Phrase("SECRET", rule)), line("a SECRET") + end())
    assert text_of(out) == "a "
    assert lines(out)[-1]["done_reason"] == reason
