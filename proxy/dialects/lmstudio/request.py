"""Requests of LM Studio's own chat, POST /api/v1/chat: what is understood, and where the texts are.

Source: LM Studio's REST docs (v1, chat). One input and a system prompt; the conversation itself lives in the server,
unless it is told not to store it, which is what it is told here.
"""

from __future__ import annotations

from typing import Any

from proxy.dialects.base import InputText, Options, Request
from proxy.dialects.common.limits import limit
from proxy.dialects.common.request_fields import (
    NULL,
    OPTIONAL_BOOLEAN,
    OPTIONAL_INTEGER,
    OPTIONAL_NUMBER,
    OPTIONAL_STRING,
    STRING,
    Object,
    by_type,
    list_of,
    map_of,
    one_of,
    tagged,
)
from proxy.errors import BadRequest

_TEXT = Object({"type": STRING, "content": STRING}, ["content"])
_ITEM = tagged(
    "type",
    {"message": _TEXT, "text": _TEXT, "image": Object({"type": STRING, "data_url": STRING}, ["data_url"])},
)
_TOOLS = list_of(STRING)
_INTEGRATION = tagged(
    "type",
    {
        "plugin": Object({"type": STRING, "id": STRING, "allowed_tools": _TOOLS}, ["id"]),
        "ephemeral_mcp": Object(
            {
                "type": STRING,
                "server_label": STRING,
                "server_url": STRING,
                "allowed_tools": _TOOLS,
                "headers": map_of(STRING),
            },
            ["server_url"],
        ),
    },
)
CHAT = Object(
    {
        "model": STRING,
        "input": by_type("a string or an array of items", string=STRING, array=list_of(_ITEM)),
        "system_prompt": OPTIONAL_STRING,
        "integrations": by_type(
            "an array", array=list_of(by_type("a name or an object", string=STRING, object=_INTEGRATION)), null=NULL
        ),
        "stream": OPTIONAL_BOOLEAN,
        **dict.fromkeys(("temperature", "top_p", "min_p", "repeat_penalty"), OPTIONAL_NUMBER),
        **dict.fromkeys(("top_k", "max_output_tokens", "context_length", "seed"), OPTIONAL_INTEGER),
        "reasoning": by_type("a level", string=one_of("off", "low", "medium", "high", "on"), null=NULL),
        "ttl": OPTIONAL_NUMBER,
        "store": OPTIONAL_BOOLEAN,
        "previous_response_id": OPTIONAL_STRING,
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
        if item["type"] == "image":
            _check_image(item["data_url"], f"input[{i}]", options)
        else:
            parts.append(InputText("user", item["content"], f"input[{i}].content", item, "content", group=1))
    last = max((i for i, part in enumerate(parts) if part.text.strip()), default=0)
    for part in parts[:last]:
        part.newest = False
    return texts + parts


def _check_image(url: str, path: str, options: Options) -> None:
    if not options.allow_images:
        raise BadRequest(f"{path}: pictures are refused by policy", path, "media_refused")
    if not url.lower().startswith("data:") and not options.allow_remote_images:
        raise BadRequest(
            f"{path}: only data: URLs are taken, the backend would fetch anything else (setting allow_remote_images)",
            path,
            "remote_image",
        )


def restrict(request: Request, options: Options) -> None:
    """Refuse or take out what the operator does not allow."""
    body = request.body
    limit(request, options)
    if not options.allow_model_control and body.pop("context_length", None) is not None:
        request.dropped += ("context_length",)
    if body.get("integrations") and not options.allow_server_tools:
        raise BadRequest(
            "integrations let the model server call tools and other machines (setting allow_server_tools)",
            "integrations",
            "server_tools",
        )
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
