"""Requests of OpenAI's responses: what is understood, and where the texts are.

Sources: the OpenAI API reference (responses), Ollama's docs/api/openai-compatibility.md, llama.cpp's server README.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.dialects.common.limits import CONTROL
from proxy.dialects.common.request_fields import (
    COUNT,
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
    judged,
    kinds,
    left_out,
    lenient,
    list_of,
    one_or_more,
    words,
)
from proxy.dialects.common.request_texts import conversation_texts, schema_texts
from proxy.dialects.common.template_arguments import TEMPLATE_ARGUMENTS
from proxy.dialects.openai.request import CHOOSING
from proxy.dialects.openai.responses.input_items import ITEM, is_shown, item_texts, role_of, stateful
from proxy.dialects.openai.responses.tools import TOOL, TOOL_CHOICE, kept_choice
from proxy.dialects.request import InputText, Options, Request


def _settings(**keys: Take) -> Take:
    return lenient(by_type("an object or null", object=Object(keys), null=NULL))


_FORMAT: dict[str, Take] = {
    "type": STRING,
    "name": OPTIONAL_STRING,
    "description": OPTIONAL_STRING,
    "schema": anything,
    "strict": SWITCH,
}
_FORMATS = dict.fromkeys(("text", "json_object", "json_schema"), Object(_FORMAT))
_SUMMARY = words("auto", "concise", "detailed")
_ITEMS = list_of(ITEM)


def _alone(value: Any, path: str, report: Report) -> Any:
    """An item that stands alone in the place of an array."""
    return _ITEMS([value], path, report)


_ACCOUNT = left_out("it is for the vendor's own servers: accounts, prices, caches")
_STATE = allowed("allow_stateful", judged())

RESPONSES = Object(
    {
        "model": STRING,
        "input": by_type("a string or an array of items", string=STRING, array=_ITEMS, object=_alone),
        "instructions": OPTIONAL_STRING,
        "tools": lenient(by_type("an array of tools", array=list_of(lenient(TOOL)), null=NULL)),
        "tool_choice": TOOL_CHOICE,
        "parallel_tool_calls": SWITCH,
        "text": _settings(
            format=lenient(by_type("an object or null", object=kinds("type", _FORMATS), null=NULL)),
            verbosity=words("low", "medium", "high"),
        ),
        "reasoning": _settings(
            effort=words("none", "minimal", "low", "medium", "high", "xhigh", "max"),
            summary=_SUMMARY,
            generate_summary=_SUMMARY,
            context=words("auto", "current_turn", "all_turns"),
            mode=words("standard", "pro"),
        ),
        **CHOOSING,
        "chat_template_kwargs": TEMPLATE_ARGUMENTS,
        **dict.fromkeys(("seed", "max_output_tokens", "max_tool_calls", "top_logprobs"), COUNT),
        "truncation": words("auto", "disabled"),
        "include": lenient(by_type("an array", array=list_of(STRING), string=one_or_more(STRING), null=NULL)),
        "store": SWITCH,
        "background": allowed("allow_stateful", SWITCH),
        "previous_response_id": OPTIONAL_STRING,
        "conversation": by_type("a string or an object", string=STRING, object=Object({"id": STRING}), null=NULL),
        "prompt": _STATE,
        "stream": SWITCH,
        "stream_options": _settings(include_obfuscation=SWITCH),
        **CONTROL,
        **dict.fromkeys(("metadata", "client_metadata", "user", "safety_identifier", "service_tier"), _ACCOUNT),
        **dict.fromkeys(("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"), _ACCOUNT),
        **dict.fromkeys(("access_programs", "moderation", "background_options", "image"), _ACCOUNT),
        "context_management": left_out("it has the vendor's servers shorten the history"),
    },
    ["input"],
)
"""POST /v1/responses."""

INCLUDES = ("reasoning.encrypted_content",)


def settle_tools(body: dict[str, Any], given: Any, report: Report) -> None:
    """Leave out a list of which nothing is left, and a choice of what was left out.

    given: the tools as the client sent them
    """
    if given and body.get("tools") == []:
        del body["tools"]
    choice = body.get("tool_choice")
    if not choice:
        return
    kept = kept_choice(choice, body.get("tools") or [], given)
    if kept is None:
        del body["tool_choice"]
        report.forget("tool_choice")
    elif kept != choice:
        body["tool_choice"] = kept
        report.dropped.append("tool_choice.tools")


def limit_state(request: Request, options: Options) -> None:
    """What a backend remembers was never checked: nothing is stored, and nothing stored is used."""
    if options.allow_stateful:
        return
    body = request.body
    for key in ("previous_response_id", "conversation"):
        if body.pop(key, None):
            raise stateful(key, key)
    if body.get("store"):
        request.removed += ("store",)
    body["store"] = False


def limit_includes(request: Request) -> None:
    """Extra parts of the answer: only those that can be judged."""
    wanted = request.body.get("include")
    if wanted is None:
        return
    kept = [name for name in wanted if name in INCLUDES]
    if len(kept) < len(wanted):
        request.removed += ("include",)
    request.body["include"] = kept


def prompt_texts(body: dict[str, Any], options: Options) -> list[InputText]:
    """Every text that the model will read: tools and the form of the answer, the instructions, then the input."""
    own = [(f"tools[{i}]", tool) for i, tool in enumerate(body.get("tools") or ())]
    choice = body.get("tool_choice")
    own += [("text.format", (body.get("text") or {}).get("format"))]
    own += [("tool_choice", choice if isinstance(choice, dict) else None)]
    texts = schema_texts(own)
    if body.get("instructions"):
        texts.append(InputText("system", body["instructions"], "instructions", body, "instructions"))
    if isinstance(body["input"], str):
        return [*texts, InputText("user", body["input"], "input", body, "input", group=1)]
    return texts + _item_texts(body["input"], options)


def _item_texts(items: list[dict[str, Any]], options: Options) -> list[InputText]:
    """Every text in the items, in reading order."""
    roles = [role_of(item) for item in items]
    found = [item_texts(item, roles[i], f"input[{i}]", options) for i, item in enumerate(items)]
    return conversation_texts(roles, found, group=1, shown=[is_shown(item) for item in items])


def prefill(body: Mapping[str, Any]) -> str:
    """The beginning of the answer, when the client gives it."""
    items = body["input"]
    last = items[-1] if isinstance(items, list) and items else {}
    if last.get("role") != "assistant":
        return ""
    content = last.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
