"""Requests of agents, rebuilt after public reports: each passes, and nothing in it passes unread.

f08: a session of Claude Code was stuck for ever after a block that nobody knew. c01, r03: Codex was refused for its
tools. n08: a sentence in a field for a signature was not read.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.base import Dialect
from proxy.dialects.openai.responses.dialect import OpenAIResponses
from proxy.dialects.request import Options, Request
from tests.census.driving import BLOCK, REWRITE
from tests.census.planting import AFTER, BAD, BEFORE, LABEL, NOTICE, leaks
from tests.census.test_census_requests import REFUSED, STOPPED, asked

pytestmark = pytest.mark.anyio
MESSAGES, RESPONSES = AnthropicMessages(), OpenAIResponses()
SENTENCE = BEFORE + BAD + AFTER
HEAD, TAIL = BAD.split(" ")


def parsed(dialect: Dialect, options: Options | None = None, **body: Any) -> Request:
    """What the proxy makes of a request."""
    return dialect.parse(json.dumps(body).encode(), options or Options())


async def sent(dialect: Dialect, rule: str = BLOCK, **body: Any) -> bytes:
    """What the model server receives of a request."""
    return await asked(dialect, json.dumps(body).encode(), rule)


def user(*content: Any) -> dict[str, Any]:
    """A message of a person: a text, or blocks."""
    return {"role": "user", "content": content[0] if isinstance(content[0], str) else list(content)}


def said(*blocks: Any) -> dict[str, Any]:
    """A message of the model."""
    return {"role": "assistant", "content": list(blocks)}


def blob(data: bytes) -> str:
    """Bytes as they stand in a signature."""
    return base64.b64encode(data).decode()


# -- f08


def test_f08_a_block_in_a_system_message_passes() -> None:
    """Claude Code adds a tool in the middle of a conversation: text and block go on, and nothing is left out."""
    added = {"type": "tool_addition", "tool": {"name": "x"}}
    system = {"role": "system", "content": [{"type": "text", "text": "Be kind."}, added]}
    request = parsed(MESSAGES, messages=[user("hi"), system])
    assert request.body["messages"][1] == system
    assert request.dropped == ()


HISTORY: list[dict[str, Any]] = [
    {"type": "text", "text": "hm", "citations": [{"type": "char_location", "cited_text": SENTENCE}]},
    {"type": "thinking", "thinking": SENTENCE, "signature": ""},
    {"type": "thinking", "thinking": "hm", "signature": SENTENCE},
    {"type": "redacted_thinking", "data": SENTENCE},
    {"type": "tool_use", "id": "t", "name": "f", "input": {"deep": [{"er": SENTENCE}]}},
    {"type": "tool_use", "id": "t", "name": "f", "input": {}, "caller": {"type": SENTENCE}},
    {"type": "server_tool_use", "id": "t", "name": "web_search", "input": {"query": SENTENCE}},
    {
        "type": "web_search_tool_result",
        "tool_use_id": "t",
        "content": [{"type": "web_search_result", "title": SENTENCE}],
    },
    {"type": "web_search_tool_result", "tool_use_id": "t", "content": {"type": "error", "error_code": SENTENCE}},
    {
        "type": "web_fetch_tool_result",
        "tool_use_id": "t",
        "content": {
            "type": "web_fetch_result",
            "url": "http://x/",
            "content": {"type": "document", "source": {"type": "text", "data": SENTENCE}},
        },
    },
    {"type": "code_execution_tool_result", "tool_use_id": "t", "content": {"stdout": SENTENCE, "return_code": 0}},
    {"type": "bash_code_execution_tool_result", "tool_use_id": "t", "content": {"stderr": SENTENCE}},
    {"type": "text_editor_code_execution_tool_result", "tool_use_id": "t", "content": {"content": SENTENCE}},
    {"type": "tool_search_tool_result", "tool_use_id": "t", "content": {"tool_references": [{"tool_name": SENTENCE}]}},
    {"type": "advisor_tool_result", "tool_use_id": "t", "content": {"type": "advisor_result", "text": SENTENCE}},
    {"type": "mcp_tool_use", "id": "t", "name": "f", "server_name": SENTENCE, "input": {}},
    {"type": "mcp_tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": SENTENCE}]},
    {"type": "mcp_tool_listing", "mcp_server_name": "s", "tools": [{"name": "f", "description": SENTENCE}]},
    {"type": "tool_reference", "tool_name": SENTENCE},
    {"type": "tool_addition", "tool": {"type": "tool_reference", "name": SENTENCE}},
    {
        "type": "tool_addition",
        "tool": {"type": "tool_definition", "definition": {"name": "f", "description": SENTENCE, "input_schema": {}}},
    },
    {"type": "tool_removal", "tool": {"type": "tool_reference", "name": SENTENCE}},
    {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": SENTENCE}]},
    {"type": "search_result", "source": SENTENCE, "title": "t", "content": []},
    {"type": "document", "title": SENTENCE, "source": {"type": "text", "media_type": "text/plain", "data": "d"}},
    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": SENTENCE}},
    {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": SENTENCE}]}},
    {"type": "compaction", "content": SENTENCE, "encrypted_content": None},
    {"type": "compaction", "content": "c", "encrypted_content": SENTENCE},
    {"type": "fallback", "from": {"model": "a"}, "to": {"model": SENTENCE}},
    {"type": "browser_state", "tabs": [{"url": SENTENCE}]},
]
RESULTS = [
    {"type": "tool_reference", "tool_name": SENTENCE},
    {"type": "text", "text": SENTENCE},
    {"type": "search_result", "source": "s", "title": SENTENCE, "content": []},
    {"type": "document", "source": {"type": "text", "data": SENTENCE}},
    {"type": "browser_state", "tabs": [{"title": SENTENCE}]},
]


def _turns(block: dict[str, Any]) -> list[dict[str, Any]]:
    return [user("hi"), said(block), user("go on"), said({"type": "text", "text": "well"}), user("and now")]


@pytest.mark.parametrize("block", HISTORY, ids=lambda block: block["type"])
async def test_a_block_of_the_history_never_locks_a_session(block: dict[str, Any]) -> None:
    """Forbidden words in it are replaced or rewritten, and the request goes on, with the block."""
    for rule in (BLOCK, REWRITE):
        body = await sent(MESSAGES, rule, messages=_turns(block))
        assert body not in (REFUSED, STOPPED)
        assert not leaks(body, BAD)
        kept = [inner for inner in json.loads(body)["messages"][1]["content"] if inner["type"] == block["type"]]
        assert (NOTICE if rule == BLOCK else LABEL) in str(kept) or block["type"] == "browser_state"


@pytest.mark.parametrize("block", RESULTS, ids=lambda block: block["type"])
async def test_a_block_in_a_result_never_locks_a_session(block: dict[str, Any]) -> None:
    """The same for what a tool answered."""
    use = {"type": "tool_use", "id": "t", "name": "f", "input": None}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [block]}
    turns = [user("hi"), said(use), user(result), said({"type": "text", "text": "well"}), user("and now")]
    for rule in (BLOCK, REWRITE):
        body = await sent(MESSAGES, rule, messages=turns)
        assert body not in (REFUSED, STOPPED)
        assert not leaks(body, BAD)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "from_the_future", "text": "hm"},
        {"type": "container_upload", "file_id": "f"},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="}},
        {"type": "document", "source": {"type": "url", "url": "http://x/y.pdf"}},
        {"type": "document", "source": {"type": "file", "file_id": "f"}},
        {"type": "image", "source": {"type": "file", "file_id": "f"}},
        {"type": "text", "text": None},
        {"type": "text"},
        {"type": "tool_use", "id": "t"},
        {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": {"type": "web_search_20260209"}}},
        {"no": "type"},
        7,
    ],
    ids=str,
)
def test_a_block_that_cannot_be_read_is_left_out_and_named(block: Any) -> None:
    """What stands beside it goes on."""
    request = parsed(MESSAGES, messages=[user({"type": "text", "text": "hi"}, block, {"type": "text", "text": "you"})])
    assert [inner["text"] for inner in request.body["messages"][0]["content"]] == ["hi", "you"]
    assert request.dropped == ("messages[0].content[1]",)


@pytest.mark.parametrize("rule", [BLOCK, REWRITE])
@pytest.mark.parametrize(
    "between",
    [
        {"type": "from_the_future"},
        {"type": "document", "source": {"type": "text", "data": "a page"}},
        {"type": "tool_addition", "tool": {"name": "x"}},
        {"type": "mcp_tool_listing", "tools": []},
    ],
    ids=lambda block: block["type"],
)
async def test_what_stands_around_such_a_block_is_read_as_one(between: dict[str, Any], rule: str) -> None:
    """The model server never shows the block: a phrase on both sides of it is whole for the model."""
    around = {"type": "text", "text": BEFORE + HEAD}, between, {"type": "text", "text": TAIL + AFTER}
    body = await sent(MESSAGES, rule, messages=[user(*around)])
    assert (body == STOPPED) == (rule == BLOCK)
    assert not leaks(body, HEAD, TAIL)


@pytest.mark.parametrize("rule", [BLOCK, REWRITE])
@pytest.mark.parametrize("content", [[{"type": "from_the_future"}], [], "", None], ids=str)
async def test_messages_around_one_that_is_not_shown_are_read_as_one(content: Any, rule: str) -> None:
    """A message of which nothing is left does not part those before and behind it."""
    between = {"role": "assistant", "content": content}
    body = await sent(MESSAGES, rule, messages=[user(BEFORE + HEAD), between, user(TAIL + AFTER)])
    assert body != REFUSED
    assert not leaks(body, BAD)
    assert HEAD.encode() not in body or TAIL.encode() not in body


@pytest.mark.parametrize("rule", [BLOCK, REWRITE])
async def test_what_stands_beside_a_text_does_not_part_it_from_the_next(rule: str) -> None:
    """Citations of a text, the phase of a message, and a list of tools between two results are not read in line."""
    cited = {"type": "text", "text": BEFORE + HEAD, "citations": [{"cited_text": "a page"}]}
    parts = [
        await sent(MESSAGES, rule, messages=[user(cited, {"type": "text", "text": TAIL + AFTER})]),
        await sent(RESPONSES, rule, input=[{**user(BEFORE + HEAD), "phase": "commentary"}, user(TAIL + AFTER)]),
        await sent(
            RESPONSES,
            rule,
            input=[
                {"type": "function_call_output", "call_id": "a", "output": BEFORE + HEAD},
                {"type": "mcp_list_tools", "tools": [{"name": "f", "description": "a page"}]},
                {"type": "function_call_output", "call_id": "b", "output": TAIL + AFTER},
            ],
        ),
    ]
    for body in parts:
        assert (body == STOPPED) == (rule == BLOCK)
        assert not leaks(body, HEAD, TAIL)


# -- c01, r03

FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}}
CLIENTS = [
    FUNCTION,
    {"type": "function", "function": {"name": "f", "description": "d", "parameters": {}}},
    {"type": "namespace", "name": "n", "description": "d", "tools": [FUNCTION, {"type": "custom", "name": "c"}]},
    {
        "type": "custom",
        "name": "apply_patch",
        "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"},
    },
    {"type": "local_shell"},
    {"type": "shell", "environment": {"type": "local", "skills": [{"name": "s", "description": "d", "path": "p"}]}},
    {"type": "apply_patch"},
    {"type": "tool_search", "execution": "client", "description": "d", "parameters": {}},
    {"type": "computer_use_preview", "display_width": 1, "display_height": 1, "environment": "linux"},
]
SERVERS: list[dict[str, Any]] = [
    {"type": "web_search", "external_web_access": False},
    {"type": "web_search_preview_2025_03_11"},
    {"type": "file_search", "vector_store_ids": ["v"]},
    {"type": "code_interpreter", "container": {"type": "auto"}},
    {"type": "image_generation"},
    {"type": "mcp", "server_label": "s", "server_url": "http://x/"},
    {"type": "mcp", "connector_id": "connector_gmail"},
    {"type": "shell", "environment": {"type": "container_auto"}},
    {"type": "tool_search"},
    {"type": "computer", "server_url": "http://x/"},
    {"type": "function", "name": "g", "server_url": "http://x/"},
    {"type": "custom", "name": "g", "Server_URL": "http://x/"},
    {"type": "programmatic_tool_calling"},
    {"type": "from_the_future", "name": "g"},
]


@pytest.mark.parametrize("tool", CLIENTS, ids=lambda tool: tool["type"])
def test_c01_a_tool_that_the_client_runs_passes(tool: dict[str, Any]) -> None:
    """It goes on as it is, with every text judged."""
    request = parsed(RESPONSES, input="hi", tools=[tool])
    assert request.body["tools"] == [tool]
    assert request.dropped == ()
    judged = {text.text for text in request.texts if text.role == "system"}
    assert set(_strings(tool)) <= judged


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _strings(item)]
    return [text for item in value for text in _strings(item)] if isinstance(value, list) else [str(value)]


@pytest.mark.parametrize("tool", SERVERS, ids=lambda tool: str(tool)[:60])
def test_r03_a_tool_that_the_server_would_run_is_left_out(tool: dict[str, Any]) -> None:
    """It is named, the others go on; with the operator's leave it goes on too, and its texts are judged."""
    request = parsed(RESPONSES, input="hi", tools=[FUNCTION, tool])
    assert request.body["tools"] == [FUNCTION]
    assert request.dropped == ("tools[1]",)
    request = parsed(RESPONSES, Options(allow_server_tools=True), input="hi", tools=[FUNCTION, tool])
    assert request.body["tools"] == [FUNCTION, tool]
    assert request.dropped == ()
    assert set(_strings(tool)) <= {text.text for text in request.texts if text.role == "system"} | {"False", "True"}


