"""Items of a response's input: what becomes of each kind, and where its texts are.

All that an item keeps is judged, but for its type and pictures. So an item that stays in a history for ever never
stands in the way of the next request. A kind that is not in the table is left out.

Sources: OpenAI's API reference (responses; the types of the SDK for Python), requests of Codex, openai/responses.go of
Ollama, tools/server/server-chat.cpp of llama.cpp.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from proxy.dialects.common.media import check_media
from proxy.dialects.common.opaque import FIELDS, is_blob, opaque_texts, with_spelled
from proxy.dialects.common.request_fields import (
    NULL,
    OPTIONAL_STRING,
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
    one_of,
    one_or_more,
    role,
)
from proxy.dialects.common.request_texts import nested_texts
from proxy.dialects.common.whole import Whole, said, text_part
from proxy.dialects.openai.responses.tools import TOOL
from proxy.dialects.request import InputText, Options
from proxy.errors import BadRequest

ROLES = ("system", "developer", "user", "assistant", "tool")


def _typed(*required: str, **keys: Take) -> Whole:
    return Whole({"type": STRING, **keys}, required)


_NOTE = left_out("notes on an answer are not part of a prompt")
_CACHED = left_out("it marks the vendor's prompt cache")
_TEXT = _typed("text", text=said(STRING), annotations=_NOTE, logprobs=_NOTE, prompt_cache_breakpoint=_CACHED)
_DETAIL = lenient(one_of("auto", "low", "high", "original"))
_URL = by_type("a string or an object", string=STRING, object=Object({"url": STRING, "detail": _DETAIL}, ["url"]))
_ON_SERVER = left_out("it lies on the server, where nobody here can see it")
_SOUND = lenient(one_of("wav", "mp3", "flac", "ogg", "opus", "aac", "m4a", "pcm16", "webm"))
_PARTS: dict[str, Take] = {
    **dict.fromkeys(("input_text", "output_text", "text", "summary_text", "reasoning_text"), _TEXT),
    "refusal": _typed("refusal", refusal=said(STRING)),
    "input_image": _typed("image_url", image_url=_URL, file_id=_ON_SERVER, detail=_DETAIL),
    "input_audio": _typed("input_audio", input_audio=Object({"data": STRING, "format": _SOUND}, ["data"])),
    "encrypted_content": _typed("encrypted_content", encrypted_content=STRING),
    "input_file": left_out("a file, which nobody here can read"),
}
_PART = lenient(text_part("input_text", kinds("type", _PARTS)))
_CONTENT = by_type(
    "a string, null or an array of parts", string=STRING, null=NULL, array=list_of(_PART), object=one_or_more(_PART)
)


def _or(empty: Any, take_part: Take) -> Take:
    """A part that model servers need: null is an empty one."""

    def take(value: Any, path: str, report: Report) -> Any:
        return take_part(empty if value is None else value, path, report)

    return take


def _as_source(take_part: Take) -> Take:
    """A call's arguments as JSON source; some clients send what it says."""

    def take(value: Any, path: str, report: Report) -> Any:
        source = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return take_part("{}" if value is None else source, path, report)

    return take


_OUTPUT = _or(
    "",
    by_type(
        "a string or an array of parts",
        string=STRING,
        array=list_of(_PART),
        **dict.fromkeys(("object", "number", "boolean"), anything),
    ),
)
_KEPT: dict[str, Take] = {"id": OPTIONAL_STRING, "status": OPTIONAL_STRING}
_CALLED: dict[str, Take] = {
    **_KEPT,
    "call_id": OPTIONAL_STRING,
    "namespace": OPTIONAL_STRING,
    "caller": anything,
    "async": SWITCH,
}
_TOOLS = lenient(by_type("an array of tools", array=list_of(lenient(TOOL)), null=NULL))


def _item(*known: str, required: tuple[str, ...] = (), **keys: Take) -> Object:
    """An item of a call; what is `known` is taken as it is, and judged."""
    return _typed(*required, **_CALLED, **dict.fromkeys(known, anything), **keys)


def stateful(path: str, what: str) -> BadRequest:
    """The refusal of what only makes sense together with something that the model server remembers."""
    hint = "send the whole input (setting allow_stateful)"
    return BadRequest(f"{path}: {what} is refused here; {hint}", path, "stateful")


