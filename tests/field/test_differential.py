"""Random answers, written as model servers of many kinds write them: through the proxy a client reads what was said.

The model server may number, repeat and split as it likes; the client reads strictly, by the documents of its dialect.
Without a rule that finds anything, every text, call, reason and count arrives. With one, nothing of what it hides does,
and what is JSON stays JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.base import Dialect
from proxy.dialects.lmstudio.chat import LMStudioChat
from proxy.dialects.ollama.chat import OllamaChat, OllamaGenerate
from proxy.dialects.openai.chat import OpenAIChat
from proxy.dialects.openai.completions import OpenAICompletions
from proxy.dialects.openai.responses.dialect import OpenAIResponses
from tests.field.answering import STOP, carried, events, told

WHEN = "2026-01-01T00:00:00Z"
HIDE = "{id: hide, pattern: forbidden, action: rewrite, replacement: '#'}"
BAD = "forbidden"
Object = dict[str, Any]
Call = tuple[str, Object]


@dataclass(frozen=True)
class Said:
    """What a model said: thinking and text, then calls."""

    thought: str
    text: str
    calls: tuple[Call, ...] = ()

    def without(self, bad: str) -> bool:
        """Whether no part of it has the word."""
        return bad not in json.dumps([self.thought, self.text, self.calls])


@dataclass
class Whims:
    """The whims of a model server: `any` takes the next of what was drawn."""

    drawn: list[int]
    size: int
    at: int = field(default=0)

    def any(self, *choices: Any) -> Any:
        """One of these."""
        self.at += 1
        return choices[self.drawn[self.at % len(self.drawn)] % len(choices)]

    def pieces(self, text: str) -> list[str]:
        """A text in pieces."""
        return [text[i : i + self.size] for i in range(0, len(text), self.size)]


WORDS = st.text('ab .\n\u00e9\U0001f600"\\', max_size=8) | st.sampled_from(
    ["", "hello there", "x forbidden y", "forbid"]
)
ARGUMENTS = st.dictionaries(WORDS, WORDS | st.integers(-5, 5) | st.none() | st.lists(WORDS, max_size=2), max_size=2)
CALLS = st.lists(st.tuples(st.sampled_from(["look", "write"]), ARGUMENTS), max_size=3).map(tuple)
SAID = st.builds(Said, WORDS, WORDS, CALLS)
WHIMS = st.builds(Whims, st.lists(st.integers(0, 11), min_size=7, max_size=23), st.integers(1, 9))


class Wire:
    """A dialect: how a server writes an answer, and how a client reads it, streaming or whole."""

    dialect: Dialect
    request: Object
    thinks = calls = True

    def written(self, said: Said, whims: Whims) -> list[bytes]:
        """The model server's stream."""
        raise NotImplementedError

    def read(self, out: bytes, stream: bool) -> Said:
        """What a strict client reads."""
        raise NotImplementedError


def _arguments(source: Any) -> Any:
    return json.loads(source or "{}") if isinstance(source, str) else source


