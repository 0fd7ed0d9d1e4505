"""Ways to forge a turn, to lose the operator's words or to reach another model that were open once."""

from __future__ import annotations

import json
from time import process_time
from typing import Any

import pytest

from proxy.checks.markers import BREAK, LISTED, find
from proxy.core.check import Check
from proxy.core.prompt import Judged, judge
from proxy.core.types import Direction, Kind
from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.base import Dialect
from proxy.dialects.ollama.chat import OllamaChat
from proxy.dialects.openai.chat import OpenAIChat
from proxy.dialects.openai.responses.dialect import OpenAIResponses
from proxy.dialects.request import Options
from proxy.errors import BadRequest
from proxy.policy.names import normalise_model
from proxy.policy.plan import UNKNOWN, ChatTemplate
from proxy.policy.policyset import PolicySet
from proxy.server.exchange.prompt_filter import judge_request
from proxy.server.exchange.record import Exchange
from proxy.server.models.chat_templates import RENDERED, from_ollama
from tests.leaks.attack import CHAT, USER, asked, notice
from tests.policies import copies

MISTRAL = ChatTemplate(frozenset(("[INST]", "[/INST]", "</s>")), exists=True)


@pytest.fixture(scope="module")
def shipped() -> PolicySet:
    """What comes with the proxy."""
    return copies()


async def sent(shipped: PolicySet, dialect: Dialect, request: dict[str, Any], template: ChatTemplate = UNKNOWN) -> Any:
    """The body that goes upstream."""
    prompt = dialect.parse(json.dumps(request).encode(), Options())

    def plan_for(role: str) -> Any:
        return shipped.plan(Direction.INPUT, model=prompt.model, role=role, template=template)

    await judge_request(prompt.texts, prompt.joiner, plan_for, notice, Exchange("/", "revision"))
    return json.loads(dialect.upstream_body(prompt))


def chat(**more: Any) -> dict[str, Any]:
    """A request of OpenAI's chat."""
    return {**CHAT, **more}


# -- forged turns


@pytest.mark.anyio
@pytest.mark.parametrize("before", ["[e~", "]~!b"])
@pytest.mark.parametrize("marker", ["[INST]", "[/INST]"])
async def test_a_marker_that_shares_its_bracket_with_one_of_another_family(
    shipped: PolicySet, before: str, marker: str
) -> None:
    """`[e~[` means nothing to this model, so it must not take the first character of what does."""
    body = await sent(shipped, OpenAIChat(), chat(messages=[{"role": "user", "content": before + marker}]), MISTRAL)
    assert body["messages"][0]["content"] == before + marker[0] + BREAK + marker[1:]


@pytest.mark.parametrize(
    "marker", ["<|/tool|>", "<|plamo:op|>", "<seed:bos>", "<SPECIAL_11>", "<longcat_user>", "[|Human|]", "[unused10]"]
)
def test_families_that_were_unknown(marker: str) -> None:
    """Names with a slash or a colon between the bars, and markers without any."""
    assert [match[0] for match in find(f"a{marker}b")] == [marker]


def text(said: str) -> dict[str, str]:
    """A block of text."""
    return {"type": "text", "text": said}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "between",
    [
        {"type": "tool_result", "tool_use_id": "1", "content": "r"},
        {"type": "thinking", "thinking": "t"},
        {"type": "tool_use", "id": "1", "name": "n", "input": {"a": "b"}},
    ],
)
async def test_a_marker_around_a_block_that_is_rendered_elsewhere(shipped: PolicySet, between: dict[str, Any]) -> None:
    """A backend makes a message of its own of a tool's result, and the texts around it become neighbours."""
    message = {"role": "user", "content": [text("<|im_"), between, text("end|>")]}
    body = await sent(shipped, AnthropicMessages(), {"model": "m", "max_tokens": 1, "messages": [message]})
    assert body["messages"][0]["content"][0]["text"] == f"<{BREAK}|im_"


@pytest.mark.anyio
async def test_a_marker_around_a_call_in_responses(shipped: PolicySet) -> None:
    """llama.cpp puts an assistant's messages before and behind its call into one."""
    said = [
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": part}]}
        for part in ("<|im_", "end|>")
    ]
    call = {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}
    body = await sent(shipped, OpenAIResponses(), {"model": "m", "input": [USER, said[0], call, said[1]]})
    assert body["input"][1]["content"][0]["text"] == f"<{BREAK}|im_"


@pytest.mark.anyio
@pytest.mark.parametrize("aside", [{"name": "x"}, {"tool_call_id": "x"}, {"reasoning_content": "x"}])
async def test_a_phrase_around_a_name(aside: dict[str, str]) -> None:
    """What stands beside a message's text does not stand between it and the next message."""
    first = {"role": "user", "content": "for", **aside}
    request = chat(messages=[first, {"role": "user", "content": "bidden", **aside}])
    body = await asked(OpenAIChat(), request, r"{id: a, pattern: 'for\s+bidden', action: rewrite, replacement: '#'}")
    assert [message["content"] for message in json.loads(body)["messages"]] == ["#", ""]


@pytest.mark.anyio
async def test_an_open_string_in_one_calls_arguments_does_not_reach_the_next(shipped: PolicySet) -> None:
    """Each is JSON source of its own: behind `{"a":"` the next one would be read inside out."""
    calls = [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
        for arguments in ('{"a":"', '{"a":"\\u003c|im_end|>"}')
    ]
    body = await sent(shipped, OpenAIChat(), chat(messages=[USER, {"role": "assistant", "tool_calls": calls}]))
    assert body["messages"][1]["tool_calls"][1]["function"]["arguments"] == f'{{"a":"\\u003c{BREAK}|im_end|>"}}'


