"""Attacks that get nothing through: framing, duplicate keys, escapes, odd types, protocol corners, case pairs."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from typing import Any

import pytest

from proxy.core.gate import Gate
from proxy.core.types import Action, Replacement, Rule
from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.ollama.chat import OllamaChat
from proxy.dialects.openai.chat import OpenAIChat
from proxy.matching.errors import PatternError
from proxy.matching.matcher import Matcher, compile_rule
from proxy.matching.rules import MatchRule
from tests.fakes import Answer, Close, FakeUpstream, Reset, Step, reply, reply_json
from tests.leaks.attack import CHAT, EMAIL, STOP, USER, answered, asked, call, chunk, data_of, deltas, sse
from tests.phrases import rewrite
from tests.server.running import Policies, running

BAD = b"forbidden"
STOPPED = (chunk({}, "stop"), "[DONE]")
HEAD = '{"id":"a","object":"chat.completion.chunk","created":1,"model":"m","choices":'


def said(*events: str) -> bytes:
    """A chat stream of events that are written as they stand, and its end."""
    return b"".join([*(f"data: {event}\n\n".encode() for event in events), *sse(*STOPPED)])


def choices(text: str) -> str:
    """A chunk with choices that are written as they stand."""
    return f"{HEAD}[{text}]}}"


@pytest.mark.parametrize(
    "stream",
    [
        said(choices('{"index":0,"delta":{"content":"forbidden","content":"x"},"finish_reason":null}')),
        said(choices('{"index":0,"delta":{"content":"x","content":"forbidden"},"finish_reason":null}')),
        said(choices('{"index":0,"delta":{"content":"forbidden"},"delta":{"content":"x"},"finish_reason":null}')),
        said(HEAD + '[],"choices":[{"index":0,"delta":{"content":"forbidden"},"finish_reason":null}]}'),
        said(choices(r'{"index":0,"delta":{"c\u006fntent":"forb\u0069dden"},"finish_reason":null}')),
        said(choices('{"delta":{"content":"for"},"finish_reason":null}'), choices('{"delta":{"content":"bidden"}}')),
        said(choices('{"index":0,"delta":{"content":"for"}},{"index":0,"delta":{"content":"bidden"}}')),
        said(choices('{"index":0,"delta":{"content":["forbidden"]}}')),
        said(choices('{"index":0,"delta":{"content":{"text":"forbidden"}}}')),
        said(choices('{"index":0,"message":{"content":"forbidden"},"text":"forbidden","delta":{}}')),
        said(choices('{"index":0,"delta":{"audio":{"transcript":"forbidden"},"annotations":["forbidden"]}}')),
        said(choices('{"index":0,"delta":{"role":"forbidden"},"finish_reason":"forbidden"}')),
        said(choices('{"index":"forbidden","delta":{"content":"forbidden"}}')),
        said(choices('{"index":99999999999999999999,"delta":{"content":"forbidden"}}')),
        said(choices('{"index":0,"delta":{},"logprobs":{"content":[{"token":"forbidden"}]}}')),
        said(choices('{"index":0,"delta":{"content":"\\ud800forbidden"}}')),
        said(choices('{"index":0,"delta":{"content":"\\u0000forbidden"}}')),
        said(choices('{"index":0,"delta":{}}')[:-1] + ',"usage":{"forbidden":1,"prompt_tokens":"forbidden"}}'),
        said(choices('{"index":0,"delta":{}}')[:-1] + ',"usage":{"prompt_tokens_details":{"forbidden":"forbidden"}}}'),
        said('{"error":"forbidden"}'),
        said('{"error":{"message":"{\\"error\\":\\"forbidden\\"}","type":"forbidden","code":"forbidden"}}'),
        said("forbidden", "[DONE]forbidden"),
        said() + b"data: " + BAD + b"\n\n" + said(choices('{"index":0,"delta":{"content":"forbidden"}}')),
        b"\xef\xbb\xbf: forbidden\nid: forbidden\nevent: forbidden\nretry: forbidden\n" + said(),
        b": forbidden\n\nforbidden\n\nevent: forbidden\n\n" + said(),
        b"".join(sse(chunk({"content": "for"}), chunk({}, "stop"), chunk({"content": "bidden"}), "[DONE]")),
        b"".join(sse(chunk({"content": "for"}), chunk(call("f", "{}", "c")), chunk({"content": "bidden"}), *STOPPED)),
        b"".join(sse(chunk(call("for", ident="c")), chunk(call("bidden", "{}")), *STOPPED)),
        b"".join(sse(chunk(call("f", '{"forb', "c")), chunk(call(None, '\\u0069dden": 1}')), *STOPPED)),
        b"".join(sse(chunk(call("f", '["forbidden', "c")))),
        b"".join(sse(chunk({"content": "for"}), chunk({"content": "bidden"}))),
    ],
)
@pytest.mark.parametrize("streaming", [True, False])
def test_framing_and_odd_json(stream: bytes, streaming: bool) -> None:
    """Whole, byte by byte, or with CR or CRLF for line breaks: not one forbidden text is put together."""
    request = {**CHAT, "stream": streaming}
    for sent in (stream, stream.replace(b"\n", b"\r\n"), stream.replace(b"\n", b"\r")):
        for pieces in ([sent], [sent[i : i + 1] for i in range(len(sent))]):
            out = answered(OpenAIChat(), request, pieces)
            assert BAD not in out
            assert "forbidden" not in (deltas(out) if streaming else "")


@pytest.mark.parametrize("at", range(10))
def test_from_the_quick_way_to_the_slow_one_and_back(at: int) -> None:
    """A phrase that begins in a chunk like the one before, and ends in one that is written otherwise."""
    odd = chunk({"content": "forbidden"[at:]}) | {"more": "unknown"}
    stream = sse(chunk({"content": "x"}), chunk({"content": "forbidden"[:at]}), odd, *STOPPED)
    for pieces in (stream, [stream[0], stream[2], stream[1], *stream[3:]], [stream[0], *stream]):
        out = answered(OpenAIChat(), CHAT, pieces)
        assert "forbidden" not in deltas(out)


def test_a_quote_in_a_text_does_not_bring_keys() -> None:
    """An event that looks like the one before it but ends its text early is read as what it is."""
    first = sse(chunk({"content": "x"}))[0]
    sly = first.replace(b'"content":"x"', b'"content":"x","refusal":"forbidden","content":"x"')
    assert BAD not in answered(OpenAIChat(), CHAT, [first, first, sly, *sse(*STOPPED)])


def test_a_call_that_a_block_of_anthropic_begins() -> None:
    """Names, ids and inputs of a call wait for its end, in pieces as well as at once."""
    head = {"type": "message_start", "message": {"id": "forbidden", "model": "forbidden", "content": [], "usage": {}}}
    block = {"type": "tool_use", "id": "forbidden", "name": "forbidden", "input": {"forbidden": "forbidden"}}
    delta = {"type": "input_json_delta", "partial_json": "forbidden"}
    events = sse(
        head,
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "forbidden", "stop_sequence": "forbidden"}},
        {"type": "message_stop", "forbidden": "forbidden"},
    )
    out = answered(AnthropicMessages(), {**CHAT, "max_tokens": 9}, events)
    assert BAD not in out
    assert data_of(out)[-1]["type"] in ("message_stop", "error")


def chunked(*bodies: bytes) -> bytes:
    """The chunked transfer coding without its end."""
    return b"".join(b"%x\r\n%b\r\n" % (len(body), body) for body in bodies)


def http(status: bytes, *steps: Step, headers: bytes = b"") -> Answer:
    """An answer with a head of one's own."""
    fields = b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n" + headers
    return Answer((b"HTTP/1.1 " + status + b"\r\n" + fields + b"\r\n", *steps))