class _Message(Object):
    """A message. Where all its parts were left out it says nothing: model servers want a text then."""

    def __call__(self, value: Any, path: str, report: Report) -> dict[str, Any]:
        """What is sent of the message. Raises BadRequest."""
        clean = super().__call__(value, path, report)
        if clean.get("content") == [] and value["content"]:
            clean["content"] = ""
        return clean


class _Remembered(Object):
    """An item that the model server remembers: nobody has judged it, and without it the rest means something else."""

    def __call__(self, value: Any, path: str, report: Report) -> dict[str, Any]:
        """The item. Raises BadRequest unless the operator has allowed it."""
        if not report.options.allow_stateful:
            raise stateful(path, "an item that the backend remembers")
        return super().__call__(value, path, report)


ITEMS: dict[str, Take] = {
    "message": _Message(
        {"type": OPTIONAL_STRING, "role": role(*ROLES), "content": _CONTENT, "phase": OPTIONAL_STRING, **_KEPT},
        ["role"],
    ),
    "agent_message": _typed(author=OPTIONAL_STRING, recipient=OPTIONAL_STRING, content=_CONTENT, **_KEPT),
    "reasoning": _typed(summary=_CONTENT, content=_CONTENT, encrypted_content=OPTIONAL_STRING, **_KEPT),
    "function_call": _item(required=("name",), name=STRING, arguments=_as_source(STRING)),
    "function_call_output": _item(name=OPTIONAL_STRING, output=_OUTPUT),
    "custom_tool_call": _item(required=("name",), name=STRING, input=_or("", STRING)),
    "custom_tool_call_output": _item(name=OPTIONAL_STRING, output=_OUTPUT),
    "local_shell_call": _item("action"),
    "local_shell_call_output": _item(output=_OUTPUT),
    "shell_call": _item("action", "max_output_length"),
    "shell_call_output": _item("output", "max_output_length"),
    "apply_patch_call": _item("operation"),
    "apply_patch_call_output": _item(output=_OUTPUT),
    "computer_call": _item("action", "actions", "pending_safety_checks"),
    "computer_call_output": _item(
        "acknowledged_safety_checks",
        output=kinds(
            "type",
            dict.fromkeys(
                ("computer_screenshot", "input_image"), _typed("image_url", image_url=_URL, file_id=_ON_SERVER)
            ),
        ),
    ),
    "tool_search_call": _item("arguments", execution=OPTIONAL_STRING),
    "tool_search_output": _item(execution=OPTIONAL_STRING, tools=_TOOLS),
    "additional_tools": _typed(role=lenient(one_of("developer", "system")), tools=_TOOLS, **_KEPT),
    "web_search_call": _item("action"),
    "file_search_call": _item("queries", "results"),
    "code_interpreter_call": _item("code", "outputs", container_id=_ON_SERVER),
    "image_generation_call": _item(
        *("action", "background", "error", "output_format", "quality", "revised_prompt", "size"),
        result=left_out("a picture as bare base64, which nobody here can see"),
    ),
    "mcp_list_tools": _item("tools", "error", server_label=OPTIONAL_STRING),
    "mcp_call": _item("error", "output", name=STRING, arguments=_as_source(STRING), server_label=OPTIONAL_STRING),
    "mcp_approval_request": _item(name=STRING, arguments=_as_source(STRING), server_label=OPTIONAL_STRING),
    "mcp_approval_response": allowed(
        "allow_server_tools",
        _typed(approval_request_id=STRING, approve=SWITCH, reason=OPTIONAL_STRING, id=OPTIONAL_STRING),
    ),
    "program": _item("code", fingerprint=OPTIONAL_STRING),
    "program_output": _item("result"),
    "compaction": _typed(encrypted_content=OPTIONAL_STRING, **_KEPT),
    "context_compaction": _typed(encrypted_content=OPTIONAL_STRING, **_KEPT),
    "compaction_trigger": _typed(id=OPTIONAL_STRING),
    "configuration_update": _typed(reasoning=anything, id=OPTIONAL_STRING),
    "item_reference": _Remembered({"type": STRING, "id": STRING}, ["id"]),
}
"""`mcp_approval_response` would have the model server run a tool."""


def _named_kind(take_part: Take) -> Take:
    """An item that only has an id names one that the model server remembers."""

    def take(value: Any, path: str, report: Report) -> Any:
        if isinstance(value, dict) and value.get("type") is None and "id" in value and "role" not in value:
            value = {**value, "type": "item_reference"}
        return take_part(value, path, report)

    return take