class Chat(Wire):
    """OpenAI's chat."""

    dialect: Dialect = OpenAIChat()
    request: Object = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

    def written(self, said: Said, whims: Whims) -> list[bytes]:
        index = whims.any({"index": 0}, {"index": 0}, {}, {"index": None}, {"index": "0"})
        unended = whims.any({"finish_reason": None}, {}, {"finish_reason": ""}, {"finish_reason": "stop"})
        beside = whims.any({}, {"role": "assistant"}, {"refusal": None, "tool_calls": None}, {"function_call": None})
        thinking = whims.any("reasoning_content", "reasoning")
        deltas: list[Object] = [{"role": "assistant", "content": whims.any("", None)}] if whims.any(True, False) else []
        deltas += [{thinking: piece, **beside} for piece in whims.pieces(said.thought)]
        as_parts = whims.any(False, False, True)
        for piece in whims.pieces(said.text):
            deltas.append({"content": [{"type": "text", "text": piece}] if as_parts else piece, **beside})
        deltas += _call_deltas(said.calls, whims)
        ending = {"delta": whims.any({}, None, {"content": ""}), "finish_reason": self.why(said)}
        choices = [{"delta": delta, **unended} for delta in deltas] + [ending]
        chunks = [{**HEAD, "choices": [{**index, **choice}]} for choice in choices]
        return self.framed(chunks, whims)

    def framed(self, chunks: list[Object], whims: Whims) -> list[bytes]:
        """Chunks as events, with what may stand between and behind them."""
        usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
        where = whims.any("nowhere", "own", "finish", "each", "before")
        for chunk in chunks if where == "each" else chunks[-1:] if where == "finish" else []:
            chunk["usage"] = usage
        if where in ("own", "before"):
            chunks.insert(len(chunks) - (where == "before"), {**HEAD, "choices": [], "usage": usage})
        sent = [_framed(chunk, whims) for chunk in chunks]
        between = whims.any(b"", b": ping\n\n", b"\n")
        return [*(event + between for event in sent), whims.any(b"data: [DONE]\n\n", b"data:[DONE]\r\n\r\n", b"")]

    def why(self, said: Said) -> str:
        """The reason for the end."""
        return "tool_calls" if said.calls else "stop"

    def read(self, out: bytes, stream: bool) -> Said:
        if not stream:
            (choice,) = json.loads(out)["choices"]
            assert isinstance(choice["finish_reason"], str)
            return _message(choice["message"])
        assert out.endswith(b"data: [DONE]\n\n")
        choices = [choice for event in told(out) for choice in event["choices"]]
        assert all(choice["index"] == 0 for choice in choices)
        assert [c["finish_reason"] for c in choices if c.get("finish_reason")] != []
        assert choices[-1].get("finish_reason")
        whole: Object = {}
        for delta in (choice["delta"] or {} for choice in choices):
            for key in ("reasoning_content", "reasoning", "content"):
                whole[key] = whole.get(key, "") + (delta.get(key) or "")
            whole.setdefault("tool_calls", []).extend(delta.get("tool_calls") or ())
        assert [call.pop("index") for call in whole["tool_calls"]] == list(range(len(whole["tool_calls"])))
        return _message(whole)


