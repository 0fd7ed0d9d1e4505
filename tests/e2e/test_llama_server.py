"""The real llama.cpp server and its scripted model behave as the end-to-end tests take for granted."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.llama_server import LlamaServer, LlamaServerError
from tests.e2e.scripts import EMAIL, FORBIDDEN, FORBIDDEN_ARGUMENT, FORGED_TURN, SCRIPTS
from tests.e2e.tiny_model import Script, ScriptedModel, Vocabulary
from tests.waiting import PATIENCE

pytestmark = pytest.mark.e2e

WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "note": {"type": "string"}}},
    },
}


def _ask(name: str, **options: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": f"Please speak. [[{name}]]"}], **options}


def _message(llama: LlamaServer, name: str, **options: Any) -> dict[str, Any]:
    answer = llama.post("/v1/chat/completions", _ask(name, **options))
    message: dict[str, Any] = answer["choices"][0]["message"]
    return message


@contextmanager
def _streaming(llama: LlamaServer, path: str, body: dict[str, Any]) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(llama.url).netloc, timeout=PATIENCE)
    with closing(connection):
        connection.request("POST", path, json.dumps(body | {"stream": True}), {"Content-Type": "application/json"})
        with connection.getresponse() as response:
            yield response


def _events(llama: LlamaServer, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    with _streaming(llama, path, body) as response:
        data = [line.removeprefix(b"data: ") for line in response if line.startswith(b"data: ")]
    return [json.loads(item) for item in data if item.strip() != b"[DONE]"]


def _deltas(llama: LlamaServer, name: str, **options: Any) -> list[dict[str, Any]]:
    events = _events(llama, "/v1/chat/completions", _ask(name, **options))
    return [choice["delta"] for event in events for choice in event["choices"]]


PLAIN = [name for name, script in SCRIPTS.items() if not script.forever and "<t" not in script.text]


@pytest.mark.parametrize("name", PLAIN)
def test_says_the_script_that_the_message_names(llama: LlamaServer, name: str) -> None:
    """A message that ends with [[name]] is answered with that script, to the letter."""
    assert _message(llama, name)["content"] == SCRIPTS[name].text


def test_says_the_default_script_when_none_is_named(llama: LlamaServer) -> None:
    """A message that names no script, or one that does not exist, gets the default one."""
    for content in ("Hello", "Hello [[nobody]]"):
        answer = llama.post("/v1/chat/completions", {"messages": [{"role": "user", "content": content}]})
        assert answer["choices"][0]["message"]["content"] == SCRIPTS["default"].text


def test_a_phrase_comes_in_many_deltas(llama: LlamaServer) -> None:
    """No single delta of a stream holds a forbidden phrase, nor half of it; together they do."""
    pieces = [delta["content"] for delta in _deltas(llama, "bad") if delta.get("content")]
    assert FORBIDDEN in "".join(pieces)
    assert max(map(len, pieces)) <= 4


def test_deltas_never_cut_a_character(llama: LlamaServer) -> None:
    """Tokens are single bytes of a character here, but the server sends whole characters only."""
    text = "".join(delta.get("content") or "" for delta in _deltas(llama, "emoji"))
    assert text == SCRIPTS["emoji"].text


@pytest.mark.parametrize("name", ["think", "think-bad"])
def test_thinking_is_reasoning_content(llama: LlamaServer, name: str) -> None:
    """What stands between <think> and </think> comes as reasoning_content, the rest as content."""
    message = _message(llama, name)
    assert f"<think>{message['reasoning_content']}</think>{message['content']}" == SCRIPTS[name].text


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("tool", FORBIDDEN_ARGUMENT),
        ("tool-escape", FORBIDDEN_ARGUMENT),
        ("tool-mail", EMAIL),
        ("tool-clean", "in Celsius"),
    ],
)
def test_a_tool_call_comes_in_fragments(llama: LlamaServer, name: str, note: str) -> None:
    """The arguments of a streamed call are JSON in fragments; one escape in them hides the forbidden word."""
    calls = [call for delta in _deltas(llama, name, tools=[WEATHER_TOOL]) for call in delta.get("tool_calls", [])]
    fragments = [call["function"]["arguments"] for call in calls]
    assert len(fragments) > 5
    assert json.loads("".join(fragments)) == {"city": "Oslo", "note": note}
    assert (note in "".join(fragments)) == (name != "tool-escape")


def test_two_tool_calls_in_one_answer(llama: LlamaServer) -> None:
    """Parallel calls come as two entries of one message."""
    calls = _message(llama, "tool-two", tools=[WEATHER_TOOL], parallel_tool_calls=True)["tool_calls"]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [
        {"city": "Oslo"},
        {"city": FORBIDDEN_ARGUMENT},
    ]


@pytest.mark.parametrize("name", ["json", "json-bad", "json-escape"])
def test_json_mode(llama: LlamaServer, name: str) -> None:
    """Under response_format json_object the grammar lets the script through; an escape hides the forbidden phrase."""
    content = _message(llama, name, response_format={"type": "json_object"})["content"]
    assert content == SCRIPTS[name].text
    assert (FORBIDDEN in json.loads(content)["why"]) == (name != "json")
    assert (FORBIDDEN in content) == (name == "json-bad")


def test_two_choices_interleave(llama: LlamaServer) -> None:
    """With n=2 both choices stream at once, each under its own index."""
    events = _events(llama, "/v1/chat/completions", _ask("bad", n=2))
    texts = {0: "", 1: ""}
    order = []
    for choice in (choice for event in events for choice in event["choices"]):
        texts[choice["index"]] += choice["delta"].get("content") or ""
        order.append(choice["index"])
    assert texts == {0: SCRIPTS["bad"].text, 1: SCRIPTS["bad"].text}
    assert order not in (sorted(order), sorted(order, reverse=True))


def test_completions_take_a_list_of_prompts(llama: LlamaServer) -> None:
    """/v1/completions renders no template: the prompt's own end names the script, and each prompt is a choice."""
    answer = llama.post("/v1/completions", {"prompt": ["a [[bad]]", "b"], "max_tokens": 200})
    assert [choice["text"] for choice in answer["choices"]] == [SCRIPTS["bad"].text, SCRIPTS["default"].text]


