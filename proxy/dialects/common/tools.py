"""Tools that stand beside a prompt: those that the client runs, and those that the model server would run itself.

A client's tool is read through the table of its kind. A tool of any other kind, and one that names a server, is the
model server's: it would act unguarded, so it is left out unless the operator has allowed it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from proxy.dialects.common.request_fields import LeftOut, Report, Take
from proxy.dialects.common.whole import Whole
from proxy.dialects.wire.json_body import type_name
from proxy.errors import BadRequest

SERVER_KEYS = frozenset(
    (
        *("server_url", "server_label", "connector_id", "tunnel_id", "mcp_server_name", "mcp_server_url"),
        *("headers", "authorization", "authorization_token", "container", "vector_store_ids"),
    )
)
"""Keys that only a tool of the model server has, in the APIs of Anthropic, OpenAI and LM Studio."""

_VERSION = re.compile(r"_\d{4}_?\d{2}_?\d{2}$")


def tool_kinds(variants: Mapping[str, Take], default: str) -> Take:
    """A tool whose `type`, without the date of its version, says which of the client's kinds it is.

    default: the kind of a tool that does not say it
    """
    tag = "type"

    def take(value: Any, path: str, report: Report) -> Any:
        if not isinstance(value, dict):
            raise BadRequest(f"{path} must be an object, not {type_name(value)}", path, "invalid_type")
        kind = default if value.get(tag) is None else value[tag]
        variant = variants.get(_VERSION.sub("", kind)) if isinstance(kind, str) else None
        if variant is not None and not _names_server(value):
            dropped = len(report.dropped)
            try:
                return variant(value, path, report)
            except LeftOut:
                del report.dropped[dropped:]
        if not report.options.allow_server_tools:
            raise LeftOut
        return value

    return take


def _names_server(tool: Mapping[str, Any]) -> bool:
    """Whether a tool has a key of the model server's tools; Go servers read keys in any case."""
    return any(key.casefold() in SERVER_KEYS for key in tool)


class ClientTool(Whole):
    """A tool that the client runs if certain keys say so.

    required: they have to be there and to fit
    telling:  they have to fit if they are there
    """

    def __init__(self, keys: Mapping[str, Take], required: Sequence[str] = (), telling: Sequence[str] = ()) -> None:
        super().__init__(keys, required)
        self._telling = telling

    def __call__(self, value: Any, path: str, report: Report) -> dict[str, Any]:
        """The known part of the tool. Raises LeftOut if the model server would run it."""
        clean = super().__call__(value, path, report)
        if any(key in value and key not in clean for key in self._telling):
            raise LeftOut
        return clean


def tool_names(tools: Any) -> Iterator[str]:
    """The names of tools, and of those inside them."""
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict):
            if isinstance(tool.get("name"), str):
                yield tool["name"]
            yield from tool_names(tool.get("tools"))


def lost_names(given: Any, tools: Any) -> set[str]:
    """The names of the tools that were left out of those that the client has given."""
    return set(tool_names(given)) - set(tool_names(tools))
