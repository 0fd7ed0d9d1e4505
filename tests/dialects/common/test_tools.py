"""Tools of the client and of the model server, and objects that are left out as a whole."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.dialects.common.request_fields import (
    OPTIONAL_STRING,
    STRING,
    LeftOut,
    Object,
    Report,
    form,
    left_out,
    list_of,
)
from proxy.dialects.common.request_texts import conversation_texts
from proxy.dialects.common.tools import SERVER_KEYS, ClientTool, lost_names, tool_kinds
from proxy.dialects.common.whole import Whole, said
from proxy.dialects.request import InputText, Options
from proxy.errors import BadRequest

CUSTOM = Object({"type": OPTIONAL_STRING, "name": STRING, "more": left_out("nobody's business")})
RUN = ClientTool({"type": STRING, "where": form("here"), "how": form("so")}, required=["where"], telling=["how"])
TOOLS = list_of(tool_kinds({"custom": CUSTOM, "run": RUN}, default="custom"))


def read(*tools: Any, **options: bool) -> tuple[list[Any], list[str]]:
    """Which tools are sent, and what is left out."""
    report = Report(Options(**options))
    return TOOLS(list(tools), "tools", report), report.dropped


def test_the_date_of_a_version_says_nothing_of_the_kind() -> None:
    """A kind is known in every version, and is sent as it was given."""
    tools = [{"type": kind} for kind in ("custom", "custom_20250124", "custom_2025_08_26", "custom_20991231")]
    assert read(*tools) == (tools, [])
    assert read({"type": "custom_2025"}, {"type": "custom_x_20250124"})[0] == []


def test_a_tool_without_a_type_is_of_the_default_kind() -> None:
    """None is as good as no type."""
    assert read({"name": "a"}, {"type": None, "name": "b"}, {"name": "c", "type": 1})[1] == ["tools[2]"]


@pytest.mark.parametrize("key", [*sorted(SERVER_KEYS), "SERVER_URL", "Headers"])
def test_a_tool_with_a_key_of_a_server_is_the_servers(key: str) -> None:
    """Whatever it calls itself, and however it spells the key."""
    tool = {"type": "custom", "name": "a", key: "http://x/"}
    assert read(tool) == ([], ["tools[0]"])
    assert read(tool, allow_server_tools=True) == ([tool], [])


@pytest.mark.parametrize(
    ("tool", "is_sent"),
    [
        ({"where": "here"}, True),
        ({"where": "here", "how": "so"}, True),
        *(({"where": "there"}, False), ({}, False), ({"where": "here", "how": "otherwise"}, False)),
    ],
)
def test_a_tool_that_says_who_runs_it(tool: dict[str, Any], is_sent: bool) -> None:
    """It is the client's only if it says so; with leave it is sent as it is."""
    tool = {"type": "run", **tool}
    assert read(tool)[0] == ([tool] if is_sent else [])
    assert read(tool, allow_server_tools=True) == ([tool], [])


def test_parts_of_a_clients_tool_are_left_out_for_themselves() -> None:
    """The tool goes on without them."""
    assert read({"name": "a", "more": 1}) == ([{"name": "a"}], ["tools[0].more"])


def test_a_tool_that_is_no_object() -> None:
    """Nobody could mean another type."""
    with pytest.raises(BadRequest, match="must be an object"):
        read("a")


def test_names_that_are_lost() -> None:
    """Those of tools that were left out, also from inside others."""
    given = [{"name": "a"}, {"name": "n", "tools": [{"name": "b"}, {"name": "c"}]}, {"type": "x"}, 1]
    assert lost_names(given, [{"name": "n", "tools": [{"name": "c"}]}]) == {"a", "b"}
    assert lost_names("no list", []) == set()


def test_an_object_that_says_nothing_without_a_part() -> None:
    """It is left out where the part is missing, at any depth; a wrong type is still refused."""
    whole = Whole({"text": said(STRING), "inner": Object({"url": STRING}, ["url"])}, ["text"])
    assert whole({"text": "a"}, "p", Report()) == {"text": "a"}
    for value in ({}, {"text": None}, {"text": "a", "inner": {}}):
        with pytest.raises(LeftOut):
            whole(value, "p", Report())
    with pytest.raises(BadRequest):
        whole({"text": 1}, "p", Report())


def test_neighbours_of_one_role_are_one_group() -> None:
    """A message that is not shown is in the group of the one before it, and does not part those around it."""
    messages = [
        *(("user", True), ("user", True), ("assistant", False), ("user", True)),
        *(("assistant", True), ("user", False), ("user", True)),
    ]
    texts = [InputText(role, "a", "p", {}, "k") for role, _ in messages]
    roles, shown = [role for role, _ in messages], [shown for _, shown in messages]
    conversation_texts(roles, [[text] for text in texts], group=3, shown=shown)
    assert [text.group for text in texts] == [3, 3, 3, 3, 4, 4, 5]