ITEM = lenient(_named_kind(kinds("type", ITEMS, default="message")))

_OUTPUTS = ("tool_search_output", "program_output", "mcp_list_tools", "agent_message")
_SHOWN = (
    *("message", "agent_message", "function_call", "function_call_output", "custom_tool_call"),
    "custom_tool_call_output",
)
_UNREAD = ("type", "role", "detail")
_SAID_UNDER = ("content", "summary", "text", "refusal", "output", "input", "arguments")
"""Keys of what is said in an item; the rest stands aside."""
_OF_PARTS = {
    **dict.fromkeys(("message", "agent_message", "reasoning"), ("content", "summary")),
    **dict.fromkeys(("function_call_output", "custom_tool_call_output", "local_shell_call_output"), ("output",)),
    **dict.fromkeys(("apply_patch_call_output", "computer_call_output"), ("output",)),
}
"""By kind of item, the keys under which its table has parts."""
_MEDIA = ("input_image", "input_audio", "computer_screenshot")


def is_shown(item: Mapping[str, Any]) -> bool:
    """Whether a model server shows the item to the model by itself; what it thought goes with its next message."""
    return _kind(item) in _SHOWN


def role_of(item: Mapping[str, Any]) -> str:
    """Whose words an item has."""
    kind = _kind(item)
    if kind == "additional_tools":
        return "system"
    if kind != "message":
        return "tool" if kind.endswith("_call_output") or kind in _OUTPUTS else "assistant"
    return item["role"] if item["role"] in ROLES else "user"  # whom nobody knows is judged like the user


def item_texts(item: dict[str, Any], speaker: str, path: str, options: Options) -> list[InputText]:
    """Every text of an item. Those of items that the model servers skip stand aside."""
    texts = list(_texts_of(item, speaker, path, options))
    kind = _kind(item)
    for text in texts:
        text.thought |= kind == "reasoning" and not text.aside
        text.aside |= kind not in ("reasoning", *_SHOWN)
    return texts


def _texts_of(holder: dict[str, Any], speaker: str, path: str, options: Options) -> Iterator[InputText]:
    """The texts of an item or of a part of one."""
    if holder.get("type") in _MEDIA:
        check_media(holder.get("image_url") or holder.get("input_audio"), path, options)
        return
    for key in (key for key in holder if key not in _UNREAD):
        for text in _texts_at(holder, key, speaker, f"{path}.{key}", options):
            text.aside |= key not in _SAID_UNDER and not _is_only_thought(holder, key)
            yield text


def _texts_at(holder: dict[str, Any], key: str, speaker: str, path: str, options: Options) -> Iterable[InputText]:
    """The texts under one key of an item or a part."""
    value = holder[key]
    if isinstance(value, str):
        if key in FIELDS and is_blob(value):
            return opaque_texts(value, speaker, path, holder, key)
        return [InputText(speaker, value, path, holder, key, escaped=key == "arguments")]
    if _is_of_parts(holder, key):
        return _part_texts(value, speaker, path, options)
    if type(value) in (int, float):
        return [InputText(speaker, json.dumps(value), path, holder, key)]
    return with_spelled(nested_texts(value, speaker, path))


def _is_only_thought(holder: Mapping[str, Any], key: str) -> bool:
    """Whether it is plain thinking that stands nowhere else in its item: Ollama gives it twice, and reads this one."""
    return key == "encrypted_content" and not holder.get("summary") and not holder.get("content")


def _is_of_parts(holder: Mapping[str, Any], key: str) -> bool:
    """Whether a value has been read as parts: in any other, what calls itself a picture may hold a text."""
    kind = _kind(holder)
    return key in _OF_PARTS.get(kind, ()) and (isinstance(holder[key], list) or kind == "computer_call_output")


def _part_texts(value: Any, speaker: str, path: str, options: Options) -> Iterator[InputText]:
    if isinstance(value, dict):
        yield from _texts_of(value, speaker, path, options)
    for j, part in enumerate(value if isinstance(value, list) else ()):
        yield from _texts_of(part, speaker, f"{path}[{j}]", options)


def _kind(item: Mapping[str, Any]) -> str:
    return item.get("type") or "message"
