"""What real clients send passes, and what is left out of it is what docs/clients.md says.

Each file in `requests` has the keys, kinds, names and shapes of one request that a client sent, with words of our own.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from proxy.dialects.request import Options, Request
from proxy.server.routing.routes import TABLE

HERE = Path(__file__).parent
FILES = sorted((HERE / "requests").glob("*.json"))
DIALECTS = {route.path: route.dialect for route in TABLE if route.dialect is not None}
OWN = {"stream", "stream_options", "truncate"}
"""Keys that the proxy sets itself: it always asks for a stream, and that no long prompt be cut."""


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
    tables = "".join(re.findall(r"<!-- left out -->(.*?)<!-- end -->", page, re.DOTALL))
    rows = re.findall(r"^\| (\S+) (\S+) \| `(\S+)` \| (.*?) \|", tables, re.MULTILINE)
    return {(f"{client} {version}", path): set(re.findall(r"`([^`]+)`", keys)) for client, version, path, keys in rows}


def without(value: Any, dropped: set[str], path: str = "") -> Any:
    """A body as it is sent when these parts are left out."""
    if isinstance(value, dict):
        parts = {k: (f"{path}.{k}" if path else k, v) for k, v in value.items()}
        return {k: without(v, dropped, where) for k, (where, v) in parts.items() if where not in dropped}
    if isinstance(value, list):
        items = [(f"{path}[{i}]", v) for i, v in enumerate(value)]
        return [without(v, dropped, where) for where, v in items if where not in dropped]
    return value


def named(path: str, body: Any) -> str:
    """A part that was left out, as the docs call it: with the kind of an item in the place of its number."""
    name = ""
    for key, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        body = body[key] if key else body[int(index)]
        kind = body.get("type", "") if isinstance(body, dict) else ""
        name += f".{key}" if key else f"[{kind}]"
    return name.removeprefix(".")


def left_out(sent: dict[str, Any]) -> set[str]:
    """All that is left out of a request, as the docs call it."""
    return {named(path, sent["body"]) for path in parsed(sent).dropped}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_request_passes(file: Path) -> None:
    """All of it goes on unchanged, less what is named as left out."""
    sent = captured(file)
    request = parsed(sent)
    upstream = json.loads(DIALECTS[sent["path"]].upstream_body(request))
    expected = without(sent["body"], set(request.dropped))
    assert {k: v for k, v in upstream.items() if k not in OWN} == {
        k: v for k, v in expected.items() if k not in OWN and v not in ([], {}, None)
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_is_left_out_stands_in_the_docs(file: Path) -> None:
    """The client's row in docs/clients.md names every key that is left out of the request."""
    sent = captured(file)
    rows = told()
    assert left_out(sent) <= rows[f"{sent['client']} {sent['version']}", sent["path"]]


def test_the_docs_name_nothing_else() -> None:
    """Every row belongs to a client of which there is a request, and every key in it is left out of one."""
    found: dict[tuple[str, str], set[str]] = {}
    for file in FILES:
        sent = captured(file)
        client = f"{sent['client']} {sent['version']}", sent["path"]
        found.setdefault(client, set()).update(left_out(sent))
    assert told() == found