def test_messages_and_responses_speak_the_script(llama: LlamaServer) -> None:
    """The Anthropic and the Responses dialect stream the same text."""
    messages = _events(llama, "/v1/messages", _ask("mail", max_tokens=200))
    text = "".join(event["delta"].get("text", "") for event in messages if event["type"] == "content_block_delta")
    assert text == SCRIPTS["mail"].text
    responses = _events(llama, "/v1/responses", {"input": "Please. [[mail]]"})
    assert "".join(e["delta"] for e in responses if e["type"] == "response.output_text.delta") == SCRIPTS["mail"].text


def test_logprobs_spell_the_text(llama: LlamaServer) -> None:
    """With logprobs each token arrives a second time, letters and bytes."""
    choice = llama.post("/v1/chat/completions", _ask("bad", logprobs=True, top_logprobs=2))["choices"][0]
    entries = choice["logprobs"]["content"]
    assert FORBIDDEN.encode() in b"".join(bytes(entry["bytes"]) for entry in entries)


def test_a_forged_turn_is_a_control_token(llama: LlamaServer) -> None:
    """A turn marker in the text is one control token; with a zero-width space inside it is plain characters."""
    honest = llama.count_tokens("hi there")
    assert llama.count_tokens("hi<|im_end|> there") == honest + 1
    assert llama.count_tokens("hi<|im_\u200bend|> there") == honest + len("<|im_end|>") + len("\u200b".encode())


@pytest.mark.parametrize("name", ["loop", "bad-loop"])
def test_an_endless_script_ends_when_its_client_goes(llama: LlamaServer, name: str) -> None:
    """An endless answer keeps its slot at work until the client closes the connection."""
    with _streaming(llama, "/v1/chat/completions", _ask(name)) as response:
        assert response.read(4000)
        assert llama.slots_busy() == 1
    llama.wait_idle()


def test_waiting_for_an_idle_server_gives_up(llama: LlamaServer) -> None:
    """wait_idle does not hang: when the slot stays busy, it says so."""
    with _streaming(llama, "/v1/chat/completions", _ask("loop")) as response:
        assert response.read(400)
        with pytest.raises(AssertionError, match="1 of the llama"):
            llama.wait_idle(within=0.05)
    llama.wait_idle()


def test_the_base_model_writes_both_sides(llama_base: LlamaServer) -> None:
    """A model without a chat template is served all the same, and forges the next turn in plain text."""
    message = _message(llama_base, "default")
    assert message["content"] == SCRIPTS["marker"].text
    assert FORGED_TURN in message["content"]
    answer = llama_base.post("/v1/completions", {"prompt": "a [[default]]", "max_tokens": 200})
    assert answer["choices"][0]["text"] == SCRIPTS["default"].text


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    """A server that cannot start says why, with the server's own log."""
    with pytest.raises(LlamaServerError, match="did not start") as caught, LlamaServer(tmp_path / "none.gguf"):
        pass
    assert "none.gguf" in str(caught.value)


def test_a_script_must_say_something() -> None:
    """An empty script, and a default that does not exist, are refused when the model is made."""
    with pytest.raises(ValueError, match="must say something"):
        Script()
    with pytest.raises(ValueError, match="'hello' is not among"):
        ScriptedModel({"default": Script("Hi")}, default="hello")


def test_every_position_has_a_token_of_its_own() -> None:
    """No token is used in two places, so a script can hold any text, the same words twice too."""
    vocabulary = Vocabulary()
    vocabulary.add_basics()
    basics = set(vocabulary.ids.values())
    tokens = vocabulary.add_script_tokens("the the the") + vocabulary.add_script_tokens("the the")
    assert len(set(tokens) - basics) == len(tokens)


def test_a_prompt_is_one_token_per_character(llama: LlamaServer) -> None:
    """Words of the scripts are not merged into their tokens in a prompt, so prompts never end inside a script."""
    text = SCRIPTS["default"].text
    assert llama.count_tokens(text) == len(text)
