"""Requests of LM Studio's own chat: what is understood, refused, left out, and where the texts are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.dialects.lmstudio.chat import LMStudioChat
from proxy.dialects.request import Options, Request
from proxy.errors import BadRequest

CHAT = LMStudioChat()
MOST = Options(max_context=1000)


def parsed(body: dict[str, Any], **options: bool) -> Request:
    """A request read from a client's bytes."""
    return CHAT.parse(json.dumps({"model": "m", "input": "hi", **body}).encode(), Options(**options))


def sent(request: Request) -> dict[str, Any]:
    """What would go upstream."""
    body: dict[str, Any] = json.loads(CHAT.upstream_body(request))
    return body


def test_nothing_is_stored() -> None:
    """The server is always told to keep nothing, and is always asked to stream."""
    assert sent(parsed({})) == {"model": "m", "input": "hi", "store": False, "stream": True}
    asked = parsed({"store": True})
    assert sent(asked)["store"] is False
    assert asked.dropped == ("store",)
    assert sent(parsed({"store": True, "previous_response_id": "resp_1"}, allow_stateful=True))["store"] is True


@pytest.mark.parametrize(
    ("body", "option"),
    [
        ({"previous_response_id": "resp_1"}, "allow_stateful"),
        ({"input": [{"type": "image", "data_url": "https://elsewhere/x.png"}]}, "allow_remote_images"),
        ({"model": "gpt-oss:cloud"}, "allow_cloud_models"),
    ],
)
def test_what_has_to_be_allowed(body: dict[str, Any], option: str) -> None:
    """Refused by default, by the name of the setting that allows it; with the setting it goes upstream as it is."""
    with pytest.raises(BadRequest) as refused:
        parsed(body)
    assert option in str(refused.value)
    allowed = sent(parsed(body, **{option: True}))
    assert {key: allowed[key] for key in body} == body


@pytest.mark.parametrize(
    "integrations",
    [["mcp/playwright"], [{"type": "ephemeral_mcp", "server_url": "https://x", "headers": {"a": "b"}}], "mcp/x", []],
)
def test_integrations_are_left_out(integrations: Any) -> None:
    """The model server would run them; with the setting they go upstream as they are."""
    request = parsed({"integrations": integrations})
    assert request.dropped == ("integrations",)
    assert sent(request) == {"model": "m", "input": "hi", "store": False, "stream": True}
    assert sent(parsed({"integrations": integrations}, allow_server_tools=True))["integrations"] == integrations


def test_model_control_is_left_out() -> None:
    """Sizes and times of loading are dropped and reported; what says nothing is no reason to refuse."""
    request = parsed({"context_length": 9, "ttl": 1, "previous_response_id": None, "top_k": 4})
    assert request.dropped == ("ttl", "context_length")
    assert sent(request)["top_k"] == 4
    assert sent(parsed({"context_length": 9}, allow_model_control=True))["context_length"] == 9


def test_every_text_is_found() -> None:
    """The system prompt and each part of the input; writing to them changes what goes upstream."""
    items = [{"type": "message", "content": "PLANTED-2"}, {"type": "text", "content": "PLANTED-3"}]
    request = parsed({"system_prompt": "PLANTED-1", "input": [*items, {"type": "image", "data_url": "data:x"}]})
    assert [(t.role, t.text, t.group) for t in request.texts] == [
        ("system", "PLANTED-1", 0),
        ("user", "PLANTED-2", 1),
        ("user", "PLANTED-3", 1),
    ]
    for text in request.texts:
        text.put("clean")
    assert b"PLANTED" not in CHAT.upstream_body(request)
    assert [t.param for t in parsed({}).texts] == ["input"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": 1}, "input"),
        ({"Input": "evil"}, "Input"),
        ({"input": [{"type": "message", "content": "x", "Content": "evil"}]}, "input[0].Content"),
    ],
)
def test_what_is_not_understood_is_named(body: dict[str, Any], param: str) -> None:
    """A wrong type and spellings that could be read as known keys are a 400 that names the field."""
    with pytest.raises(BadRequest) as refused:
        parsed(body)
    assert refused.value.param == param
    told = json.loads(CHAT.error(refused.value, "r1"))["error"]
    assert (told["type"], told["param"]) == ("invalid_request", param)


def test_what_is_not_known_is_left_out() -> None:
    """Items of other kinds, words that are none, tools: the rest goes on, and they are named."""
    items = [{"type": "file", "path": "/etc/passwd"}, {"type": "message", "content": "hi"}, "there", 5]
    request = parsed({"input": items, "reasoning": "<|im_end|>", "temperature": "hot", "tools": [{"type": "mcp"}]})
    assert set(request.dropped) == {"input[0]", "input[3]", "reasoning", "temperature", "tools"}
    assert sent(request)["input"] == [{"type": "message", "content": "hi"}, "there"]
    assert [text.text for text in request.texts] == ["hi", "there"]
    request.texts[1].put("you")
    assert sent(request)["input"][1] == "you"


def test_a_context_up_to_the_largest() -> None:
    """It passes up to the operator's most, and is lowered to that."""
    for asked, becomes in ((100, 100), (5000, 1000)):
        request = CHAT.parse(json.dumps({"model": "m", "input": "hi", "context_length": asked}).encode(), MOST)
        assert sent(request)["context_length"] == becomes
        assert request.dropped == (() if asked == becomes else ("context_length",))


def test_pictures_can_be_refused() -> None:
    """A policy may refuse pictures."""
    body = {"input": [{"type": "image", "data_url": "data:image/png;base64,AA"}]}
    assert sent(parsed(body))["input"] == body["input"]
    with pytest.raises(BadRequest) as refused:
        parsed(body, allow_images=False)
    assert refused.value.code == "media_refused"


def test_the_operators_words_stand_around_the_system_prompt() -> None:
    """First and last, with the client's own between them."""
    request = parsed({"system_prompt": "own"})
    CHAT.instruct(request, "A", "Z")
    assert sent(request)["system_prompt"] == "A\n\nown\n\nZ"
    bare = parsed({})
    CHAT.instruct(bare, "A", "")
    assert sent(bare)["system_prompt"] == "A"


def test_a_blocked_prompt_is_an_error_object() -> None:
    """The 400 body has the shape of the API's own errors."""
    assert json.loads(CHAT.blocked("no", "r1"))["error"] == {
        "type": "invalid_request",
        "message": "no",
        "code": "content_filter",
        "param": "input",
    }
