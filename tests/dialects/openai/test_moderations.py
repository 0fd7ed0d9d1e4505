"""The moderation call: which texts are judged, and an answer that OpenAI's client reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types import ModerationCreateResponse

from proxy.core.types import Action, Finding, Rule
from proxy.dialects.openai import moderations
from proxy.errors import BadRequest


def parsed(given: Any, **more: Any) -> tuple[tuple[str, ...], ...]:
    """The inputs of a request for `given`."""
    return moderations.parse(json.dumps({"input": given, **more}).encode()).inputs


def found(name: str, enforced: bool = True) -> Finding:
    """A finding of the rule `policy/rule`."""
    policy, _, rule = name.partition("/")
    return Finding(0, 3, Rule(policy, rule, Action.BLOCK, enforced=enforced))


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("a", (("a",),)),
        (["a", "b"], (("a",), ("b",))),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], (("a", "b"),)),
        ("", (("",),)),
    ],
)
def test_every_form_of_input_is_read(given: Any, inputs: Any) -> None:
    """A string, strings with a result each, or parts of one input with one result."""
    assert parsed(given) == inputs
    assert parsed(given, model="omni-moderation-latest") == inputs


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ([], "input"),
        (3, "input"),
        ([1, 2], "input[0]"),
        (["a", {"type": "text", "text": "b"}], "input"),
        ([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}], "input[0].type"),
        ([{"type": "text"}], "input[0].text"),
    ],
)
def test_what_cannot_be_judged_is_refused(given: Any, param: str) -> None:
    """Nothing is called harmless that was not read: pictures, token ids and mixtures are a 400 that names them."""
    with pytest.raises(BadRequest) as refused:
        parsed(given)
    assert refused.value.param == param
    assert json.loads(moderations.error(refused.value, "r1"))["error"]["param"] == param


def test_a_missing_input_is_named() -> None:
    """A request without input is a 400."""
    with pytest.raises(BadRequest) as refused:
        moderations.parse(b"{}")
    assert refused.value.param == "input"


def test_openais_client_reads_the_answer() -> None:
    """The openai package finds all of its categories, false where no rule has their name, and the rules beside them."""
    body = moderations.answer([[found("secrets/email")], []], "r1", ["secrets/email", "secrets/phone"])
    answer = ModerationCreateResponse.model_validate_json(body, strict=True)
    assert answer.id == "modr-r1"
    assert [result.flagged for result in answer.results] == [True, False]
    hit = json.loads(body)["results"][0]
    assert {name for name, on in hit["categories"].items() if on} == {"secrets/email"}
    assert hit["categories"]["secrets/phone"] is False
    assert hit["category_scores"]["secrets/email"] == 1.0
    assert hit["category_applied_input_types"] == {name: [] for name in hit["categories"]} | {"secrets/email": ["text"]}
    assert not any(answer.results[1].categories.model_dump().values())
    assert not any(answer.results[1].category_scores.model_dump().values())


def test_a_policy_may_fill_openais_categories() -> None:
    """A rule whose full name is one of OpenAI's categories answers for it."""
    body = moderations.answer([[found("harassment/threatening")]], "r1")
    answer = ModerationCreateResponse.model_validate_json(body)
    assert answer.results[0].categories.harassment_threatening
    assert not answer.results[0].categories.harassment


def test_a_rule_that_only_watches_flags_nothing() -> None:
    """In monitor mode a rule shows in its category and the text is not flagged."""
    result = json.loads(moderations.answer([[found("p/r", enforced=False)]], "r1"))["results"][0]
    assert result["flagged"] is False
    assert result["categories"]["p/r"] is True


def test_categories_are_openais_and_the_rules() -> None:
    """No other category is made up."""
    result = json.loads(moderations.answer([[]], "r1", ["p/r"]))["results"][0]
    for part in ("categories", "category_scores", "category_applied_input_types"):
        assert set(result[part]) == {*moderations.OPENAI_CATEGORIES, "p/r"}
