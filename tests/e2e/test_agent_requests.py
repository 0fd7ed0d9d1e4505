"""What agents send is taken by a real llama.cpp server as it is without the proxy."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from proxy.dialects.base import Dialect
from proxy.dialects.request import Options
from tests.e2e.llama_server import LlamaServer
from tests.field.test_agent_requests import CLIENTS, HISTORY, ITEMS, MESSAGES, RESPONSES, said, user
from tests.field.test_client_requests import FILES, captured
from tests.waiting import PATIENCE

pytestmark = pytest.mark.e2e
DIALECTS: dict[str, Dialect] = {"/v1/messages": MESSAGES, "/v1/responses": RESPONSES}
SHORT = {"/v1/messages": {"max_tokens": 4}, "/v1/responses": {"max_output_tokens": 4}}
AGENTS = [file for file in FILES if captured(file)["path"] in DIALECTS]


def status(llama: LlamaServer, path: str, body: dict[str, Any]) -> int:
    """What the server makes of a request."""
    data = json.dumps({**body, **SHORT[path], "stream": False}).encode()
    request = urllib.request.Request(llama.url + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def both(llama: LlamaServer, path: str, body: dict[str, Any]) -> tuple[int, int]:
    """The same for the request as the client sent it, and as the proxy sends it."""
    dialect = DIALECTS[path]
    sent = json.loads(dialect.upstream_body(dialect.parse(json.dumps(body).encode(), Options())))
    return status(llama, path, body), status(llama, path, sent)


@pytest.mark.parametrize("file", AGENTS, ids=lambda file: file.stem)
def test_a_request_of_an_agent_is_taken_as_it_is_without_the_proxy(llama: LlamaServer, file: Path) -> None:
    """The proxy makes no request fail that goes well without it."""
    direct, through = both(llama, captured(file)["path"], captured(file)["body"])
    assert through == direct
    assert through == 200 or file.stem == "codex-0.171.0-custom-tool"  # this server wants a text in every thought


@pytest.mark.parametrize("block", HISTORY, ids=lambda block: block["type"])
def test_a_block_of_a_history_is_taken(llama: LlamaServer, block: dict[str, Any]) -> None:
    """The server skips what it does not know."""
    body = {"messages": [user("hi"), said(block), user("go on")]}
    assert both(llama, "/v1/messages", body) == (200, 200)


@pytest.mark.parametrize("tool", CLIENTS, ids=lambda tool: tool["type"])
def test_a_tool_of_an_agent_is_taken_as_it_is_without_the_proxy(llama: LlamaServer, tool: dict[str, Any]) -> None:
    """Custom tools and namespaces among them."""
    direct, through = both(llama, "/v1/responses", {"input": "hi", "tools": [tool]})
    assert through == direct


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item["type"])
def test_an_item_of_a_history_is_taken_as_it_is_without_the_proxy(llama: LlamaServer, item: dict[str, Any]) -> None:
    """An item that this server refuses is refused by it, not here; arguments are sent in the form that it wants."""
    messages = [{"type": "message", **user("hi")}, item, {"type": "message", **user("go on")}]
    direct, through = both(llama, "/v1/responses", {"input": messages})
    assert through == direct or (direct, through) == (400, 200)