HEAD: Object = {"id": "a", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def _framed(chunk: Object, whims: Whims) -> bytes:
    data = json.dumps(chunk, ensure_ascii=whims.any(True, False)).encode()
    return bytes(
        whims.any(b"data: %b\n\n", b"data:%b\n\n", b"data: %b\r\n\r\n", b"event: message\nid: 1\ndata: %b\n\n") % data
    )


def _call_deltas(calls: tuple[Call, ...], whims: Whims) -> Iterator[Object]:
    """Calls as servers tell them: in pieces or whole, one by one or at once, numbered in some way."""
    style = whims.any("pieces", "whole", "at once", "objects")
    number = whims.any(lambda i: {"index": i}, lambda i: {"index": 0}, lambda i: {"index": None}, lambda i: {})
    named_again = whims.any({}, {"name": None}, {"name": ""}, "again")
    entries = []
    for i, (name, arguments) in enumerate(calls):
        source: Any = arguments if style == "objects" else json.dumps(arguments)
        head = {**number(i), "id": f"call_{i}", "type": "function"}
        if style != "pieces":
            entries.append({**head, "function": {"name": name, "arguments": source}})
            continue
        yield {"tool_calls": [{**head, "function": {"name": name, "arguments": whims.any("", None)}}]}
        later = {"name": name} if named_again == "again" else named_again
        for piece in whims.pieces(source):
            ident = whims.any({}, {"id": f"call_{i}"}) if number(i).get("index") == i else {"id": f"call_{i}"}
            yield {"tool_calls": [{**number(i), **ident, "function": {**later, "arguments": piece}}]}
    if style == "at once" and entries:
        yield {"tool_calls": entries}
    else:
        yield from ({"tool_calls": [entry]} for entry in entries)


def _message(message: Mapping[str, Any]) -> Said:
    calls = message.get("tool_calls") or ()
    assert len({call.get("id") for call in calls}) == len(calls)
    return Said(
        (message.get("reasoning_content") or "") + (message.get("reasoning") or ""),
        message.get("content") or "",
        tuple((call["function"]["name"], _arguments(call["function"]["arguments"])) for call in calls),
    )


class Completions(Chat):
    """OpenAI's older completions."""

    dialect = OpenAICompletions()
    request: Object = {"model": "m", "prompt": "hi"}
    thinks = calls = False

    def written(self, said: Said, whims: Whims) -> list[bytes]:
        index = whims.any({"index": 0}, {}, {"index": None})
        unended = whims.any({"finish_reason": None}, {}, {"finish_reason": ""}, {"finish_reason": "stop"})
        choices: list[Object] = [{"text": piece, "logprobs": None, **unended} for piece in whims.pieces(said.text)]
        choices.append({"text": whims.any("", None), "finish_reason": "stop"})
        return self.framed([{"id": "c", "choices": [{**index, **choice}]} for choice in choices], whims)

    def read(self, out: bytes, stream: bool) -> Said:
        found = told(out) if stream else [json.loads(out)]
        choices = [choice for event in found for choice in event["choices"]]
        assert choices[-1]["finish_reason"]
        return Said("", "".join(choice.get("text") or "" for choice in choices))


class Messages(Wire):
    """Anthropic's messages."""

    dialect = AnthropicMessages()
    request: Object = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}

    def written(self, said: Said, whims: Whims) -> list[bytes]:
        number = whims.any(lambda i: {"index": i}, lambda i: {"index": 0}, lambda i: {"index": 3 * i}, lambda i: {})
        blocks = [("thinking", said.thought), ("text", said.text), *(("tool_use", call) for call in said.calls)]
        sent: list[Object] = [{"type": "ping"}] if whims.any(False, True) else []
        for i, (kind, said_in_it) in enumerate(block for block in blocks if block[1] != ""):
            sent += _block_events(kind, said_in_it, number(i), f"toolu_{i}", whims)
        if whims.any(False, True):
            sent.append({"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 1}})
        why = "tool_use" if said.calls else "end_turn"
        sent.append({"type": "message_delta", "delta": {"stop_reason": why}, "usage": {"output_tokens": 2}})
        head: Object = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": whims.any([], None)}
        begun: Object = {"type": "message_start", "message": {**head, "usage": whims.any({"input_tokens": 1}, None)}}
        return events(begun, *sent, *whims.any([{"type": "message_stop"}], []), named=whims.any(True, False))

    def read(self, out: bytes, stream: bool) -> Said:
        if not stream:
            whole = json.loads(out)
            assert isinstance(whole["stop_reason"], str)
            return _content(whole["content"])
        blocks: list[Object] = []
        is_open = False
        *body, last = told(out)
        assert last["type"] == "message_stop"
        for event in body:
            kind = event["type"]
            if kind == "content_block_start":
                assert event["index"] == len(blocks)
                blocks.append(dict(event["content_block"]))
                is_open = True
            elif kind == "content_block_delta":
                assert event["index"] == len(blocks) - 1
                key = {"text_delta": "text", "thinking_delta": "thinking"}.get(event["delta"]["type"], "partial_json")
                blocks[-1][key] = blocks[-1].get(key, "") + event["delta"][key]
            elif kind == "content_block_stop":
                assert is_open
                is_open = False
        for block in blocks:
            if "partial_json" in block:
                block["input"] = json.loads(block["partial_json"])
        return _content(blocks)


def _block_events(kind: str, said: Any, at: Object, ident: str, whims: Whims) -> Iterator[Object]:
    if kind == "tool_use":
        at_once = whims.any(True, False)
        source = json.dumps(said[1])
        content: Object = {"type": kind, "id": ident, "name": said[0], "input": said[1] if at_once else {}}
        deltas = [] if at_once else [{"type": "input_json_delta", "partial_json": p} for p in whims.pieces(source)]
    else:
        first, *rest = whims.any([said], ["", *whims.pieces(said)])
        content = {"type": kind, kind: first}
        deltas = [{"type": {"text": "text_delta"}.get(kind, "thinking_delta"), kind: piece} for piece in rest]
    yield {"type": "content_block_start", **at, "content_block": content}
    for delta in deltas:
        yield {"type": "content_block_delta", **at, "delta": delta}
    yield {"type": "content_block_stop", **at}


def _content(blocks: list[Object]) -> Said:
    def joined(kind: str) -> str:
        return "".join(block[kind] for block in blocks if block["type"] == kind)

    calls = [block for block in blocks if block["type"] == "tool_use"]
    assert len({call["id"] for call in calls}) == len(calls)
    return Said(joined("thinking"), joined("text"), tuple((call["name"], call["input"]) for call in calls))


class Responses(Wire):
    """OpenAI's responses."""

    dialect = OpenAIResponses()
    request: Object = {"model": "m", "input": "hi"}

    def written(self, said: Said, whims: Whims) -> list[bytes]:
        items: list[Object] = []
        if said.thought:
            thought = [{"type": "reasoning_text", "text": said.thought}]
            items.append({"id": "rs_0", "type": "reasoning", "summary": [], "content": thought})
        if said.text:
            text = [{"type": "output_text", "text": said.text, "annotations": []}]
            items.append({"id": "msg_1", "type": "message", "role": "assistant", "content": text})
        for i, (name, arguments) in enumerate(said.calls):
            call = {"call_id": f"call_{i}", "name": name, "arguments": json.dumps(arguments)}
            items.append({"id": f"fc_{i}", "type": "function_call", **call})
        items = [{**item, "status": "completed"} for item in items]
        number = whims.any(lambda i: {"output_index": i}, lambda i: {"output_index": i}, lambda i: {})
        sent: list[Object] = []
        for i, item in enumerate(items):
            sent += _item_events(item, number(i), whims, is_last=item is items[-1])
        head = {"id": "r", "object": "response", "created_at": 1, "model": "m"}
        begun = {"type": "response.created", "response": {**head, "status": "in_progress", "output": []}}
        is_told = all(any(e["type"] == "response.output_item.done" and e["item"] is i for e in sent) for i in items)
        listed = whims.any(items, items, []) if is_told else items
        ended = {"type": "response.completed", "response": {**head, "status": "completed", "output": listed}}
        everything: list[Object] = [begun, *sent, ended]
        if whims.any(True, False):
            everything = [{**event, "sequence_number": n} for n, event in enumerate(everything)]
        return events(*everything, named=whims.any(True, False))

    def read(self, out: bytes, stream: bool) -> Said:
        if not stream:
            return _output(json.loads(out)["output"])
        found = told(out)
        numbers = [event["sequence_number"] for event in found if "sequence_number" in event]
        assert numbers in ([], list(range(len(found))))
        last = found[-1]
        assert last["type"] == "response.completed"
        deltas = [event for event in found if event["type"].endswith(".delta")]
        items = [event["item"] for event in found if event["type"] == "response.output_item.done"]
        whole = _output(last["response"]["output"] or items)
        for stem, text in (("output_text", whole.text), ("reasoning_text", whole.thought)):
            said = "".join(event["delta"] for event in deltas if event["type"] == f"response.{stem}.delta")
            assert text.endswith(said)  # some servers tell a text at its end alone
        return whole


def _item_events(item: Object, at: Object, whims: Whims, is_last: bool) -> Iterator[Object]:
    inside = {**at, "item_id": item["id"]}
    if item["type"] == "function_call":
        key, stem, text = "arguments", "function_call_arguments", item["arguments"]
        empty: Object = {"arguments": ""}
    else:
        (part,) = item["content"]
        key, stem, text = "text", part["type"], part["text"]
        empty = {"content": []}
        inside["content_index"] = 0
    if not whims.any(True, True, True, False):
        yield {"type": "response.output_item.done", **at, "item": item}  # nothing else tells of it
        return
    yield {"type": "response.output_item.added", **at, "item": {**item, **empty, "status": "in_progress"}}
    if key == "text" and whims.any(True, False):
        yield {"type": "response.content_part.added", **inside, "part": {"type": stem, "text": "", "annotations": []}}
    for piece in whims.pieces(text):
        yield {"type": f"response.{stem}.delta", **inside, "delta": piece}
    if whims.any(True, False):
        yield {"type": f"response.{stem}.done", **inside, key: text}
    if not is_last or whims.any(True, False):
        yield {"type": "response.output_item.done", **at, "item": item}


def _output(items: list[Object]) -> Said:
    def joined(kind: str) -> str:
        return "".join(part["text"] for item in items if item["type"] == kind for part in item["content"])

    calls = [item for item in items if item["type"] == "function_call"]
    assert len({call["call_id"] for call in calls}) == len(calls)
    parts = tuple((call["name"], json.loads(call["arguments"])) for call in calls)
    return Said(joined("reasoning"), joined("message"), parts)


class Ollama(Wire):
    """Ollama's chat."""

    dialect: Dialect = OllamaChat()
    request: Object = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

    def written(self, said: Said, whims: Whims) -> list[bytes]:
        calls = [
            {"function": {"index": whims.any(i, 0, None), "name": name, "arguments": arguments}}
            for i, (name, arguments) in enumerate(said.calls)
        ]
        lines: list[Object] = [
            {"thinking": piece, "content": whims.any("", None)} for piece in whims.pieces(said.thought)
        ]
        lines += [{"content": piece} for piece in whims.pieces(said.text)]
        lines += [{"tool_calls": calls}] if whims.any(True, False) else [{"tool_calls": [call]} for call in calls]
        last = lines.pop() if lines and whims.any(False, True) else {}
        body = [self.line(line, done=whims.any({"done": False}, {})) for line in lines]
        return [*body, self.line(last, done={"done": True, "done_reason": "stop", "eval_count": 2})]

    def line(self, words: Object, done: Object) -> bytes:
        """One line."""
        return self.encoded({"message": {"role": "assistant", "content": "", **words}}, done)

    def encoded(self, words: Object, done: Object) -> bytes:
        """A line as it is sent."""
        return json.dumps({"model": "m", "created_at": WHEN, **words, **done}).encode() + b"\n"

    def read(self, out: bytes, stream: bool) -> Said:
        lines = told(out) if stream else [json.loads(out)]
        assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
        messages = [self.words(line) for line in lines]
        return Said(
            "".join(message.get("thinking") or "" for message in messages),
            "".join(message.get("content") or "" for message in messages),
            tuple(
                (call["function"]["name"], call["function"]["arguments"])
                for message in messages
                for call in message.get("tool_calls") or ()
            ),
        )

    def words(self, line: Object) -> Object:
        """What a line says."""
        return dict(line.get("message") or {})


class Generate(Ollama):
    """Ollama's completions."""

    dialect = OllamaGenerate()
    request: Object = {"model": "m", "prompt": "hi"}
    calls = False

    def line(self, words: Object, done: Object) -> bytes:
        return self.encoded({"response": words.pop("content", ""), **words}, done)

    def words(self, line: Object) -> Object:
        return {"content": line.get("response"), "thinking": line.get("thinking")}


class LMStudio(Wire):
    """LM Studio's own chat."""

    dialect = LMStudioChat()
    request: Object = {"model": "m", "input": "hi"}
    calls = False

    def written(self, said: Said, whims: Whims) -> list[bytes]:
        sent: list[Object] = [{"type": "chat.start", "model_instance_id": "m"}]
        output = []
        for kind, text in (("reasoning", said.thought), ("message", said.text)):
            if text:
                sent.append({"type": f"{kind}.start"})
                sent += [{"type": f"{kind}.delta", "content": piece} for piece in whims.pieces(text)]
                sent += [{"type": f"{kind}.end"}] if whims.any(True, False) else []
                output.append({"type": kind, "content": text})
        result = {"model_instance_id": "m", "output": output, "stats": {"input_tokens": 1, "total_output_tokens": 2}}
        return events(*sent, {"type": "chat.end", "result": result}, named=whims.any(True, False))

    def read(self, out: bytes, stream: bool) -> Said:
        result = told(out)[-1]["result"] if stream else json.loads(out)
        thought, text = (
            "".join(item["content"] for item in result["output"] if item["type"] == kind)
            for kind in ("reasoning", "message")
        )
        whole = Said(thought, text)
        for kind, text in (("reasoning", whole.thought), ("message", whole.text)) if stream else ():
            assert "".join(e["content"] for e in told(out) if e["type"] == f"{kind}.delta") == text
        return whole


WIRES = [Chat(), Completions(), Messages(), Responses(), Ollama(), Generate(), LMStudio()]
wires = pytest.mark.parametrize("wire", WIRES, ids=lambda wire: type(wire).__name__)
Told = Callable[[Said], Said]


def _said(wire: Wire, said: Said) -> Said:
    """As much of it as can be said in the dialect."""
    return Said(said.thought if wire.thinks else "", said.text, said.calls if wire.calls else ())


@wires
@given(SAID, WHIMS, st.booleans())
def test_an_answer_that_no_rule_minds_arrives(wire: Wire, said: Said, whims: Whims, stream: bool) -> None:
    """All that the model server says, whatever its whims, and as the client wants it."""
    said = _said(wire, said)
    got = carried(wire.dialect, {**wire.request, "stream": stream}, wire.written(said, whims))
    assert got.answer.failed is None
    assert wire.read(got.out, stream) == said


@wires
@given(SAID, WHIMS, st.booleans(), st.booleans())
def test_an_answer_that_a_rule_minds(wire: Wire, said: Said, whims: Whims, stream: bool, blocks: bool) -> None:
    """Nothing of the word arrives, in no field; what a client reads is whole, and arguments are JSON."""
    said = _said(wire, said)
    rule = STOP.replace("words: [forbidden]", "pattern: forbidden") if blocks else HIDE
    got = carried(wire.dialect, {**wire.request, "stream": stream}, wire.written(said, whims), [rule])
    assert got.answer.failed is None
    assert BAD.encode() not in got.out
    shown = wire.read(got.out, stream)
    assert shown.without(BAD)
    if said.without(BAD):
        assert shown == said
    elif not blocks:
        hidden = json.loads(json.dumps([said.thought, said.text, said.calls]).replace(BAD, "#"))
        assert json.loads(json.dumps([shown.thought, shown.text, shown.calls])) == hidden
