"""Requests of LM Studio's own chat, POST /api/v1/chat: what is understood, and where the texts are.

Source: LM Studio's REST docs (v1, chat). One input and a system prompt; the conversation itself lives in the server,
unless it is told not to store it, which is what it is told here.
"""

from __future__ import annotations

from typing import Any

from proxy.dialects.common.limits import cap_context, limit
from proxy.dialects.common.media import check_media
from proxy.dialects.common.request_fields import (
    COUNT,
    NULL,
    OPTIONAL_STRING,
    PASSED,
    STRING,
    SWITCH,
    Object,
    Report,
    Take,
    allowed,
    anything,
    by_type,
    kinds,
    left_out,
    lenient,
    list_of,
    one_or_more,
    words,
)
from proxy.dialects.request import InputText, Options, Request
from proxy.errors import BadRequest

_TEXT = Object({"type": STRING, "content": STRING}, ["content"])


def _said(take_part: Take) -> Take:
    """A text; some clients have it under `text`, as in other dialects."""

    def take(value: Any, path: str, report: Report) -> Any:
        is_text = value.get("type") in ("text", "message") and isinstance(value.get("text"), str)
        if is_text and "content" not in value:
            value = {"content" if key == "text" else key: part for key, part in value.items()}
        return take_part(value, path, report)

    return take


_PICTURE = Object({"type": STRING, "data_url": STRING}, ["data_url"])
_KINDS = kinds("type", {"message": _TEXT, "text": _TEXT, "image": _PICTURE})
_ITEM = lenient(by_type("a text or an item", string=STRING, object=_said(_KINDS)))
_TOOLS = left_out("this dialect has no tools that the client runs")
CHAT = Object(
    {
        "model": STRING,
        "input": by_type(
            "a string or an array of items", string=STRING, array=list_of(_ITEM), object=one_or_more(_ITEM)
        ),
        "system_prompt": OPTIONAL_STRING,
        "integrations": allowed("allow_server_tools", anything),
        "stream": SWITCH,
        **dict.fromkeys(("temperature", "top_p", "min_p", "repeat_penalty"), PASSED),
        **dict.fromkeys(("top_k", "max_output_tokens", "seed"), PASSED),
        "context_length": COUNT,
        "reasoning": words("off", "low", "medium", "high", "on"),
        "ttl": PASSED,
        "store": SWITCH,
        "previous_response_id": by_type("a string or null", string=STRING, null=NULL),
        **dict.fromkeys(("tools", "tool_choice"), _TOOLS),
    },
    ["model", "input"],
)
"""POST /api/v1/chat."""


def input_texts(body: dict[str, Any], options: Options) -> list[InputText]:
    """The system prompt and the input's parts, of which the last one is new. Refuses pictures that may not be sent."""
    texts = []
    if body.get("system_prompt"):
        texts.append(InputText("system", body["system_prompt"], "system_prompt", body, "system_prompt"))
    given = body["input"]
    if isinstance(given, str):
        return [*texts, InputText("user", given, "input", body, "input", group=1)]
    parts = []
    for i, item in enumerate(given):
        if isinstance(item, str):
            parts.append(InputText("user", item, f"input[{i}]", given, i, group=1))
        elif item["type"] == "image":
            check_media(item["data_url"], f"input[{i}]", options)
        else:
            parts.append(InputText("user", item["content"], f"input[{i}].content", item, "content", group=1))
    last = max((i for i, part in enumerate(parts) if part.text.strip()), default=0)
    for part in parts[:last]:
        part.newest = False
    return texts + parts


def restrict(request: Request, options: Options) -> None:
    """Refuse or take out what the operator does not allow."""
    body = request.body
    limit(request, options)
    if cap_context(body, "context_length", options):
        request.dropped += ("context_length",)
    if not options.allow_stateful:
        _forget(request)


def _forget(request: Request) -> None:
    """The server keeps no conversation: it would remember answers that nobody checked."""
    body = request.body
    if body.pop("previous_response_id", None):
        raise BadRequest(
            "previous_response_id goes on from a conversation that was never checked (setting allow_stateful)",
            "previous_response_id",
            "stateful",
        )
    if body.get("store"):
        request.dropped += ("store",)
    body["store"] = False
