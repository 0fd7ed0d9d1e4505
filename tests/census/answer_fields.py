"""The field table of answers: for each dialect every field in which a model server can put text, and its fate.

Sources: the API references of OpenAI and Anthropic, Ollama's and LM Studio's docs, llama.cpp's server README.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from tests.census.planting import CHOICE, HOLE, Template, written

JSON = dict[str, Any]


class Fate(Enum):
    """What becomes of a text.

    GUARDED:  it arrives as the rules leave it, and a block ends the answer
    ADMITTED: it arrives if no rule minds it, and is withheld otherwise
    LEFT_OUT: it never arrives
    ERROR:    it tells of an error: the answer has failed, its words arrive if no rule minds them
    """

    GUARDED = "guarded"
    ADMITTED = "admitted"
    LEFT_OUT = "left out"
    ERROR = "error"


@dataclass(frozen=True)
class Field:
    """One row.

    event:  an event with a hole, `lead` what comes before it, and `tail` after it; None: not in a stream
    whole:  the whole answer with the hole; None: not in one
    joins:  clients put its pieces together, so it is tried in pieces
    inside: the text stands in JSON source, so a rule reads it decoded: what is before and after it
    """

    name: str
    fate: Fate
    event: Template | None = None
    whole: Template | None = None
    lead: tuple[JSON, ...] = ()
    tail: tuple[JSON, ...] = ()
    joins: bool = False
    inside: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Script:
    """How a model server of a dialect speaks.

    request:  a client's request, and `several` what asks for two choices, if that can be
    json:     the keys that ask for JSON
    before, after: the events of each choice around the field's own; `end`: of all, as bytes
    frame:    an event's bytes around its JSON
    content:  the field that people read
    """

    request: JSON
    before: tuple[JSON, ...]
    after: tuple[JSON, ...]
    frame: Callable[[bytes], bytes]
    fields: tuple[Field, ...]
    end: bytes = b""
    content: str = "content"
    several: JSON = field(default_factory=dict)
    json: JSON = field(default_factory=dict)

    def field(self, name: str) -> Field:
        """The row of that name."""
        return next(row for row in self.fields if row.name == name)

    def framed(self, template: Template, text: str = "", choice: int = 0, escaped: bool = False) -> bytes:
        """An event's bytes; one that is text is sent as it stands, with its frame in it."""
        source = written(template, text, choice=choice, escaped=escaped)
        return source if isinstance(template, str) else self.frame(source)

    def stream(self, events: bytes, choices: int = 1) -> bytes:
        """A whole stream around the events of a field."""
        heads = b"".join(self.framed(event, choice=c) for c in range(choices) for event in self.before)
        tails = b"".join(self.framed(event, choice=c) for c in range(choices) for event in self.after)
        return heads + events + tails + self.end


def sse(data: bytes) -> bytes:
    """A server-sent event without a name."""
    return b"data: " + data + b"\n\n"


def named(data: bytes) -> bytes:
    """A server-sent event under the name of its type."""
    kind = data.partition(b'"type":"')[2].partition(b'"')[0]
    return b"event: " + kind + b"\ndata: " + data + b"\n\n"


def line(data: bytes) -> bytes:
    """A line of JSON."""
    return data + b"\n"


def guarded(name: str, event: Template | None, whole: Template | None, **more: Any) -> Field:
    """A text that clients put together."""
    return Field(name, Fate.GUARDED, event, whole, **{"joins": True, **more})


def left_out(name: str, event: Template | None, whole: Template | None = None, **more: Any) -> Field:
    """A text that no client ever gets."""
    return Field(name, Fate.LEFT_OUT, event, whole, **more)


def admitted(name: str, event: Template | None, whole: Template | None) -> Field:
    """A name or an id."""
    return Field(name, Fate.ADMITTED, event, whole)


def failing(name: str, event: Template | None, whole: Template | None) -> Field:
    """The words of an error."""
    return Field(name, Fate.ERROR, event, whole)


IN_JSON = ('{"city": "', '"}')
AS_KEY = ('{"', '": 1}')

# -- OpenAI's chat


def _chunk(delta: JSON, finish: str | None = None, **more: Any) -> JSON:
    choice = {"index": CHOICE, "delta": delta, "finish_reason": finish}
    return {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}


def _choice(**more: Any) -> JSON:
    chunk = _chunk({"content": "x"})
    return {**chunk, "choices": [{**chunk["choices"][0], **more}]}


