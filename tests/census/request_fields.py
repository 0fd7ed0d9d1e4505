"""What a client may send on each guarded path: the allow-lists, and the places whose text no rule has to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, NamedTuple

from proxy.dialects.anthropic import request as anthropic_request
from proxy.dialects.base import Dialect
from proxy.dialects.common.request_fields import Object
from proxy.dialects.lmstudio import request as lmstudio_request
from proxy.dialects.ollama import embeddings as ollama_embeddings
from proxy.dialects.ollama import request as ollama_request
from proxy.dialects.openai import completions as openai_completions
from proxy.dialects.openai import embeddings as openai_embeddings
from proxy.dialects.openai import request as openai_request
from proxy.dialects.openai.responses import request as openai_responses_request
from tests.census.allow_lists import Build, Place, Takes, places
from tests.census.doors import GUARDED


class Fate(Enum):
    """What becomes of a forbidden text in a place.

    JUDGED:   a rule sees it: the request is refused or the text rewritten
    WORD:     the same for a word; what is more than a word is left out, or refused
    REFUSED:  the request is refused whatever the text says
    DROPPED:  it is not sent on
    NOT_READ: it is sent on, and no model reads it
    """

    JUDGED = "judged"
    WORD = "word"
    REFUSED = "refused"
    DROPPED = "dropped"
    NOT_READ = "not read"


class Asked(NamedTuple):
    """A path with everything that its requests can hold.

    below: allow-lists that the dialect applies to values which the outer one takes as any JSON
    base:  keys that every request of it has
    """

    allowed: Object
    base: dict[str, Any]
    below: tuple[tuple[str, Any, Build], ...] = ()


def _in(key: str, more: dict[str, Any]) -> Build:
    return lambda value: {**more, key: [value]}


_TALK: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
_RESPONSES = Asked(openai_responses_request.RESPONSES, {"model": "m", "input": "hi"})
_MESSAGES = Asked(anthropic_request.MESSAGES, {"model": "m", "max_tokens": 9, **_TALK})
ASKED: dict[str, Asked] = {
    "/v1/chat/completions": Asked(openai_request.CHAT, {"model": "m", **_TALK}),
    "/v1/completions": Asked(openai_completions.COMPLETIONS, {"model": "m", "prompt": "hi"}),
    "/v1/responses": _RESPONSES,
    "/v1/messages": _MESSAGES,
    "/v1/messages/count_tokens": _MESSAGES,
    "/api/chat": Asked(ollama_request.CHAT, {"model": "m", **_TALK}),
    "/api/generate": Asked(ollama_request.GENERATE, {"model": "m", "prompt": "hi"}),
    "/api/v1/chat": Asked(lmstudio_request.CHAT, {"model": "m", "input": "hi"}),
    "/api/v0/chat/completions": Asked(openai_request.CHAT, {"model": "m", **_TALK}),
    "/api/v0/completions": Asked(openai_completions.COMPLETIONS, {"model": "m", "prompt": "hi"}),
    "/v1/embeddings": Asked(openai_embeddings._OPENAI, {"model": "m", "input": "hi"}),
    "/api/embed": Asked(ollama_embeddings._EMBED, {"model": "m", "input": "hi"}),
    "/api/embeddings": Asked(ollama_embeddings._OLD, {"model": "m", "prompt": "hi"}),
    "/api/v0/embeddings": Asked(openai_embeddings._OPENAI, {"model": "m", "input": "hi"}),
}

_NAME = "the name of a model"
_STOP = "the model server compares it with the answer"
_MEDIA = "a picture or a sound, which nobody reads here; docs say so"
_SETTING = "a setting that no chat template shows"
_ROLE = "a role is one of a few words"
_PIN = "it would keep a model in memory; a setting allows it"
_RAW = "it goes around the chat template; a setting allows it"
_TOOLS = "the model server would run tools; a setting allows it"
_DATA = "only data: URLs are taken; a setting allows others"
_NOT_SENT = "it names a tool that is not sent"
_NOTHING_LEFT = "it is left out, and then nothing is left of the input"
_STATE = "the model server remembers; a setting allows it"

_SOUND: dict[str, tuple[Fate, str]] = {
    "data": (Fate.NOT_READ, _MEDIA),
    "url": (Fate.REFUSED, _DATA),
    "format": (Fate.NOT_READ, _SETTING),
}

EXEMPT: dict[str, tuple[Fate, str]] = {  # by its path in a request, with the door before it if it is not so everywhere
    "model": (Fate.NOT_READ, _NAME),
    "draft_model": (Fate.NOT_READ, _NAME),
    "keep_alive": (Fate.DROPPED, _PIN),
    **dict.fromkeys(("stop", "stop[]", "options.stop", "options.stop[]", "stop_sequences[]"), (Fate.NOT_READ, _STOP)),
    **dict.fromkeys(
        (
            *("samplers", "samplers[]", "dry_sequence_breakers", "dry_sequence_breakers[]", "reasoning_format"),
            *("logit_bias.KEY", "logit_bias"),
        ),
        (Fate.NOT_READ, _SETTING),
    ),
    **{f"tool_choice[{kind}].{kind}.name": (Fate.DROPPED, _NOT_SENT) for kind in ("function", "custom")},
    **{
        f"tool_choice[allowed_tools].allowed_tools.tools[][{kind}].{kind}.name": (Fate.DROPPED, _NOT_SENT)
        for kind in ("function", "custom")
    },
    "chat_template_kwargs.KEY": (Fate.NOT_READ, _SETTING),
    **dict.fromkeys(
        ("/v1/messages messages[].role", "/v1/messages/count_tokens messages[].role"), (Fate.REFUSED, _ROLE)
    ),
    "input[][message].role": (Fate.REFUSED, _ROLE),
    "messages[].images[]": (Fate.NOT_READ, _MEDIA),
    "images[]": (Fate.NOT_READ, _MEDIA),
    "suffix": (Fate.REFUSED, _RAW),
    "template": (Fate.REFUSED, _RAW),
    "include[]": (Fate.DROPPED, "only what can be judged is asked for"),
    "previous_response_id": (Fate.REFUSED, _STATE),
    "conversation": (Fate.REFUSED, _STATE),
    "conversation.id": (Fate.REFUSED, _STATE),
    "input[][item_reference].id": (Fate.REFUSED, _STATE),
    **dict.fromkeys(("/v1/responses input[][?]", "input[][mcp_approval_response]"), (Fate.REFUSED, _NOTHING_LEFT)),
    "/v1/responses tool_choice[function].function.name": (Fate.JUDGED, "a function may be named in a form of chat"),
}
ENDINGS: dict[str, tuple[Fate, str]] = {
    ".annotations": (Fate.DROPPED, "notes on an answer are not part of a prompt"),
    ".logprobs": (Fate.DROPPED, "notes on an answer are not part of a prompt"),
    "[image].source[base64].data": (Fate.NOT_READ, _MEDIA),
    "[image].source[url].url": (Fate.REFUSED, _DATA),
    "[input_image].image_url": (Fate.REFUSED, _DATA),
    "[input_image].image_url.url": (Fate.REFUSED, _DATA),
    "[computer_screenshot].image_url": (Fate.REFUSED, _DATA),
    "[computer_screenshot].image_url.url": (Fate.REFUSED, _DATA),
    **{f"[{kind}].{kind}.{key}": fate for kind in ("input_audio", "input_video") for key, fate in _SOUND.items()},
    "[image_url].image_url": (Fate.REFUSED, _DATA),
    "[image_url].image_url.url": (Fate.REFUSED, _DATA),
    "[image].data_url": (Fate.REFUSED, _DATA),
}
"""The same for places whose path ends so."""


class Row(NamedTuple):
    """A place in the requests of a path."""

    path: str
    dialect: Dialect
    place: Place
    fate: Fate

    def request(self, value: Any) -> dict[str, Any]:
        """A request with the value in its place."""
        built: dict[str, Any] = self.place.build(value)
        return {**ASKED[self.path].base, **built}


def rows() -> Iterator[Row]:
    """Every place of every path."""
    for path, dialect in GUARDED.items():
        if path in ASKED and dialect is not None:
            for place in places_of(path):
                yield Row(path, dialect, place, fate_of(path, place))


def places_of(path: str) -> Iterator[Place]:
    """The places of one path."""
    asked = ASKED[path]
    yield from places(asked.allowed)
    for below, take, build in asked.below:
        yield from places(take, below, build)


def fate_of(path: str, place: Place) -> Fate:
    """What is to become of a text there: as the table says, or else as the allow-list's own entry does."""
    ends = (fate for end, fate in ENDINGS.items() if place.path.endswith(end))
    exempt = EXEMPT.get(f"{path} {place.path}") or EXEMPT.get(place.path) or next(ends, None)
    return exempt[0] if exempt else BY_ENTRY[place.takes]


