"""Requests of the OpenAI dialect: what becomes of each part, and where the texts are.

Sources: the OpenAI API reference (chat completions), llama.cpp's server README, Ollama's openai.md, LM Studio's docs.
"""

from __future__ import annotations

from typing import Any

from proxy.dialects.base import InputText, Options
from proxy.dialects.common.media import check_media
from proxy.dialects.common.nested_texts import nested_texts
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
    anything,
    by_type,
    form,
    judged,
    kinds,
    left_out,
    lenient,
    list_of,
    map_of,
    one_or_more,
    role,
    words,
)
from proxy.dialects.common.turns import conversation_texts
from proxy.dialects.common.whole import text_part
from proxy.dialects.openai.sampling import COMMON
from proxy.dialects.openai.tools import TOOLS

ROLES = ("system", "developer", "user", "assistant", "tool", "function")

# -- messages

_ARGUMENTS = by_type("a string or an object", string=STRING, object=anything, array=anything, null=NULL)
_CALLED = Object({"name": STRING, "arguments": lenient(_ARGUMENTS)}, ["name"])
_CALL_KEYS: dict[str, Take] = {"id": lenient(OPTIONAL_STRING), "type": OPTIONAL_STRING, "index": PASSED}
_CALL = lenient(
    kinds(
        "type",
        {
            "function": Object({**_CALL_KEYS, "function": _CALLED}, ["function"]),
            "custom": Object({**_CALL_KEYS, "custom": Object({"name": STRING, "input": STRING}, ["name"])}, ["custom"]),
        },
        default="function",
    )
)

MEDIA = ("image_url", "input_audio", "input_video")
"""Parts that nobody here reads; a setting and a policy say whether they are sent."""
_TEXT = Object({"type": STRING, "text": STRING}, ["text"])
_PICTURE = by_type("an object or a string", string=STRING, object=Object({"url": STRING, "detail": words()}, ["url"]))
_BYTES: dict[str, Take] = {"data": STRING, "url": STRING, "format": form(r"[\w.+\-/]{0,32}")}
_PARTS: dict[str, Take] = {
    **dict.fromkeys(("text", "input_text", "output_text"), _TEXT),
    "refusal": Object({"type": STRING, "refusal": STRING}, ["refusal"]),
    "thinking": Object({"type": STRING, "thinking": STRING}, ["thinking"]),
    "image_url": Object({"type": STRING, "image_url": _PICTURE}, ["image_url"]),
    **{kind: Object({"type": STRING, kind: Object(_BYTES)}, [kind]) for kind in ("input_audio", "input_video")},
    **dict.fromkeys(("file", "input_file", "document"), left_out("nobody here reads documents")),
}
_PART = lenient(by_type("a part", string=STRING, object=text_part("text", kinds("type", _PARTS))))
_CONTENT = by_type(
    "a string, null or an array of parts", string=STRING, null=NULL, array=list_of(_PART), object=one_or_more(_PART)
)


class _Message(Object):
    """Most messages are a role and a text, and nothing else: that is seen at one glance."""

    def __call__(self, value: Any, path: str, report: Report) -> dict[str, Any]:
        """What is sent of `value`. Raises BadRequest."""
        if type(value) is dict and len(value) == 2 and value.get("role") in ROLES and type(value.get("content")) is str:
            return value
        dropped = len(report.dropped)
        clean = super().__call__(value, path, report)
        if len(report.dropped) > dropped:
            _close_up(clean, value)
        return clean


def _close_up(clean: dict[str, Any], value: dict[str, Any]) -> None:
    """Where all parts or all calls of a message were left out, it says nothing: no backend takes it without either."""
    for key in ("content", "tool_calls"):
        if clean.get(key) == [] and value.get(key):
            del clean[key]
    if clean.get("content") is None and not (clean.get("tool_calls") or clean.get("function_call")):
        clean["content"] = ""