@pytest.mark.parametrize(
    ("choice", "kept"),
    [
        *(("auto", "auto"), ("required", "required"), ({"type": "web_search_preview"}, None), ("some words", None)),
        ({"type": "function", "name": "f"}, {"type": "function", "name": "f"}),
        ({"type": "function", "name": "g"}, None),
        ({"type": "mcp", "server_label": "s"}, None),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}, {"type": "mcp"}]},
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        ),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "g"}]}, None),
    ],
    ids=str,
)
def test_a_choice_that_names_a_tool_of_the_server_is_left_out(choice: Any, kept: Any) -> None:
    """A choice of a tool that is sent goes on, and so does what is left of a list of them."""
    tools = [FUNCTION, {"type": "function", "name": "g", "server_url": "http://x/"}]
    request = parsed(RESPONSES, input="hi", tools=tools, tool_choice=choice)
    assert request.body.get("tool_choice") == kept
    assert (request.dropped != ("tools[1]",)) == (kept != choice)


def test_a_choice_of_any_tool_needs_one() -> None:
    """Where all tools are left out, a demand for a call is left out with them."""
    for dialect, tool, choice in (
        (RESPONSES, {"type": "web_search"}, "required"),
        (MESSAGES, {"type": "web_search_20250305", "name": "web_search"}, {"type": "any"}),
        (MESSAGES, {"type": "web_search_20250305", "name": "w"}, {"type": "tool", "name": "w"}),
    ):
        request = parsed(dialect, input="hi", messages=[user("hi")], tools=[tool], tool_choice=choice)
        assert not request.body.keys() & {"tools", "tool_choice"}
        assert {"tools[0]", "tool_choice"} <= set(request.dropped)


