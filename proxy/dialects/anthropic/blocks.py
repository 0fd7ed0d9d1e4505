"""Content blocks of Anthropic's messages: what becomes of each kind, and where its texts are.

All that a block keeps is judged, but for its type, a mark for a cache, and pictures. So a block that stays in a history
for ever never stands in the way of the next request. A kind that is not in the table is left out.

Sources: Anthropic's API reference (messages; the types of the SDK for Python), anthropic/anthropic.go of Ollama,
tools/server/server-chat.cpp of llama.cpp. The two servers skip the blocks that they do not know.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from proxy.dialects.anthropic.tools import CACHE, TOOL
from proxy.dialects.common.media import check_media
from proxy.dialects.common.opaque import opaque_texts, with_spelled
from proxy.dialects.common.request_fields import (
    NULL,
    OPTIONAL_STRING,
    STRING,
    SWITCH,
    Object,
    Report,
    Take,
    anything,
    by_type,
    kinds,
    left_out,
    lenient,
    list_of,
    one_of,
)
from proxy.dialects.common.request_texts import nested_texts
from proxy.dialects.common.whole import Whole, said, text_part
from proxy.dialects.request import InputText, Options

_CITED = lenient(by_type("an object or null", object=Object({"enabled": SWITCH}), null=NULL))
_MEDIA_TYPE = lenient(
    one_of(
        *("image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp", "image/avif", "image/tiff"),
        *("text/plain", "text/markdown", "text/html", "text/csv"),
    )
)


def _block(*required: str, **keys: Take) -> Whole:
    return Whole({"type": STRING, "cache_control": CACHE, **keys}, required)


def content_of(variants: Mapping[str, Take]) -> Take:
    """A string, null, or blocks of these kinds; a block that stands alone is an array of one."""
    blocks = list_of(lenient(text_part("text", kinds("type", variants))))

    def alone(value: Any, path: str, report: Report) -> Any:
        return blocks([value], path, report)

    return by_type("a string, null or an array of blocks", string=STRING, null=NULL, array=blocks, object=alone)


def _result_of(variants: Mapping[str, Take]) -> Take:
    """What a tool answered; a number or a boolean is a text too."""
    take_content = content_of(variants)

    def take(value: Any, path: str, report: Report) -> Any:
        return take_content(json.dumps(value) if isinstance(value, int | float) else value, path, report)

    return take


TEXT = _block(
    "text",
    text=said(STRING),
    citations=anything,
)
_IMAGE = _block(
    "source",
    source=kinds(
        "type",
        {
            "base64": Object({"type": STRING, "media_type": _MEDIA_TYPE, "data": STRING}, ["data"]),
            "url": Object({"type": STRING, "url": STRING}, ["url"]),
            "file": left_out("it lies on the server, where nobody here can see it"),
        },
    ),
)
_DOCUMENT = _block(
    "source",
    title=OPTIONAL_STRING,
    context=OPTIONAL_STRING,
    citations=_CITED,
    source=kinds(
        "type",
        {
            "text": Object({"type": STRING, "media_type": _MEDIA_TYPE, "data": STRING}, ["data"]),
            "content": Object(
                {"type": STRING, "content": content_of({"text": TEXT, "image": _IMAGE})},
                ["content"],
            ),
            "base64": left_out("a PDF: nobody here can read it"),
            "url": left_out("the server would fetch it, and nobody here would read it"),
            "file": left_out("it lies on the server, where nobody here can read it"),
        },
    ),
)
_SEARCH_RESULT = _block(
    title=OPTIONAL_STRING, source=OPTIONAL_STRING, content=content_of({"text": TEXT}), citations=_CITED
)
_REFERENCE = _block("tool_name", tool_name=STRING)
_BROWSER = _block(tabs=anything, state_changes=anything)
_RESULT = {
    "text": TEXT,
    "image": _IMAGE,
    "document": _DOCUMENT,
    "search_result": _SEARCH_RESULT,
    "tool_reference": _REFERENCE,
    "browser_state": _BROWSER,
}
_FETCHED = kinds(
    "type",
    {
        "web_fetch_result": Object(
            {
                "type": STRING,
                "url": OPTIONAL_STRING,
                "retrieved_at": OPTIONAL_STRING,
                "content": kinds("type", {"document": _DOCUMENT}),
            }
        ),
        "web_fetch_tool_result_error": Object({"type": STRING, "error_code": STRING, "error_message": OPTIONAL_STRING}),
    },
)
_CHANGED: dict[str, Take] = {
    "tool_reference": Object({"type": STRING, "name": STRING}),
    "mcp_tool_reference": Object({"type": STRING, "name": STRING, "server_name": STRING}),
    "mcp_toolset_reference": Object({"type": STRING, "name": STRING, "server_name": STRING}),
}
_ADDITION = _block(
    "tool",
    tool=kinds(
        "type",
        {**_CHANGED, "tool_definition": Object({"type": STRING, "definition": TOOL}, ["definition"])},
        default="tool_reference",
    ),
)
_REMOVAL = _block("tool", tool=kinds("type", _CHANGED, default="tool_reference"))


def _or_empty(take_part: Take) -> Take:
    """Arguments of a call; null is none of them."""

    def take(value: Any, path: str, report: Report) -> Any:
        return take_part({} if value is None else value, path, report)

    return take


_INPUT = _or_empty(anything)
_CALL = _block("name", id=STRING, name=STRING, input=_INPUT, caller=anything, toolset_name=OPTIONAL_STRING)
_ANSWER = _block(tool_use_id=STRING, content=anything, caller=anything, is_error=SWITCH)

BLOCKS: dict[str, Take] = {
    "text": TEXT,
    "image": _IMAGE,
    "thinking": _block("thinking", thinking=OPTIONAL_STRING, signature=OPTIONAL_STRING),
    "redacted_thinking": _block("data", data=STRING),
    "tool_use": _CALL,
    "tool_result": _block(
        tool_use_id=STRING, content=_result_of(_RESULT), is_error=SWITCH, toolset_name=OPTIONAL_STRING
    ),
    "tool_reference": _REFERENCE,
    "tool_addition": _ADDITION,
    "tool_removal": _REMOVAL,
    "document": _DOCUMENT,
    "search_result": _SEARCH_RESULT,
    "server_tool_use": _CALL,
    "web_search_tool_result": _ANSWER,
    "web_fetch_tool_result": _block(
        tool_use_id=STRING,
        content=by_type("an object or an array", object=_FETCHED, array=list_of(_FETCHED), null=NULL),
        caller=anything,
    ),
    "tool_search_tool_result": _ANSWER,
    "code_execution_tool_result": _ANSWER,
    "bash_code_execution_tool_result": _ANSWER,
    "text_editor_code_execution_tool_result": _ANSWER,
    "advisor_tool_result": _ANSWER,
    "mcp_tool_use": _block("name", id=STRING, name=STRING, server_name=STRING, input=_INPUT),
    "mcp_tool_result": _block(tool_use_id=STRING, content=_result_of(_RESULT), is_error=SWITCH),
    "mcp_tool_listing": _block(mcp_server_name=STRING, tools=anything),
    "compaction": _block(
        content=OPTIONAL_STRING,
        encrypted_content=OPTIONAL_STRING,
        signature=OPTIONAL_STRING,
        tool_changes=by_type(
            "an array or null",
            array=list_of(kinds("type", {"tool_addition": _ADDITION, "tool_removal": _REMOVAL})),
            null=NULL,
        ),
    ),
    "fallback": _block(**dict.fromkeys(("from", "to", "trigger"), anything)),
    "container_upload": left_out("a file for tools that the server runs"),
}

_UNREAD = ("type", "cache_control", "media_type")  # words, and what has the form of one
_SEALED = {"redacted_thinking": ("data",), "thinking": ("signature",), "compaction": ("encrypted_content", "signature")}
_SAID = ("text", "thinking", "input", "content", "data", "source")
"""Keys of what is said in a block; the rest stands aside."""
_IN_LINE = ("text", "thinking", "tool_use", "server_tool_use", "tool_result")
_BLOCKS_IN = {
    **dict.fromkeys(("tool_result", "mcp_tool_result", "search_result"), "content"),
    **dict.fromkeys(("web_fetch_tool_result", "web_fetch_result", "content"), "content"),
    "document": "source",
}
"""By the type of an object, the key under which it holds blocks, or another such object."""


def block_texts(block: dict[str, Any], role: str, path: str, options: Options) -> list[InputText]:
    """Every text of a block. What a tool answered has the role `tool`, whoever's message it stands in.

    Texts of blocks that the model servers skip stand aside: the model reads what is before and behind them as one.
    """
    kind = block["type"]
    if kind.endswith("tool_result"):
        role = "tool"
    texts = list(_texts_of(block, role, path, options))
    if kind not in _IN_LINE:
        for text in texts:
            text.aside = True
    return texts


def is_shown(content: Any) -> bool:
    """Whether a model server shows a message with such content to the model: something that it knows is said in it."""
    if not isinstance(content, list):
        return bool(content)
    return any(
        block["type"] in ("image", "tool_use", "server_tool_use", "tool_result")
        or (block["type"] in ("text", "thinking") and bool(block.get(block["type"])))
        for block in content
    )


def _texts_of(holder: dict[str, Any], role: str, path: str, options: Options) -> Iterator[InputText]:
    kind = holder["type"]
    if kind == "image":
        check_media(holder["source"], path, options)
        return
    for key in (key for key in holder if key not in _UNREAD):
        for text in _texts_at(holder, key, role, f"{path}.{key}", options):
            text.aside |= key not in _SAID
            yield text


def _texts_at(holder: dict[str, Any], key: str, role: str, path: str, options: Options) -> Iterable[InputText]:
    """The texts under one key of a block."""
    kind, value = holder["type"], holder[key]
    if isinstance(value, str):
        if key in _SEALED.get(kind, ()):
            return opaque_texts(value, role, path, holder, key)
        return [InputText(role, value, path, holder, key, escaped=key == "input")]
    if key == _BLOCKS_IN.get(kind):
        return _inner_texts(value, role, path, options)
    if type(value) in (int, float):
        return [InputText(role, json.dumps(value), path, holder, key)]
    return with_spelled(nested_texts(value, role, path))


def _inner_texts(value: Any, role: str, path: str, options: Options) -> Iterator[InputText]:
    """The texts of blocks, or of one object, inside a block."""
    if isinstance(value, dict):
        yield from block_texts(value, role, path, options)
    for i, block in enumerate(value if isinstance(value, list) else ()):
        yield from block_texts(block, role, f"{path}[{i}]", options)
