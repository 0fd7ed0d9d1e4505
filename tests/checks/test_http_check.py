"""`check: http`: what is asked, and what an answer means."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.asking import AskingRule, Spot, unescaped
from proxy.checks.http_check import HTTP, HttpOptions, HttpQuestion
from proxy.core.check import Said, Turn
from proxy.core.types import Action, Direction, Kind, Rule
from proxy.testing import check_laws

URL = "http://127.0.0.1:9/check"
RULE = Rule("house", "pii", Action.BLOCK, 1)


def made(**options: Any) -> AskingRule:
    """The rule of these options."""
    made = HTTP.make(RULE, HttpOptions(URL, **options))
    assert isinstance(made, AskingRule)
    return made


def finds(data: object) -> object:
    """A service that finds the word bad."""
    assert isinstance(data, HttpQuestion)
    text = data.body("r", "m", None)["text"]
    return {"findings": [{"start": m.start(), "end": m.end(), "label": "BAD"} for m in re.finditer("bad", text)]}


@pytest.mark.parametrize("hold", ["sentence", "whole", 1, 40])
@pytest.mark.parametrize("action", Action)
def test_it_obeys_the_laws(hold: Any, action: Action) -> None:
    """However much is judged at a time."""
    check = HTTP.make(Rule("house", "pii", action, 1), HttpOptions(URL, hold=hold, context=20))
    texts = ["", "It is bad. And this one is longer, and it is good. bad bad.", "\u00e9 bad \ud83d!"]
    check_laws(check, texts, cuts=4, replies=finds)  # type: ignore[arg-type]


def test_what_is_asked() -> None:
    """Whose text it is, where it stands, and what was said before, as far as the rule wants it."""
    scan = made(context=16).open(
        Turn(Direction.INPUT, Kind.CONTENT, "user", (Said("user", "a question"), Said("assistant", "an answer")))
    )
    (ask,) = scan.feed("Here is something that I say to you. M").asks
    assert isinstance(ask.data, HttpQuestion)
    assert ask.data.body("id", "tiny", None) == {
        "version": 1,
        "request_id": "id",
        "policy": "house/pii",
        "direction": "input",
        "channel": "content",
        "role": "user",
        "model": "tiny",
        "key": None,
        "text": "Here is something that I say to you.",
        "before": "",
        "context": [{"role": "user", "text": "uestion"}, {"role": "assistant", "text": "an answer"}],
    }
    (more,) = scan.feed("ore.", final=True).asks
    assert isinstance(more.data, HttpQuestion)
    assert (more.data.text, more.data.before, more.data.context) == (" More.", "hat I say to you."[-16:], ())


WRONG: list[object] = [
    None,
    [],
    {},
    {"findings": None},
    {"findings": [1]},
    {"findings": [{"start": 0}]},
    {"findings": [{"start": 0, "end": True}]},
    {"findings": [{"start": 0, "end": 1, "label": 3}]},
    {"findings": [{"start": "0", "end": 1}]},
]


@pytest.mark.parametrize("reply", WRONG)
def test_what_is_no_answer(reply: object) -> None:
    """Never a pass."""
    with pytest.raises(ValueError):
        list(made().questions.spots("text", reply))


def test_labels_choose_the_action() -> None:
    """Of the rule, a weaker one, or none."""
    check = made(actions={"NAME": "rewrite", "DATE": "flag", "OTHER": "ignore", "BAD": "block"})
    reply = {"findings": [{"start": 0, "end": 1, "label": x} for x in ("NAME", "DATE", "OTHER", "BAD", "NEW")]}
    actions = [spot.action for spot in check.questions.spots("text", reply)]
    assert actions == [Action.REWRITE, Action.FLAG, Action.BLOCK, None]
    assert set(check.weaker) == {Action.REWRITE, Action.FLAG}


def test_presidio() -> None:
    """Its own words, and its scores."""
    check = made(adapter="presidio", language="de", min_score=0.6)
    data = check.questions.question(Turn(), "", "Ich bin Anna.")
    assert isinstance(data, HttpQuestion)
    assert data.body("id", "m", None) == {"text": "Ich bin Anna.", "language": "de"}
    reply = [
        {"start": 8, "end": 12, "score": 0.85, "entity_type": "PERSON", "analysis_explanation": None},
        {"start": 0, "end": 3, "score": 0.4, "entity_type": "NRP"},
    ]
    assert list(check.questions.spots("Ich bin Anna.", reply)) == [Spot(8, 12)]
    wrongs: list[object] = [{}, *([{"start": 1, "end": 2, "score": score}] for score in ("high", True))]
    for wrong in wrongs:
        with pytest.raises(ValueError):
            list(check.questions.spots("text", wrong))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://host/x", "only http:// and https://"),
        ("http://", "only http:// and https://"),
        ("http://host:port/", "it is no URL"),
        ("http://me:secret@host/", "a policy is no place for a password"),
        ("http://judge.example/check", "people's texts are sent to judge.example"),
    ],
)
def test_urls_that_are_refused_or_surprise(url: str, says: str) -> None:
    """Each with a reason and a fix."""
    assert HTTP.remarks is not None
    remarks = [remark for remark in HTTP.remarks(HttpOptions(url)) if remark is not None]
    assert any(says in remark.message for remark in remarks)
    assert all(remark.hint for remark in remarks)
    assert [remark for remark in HTTP.remarks(HttpOptions("http://localhost:80/x")) if remark] == []


@given(text=st.text(st.characters(codec="utf-8"), max_size=20), ascii_=st.booleans())
def test_escapes_are_resolved_and_places_found_again(text: str, ascii_: bool) -> None:
    """What JSON source says, character by character."""
    import json

    source = json.dumps(text, ensure_ascii=ascii_)[1:-1]
    said, places = unescaped(source)
    assert said == text
    assert len(places) == len(said) + 1
    for i in range(len(said)):
        assert unescaped(source[places[i] : places[i + 1]])[0] == said[i]
