"""Requests that went wrong through the proxy in the field, and others of the same kinds: each with its right value.

After public reports of people who run such things. The rule is docs/adr/0011-do-no-harm.md.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.core.types import Direction
from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.base import Dialect
from proxy.dialects.lmstudio.chat import LMStudioChat
from proxy.dialects.ollama.chat import OllamaChat, OllamaGenerate
from proxy.dialects.openai.chat import OpenAIChat
from proxy.dialects.openai.completions import OpenAICompletions
from proxy.dialects.openai.responses.dialect import OpenAIResponses
from proxy.dialects.request import Options, Request
from proxy.server.exchange.prompt_filter import Blocked, judge_request
from proxy.server.exchange.record import Exchange
from tests.census.driving import BLOCK, REWRITE, notice, plan
from tests.census.planting import BAD, LABEL, PLAIN

CHAT, COMPLETIONS, NATIVE, LM_STUDIO = OpenAIChat(), OpenAICompletions(), OllamaChat(), LMStudioChat()
RESPONSES, MESSAGES = OpenAIResponses(), AnthropicMessages()
USER = {"role": "user", "content": "hi"}
BASES: dict[Dialect, dict[str, Any]] = {
    CHAT: {"model": "m", "messages": [USER]},
    COMPLETIONS: {"model": "m", "prompt": "hi"},
    NATIVE: {"model": "m", "messages": [USER]},
    LM_STUDIO: {"model": "m", "input": "hi"},
    RESPONSES: {"model": "m", "input": "hi"},
    MESSAGES: {"model": "m", "messages": [USER], "max_tokens": 9},
}


def parsed(body: dict[str, Any], dialect: Dialect = CHAT, options: Options | None = None) -> Request:
    """A request, understood."""
    return dialect.parse(json.dumps({**BASES[dialect], **body}).encode(), options or Options())


def sent(request: Request, dialect: Dialect = CHAT) -> dict[str, Any]:
    """What goes upstream."""
    body: dict[str, Any] = json.loads(dialect.upstream_body(request))
    return body


async def judged(request: Request, rule: str) -> bool:
    """Whether a rule lets it pass; it is rewritten then."""
    try:
        await judge_request(
            request.texts,
            request.joiner,
            lambda role: plan(rule, Direction.INPUT, role),
            notice,
            Exchange("/", "revision"),
        )
    except Blocked:
        return False
    return True


def function(name: str) -> dict[str, Any]:
    """A tool that the client runs."""
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def call(**more: Any) -> dict[str, Any]:
    """A call in the history."""
    return {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}, **more}


# -- values


PASSING: dict[str, tuple[Dialect, dict[str, Any]]] = {
    "f11: arguments of the template": (
        CHAT,
        {"chat_template_kwargs": {"reasoning_effort": "high", "enable_thinking": False, "documents": [{"text": "a"}]}},
    ),
    "f12: samplers in letters": (CHAT, {"samplers": "edkypmxt"}),
    "f12: samplers by name": (COMPLETIONS, {"samplers": ["top_k", "penalties"], "dry_sequence_breakers": "\n"}),
    "f19: what llama.cpp's own page asks for": (
        CHAT,
        {"return_progress": True, "timings_per_token": True, "reasoning_format": "none", "backend_sampling": False},
    ),
    "f19: in completions": (COMPLETIONS, {"return_progress": True, "timings_per_token": True}),
    "f19: in responses, which llama.cpp takes for a chat": (
        RESPONSES,
        {
            "return_progress": True,
            "timings_per_token": True,
            "reasoning_format": "none",
            "min_p": 0.1,
            "stop": ["x"],
            "samplers": "kp",
            "chat_template_kwargs": {"enable_thinking": False},
        },
    ),
    "f11: in messages": (MESSAGES, {"chat_template_kwargs": {"enable_thinking": False}}),
    "words that came later": (
        CHAT,
        {"reasoning_effort": "ultra", "verbosity": "low", "service_tier": "flex", "reasoning": {"effort": "max"}},
    ),
    "scalars in another spelling": (CHAT, {"temperature": "0.7", "top_k": 40.0, "ignore_eos": 0, "max_tokens": "99"}),
    "numbers nobody knew then": (CHAT, {"adaptive_target": 0.5, "n_indent": 2, "speculative.n_max": 16}),
    "options in another spelling": (NATIVE, {"options": {"top_k": "40", "temperature": 1, "penalize_newline": 1}}),
    "a level of thinking": (NATIVE, {"think": "ultra"}),
    "LM Studio's level": (LM_STUDIO, {"reasoning": "xhigh", "top_k": "5"}),
    "no model": (CHAT, {"model": None}),
    "only text is wanted": (CHAT, {"modalities": ["text"]}),
}


@pytest.mark.parametrize("name", PASSING)
def test_values_that_pass(name: str) -> None:
    """f11, f12, f19 and others: they go upstream as they came, and nothing is left out."""
    dialect, body = PASSING[name]
    request = parsed(body, dialect)
    assert request.dropped == ()
    assert {key: sent(request, dialect)[key] for key in body} == body


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (CHAT, {"chat_template_kwargs": {"custom_instructions": BAD}}),
        (CHAT, {"chat_template_kwargs": {"documents": [{"title": "x", "text": BAD}]}}),
        (CHAT, {"chat_template_kwargs": {"documents": [{"text": BAD.split()[0]}, {"text": BAD.split()[1]}]}}),
        (CHAT, {"chat_template_kwargs": {"options": {PLAIN: 1}}}),
        (RESPONSES, {"chat_template_kwargs": {"documents": [{"title": "x", "text": BAD}]}}),
        (MESSAGES, {"chat_template_kwargs": {"options": {PLAIN: 1}}}),
        (CHAT, {"reasoning_effort": PLAIN}),
        (CHAT, {"reasoning": {"effort": PLAIN}}),
        (CHAT, {"verbosity": PLAIN}),
        (CHAT, {"messages": [{"role": PLAIN, "content": "hi"}]}),
        (COMPLETIONS, {"service_tier": PLAIN}),
        (NATIVE, {"think": PLAIN}),
        (NATIVE, {"format": PLAIN}),
        (NATIVE, {"messages": [{"role": PLAIN, "content": "hi"}]}),
        (LM_STUDIO, {"reasoning": PLAIN}),
    ],
)
async def test_texts_among_values_are_judged(dialect: Dialect, body: dict[str, Any]) -> None:
    """What a template may show is judged as system words: a rule stops it, or rewrites it where it stands."""
    assert not await judged(parsed(body, dialect), BLOCK)
    request = parsed(body, dialect)
    assert await judged(request, REWRITE)
    out = json.dumps(sent(request, dialect), ensure_ascii=False)
    assert LABEL in out
    assert PLAIN not in out
    assert BAD.split()[0] not in out
    assert await judged(parsed({}, dialect), BLOCK)


@pytest.mark.parametrize(
    ("dialect", "body", "dropped"),
    [
        (CHAT, {"temperature": "hot"}, ["temperature"]),
        (CHAT, {"reasoning_format": ["none"], "reasoning_effort": {"a": 1}}, ["reasoning_effort", "reasoning_format"]),
        (CHAT, {"reasoning_effort": "as hard as you can"}, ["reasoning_effort"]),
        (CHAT, {"response_format": {"type": "grammar", "value": "x"}}, ["response_format"]),
        (CHAT, {"response_format": "json_object"}, ["response_format"]),
        (CHAT, {"chat_template_kwargs": {"messages": [USER]}}, ["chat_template_kwargs.messages"]),
        (CHAT, {"chat_template_kwargs": {"two words": 1}}, ["chat_template_kwargs.two words"]),
        (CHAT, {"modalities": ["text", "audio"], "audio": {"voice": "a"}}, ["audio", "modalities[1]"]),
        (CHAT, {"user": "bob", "store": True, "metadata": {"a": "b"}}, ["metadata", "store", "user"]),
        (CHAT, {"n_probs": 5, "response_fields": ["prompt"], "chat_parser": "x", "n_cmpl": 4}, None),
        (CHAT, {"stop": [5, "x"]}, ["stop[0]"]),
        (CHAT, {"stream_options": {"include_usage": True, "include_obfuscation": True}}, None),
        (NATIVE, {"options": {"logit_bias": "5432:-100", "stop": 5}}, ["options.logit_bias", "options.stop"]),
        (LM_STUDIO, {"reasoning": "very much"}, ["reasoning"]),
    ],
)
def test_values_that_are_left_out(dialect: Dialect, body: dict[str, Any], dropped: list[str] | None) -> None:
    """The rest makes sense without them: it goes on, and they are named."""
    request = parsed(body, dialect)
    assert request.dropped
    assert dropped is None or sorted(request.dropped) == dropped
    out = sent(request, dialect)
    assert all(path not in out for path in request.dropped)
    assert {key: out[key] for key in ("messages", "input") if key in out}


# -- messages


HISTORY: dict[str, dict[str, Any]] = {
    "null and empty": {"role": "assistant", "content": None, "tool_calls": [], "refusal": None, "name": None},
    "empty arguments": {"role": "assistant", "tool_calls": [call(function={"name": "f", "arguments": ""})]},
    "null arguments": {"role": "assistant", "tool_calls": [call(function={"name": "f", "arguments": None})]},
    "no arguments": {"role": "assistant", "tool_calls": [call(function={"name": "f"})]},
    "arguments as an object": {
        "role": "assistant",
        "tool_calls": [call(function={"name": "f", "arguments": {"a": 1}})],
    },
    "an index": {"role": "assistant", "content": "", "tool_calls": [call(index=0), call(index=None, id=None)]},
    "a custom call": {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}],
    },
    "parts of Responses": {"role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
    "a bare string as a part": {"role": "user", "content": ["a", {"type": "text", "text": "b"}]},
    "an unknown role": {"role": "latest_reminder", "content": "a"},
    "thinking as a part": {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}]},
}


@pytest.mark.parametrize("name", HISTORY)
def test_messages_of_a_history_pass(name: str) -> None:
    """They stay in the history for ever, so they must never lock a session: they are sent as they came."""
    request = parsed({"messages": [HISTORY[name], USER]})
    assert request.dropped == ()
    assert sent(request)["messages"] == [HISTORY[name], USER]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "tool_calls": [call(function={"name": "f", "arguments": {"a": [BAD]}})]},
        {"role": "assistant", "tool_calls": [call(function={"name": "f", "arguments": json.dumps({"a": BAD})})]},
        {"role": "assistant", "tool_calls": [{"type": "custom", "custom": {"name": "p", "input": BAD}}]},
        {"role": "assistant", "tool_calls": [{"type": "custom", "custom": {"name": PLAIN, "input": ""}}]},
        {"role": "user", "content": ["x", BAD]},
        {"role": "user", "content": [{"type": "input_text", "text": BAD}]},
        {"role": "user", "content": {"type": "text", "text": BAD}},
        {"role": "latest_reminder", "content": BAD},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": BAD}]},
    ],
)
async def test_every_text_of_them_is_judged(message: dict[str, Any]) -> None:
    """A rule that rewrites finds it where it stands, whatever kind of part or call it is."""
    request = parsed({"messages": [message, USER]})
    assert await judged(request, REWRITE)
    assert LABEL in json.dumps(sent(request)["messages"])
    assert BAD not in json.dumps(sent(request), ensure_ascii=False)


def test_unknown_parts_are_left_out_and_the_rest_goes_on() -> None:
    """Documents, new kinds and parts of no kind: each is named, the others stay."""
    content = [
        {"type": "file", "file": {"file_id": "f1"}},
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
        {"type": "hologram", "text": "b"},
        {"words": "no kind"},
        None,
        {"type": "text", "text": "c"},
    ]
    request = parsed({"messages": [{"role": "user", "content": content}]})
    assert sent(request)["messages"][0]["content"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "c"}]
    places = ("[0]", "[1].cache_control", "[2]", "[3]", "[4]")
    assert request.dropped == tuple(f"messages[0].content{place}" for place in places)


@pytest.mark.parametrize(
    ("message", "becomes"),
    [
        ({"role": "user", "content": [{"type": "hologram"}]}, {"role": "user", "content": ""}),
        (
            {"role": "assistant", "content": None, "tool_calls": [{"type": "mcp", "mcp": {}}]},
            {"role": "assistant", "content": ""},
        ),
        ({"role": "assistant", "audio": {"id": "a"}}, {"role": "assistant", "content": ""}),
        ({"role": "assistant", "content": "x", "tool_calls": "none"}, {"role": "assistant", "content": "x"}),
    ],
)
def test_a_message_of_which_nothing_is_left_says_nothing(message: dict[str, Any], becomes: dict[str, Any]) -> None:
    """It stays in its place, in a form that every model server takes."""
    assert sent(parsed({"messages": [message, USER]}))["messages"] == [becomes, USER]


@pytest.mark.anyio
async def test_what_leaving_out_joins_is_judged_joined() -> None:
    """A phrase whose halves stand around a part that is left out is found: the model reads it without that part."""
    head, tail = BAD.split(" ")
    content = [{"type": "text", "text": head}, {"type": "hologram", "text": "x"}, {"type": "text", "text": tail}]
    assert not await judged(parsed({"messages": [{"role": "user", "content": content}]}), BLOCK)


@pytest.mark.anyio
async def test_what_is_left_out_is_not_judged() -> None:
    """A forbidden word in a part that is not sent stops nothing."""
    parts = [{"type": "hologram", "text": BAD}, {"type": "text", "text": "a"}]
    tools = [{"type": "mcp", "server_url": BAD}, function("look")]
    choice = {"type": "function", "function": {"name": PLAIN}}
    request = parsed({"messages": [{"role": "user", "content": parts}], "tools": tools, "tool_choice": choice})
    assert await judged(request, BLOCK)
    assert set(request.dropped) == {"messages[0].content[0]", "tools[0]", "tool_choice"}


# -- tools


CUSTOM = {"type": "custom", "custom": {"name": "patch", "format": {"type": "grammar", "grammar": {"definition": "x"}}}}


def test_tools_that_the_client_runs_pass() -> None:
    """Functions, custom tools, a function that does not say that it is one, and choices among them."""
    tools = [function("look"), CUSTOM, {"function": {"name": "bare", "strict": True}}]
    choices = [
        "required",
        "any",
        {"type": "function", "function": {"name": "bare"}},
        {"type": "custom", "custom": {"name": "patch"}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"function": {"name": "look"}}]}},
    ]
    for choice in choices:
        request = parsed({"tools": tools, "tool_choice": choice})
        assert request.dropped == ()
        assert (sent(request)["tools"], sent(request)["tool_choice"]) == (tools, choice)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "tool",
    [
        {"type": "custom", "custom": {"name": "p", "description": BAD}},
        {"type": "custom", "custom": {"name": "p", "format": {"grammar": {"definition": BAD}}}},
        {"type": "function", "function": {"name": PLAIN}},
        {"type": "function", "function": {"name": "f", "parameters": {"properties": {PLAIN: {"thinking": BAD}}}}},
    ],
)
async def test_every_text_of_a_tool_is_judged(tool: dict[str, Any]) -> None:
    """Names, descriptions, grammars, keys."""
    assert not await judged(parsed({"tools": [tool]}), BLOCK)


@pytest.mark.anyio
async def test_a_tool_and_the_choice_of_it_are_renamed_alike() -> None:
    """A rule that rewrites a name rewrites it in both places, so the choice still means the tool."""
    choice = {"type": "function", "function": {"name": PLAIN}}
    request = parsed({"tools": [function(PLAIN)], "tool_choice": choice})
    assert await judged(request, REWRITE)
    assert sent(request)["tools"][0]["function"]["name"] == LABEL
    assert sent(request)["tool_choice"]["function"]["name"] == LABEL


SERVER_TOOLS: list[dict[str, Any]] = [
    {"type": "mcp", "server_label": "x", "server_url": "http://x"},
    {"type": "web_search"},
    {"type": "builtin_function", "function": {"name": "$web_search"}},
    {"type": "MCP", "server_url": "http://x"},
    {"type": "namespace", "name": "n", "tools": [function("look")]},
]


@pytest.mark.parametrize("tool", SERVER_TOOLS)
@pytest.mark.parametrize(
    "choice",
    ["required", {"type": "mcp", "server_label": "x"}, {"type": "function", "function": {"name": "$web_search"}}],
)
def test_tools_that_the_server_would_run_are_left_out(tool: dict[str, Any], choice: Any) -> None:
    """With the choice of them, and without a list when none is left; the rest goes on. A setting lets them pass."""
    request = parsed({"tools": [tool], "tool_choice": choice})
    assert set(request.dropped) == {"tools[0]", "tool_choice"}
    assert set(sent(request)) == {"model", "messages", "stream", "stream_options"}
    allowed = parsed({"tools": [tool], "tool_choice": choice}, options=Options(allow_server_tools=True))
    assert sent(allowed)["tools"] == [tool]
    assert allowed.dropped == ()


def test_a_server_tool_beside_others() -> None:
    """Only that is left out; a demand for a call is met by the others, a choice among tools keeps to those."""
    mode = {"mode": "required", "tools": [{"type": "mcp"}, {"function": {"name": "look"}}, {"function": {"name": "x"}}]}
    request = parsed(
        {
            "tools": [SERVER_TOOLS[0], function("look")],
            "tool_choice": {"type": "allowed_tools", "allowed_tools": mode},
            "web_search_options": {"search_context_size": "low"},
        }
    )
    assert sent(request)["tools"] == [function("look")]
    assert sent(request)["tool_choice"]["allowed_tools"]["tools"] == [{"function": {"name": "look"}}]
    assert {"tools[0]", "web_search_options"} <= set(request.dropped)
    assert (
        sent(parsed({"tools": [SERVER_TOOLS[0], function("f")], "tool_choice": "required"}))["tool_choice"]
        == "required"
    )


def test_an_address_beside_a_function_is_left_out() -> None:
    """A tool that is a function by its kind takes no server with it."""
    tool = {**function("look"), "server_url": "http://x", "authorization": "t"}
    request = parsed({"tools": [tool]})
    assert sent(request)["tools"] == [function("look")]
    assert set(request.dropped) == {"tools[0].server_url", "tools[0].authorization"}


# -- Ollama


def test_r01_nothing_is_added_that_loads_the_model_anew() -> None:
    """`shift` decides how the engine is started: it is neither added nor passed on. `truncate: false` costs nothing."""
    for dialect, body in ((NATIVE, {}), (OllamaGenerate(), {"prompt": "hi"})):
        for asked in ({}, {"shift": False}, {"shift": True}):
            request = dialect.parse(json.dumps({"model": "m", "messages": [USER], **body, **asked}).encode(), Options())
            out = json.loads(dialect.upstream_body(request))
            assert out["truncate"] is False
            assert "shift" not in out
            assert ("shift" in request.dropped) == bool(asked)


def test_c06_the_size_of_the_context() -> None:
    """Without the setting it is left out; with it, it passes up to the most and is lowered to that."""
    options = {"temperature": None, "num_ctx": 131072}
    assert sent(parsed({"options": dict(options)}, NATIVE), NATIVE)["options"] == {"temperature": None}
    for most, passes in ((200_000, 131072), (32768, 32768)):
        request = parsed({"options": dict(options)}, NATIVE, Options(max_context=most))
        assert sent(request, NATIVE)["options"]["num_ctx"] == passes
        assert request.dropped == (() if passes == 131072 else ("options.num_ctx",))


def test_a_long_choice_of_tools_is_read_in_one_pass() -> None:
    """Each tool of it that is not sent is left out, however many there are, and its name is not judged."""
    tools = [{"function": {"name": f"f{i}"}} for i in range(20_000)]
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": tools}}
    request = parsed({"tools": [function("f7")], "tool_choice": choice})
    assert sent(request)["tool_choice"]["allowed_tools"]["tools"] == [tools[7]]
    assert len(request.dropped) == len(tools) - 1
    assert [text.text for text in request.texts if text.param.startswith("tool_choice")] == ["f7"]