def _message(said: JSON, **more: Any) -> JSON:
    choice = {"index": CHOICE, "message": {"role": "assistant", **said}, "finish_reason": "stop"}
    return {"id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], **more}


def _call(**function: str) -> JSON:
    return {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}


TOKEN = {"token": HOLE, "bytes": [122], "logprob": -0.1, "top_logprobs": []}
NEXT = {"token": "x", "bytes": [122], "logprob": -0.1, "top_logprobs": [{"token": HOLE, "bytes": [1], "logprob": -1.0}]}
FAILURE = {"error": {"message": HOLE, "type": "server_error", "code": 500}}
ODD_EVENT = f'event: odd\ndata: {{"type":"odd","delta":"{HOLE}","choices":[]}}\n\n'


def _chat_texts() -> Iterator[Field]:
    for key in ("content", "reasoning", "reasoning_content", "refusal"):
        yield guarded(key, _chunk({key: HOLE}), _message({key: HOLE}))
    opened = (_chunk(_call(name="f", arguments="")),)
    of_whole = _message(_call(name="f", arguments=HOLE))
    yield guarded("call.arguments", _chunk(_arguments(HOLE)), of_whole, lead=opened, inside=IN_JSON)
    yield guarded("call.arguments key", _chunk(_arguments(HOLE)), of_whole, lead=opened, inside=AS_KEY)
    given = {"tool_calls": [{"index": None, "function": {"name": "f", "arguments": {"city": [HOLE]}}}]}
    yield guarded("call.arguments as an object", _chunk(given), _message(given), joins=False)
    yield guarded("call.name", _chunk(_call(name=HOLE)), _message(_call(name=HOLE, arguments="{}")))
    ident = {"tool_calls": [{"index": 0, "id": HOLE, "type": "function", "function": {"name": "f", "arguments": "{}"}}]}
    yield guarded("call.id", _chunk(ident), _message(ident), joins=False)
    old = {"function_call": {"name": "f", "arguments": HOLE}}
    more = {"function_call": {"arguments": HOLE}}
    began = (_chunk({"function_call": {"name": "f", "arguments": ""}}),)
    yield guarded("function_call.arguments", _chunk(more), _message(old), lead=began, inside=IN_JSON)
    called = {"function_call": {"name": HOLE, "arguments": "{}"}}
    yield guarded("function_call.name", _chunk({"function_call": {"name": HOLE}}), _message(called))


def _custom_calls() -> Iterator[Field]:
    """Calls of custom tools, whose input is any text; some is JSON, and some servers give an object."""
    opened = (_chunk(_custom(id="call_1", name="f", input="")),)
    for name, inside in (("", ("", "")), (" in JSON", IN_JSON), (" key", AS_KEY)):
        whole = _message(_custom(id="call_1", name="f", input=HOLE))
        yield guarded(f"custom.input{name}", _chunk(_custom(input=HOLE)), whole, lead=opened, inside=inside)
    given = _custom(id="call_1", name="f", input={"patch": [HOLE]})
    yield guarded("custom.input as an object", _chunk(given), _message(given), joins=False)
    for key in ("name", "id"):
        called = _custom(**{"id": "call_1", "name": "f", "input": "x", key: HOLE})
        yield guarded(f"custom.{key}", _chunk(called), _message(called), joins=False)
    yield guarded(
        "custom.name in pieces", _chunk(_custom(name=HOLE)), None, lead=(_chunk(_custom(id="call_1", name="")),)
    )
    odd = _custom(id="call_1", name="f", input="x", format=HOLE, description=HOLE)
    odd["tool_calls"][0] |= {"type": HOLE, "x_more": HOLE}
    yield left_out("custom's others", _chunk(odd), _message(odd))


def _custom(id: str | None = None, **called: Any) -> JSON:  # noqa: A002  (the field's name)
    ident = {} if id is None else {"id": id, "type": "custom"}
    return {"tool_calls": [{"index": 0, **ident, "custom": called}]}


def _said_in_parts() -> Iterator[Field]:
    """An array of parts in the place of a text, as Mistral's servers and some gateways have it."""
    for key in ("content", "reasoning_content", "refusal"):
        for name, parts in _PARTS.items():
            said = {key: [*parts]}
            yield guarded(f"{key} as {name}", _chunk(said), _message(said))
    for name, part in _ODD_PARTS.items():
        said = {"content": [{"type": "text", "text": "x"}, part]}
        yield left_out(f"content with {name}", _chunk(said), _message(said))


_PARTS: dict[str, list[Any]] = {
    "a part": [{"type": "text", "text": HOLE}],
    "a bare text": [HOLE],
    "a part of any type": [{"type": "odd", "text": HOLE}],
    "the second part": [{"type": "text", "text": ""}, {"type": "image_url"}, {"text": HOLE}],
    "thinking": [{"type": "thinking", "thinking": [{"type": "text", "text": HOLE}]}],
    "thinking in one text": [{"type": "thinking", "thinking": HOLE}],
}
_ODD_PARTS: JSON = {
    "a picture": {"type": "image_url", "image_url": {"url": HOLE}},
    "a reference": {"type": "reference", "reference_ids": [HOLE]},
    "sound": {"type": "input_audio", "input_audio": {"data": HOLE, "transcript": HOLE}},
    "a list": [HOLE],
    "a part without text": {"type": "text", "content": HOLE, "value": HOLE},
    "more beside the text": {"type": "text", "text": "x", "annotations": [{"title": HOLE}], "x_more": HOLE},
}


def _arguments(text: str) -> JSON:
    return {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}


def _chat_rest() -> Iterator[Field]:
    for key in ("id", "model", "system_fingerprint"):
        yield admitted(key, _chunk({"content": "x"}, **{key: HOLE}), _message({"content": "x"}, **{key: HOLE}))
    yield left_out("object", {**_chunk({"content": "x"}), "object": HOLE}, _message({"content": "x"}, object=HOLE))
    for name, token in (("token", TOKEN), ("top token", NEXT)):
        for channel in ("content", "refusal"):
            probabilities = {channel: [token]}
            whole = _message({"content": "x"})
            whole["choices"][0]["logprobs"] = probabilities
            yield left_out(f"logprobs.{channel} {name}", _choice(logprobs=probabilities), whole)
    for key, value in _UNKNOWN_SAID.items():
        yield left_out(f"delta.{key}", _chunk({"content": "x", key: value}), _message({"content": "x", key: value}))
    for key in ("text", "message", "stop_reason", "x_more", "content_filter_results"):
        yield left_out(f"choice.{key}", _choice(**{key: {"content": HOLE}}))
        yield left_out(f"choice.{key} text", _choice(**{key: HOLE}))
    for key, value in _UNKNOWN_BESIDE.items():
        yield left_out(key, _chunk({"content": "x"}, **{key: value}), _message({"content": "x"}, **{key: value}))
    yield left_out("finish_reason", _choice(finish_reason=HOLE), None)
    yield left_out("delta.role", _chunk({"role": HOLE, "content": "x"}), _message({"role": HOLE, "content": "x"}))
    yield left_out("call.type", _chunk(_typed(HOLE)), _message(_typed(HOLE)))
    yield from _outside(sse(written(FAILURE, HOLE)).decode(), FAILURE)


def _typed(kind: str) -> JSON:
    return {"tool_calls": [{"index": 0, "id": "c", "type": kind, "function": {"name": "f", "arguments": "{}"}}]}


_UNKNOWN_SAID: JSON = {
    "audio": {"transcript": HOLE},
    "annotations": [{"type": "url_citation", "url_citation": {"title": HOLE}}],
    "thinking": HOLE,
    "text": HOLE,
    "reasoning_details": [{"text": HOLE}],
    "x_more": {"deep": [{"deeper": HOLE}]},
}
_UNKNOWN_BESIDE: JSON = {
    "__verbose": {"content": HOLE, "prompt": "p"},
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "x_more": HOLE},
    "timings": {"prompt_n": 1, "x_more": HOLE},
    "prompt_progress": {"total": 1, "processed": HOLE, "x_more": HOLE},
    "_debug_info": {"rendered_template": HOLE},
    "warning": HOLE,
    "service_tier": HOLE,
    "prompt_filter_results": [{"content": HOLE}],
}