GOOD = chunked(*sse(chunk({"content": "Hello"}), *STOPPED))
SECRET: dict[str, Any] = {"error": {"message": "forbidden", "type": "forbidden", "param": "forbidden"}}


@pytest.mark.anyio
@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(
    "answer",
    [
        http(
            b"200 forbidden", GOOD + b"0\r\nX-T: forbidden\r\n\r\n", headers=b"X-A: forbidden\r\nServer: forbidden\r\n"
        ),
        http(b"200 OK", b"5;forbidden\r\n: hi\n\r\n", GOOD + b"0\r\n\r\n"),
        http(b"200 OK", GOOD + chunked(b"data: forbidden\n\n") + b"0\r\n\r\n"),
        http(b"200 OK", GOOD + b"0\r\n\r\n", headers=b"Content-Encoding: gzip\r\n"),
        http(b"200 OK", chunked(*sse(chunk({"content": "for"}), chunk({"content": "bidden"}))), Reset()),
        http(b"200 OK", chunked(sse(chunk({"content": "forbidden"}))[0][:-2]), Close()),
        Answer((b"HTTP/1.1 103 forbidden\r\nLink: forbidden\r\n\r\n", *http(b"200 OK", GOOD, b"0\r\n\r\n").steps)),
        Answer((b"HTTP/1.1 302 forbidden\r\nLocation: /forbidden\r\nContent-Length: 9\r\n\r\nforbidden",)),
        Answer((b"HTTP/1.1 500 forbidden\r\nContent-Length: 0\r\n\r\n",)),
        Answer((b"forbidden\r\n\r\n",)),
        reply(BAD, status=500, content_type="text/plain"),
        reply(BAD, content_type="forbidden"),
        reply_json(SECRET, status=400),
        reply_json(SECRET),
        reply_json(["forbidden"]),
    ],
)
async def test_corners_of_http(answer: Answer, streaming: bool) -> None:
    """Reason phrases, 1xx, redirects, trailers, chunk extensions, headers, error bodies: nothing of them goes on."""
    policy = Policies(output=[rewrite("forbidden")])
    async with FakeUpstream(answer) as upstream, running(upstream, policy) as proxy:
        got = await proxy.chat(stream=streaming)
        assert "forbidden" not in str(got.headers)
        assert BAD not in got.body