BY_ENTRY = {
    Takes.TEXT: Fate.JUDGED,
    Takes.JSON: Fate.JUDGED,
    Takes.WORD: Fate.WORD,
    Takes.FORM: Fate.DROPPED,
    Takes.NOTHING: Fate.DROPPED,
    Takes.REFUSED: Fate.REFUSED,
}


Pair = Callable[[str, str], dict[str, Any]]


def _messages(key: str, *contents: Any, role: str = "user") -> dict[str, Any]:
    return {"model": "m", "max_tokens": 9, key: [{"role": role, "content": content} for content in contents]}


def _parts(key: str, kind: str) -> Pair:
    return lambda a, b: _messages(key, [{"type": kind, "text": a}, {"type": kind, "text": b}])


SPLIT: dict[str, tuple[Pair, ...]] = {
    "/v1/chat/completions": (lambda a, b: _messages("messages", a, b), _parts("messages", "text")),
    "/v1/messages": (lambda a, b: _messages("messages", a, b), _parts("messages", "text")),
    "/v1/responses": (lambda a, b: _messages("input", a, b), _parts("input", "input_text")),
    "/api/chat": (lambda a, b: _messages("messages", a, b),),
    "/api/v1/chat": (lambda a, b: {"model": "m", "input": [{"type": "message", "content": text} for text in (a, b)]},),
}
"""A phrase in two neighbouring texts, which the model reads as one."""