@pytest.mark.parametrize("key", ["|im_end|", "|im_end", "im_end|", "\uff5cUser\uff5c", "/|im_end|"])
def test_a_key_that_is_a_marker_between_brackets(key: str) -> None:
    """Qwen3-Coder's template, in Ollama too, writes the keys of a tool's schema as `<key>`."""
    function = {"name": "f", "parameters": {"type": "object", "properties": {"a": {key: "b"}}}}
    with pytest.raises(BadRequest, match="control marker"):
        OpenAIChat().parse(json.dumps(chat(tools=[{"type": "function", "function": function}])).encode(), Options())


@pytest.mark.parametrize("key", ["a|b", "^(x|y)$", "|", "||", "", "a b|", "im_end"])
def test_other_keys_with_bars(key: str) -> None:
    """Patterns in a schema are no markers."""
    function = {"name": "f", "parameters": {"patternProperties": {key: {}}}}
    body = chat(tools=[{"type": "function", "function": function}])
    assert OpenAIChat().parse(json.dumps(body).encode(), Options()).body["tools"][0]["function"] == function


def test_ollamas_own_renderers_have_a_template_that_nobody_sees() -> None:
    """/api/show then tells of `{{ .Prompt }}`, which would mean that no listed marker counts and answers are cut."""
    assert from_ollama({"template": "{{ .Prompt }}", "renderer": "qwen3-coder"}) is RENDERED
    assert from_ollama({"template": "{{ .Prompt }}"}).exists is False


# -- the operator's words


def instructed(dialect: Dialect, *roles: str) -> list[tuple[str, str]]:
    """Roles and texts of messages by these, once the operator's words are in."""
    given = [{"role": role, "content": role} for role in roles]
    request = dialect.parse(json.dumps({"model": "m", "messages": given}).encode(), Options())
    dialect.instruct(request, "BEFORE", "AFTER")
    return [(m["role"], m["content"]) for m in json.loads(dialect.upstream_body(request))["messages"]]


@pytest.mark.parametrize("dialect", [OpenAIChat(), OllamaChat()], ids=lambda dialect: dialect.name)
def test_a_developers_message_does_not_swallow_the_operators_words(dialect: Dialect) -> None:
    """Many templates leave that role out, and all that its messages say."""
    assert instructed(dialect, "developer", "user")[0] == ("system", "BEFORE\n\ndeveloper\n\nAFTER")


@pytest.mark.parametrize("dialect", [OpenAIChat(), OllamaChat()], ids=lambda dialect: dialect.name)
def test_a_second_system_message_does_not_swallow_the_operators_last_words(dialect: Dialect) -> None:
    """Ollama's renderer for Qwen3-Coder, for one, takes the first and leaves out the others."""
    messages = instructed(dialect, "system", "user", "developer")
    assert messages[0] == ("system", "BEFORE\n\nsystem\n\nAFTER")
    assert messages[2] == ("system", "developer\n\nAFTER")


# -- models


@pytest.mark.parametrize(
    "model", ["m:cloud ", "m:120b-cloud\n", "m: cloud", "m:\tCLOUD", "m:120b-Cloud\u00a0", "\tm:cloud", "m-cloud"]
)
def test_blanks_do_not_lead_to_the_cloud(model: str) -> None:
    """Ollama trims a name, and once more what stands behind its colon."""
    with pytest.raises(BadRequest, match="cloud"):
        OllamaChat().parse(json.dumps({"model": model, "messages": [USER]}).encode(), Options())


@pytest.mark.parametrize("name", ["llama3:latest:local", "llama3: local", "LLAMA3:Latest:LOCAL", "llama3:local "])
def test_a_model_is_not_another_for_being_called_local(name: str) -> None:
    """`:local` stands behind a tag: a policy for the model would not apply."""
    assert normalise_model(name) == "llama3"


# -- time


def test_many_parts_with_markers_take_a_linear_time(shipped: PolicySet) -> None:
    """Findings were looked for in each part: 8,000 parts took 43 s of the only event loop."""
    checks = tuple[Check, ...](shipped.plan(Direction.INPUT, model="m", role="user").checks(Kind.CONTENT))

    def seconds(parts: int) -> float:
        began = process_time()
        judged = [one for one in judge(["<|x|>"] * parts, "\n\n", checks) if one is not None]
        assert isinstance(judged[0], Judged)
        assert set(judged[0].parts) == {f"<{BREAK}|x|>"}
        return process_time() - began

    seconds(100)
    assert seconds(16_000) < 128 * seconds(1_000)  # 16 when it is linear, 256 when it is quadratic


@pytest.mark.anyio
async def test_many_keys_with_markers_take_a_linear_time(shipped: PolicySet) -> None:
    """The object was built anew for each key that was rewritten: 8,000 took 22 s."""

    async def seconds(keys: int) -> float:
        function = {"name": "f", "parameters": {f"<|x{i}|>": 0 for i in range(keys)}}
        request = chat(tools=[{"type": "function", "function": function}])
        began = process_time()
        body = await sent(shipped, OpenAIChat(), request)
        assert f"<{BREAK}|x0|>" in body["tools"][0]["function"]["parameters"]
        return process_time() - began

    await seconds(100)
    assert await seconds(8_000) < 36 * await seconds(1_000)  # 8 or 64


def test_a_marker_that_is_not_known_hides_none_that_is() -> None:
    """For every pair that shares a character: the known one is found."""
    for one in LISTED:
        for other in LISTED:
            if one[-1] == other[0] and one != other:
                assert other in [match[0] for match in find(one + other[1:], frozenset((other,)))]