_MESSAGE = _Message(
    {
        "role": role(*ROLES),
        "content": _CONTENT,
        "name": lenient(OPTIONAL_STRING),
        "tool_call_id": lenient(OPTIONAL_STRING),
        "tool_calls": lenient(by_type("an array", array=list_of(_CALL), object=one_or_more(_CALL), null=NULL)),
        "function_call": lenient(by_type("an object", object=_CALLED, null=NULL)),
        "refusal": lenient(OPTIONAL_STRING),
        "reasoning_content": lenient(OPTIONAL_STRING),
        "reasoning": lenient(OPTIONAL_STRING),
        "audio": left_out("the model server's own copy of an earlier answer in sound"),
        "annotations": left_out("notes on an answer are not part of a prompt"),
    },
    ["role"],
)

# -- the body

_TEMPLATE_OWN = ("messages", "tools", "functions", "bos_token", "eos_token", "add_generation_prompt")
"""Variables of a template that the model server sets from the rest of the request, which is judged as what it is."""

CHAT = Object(
    {
        "model": by_type("a string or null", string=STRING, null=NULL),
        "messages": list_of(_MESSAGE),
        "n": COUNT,
        **TOOLS,
        "chat_template_kwargs": lenient(
            by_type("an object", object=map_of(judged(), named=r"[A-Za-z_]\w{0,63}", without=_TEMPLATE_OWN), null=NULL)
        ),
        "modalities": lenient(by_type("an array", array=list_of(form("text")), null=NULL)),
        "logprobs": SWITCH,
        "top_logprobs": COUNT,
        **COMMON,
    },
    ["messages"],
)
"""POST /v1/chat/completions."""


def message_texts(messages: list[dict[str, Any]], options: Options) -> list[InputText]:
    """Every text in the messages, in reading order. Refuses pictures that may not be sent."""
    texts = [_texts(message, f"messages[{i}]", options) for i, message in enumerate(messages)]
    return conversation_texts([message["role"] for message in messages], texts)


def _texts(message: dict[str, Any], path: str, options: Options) -> list[InputText]:
    said_by, content = message["role"], message.get("content")
    if len(message) == 2 and isinstance(content, str):  # nothing else: most messages are like this
        return [InputText(said_by, content, f"{path}.content", message, "content")]
    found: list[InputText] = []

    def add(container: Any, key: Any, where: str, escaped: bool = False) -> None:
        text = container[key] if isinstance(container, list) else container.get(key)
        if isinstance(text, str):
            at = f"{where}[{key}]" if isinstance(container, list) else f"{where}.{key}"
            found.append(InputText(said_by, text, at, container, key, escaped=escaped))

    for key in ("reasoning_content", "reasoning", "content"):
        add(message, key, path)
    for j, part in enumerate(content if isinstance(content, list) else ()):
        where = f"{path}.content[{j}]"
        if isinstance(part, str):
            add(content, j, f"{path}.content")
            continue
        for key in ("text", "refusal", "thinking"):
            add(part, key, where)
        if part["type"] in MEDIA:
            check_media(part[part["type"]], where, options)
    for key in ("refusal", "name", "tool_call_id"):
        add(message, key, path)
    calls = [(f"{path}.tool_calls[{j}]", call) for j, call in enumerate(message.get("tool_calls") or ())]
    for where, call in calls:
        add(call, "id", where)
    called = [(f"{where}.{key}", call[key]) for where, call in calls for key in ("function", "custom") if key in call]
    if message.get("function_call"):
        called.append((f"{path}.function_call", message["function_call"]))
    for where, function in called:
        add(function, "name", where)
        add(function, "input", where)
        add(function, "arguments", where, escaped=True)
        found += nested_texts(function.get("arguments"), said_by, f"{where}.arguments")
    return found


def prefill(message: dict[str, Any]) -> str:
    """What the model goes on with, when the last message is its own."""
    if message["role"] != "assistant":
        return ""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(part if isinstance(part, str) else part.get("text", "") for part in content)
    return content or ""