def _outside(failure: str, whole: Template | None) -> Iterator[Field]:
    """What server-sent events can have around their data."""
    yield failing("error", failure, whole)
    yield left_out("odd event", ODD_EVENT)
    for name in ("id", "retry", "x", "event", ""):
        yield left_out(f"line {name}:", f"{name}: {HOLE}\n\n")
    yield left_out("line without a colon", f"{HOLE}\n\n")


_CHAT_FIELDS = (*_chat_texts(), *_custom_calls(), *_said_in_parts(), *_chat_rest())
OPENAI_CHAT = Script(
    request={"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    several={"n": 2},
    json={"response_format": {"type": "json_object"}},
    before=(_chunk({"role": "assistant", "content": None}),),
    after=(_chunk({}, "stop"),),
    end=b"data: [DONE]\n\n",
    frame=sse,
    fields=_CHAT_FIELDS,
)


def _statistics(around: Callable[..., JSON]) -> JSON:
    return around(
        stats={"tokens_per_second": 1.0, "stop_reason": "eosFound", "x_more": HOLE},
        model_info={"context_length": 1, "arch": HOLE, "quant": HOLE, "format": HOLE},
        runtime={"name": HOLE},
    )


LMSTUDIO_V0_CHAT = Script(
    request=OPENAI_CHAT.request,
    several={"n": 2},
    json=OPENAI_CHAT.json,
    before=OPENAI_CHAT.before,
    after=OPENAI_CHAT.after,
    end=OPENAI_CHAT.end,
    frame=sse,
    fields=(
        *_CHAT_FIELDS,
        left_out(
            "statistics",
            _statistics(lambda **more: _chunk({"content": "x"}, **more)),
            _statistics(lambda **more: _message({"content": "x"}, **more)),
        ),
        left_out(
            "stats.stop_reason",
            _chunk({"content": "x"}, stats={"stop_reason": HOLE}),
            _message({"content": "x"}, stats={"stop_reason": HOLE}),
        ),
    ),
)

# -- OpenAI's completions


def _completion(text: str, finish: str | None = None, **more: Any) -> JSON:
    choice = {"index": CHOICE, "text": text, "finish_reason": finish, "logprobs": None}
    return {"id": "c-1", "object": "text_completion", "created": 1, "model": "m", "choices": [choice], **more}


def _completed(text: str, **more: Any) -> JSON:
    choice = {"index": CHOICE, "text": text, "finish_reason": "stop", **more}
    return {"id": "c-1", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]}


