"""What guards and others said is kept with the exchange, short and without text."""

from __future__ import annotations

import pytest

from proxy.checks.guards.calls import Generated
from proxy.checks.guards.judge import GuardReply
from proxy.checks.http_check import HttpQuestion, HttpService
from proxy.checks.isolated import ProcessQuestion
from proxy.core.failures import CheckFailed, Reason
from proxy.server.exchange.check_answers import MOST, CheckAnswer, CheckAnswers, answer_of
from tests.server.guards.asking import GUARD, MINILM, about, judged


def reply(text: str) -> GuardReply:
    """Of a guard, to one question."""
    question = judged()
    return GuardReply(question, tuple([Generated(text, True)] * len(question.prompts)))


@pytest.mark.parametrize(
    ("text", "level", "categories"),
    [
        ("safe", "safe", ()),
        ("unsafe\nS1,S99", "unsafe", ("S1", "unknown")),
        ("I cannot help with that.", "unreadable", ("grammar",)),
        ("", "unreadable", ("empty",)),
    ],
)
def test_a_guards_verdict(text: str, level: str, categories: tuple[str, ...]) -> None:
    """It has its level and its categories; a reply that cannot be read says why, and none of its text."""
    answer = answer_of(judged(), reply(text), 0.5)
    assert answer == CheckAnswer(GUARD, "judge", "answered", level, categories, 0.5)
    assert answer.is_plain == (level == "safe")


def test_others_who_are_asked() -> None:
    """Each is named as in the metrics, with its kind; no answer has its reason."""
    service = HttpQuestion(HttpService("pii", "http://x"), "", "p", "input", "content", "user", "t", "", (), "en")
    assert answer_of(about(), object(), 0)[:3] == (MINILM, "topic", "answered")
    assert answer_of(service, {"findings": []}, 0)[:3] == ("pii", "http", "answered")
    assert answer_of(ProcessQuestion("slow", "{}", "t", 1.0), [], 0)[:3] == ("slow", "process", "answered")
    assert answer_of(service, None, 0)[:3] == ("pii", "http", "cancelled")
    assert answer_of(service, CheckFailed("pii", Reason.DEADLINE, "x"), 0)[:3] == ("pii", "http", "deadline")


def test_the_answer_that_ends_a_long_exchange_is_kept() -> None:
    """Of a thousand answers the one that is not safe is among those that are kept, in its place; all are counted."""
    answers = CheckAnswers()
    for text in (*["safe"] * 1000, "unsafe\nS1", *["safe"] * 10):
        answers.told(judged(), reply(text), 0.25)
    kept = list(answers)
    assert len(kept) == MOST + 1
    assert kept[-1].level == "unsafe"
    assert answers.total == 1011
    assert answers.seconds == {GUARD: 1011 * 0.25}


def test_many_answers_that_say_something_are_bounded() -> None:
    """A guard that minds everything fills no memory."""
    answers = CheckAnswers()
    for _ in range(1000):
        answers.told(judged(), reply("unsafe\nS1"), 0.25)
    assert len(list(answers)) == MOST