def called(arguments: Any, dialect: str) -> dict[str, Any]:
    """A conversation in which the assistant has called a tool."""
    if dialect == "anthropic":
        block = {"type": "tool_use", "id": "i", "name": "f", "input": arguments}
        return {"model": "m", "messages": [USER, {"role": "assistant", "content": [block]}, USER]}
    tool = {"id": "i", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"model": "m", "messages": [USER, {"role": "assistant", "content": "", "tool_calls": [tool]}, USER]}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("dialect", "name"), [(OpenAIChat(), "openai"), (OllamaChat(), "ollama"), (AnthropicMessages(), "anthropic")]
)
async def test_a_key_that_was_replaced_does_not_come_back(dialect: Any, name: str) -> None:
    """A value under a key that became the notice is rewritten where it stands now."""
    sent = await asked(dialect, called({"forbidden": "bob@example.com"}, name), STOP, EMAIL)
    assert "forbidden" not in sent
    assert "bob@example.com" not in sent


@pytest.mark.anyio
async def test_a_key_that_is_rewritten_twice() -> None:
    """A key that a rewrite has made forbidden is rewritten again."""
    rules = [
        "{id: a, pattern: xx, action: rewrite, replacement: '~'}",
        "{id: b, pattern: 'for~bidden', action: rewrite, replacement: '#'}",
    ]
    assert "for~bidden" not in await asked(OllamaChat(), called({"forxxbidden": "v"}, "ollama"), *rules)


@pytest.mark.anyio
@pytest.mark.parametrize("model", ["m", "M:latest", "library/m", "registry.ollama.ai/library/M:latest", " m "])
async def test_spellings_of_a_models_name(model: str) -> None:
    """A policy for a model holds for all that Ollama takes for the same name."""
    request = {"model": model, "messages": [{"role": "user", "content": "forbidden"}]}
    assert "forbidden" not in await asked(OllamaChat(), request, applies_to="{models: [m]}")


@pytest.mark.anyio
@pytest.mark.parametrize("more", [{"reasoning_effort": "forbidden"}, {"reasoning": {"effort": "forbidden"}}])
async def test_words_where_a_level_belongs(more: dict[str, Any]) -> None:
    """A template may show the level to the model (gpt-oss: `Reasoning: high`), so it is judged or one of a few."""
    assert "forbidden" not in await asked(OpenAIChat(), {"model": "m", "messages": [USER], **more})