def _completion_fields() -> Iterator[Field]:
    yield guarded("text", _completion(HOLE), _completed(HOLE))
    for key in ("id", "model", "system_fingerprint"):
        yield admitted(key, {**_completion("x"), key: HOLE}, {**_completed("x"), key: HOLE})
    old = {"tokens": [HOLE], "token_logprobs": [-0.1], "top_logprobs": [{HOLE: -1.0}], "text_offset": [0]}
    new = {"content": [TOKEN]}
    for name, tokens in (("tokens", old), ("content", new)):
        chunk = _completion("x")
        chunk["choices"][0]["logprobs"] = tokens
        yield left_out(f"logprobs.{name}", chunk, _completed("x", logprobs=tokens))
    for key, value in {"delta": {"content": HOLE}, "message": {"content": HOLE}, "stop_reason": HOLE}.items():
        chunk = _completion("x")
        chunk["choices"][0][key] = value
        yield left_out(f"choice.{key}", chunk, _completed("x", **{key: value}))
    for key, value in {"object": HOLE, **_UNKNOWN_BESIDE, "content": HOLE}.items():
        yield left_out(key, {**_completion("x"), key: value}, {**_completed("x"), key: value})
    yield left_out("finish_reason", _completion("x", HOLE), None)
    yield from _outside(sse(written(FAILURE, HOLE)).decode(), FAILURE)


_COMPLETION_FIELDS = tuple(_completion_fields())
OPENAI_COMPLETIONS = Script(
    request={"model": "m", "prompt": "hi"},
    several={"prompt": ["hi", "ho"]},
    json={"response_format": {"type": "json_object"}},
    before=(_completion(""),),
    after=(_completion("", "stop"),),
    end=b"data: [DONE]\n\n",
    frame=sse,
    content="text",
    fields=_COMPLETION_FIELDS,
)
LMSTUDIO_V0_COMPLETIONS = Script(
    request=OPENAI_COMPLETIONS.request,
    several=OPENAI_COMPLETIONS.several,
    json=OPENAI_COMPLETIONS.json,
    before=OPENAI_COMPLETIONS.before,
    after=OPENAI_COMPLETIONS.after,
    end=OPENAI_COMPLETIONS.end,
    frame=sse,
    content="text",
    fields=(
        *_COMPLETION_FIELDS,
        left_out(
            "statistics",
            _statistics(lambda **more: {**_completion("x"), **more}),
            _statistics(lambda **more: {**_completed("x"), **more}),
        ),
    ),
)
