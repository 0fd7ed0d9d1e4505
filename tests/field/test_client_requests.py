"""What real clients send passes, and what is left out of it is what docs/clients.md says.

Each file in `requests` has the keys, kinds, names and shapes of one request that a client sent, with words of our own.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from proxy.dialects.base import Options, Request
from proxy.server.routing.routes import TABLE

HERE = Path(__file__).parent
PATHS = ("/v1/chat/completions", "/v1/embeddings", "/api/chat", "/api/embed")
DIALECTS = {route.path: route.dialect for route in TABLE if route.dialect is not None}
OWN = {"stream", "stream_options", "truncate"}
"""Keys that the proxy sets itself: it always asks for a stream, and that no long prompt be cut."""


def files() -> list[Path]:
    """The requests on these paths."""
    return [file for file in sorted((HERE / "requests").glob("*.json")) if captured(file)["path"] in PATHS]


def captured(file: Path) -> dict[str, Any]:
    """One request with its client."""
    value: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return value


def parsed(sent: dict[str, Any]) -> Request:
    """What the proxy makes of it."""
    return DIALECTS[sent["path"]].parse(json.dumps(sent["body"]).encode(), Options())


def told() -> dict[tuple[str, str], set[str]]:
    """What docs/clients.md says is left out of the requests of each client, on each path."""
    page = (HERE.parents[1] / "docs" / "clients.md").read_text("utf-8")
    table = page.partition("<!-- left out -->")[2].partition("<!-- end -->")[0]
    rows = re.findall(r"^\| (\S+) (\S+) \| `(\S+)` \| (.*?) \|", table, re.MULTILINE)
    return {
        (f"{client} {version}", path): set(re.findall(r"`([^`]+)`", keys))
        for client, version, path, keys in rows
        if path in PATHS
    }


def without(value: Any, dropped: set[str], path: str = "") -> Any:
    """A body as it is sent when these parts are left out."""
    if isinstance(value, dict):
        parts = {k: (f"{path}.{k}" if path else k, v) for k, v in value.items()}
        return {k: without(v, dropped, where) for k, (where, v) in parts.items() if where not in dropped}
    if isinstance(value, list):
        return [without(v, dropped, f"{path}[{i}]") for i, v in enumerate(value)]
    return value


@pytest.mark.parametrize("file", files(), ids=lambda file: file.stem)
def test_the_request_passes(file: Path) -> None:
    """All of it goes on unchanged, less what is named as left out."""
    sent = captured(file)
    request = parsed(sent)
    upstream = json.loads(DIALECTS[sent["path"]].upstream_body(request))
    expected = without(sent["body"], set(request.dropped))
    assert {k: v for k, v in upstream.items() if k not in OWN} == {
        k: v for k, v in expected.items() if k not in OWN and v not in ([], {}, None)
    }


@pytest.mark.parametrize("file", files(), ids=lambda file: file.stem)
def test_what_is_left_out_stands_in_the_docs(file: Path) -> None:
    """The client's row in docs/clients.md names every key that is left out of the request."""
    sent = captured(file)
    rows = told()
    assert set(parsed(sent).dropped) <= rows[f"{sent['client']} {sent['version']}", sent["path"]]


def test_the_docs_name_nothing_else() -> None:
    """Every row belongs to a client of which there is a request, and every key in it is left out of one."""
    left_out: dict[tuple[str, str], set[str]] = {}
    for file in files():
        sent = captured(file)
        client = f"{sent['client']} {sent['version']}", sent["path"]
        left_out.setdefault(client, set()).update(parsed(sent).dropped)
    assert told() == left_out