@pytest.mark.anyio
async def test_words_in_a_calls_type() -> None:
    """A template that writes calls as JSON shows their type to the model."""
    request = called("{}", "openai")
    request["messages"][1]["tool_calls"][0]["type"] = "forbidden"
    assert "forbidden" not in await asked(OpenAIChat(), request)


CASE_PAIRS = (
    "kK\u212asS\u017fiI\u0130\u0131\u00df\u1e9e_- \n\u0301\u0345\u03b9\u1fbe"
    "\u00b5\u03bc\u00c5\u00e5\u212b\ufb05\ufb06a1\u0661b.\x85\u2028\x1c"
)
"""Characters that are the same to (?i), or are a half of a word's edge, or break lines for some readers."""
AROUND = (r"\b", r"\B", "^", r"(?<!\w)", r"(?!\w)", "(?<=[ks])", r"(?=\s)", "(?!k)", r"\Z")
CLASSES = (r"\w", r"\W", r"\s", r"\S", r"\d", ".")


class Patterns:
    """Random patterns over CASE_PAIRS."""

    def __init__(self, seed: int) -> None:
        self._pick = random.Random(seed)

    def text(self) -> str:
        """Of up to nine characters."""
        return "".join(self._pick.choices(CASE_PAIRS[: self._pick.randint(3, len(CASE_PAIRS))], k=9))

    def pieces(self, text: str) -> Iterable[str]:
        """The text, cut."""
        while text:
            size = self._pick.randint(1, 3)
            yield text[:size]
            text = text[size:]

    def pattern(self, depth: int = 2) -> str:
        """An alternation."""
        return "|".join(self._sequence(depth) for _ in range(self._pick.choice([1, 1, 2, 3])))

    def _sequence(self, depth: int) -> str:
        return "".join(self._item(depth) for _ in range(self._pick.randint(1, 4)))

    def _item(self, depth: int) -> str:
        pick = self._pick
        kind = pick.random()
        if kind < 0.15:
            return pick.choice(AROUND)
        if kind < 0.25:
            return pick.choice(CLASSES)
        if kind < 0.4:
            members = "".join(map(re.escape, pick.sample(CASE_PAIRS, 3)))
            return f"[{pick.choice(['', '^'])}{members}]" + self._times()
        if kind < 0.55 and depth:
            return f"{pick.choice(['(?:', '(?i:', '(?a:', '(?-i:'])}{self.pattern(depth - 1)}){self._times()}"
        return re.escape(pick.choice(CASE_PAIRS)) + self._times()

    def _times(self) -> str:
        return self._pick.choice(["", "", "?", "*", "+", "{2}", "{1,3}"])


def covered(pattern: str, text: str) -> str:
    """The text with every character masked that lies in some match, by brute force with `re`."""
    hidden: set[int] = set()
    for start in range(len(text)):
        for end in range(len(text), start, -1):
            whole = rf"(?s:.{{{start}}})(?i:{pattern})(?s:.{{{len(text) - end}}})\Z"
            if re.match(whole, text):
                hidden |= set(range(start, end))
                break
    return "".join("*" if i in hidden else char for i, char in enumerate(text))


@pytest.mark.parametrize("seed", range(40))
def test_case_pairs_and_edges_of_words(seed: int) -> None:
    """What a stream hides is what `re` finds, for characters whose case and whose place in a word are peculiar."""
    patterns = Patterns(seed)
    rule = Rule("house", "rule", Action.REWRITE, replacement=Replacement(mask="*"))
    tried = 0
    while tried < 5:
        pattern = patterns.pattern()
        try:
            matcher = Matcher(
                [compile_rule(MatchRule(rule, pattern=f"(?i:{pattern})"))], max_transitions=seed % 3 * 50 + 1
            )
        except PatternError:
            continue
        tried += 1
        for text in (patterns.text() for _ in range(5)):
            gate = Gate([matcher])
            out = "".join([*map(gate.feed, patterns.pieces(text)), gate.feed("", final=True)])
            assert out == covered(pattern, text), (pattern, text)