@pytest.mark.parametrize(
    ("tool", "passes"),
    [
        ({"name": "f", "input_schema": {}, "defer_loading": True, "cache_control": {"type": "ephemeral"}}, True),
        ({"type": "custom", "name": "f", "input_examples": [{"a": "b"}], "allowed_callers": ["direct"]}, True),
        ({"type": "bash_20250124", "name": "bash"}, True),
        ({"type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "max_characters": 9}, True),
        ({"type": "memory_20250818", "name": "memory"}, True),
        ({"type": "computer_20291231", "name": "computer", "display_width_px": 1, "display_height_px": 1}, True),
        ({"type": "web_search_20250305", "name": "web_search"}, False),
        ({"type": "web_fetch_20260318", "name": "web_fetch"}, False),
        ({"type": "code_execution_20260521", "name": "code_execution"}, False),
        ({"type": "tool_search_tool_bm25", "name": "tool_search_tool_bm25"}, False),
        ({"type": "mcp_toolset", "mcp_server_name": "s"}, False),
        ({"name": "f", "server_url": "http://x/"}, False),
        ({"type": "from_the_future", "name": "f"}, False),
    ],
    ids=lambda value: str(value)[:40],
)
def test_tools_of_claude_code_and_of_the_server(tool: dict[str, Any], passes: bool) -> None:
    """What the client runs goes on as it is, in any version; what the server would run needs the operator's leave."""
    for options, kept in ((Options(), passes), (Options(allow_server_tools=True), True)):
        request = parsed(MESSAGES, options, messages=[user("hi")], tools=[tool])
        assert (request.body.get("tools") == [tool]) == kept
        assert request.dropped == (() if kept else ("tools[0]",))


def test_servers_of_tools_need_leave() -> None:
    """A list of MCP servers is for the model server to call: left out, or judged and sent."""
    servers = [{"type": "url", "name": "s", "url": "http://x/"}]
    assert parsed(MESSAGES, messages=[user("hi")], mcp_servers=servers).dropped == ("mcp_servers",)
    request = parsed(MESSAGES, Options(allow_server_tools=True), messages=[user("hi")], mcp_servers=servers)
    assert request.body["mcp_servers"] == servers
    assert "http://x/" in [text.text for text in request.texts]


ITEMS: list[dict[str, Any]] = [
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": json.dumps({"a": SENTENCE})},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": {"a": [SENTENCE]}},
    {"type": "function_call", "call_id": "c", "name": "f", "namespace": SENTENCE, "arguments": None},
    {"type": "function_call_output", "call_id": "c", "output": SENTENCE},
    {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": SENTENCE}]},
    {"type": "function_call_output", "call_id": "c", "output": {"content": SENTENCE, "success": False}},
    {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": SENTENCE},
    {"type": "custom_tool_call_output", "call_id": "c", "output": SENTENCE},
    {"type": "local_shell_call", "call_id": "c", "action": {"type": "exec", "command": ["echo", SENTENCE]}},
    {"type": "local_shell_call", "call_id": "c", "action": {"type": "exec", "command": [], "env": {SENTENCE: "1"}}},
    {"type": "local_shell_call_output", "id": "c", "output": SENTENCE},
    {"type": "shell_call", "call_id": "c", "action": {"commands": [SENTENCE], "timeout_ms": 1}},
    {"type": "shell_call_output", "call_id": "c", "output": [{"stdout": SENTENCE, "stderr": ""}]},
    {"type": "apply_patch_call", "call_id": "c", "operation": {"type": "update_file", "path": "p", "diff": SENTENCE}},
    {"type": "apply_patch_call_output", "call_id": "c", "status": "failed", "output": SENTENCE},
    {"type": "computer_call", "call_id": "c", "action": {"type": "type", "text": SENTENCE}},
    {"type": "tool_search_call", "call_id": "c", "execution": "client", "arguments": {"query": SENTENCE}},
    {"type": "tool_search_output", "call_id": "c", "tools": [{**FUNCTION, "description": SENTENCE}]},
    {"type": "web_search_call", "id": "w", "action": {"type": "search", "query": SENTENCE}},
    {"type": "file_search_call", "id": "f", "queries": ["q"], "results": [{"text": SENTENCE}]},
    {"type": "code_interpreter_call", "id": "c", "code": SENTENCE, "outputs": None},
    {"type": "image_generation_call", "id": "i", "revised_prompt": SENTENCE},
    {"type": "mcp_list_tools", "server_label": "s", "tools": [{"name": "f", "description": SENTENCE}]},
    {"type": "mcp_call", "name": "f", "server_label": "s", "arguments": "{}", "output": SENTENCE},
    {"type": "mcp_call", "name": "f", "server_label": "s", "arguments": "{}", "error": {"message": SENTENCE}},
    {"type": "mcp_approval_request", "name": "f", "server_label": SENTENCE, "arguments": "{}"},
    {"type": "program", "code": SENTENCE, "fingerprint": "f"},
    {"type": "program_output", "result": SENTENCE},
    {"type": "agent_message", "author": "a", "recipient": "b", "content": [{"type": "input_text", "text": SENTENCE}]},
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": SENTENCE}], "content": None},
    {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": SENTENCE}]},
    {"type": "reasoning", "summary": [], "encrypted_content": SENTENCE},
    {"type": "compaction", "encrypted_content": SENTENCE},
    {"type": "context_compaction", "encrypted_content": SENTENCE},
    {"type": "configuration_update", "reasoning": {"effort": SENTENCE}},
]


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item["type"])
async def test_an_item_of_the_history_never_locks_a_session(item: dict[str, Any]) -> None:
    """Forbidden words in it are replaced or rewritten, and the request goes on, with the item."""
    turns = [user("hi"), item, {"role": "assistant", "content": "well"}, user("and now")]
    for rule in (BLOCK, REWRITE):
        body = await sent(RESPONSES, rule, input=turns)
        assert body not in (REFUSED, STOPPED)
        assert not leaks(body, BAD)
        assert json.loads(body)["input"][1]["type"] == item["type"]
        assert (NOTICE if rule == BLOCK else LABEL).encode() in body


@pytest.mark.parametrize(
    "item",
    [
        {"type": "from_the_future", "text": "hm"},
        {"type": "mcp_approval_response", "approval_request_id": "a", "approve": True},
        {"type": "ghost_snapshot", "ghost_commit": {"id": "c"}},
        {"type": "function_call", "arguments": "{}"},
        {"type": "item_reference_2", "id": "i"},
        7,
    ],
    ids=str,
)
def test_an_item_that_cannot_be_read_is_left_out_and_named(item: Any) -> None:
    """What stands around it goes on."""
    request = parsed(RESPONSES, input=[user("hi"), item, user("you")])
    assert [message["content"] for message in request.body["input"]] == ["hi", "you"]
    assert request.dropped == ("input[1]",)


def test_a_message_of_which_nothing_is_left_says_nothing() -> None:
    """A file cannot be read: the message goes on with an empty text, which model servers take."""
    file = {"type": "input_file", "filename": "f.pdf", "file_data": "data:application/pdf;base64,aGk="}
    request = parsed(RESPONSES, input=[user(file), user("hi")])
    assert request.body["input"] == [user(""), user("hi")]
    assert request.dropped == ("input[0].content[0]",)


@pytest.mark.parametrize("rule", [BLOCK, REWRITE])
@pytest.mark.parametrize(
    "between",
    [
        {"type": "from_the_future"},
        {"type": "web_search_call", "id": "w", "action": {"type": "search", "query": "q"}},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
    ],
    ids=lambda item: item["type"],
)
async def test_messages_around_such_an_item_are_read_as_one(between: dict[str, Any], rule: str) -> None:
    """The model server does not show the item, or shows it elsewhere: a phrase on both sides is whole for the model."""
    body = await sent(RESPONSES, rule, input=[user(BEFORE + HEAD), between, user(TAIL + AFTER)])
    assert body != REFUSED
    assert not leaks(body, BAD)
    assert HEAD.encode() not in body or TAIL.encode() not in body


# -- n08


@pytest.mark.parametrize("rule", [BLOCK, REWRITE])
@pytest.mark.parametrize(
    "text",
    [
        SENTENCE,
        blob(SENTENCE.encode()),
        base64.urlsafe_b64encode(b"\xfb\xff" * 40 + SENTENCE.encode() + b"\xff" * 9).decode().rstrip("="),
    ],
    ids=["plain", "in base64", "between bytes"],
)
@pytest.mark.parametrize("field", ["signature", "data", "encrypted_content", "compaction"])
async def test_n08_a_sentence_in_a_field_for_a_blob_is_read(field: str, text: str, rule: str) -> None:
    """Plain or encoded, new or old: a new one is refused, an old one replaced, and a rewrite hides it."""
    block = {
        "signature": {"type": "thinking", "thinking": "hm", "signature": text},
        "data": {"type": "redacted_thinking", "data": text},
        "compaction": {"type": "compaction", "content": None, "encrypted_content": text},
    }.get(field)
    item = {"type": "reasoning", "summary": [], "encrypted_content": text}
    for newest in (True, False):
        rest = [] if newest else [{"role": "assistant", "content": "well"}, user("and now")]
        if block is not None:
            body = await sent(MESSAGES, rule, messages=[user("hi"), said(block), *rest])
        else:
            body = await sent(RESPONSES, rule, input=[user("hi"), item, *rest])
        assert body != REFUSED
        assert not leaks(body, BAD)
        assert text.encode() not in body
        assert (body == STOPPED) == (newest and rule == BLOCK)


def test_n08_a_blob_passes() -> None:
    """Bytes that spell nothing go on as they are."""
    sealed = blob(bytes(range(128, 256)))
    thought = {"type": "thinking", "thinking": "hm", "signature": sealed}
    request = parsed(MESSAGES, messages=[user("hi"), said(thought), user("go on")])
    assert request.body["messages"][1]["content"] == [thought]
    item = {"type": "reasoning", "summary": [], "encrypted_content": sealed}
    assert parsed(RESPONSES, input=[user("hi"), item, user("go on")]).body["input"][1] == item


def test_n08_plain_thinking_is_kept() -> None:
    """A real Ollama gives its thinking as `encrypted_content`, and reads it again from there: judged and kept."""
    item = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "hm"}
    request = parsed(RESPONSES, input=[user("hi"), item, user("go on")])
    assert request.body["input"][1] == item
    assert [text.kind.name for text in request.texts if text.text == "hm"] == ["REASONING", "REASONING"]
