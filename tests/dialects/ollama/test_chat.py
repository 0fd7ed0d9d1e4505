"""Answers of Ollama's own dialect: /api/chat and /api/generate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ollama import ChatResponse, GenerateResponse

from proxy.core.check import Check
from proxy.core.guard import Guard
from proxy.core.types import Action, Ending, Finding, Rule
from proxy.dialects.base import Options, Request
from proxy.dialects.ollama.answer import OllamaAnswer
from proxy.dialects.ollama.chat import OllamaChat, OllamaGenerate
from proxy.dialects.ollama.line import LineSkeleton, is_stamp
from proxy.errors import UpstreamBroken, UpstreamTimeout
from tests.dialects.golden_files import golden, golden_names
from tests.phrases import AtEnd, Phrase, PhrasePlan, block, flag, rewrite

CHAT = OllamaChat()
GENERATE = OllamaGenerate()
Dialect = OllamaChat | OllamaGenerate
NOTICE = "[notice]"
WHEN = "2026-11-23T19:22:02.433859692Z"


def notice(finding: Finding) -> str:
    """What people read."""
    return NOTICE


def parsed(body: dict[str, Any], dialect: Dialect = CHAT, **options: bool) -> Request:
    """A request read from a client's bytes."""
    return dialect.parse(json.dumps({"model": "tiny", **body}).encode(), Options(**options))


def said(text: str) -> dict[str, Any]:
    """A chat of one message."""
    return {"messages": [{"role": "user", "content": text}]}


def answering(dialect: Dialect, *checks: Check, **body: Any) -> OllamaAnswer:
    """The answer of a small request."""
    ask = {"prompt": "hi"} if dialect is GENERATE else said("hi")
    request = parsed({**ask, **body}, dialect)
    return dialect.answer(request, Guard(PhrasePlan(checks), request.json_content, request.prefills()), notice)


def through(answer: OllamaAnswer, data: bytes, size: int = 0) -> bytes:
    """Everything that a streaming client gets, the upstream's bytes cut every `size`."""
    step = size or max(1, len(data))
    return b"".join([answer.feed(data[at : at + step]) for at in range(0, len(data), step)]) + answer.finish()


def lines(data: bytes) -> list[dict[str, Any]]:
    """Lines of JSON, read."""
    return [json.loads(line) for line in data.splitlines()]


def text_of(data: bytes, key: str = "content") -> str:
    """The text that a client puts together."""
    words = [line.get("message", line) for line in lines(data)]
    return "".join(word.get(key) or "" for word in words)


def line(content: str = "", done: bool = False, **more: Any) -> bytes:
    """A line of a chat, spaced as Go spaces it."""
    message = {"role": "assistant", "content": content, **more.pop("message", {})}
    body = {"model": "tiny", "created_at": WHEN, "message": message, "done": done, **more}
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def end(**more: Any) -> bytes:
    """The last line of a chat."""
    return line(done=True, **{"done_reason": "stop", "eval_count": 3, **more})


def _dialect(name: str) -> Dialect:
    return CHAT if name.startswith("ollama_api_chat") else GENERATE


STREAMS = [n for n in golden_names("ollama_api_") if n.endswith("_stream") and "_api_show" not in n]
UNTOUCHED = [n for n in STREAMS if "logprobs" not in n]


def without_context(data: bytes) -> list[dict[str, Any]]:
    """Lines without the token ids of the whole conversation."""
    return [{k: v for k, v in line.items() if k != "context"} for line in lines(data)]


@pytest.mark.parametrize("name", UNTOUCHED)
@pytest.mark.parametrize("size", [0, 1, 13])
def test_a_clean_answer_passes(name: str, size: int) -> None:
    """Real answers leave as they came, byte for byte, but for the context's token ids, however they are cut."""
    answer = answering(_dialect(name), block("|never said|"))
    out = through(answer, golden(name).body, size)
    assert out == golden(name).body or without_context(golden(name).body) == lines(out)
    assert b'"context"' not in out
    assert answer.done


@pytest.mark.parametrize("name", [n for n in STREAMS if "logprobs" in n])
def test_logprobs_leave_with_nothing_else(name: str) -> None:
    """Only the probabilities are missing, and no byte of what they spell is left."""
    out = through(answering(_dialect(name)), golden(name).body)
    expected = [{k: v for k, v in line.items() if k != "logprobs"} for line in lines(golden(name).body)]
    assert lines(out) == expected


def test_logprobs_can_be_allowed() -> None:
    """With the setting they pass unchanged, and a whole answer has all of them."""
    body = golden("ollama_api_chat_logprobs_stream").body
    request = parsed({**said("x"), "logprobs": True}, logprobs=True)
    assert through(CHAT.answer(request, Guard(PhrasePlan()), notice), body) == body
    request.stream = False
    whole = CHAT.answer(request, Guard(PhrasePlan()), notice)
    through(whole, body)
    assert len(json.loads(whole.result())["logprobs"]) == len(lines(body)) - 1


def test_logprobs_of_a_token_that_comes_again() -> None:
    """A whole answer has probabilities for each token, also where one is said twice with the same ones."""
    request = parsed({**said("x"), "logprobs": True, "stream": False}, logprobs=True)
    whole = CHAT.answer(request, Guard(PhrasePlan()), notice)
    through(whole, line("ha", logprobs=[{"token": "ha"}]) * 3 + end())
    assert json.loads(whole.result())["logprobs"] == [{"token": "ha"}] * 3


def test_logprobs_of_a_long_answer_are_gathered_in_one_list() -> None:
    """Each line adds its own to those before it; the answer that grows has none of them, so none is copied again."""
    request = parsed({**said("x"), "logprobs": True, "stream": False}, logprobs=True)
    whole = CHAT.answer(request, Guard(PhrasePlan()), notice)
    for i in range(300):
        whole.feed(line("a", logprobs=[{"token": str(i)}]))
        assert len(whole._whole["logprobs"]) == 1
    whole.feed(end())
    assert [entry["token"] for entry in json.loads(whole.result())["logprobs"]] == [str(i) for i in range(300)]


@pytest.mark.parametrize(
    ("stream", "whole"),
    [("ollama_api_chat_stream", "ollama_api_chat"), ("ollama_api_generate_stream", "ollama_api_generate")],
)
def test_a_stream_becomes_one_object(stream: str, whole: str) -> None:
    """A client that does not stream gets what the server itself would have sent, but for times and token ids."""
    answer = answering(_dialect(stream), stream=False)
    assert through(answer, golden(stream).body, 9) == b""
    told = json.loads(golden(whole).body)
    told.pop("context", None)
    result = json.loads(answer.result())
    assert result.keys() == told.keys()
    assert {k: result[k] for k in ("model", "message", "response", "done_reason") if k in told} == {
        k: told[k] for k in ("model", "message", "response", "done_reason") if k in told
    }


@pytest.mark.parametrize("name", ["ollama_api_chat", "ollama_api_chat_empty_load", "ollama_api_generate"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_plain_body_is_understood(name: str, stream: bool) -> None:
    """A model server that answers with one JSON body is read the same way, for a client that streams or not."""
    answer = answering(_dialect(name), rewrite("tiny scripted"), stream=stream)
    out = answer.whole(golden(name).body)
    assert answer.failed is None
    assert out == b"" or not stream or out.endswith(b"\n")
    told = out if stream else answer.result()
    key = "content" if _dialect(name) is CHAT else "response"
    expected = text_of(golden(name).body, key).replace("tiny scripted", "[X]")
    assert text_of(told, key) == expected
    assert lines(told)[-1]["done"] is True
    assert lines(told)[-1]["done_reason"] == json.loads(golden(name).body)["done_reason"]


def test_tool_calls_of_a_stream_become_one_list() -> None:
    """A client that does not stream gets all calls of an answer, with numbers that are not repeated."""
    calls = [[{"function": {"name": name, "arguments": {"n": name}}}] for name in ("f", "g")]
    answer = answering(CHAT, block("never"), stream=False)
    through(answer, b"".join(line(message={"tool_calls": call}) for call in calls) + end())
    assert json.loads(answer.result())["message"]["tool_calls"] == calls[0] + calls[1]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_cutting_changes_nothing(data: st.DataObject) -> None:
    """However the bytes of a real answer are cut, the client puts the same text together."""
    name = data.draw(st.sampled_from(["ollama_api_chat_stream", "ollama_api_chat_think_stream"]))
    body = golden(name).body
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    checks = (rewrite("scripted model"), rewrite("secret"), block("llama.cpp"))
    answer = answering(CHAT, *checks)
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    out = b"".join([answer.feed(piece) for piece in pieces]) + answer.finish()
    assert out == through(answering(CHAT, *checks), body)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("ollama_api_chat_stream", "content"),
        ("ollama_api_generate_stream", "response"),
        ("ollama_api_chat_think_stream", "thinking"),
        ("ollama_api_generate_think_stream", "thinking"),
        ("ollama_api_chat_emoji_stream", "content"),
    ],
)
def test_every_phrase_is_rewritten(name: str, key: str) -> None:
    """Each stretch of six characters of a real answer, wherever it is cut, is replaced exactly where it stands."""
    body = golden(name).body
    text = text_of(body, key)
    for at in range(0, len(text) - 6, 3):
        phrase = text[at : at + 6]
        out = through(answering(_dialect(name), rewrite(phrase)), body)
        assert text_of(out, key) == text.replace(phrase, "[X]")
        assert lines(out)[-1]["done_reason"] == "stop"
        assert lines(out)[-1]["eval_count"] == lines(body)[-1]["eval_count"]


@pytest.mark.parametrize("at", range(1, 9))
def test_a_block_is_visible_text_and_a_proper_end(at: int) -> None:
    """What was shown stays, the notice follows as content, and a last line with counters says content_filter."""
    parts = "fine. a SECRET, more"
    data = line(parts[:at]) + line(parts[at:]) + line("never shown") + end()
    answer = answering(CHAT, block("SECRET"))
    out = through(answer, data)
    assert text_of(out) == "fine. a \n\n" + NOTICE
    assert [got["done"] for got in lines(out)][-1] is True
    last = lines(out)[-1]
    assert last["done_reason"] == "content_filter"
    assert last["eval_count"] == 2
    assert "error" not in last
    assert answer.done
    assert answer.failed is None
    assert all(is_stamp(got["created_at"]) for got in lines(out))
    assert [ChatResponse(**got).done_reason for got in lines(out)][-1] == "content_filter"


def test_a_block_in_generate() -> None:
    """The same under `response`, also when it is the last line that shows it, with the counters that came."""
    data = b'{"model":"m","created_at":"%b","response":"SEC","done":false}\n' % WHEN.encode()
    data += b'{"model":"m","created_at":"%b","response":"RET","done":true,"eval_count":7}\n' % WHEN.encode()
    out = through(answering(GENERATE, block("SECRET")), data)
    assert text_of(out, "response") == NOTICE
    assert lines(out)[-1] == {
        "model": "m",
        "created_at": WHEN,
        "response": "",
        "done": True,
        "done_reason": "content_filter",
        "eval_count": 7,
    }
    assert GenerateResponse(**lines(out)[-1]).response == ""


def test_a_block_without_streaming() -> None:
    """One object whose content is what may be shown and the notice."""
    answer = answering(CHAT, block("SECRET"), stream=False)
    assert through(answer, line("a SECRET") + end()) == b""
    result = json.loads(answer.result())
    assert result["message"] == {"role": "assistant", "content": "a \n\n" + NOTICE}
    assert (result["done"], result["done_reason"]) == (True, "content_filter")


def test_no_notice_in_json() -> None:
    """An answer that a program parses gets no sentence put into it."""
    out = through(answering(CHAT, block("SECRET"), format="json"), line('{"a": "SECRET"}') + end())
    assert text_of(out) == '{"a": ""}'
    assert lines(out)[-1]["done_reason"] == "content_filter"


def test_held_text_comes_before_the_end() -> None:
    """Text that was held until the end is a line of its own before the last one, whose counters stay."""
    out = through(answering(CHAT, block("SECRET")), line("a SEC") + end())
    assert [(got["message"]["content"], got["done"]) for got in lines(out)] == [
        ("a ", False),
        ("SEC", False),
        ("", True),
    ]
    assert lines(out)[-1]["eval_count"] == 3


def test_output_is_judged_from_the_prefill_on() -> None:
    """A last message of the assistant is gone on with: a phrase that begins in it is found."""
    body = {"messages": [{"role": "user", "content": "go"}, {"role": "assistant", "content": "the SEC"}]}
    request = parsed(body)
    assert request.prefill == "the SEC"
    answer = CHAT.answer(request, Guard(PhrasePlan([block("SECRET")]), prefills=request.prefills()), notice)
    assert text_of(through(answer, line("RET") + end())) == NOTICE


@pytest.mark.parametrize(("ending", "reason"), [(Ending.STOP, "stop"), (Ending.LENGTH, "length")])
def test_a_rule_may_end_an_answer_like_the_model(ending: Ending, reason: str) -> None:
    """Such an end has the dialect's ordinary word and no notice."""
    rule = Rule("p", "r", Action.BLOCK, ending=ending)
    out = through(answering(CHAT, Phrase("SECRET", rule)), line("a SECRET") + end())
    assert text_of(out) == "a "
    assert lines(out)[-1]["done_reason"] == reason


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"<html>", b'{"error":"SECRET"}', b'{"choices":[]}'])
def test_a_body_that_is_no_answer(body: bytes) -> None:
    """What is not an answer of this dialect is an error, for a client that streams or not."""
    for stream in (True, False):
        answer = answering(CHAT, block("SECRET"), stream=stream)
        out = answer.whole(body)
        assert answer.failed is not None
        assert b"SECRET" not in out
        assert not stream or list(lines(out)[0]) == ["error"]


# -- tool calls


def call(**function: Any) -> dict[str, Any]:
    """A message with one call in it."""
    return {"tool_calls": [{"id": "call_1", "function": {"index": 0, **function}}]}


@pytest.mark.parametrize("last", [True, False])
def test_arguments_are_judged_decoded(last: bool) -> None:
    """A word in any value or key of a call is replaced, in a line before the end or in the end itself."""
    message = call(name="f", arguments={"a": "x SECRET", "b": ["SECRET", 1.5, None, True], "SECRET": {"c": "é"}})
    data = end(message=message) if last else line(message=message) + end()
    out = through(answering(CHAT, rewrite("SECRET")), data)
    with_calls = next(got for got in lines(out) if "tool_calls" in got["message"])
    assert with_calls["done"] is last
    assert with_calls["message"]["tool_calls"] == [
        {
            "id": "call_1",
            "function": {
                "index": 0,
                "name": "f",
                "arguments": {"a": "x [X]", "b": ["[X]", 1.5, None, True], "[X]": {"c": "é"}},
            },
        }
    ]


@pytest.mark.parametrize(
    "function",
    [
        {"name": "SECRET", "arguments": {}},
        {"name": "f", "arguments": {"a": "SECRET"}},
        {"name": "f", "arguments": {"SECRET": 1}},
        {"name": "f", "arguments": {"a": [{"b": "SECRET"}]}},
    ],
)
def test_a_blocked_call_does_not_go_out(function: dict[str, Any]) -> None:
    """No part of a call that a rule ends reaches a client that would execute it; text before it stays."""
    answer = answering(CHAT, block("SECRET"))
    out = through(answer, line("see: ") + end(message=call(**function)))
    assert "tool_calls" not in str(lines(out))
    assert text_of(out) == "see: \n\n" + NOTICE
    assert lines(out)[-1]["done_reason"] == "content_filter"


def test_several_calls_are_told_apart() -> None:
    """Calls of one line and of several keep their order, ids and arguments."""
    first = {"tool_calls": [{"function": {"name": n, "arguments": {"of": n}}} for n in ("f", "g")]}
    second = {"tool_calls": [{"id": "x", "function": {"name": "h", "arguments": {"of": "SECRET"}}}]}
    out = through(answering(CHAT, rewrite("SECRET")), line(message=first) + end(message=second))
    calls = [c for got in lines(out) for c in got["message"].get("tool_calls", ())]
    assert calls == [*first["tool_calls"], {"id": "x", "function": {"name": "h", "arguments": {"of": "[X]"}}}]


def test_calls_of_generate() -> None:
    """A call in an answer of /api/generate stands in the line itself and is judged alike."""
    body = {"model": "m", "created_at": WHEN, "response": "", "done": True, **call(name="f", arguments={"a": "SECRET"})}
    out = through(answering(GENERATE, rewrite("SECRET")), json.dumps(body).encode())
    assert lines(out)[0]["tool_calls"][0]["function"]["arguments"] == {"a": "[X]"}


# -- whatever else a server may send


FORBIDDEN = "FORBIDDEN"


def _planted(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The value with the forbidden word in the place of each of its strings in turn, and as an unknown key's value."""
    if isinstance(value, dict):
        for key, item in value.items():
            for where, planted in _planted(item, f"{path}.{key}"):
                yield where, {**value, key: planted}
        yield f"{path}.unknown", {**value, "unknown": FORBIDDEN}
        yield f"{path}.nested", {**value, "unknown": [{"deep": FORBIDDEN}]}
    elif isinstance(value, list):
        for i, item in enumerate(value):
            for where, planted in _planted(item, f"{path}[{i}]"):
                yield where, [*value[:i], planted, *value[i + 1 :]]
    elif isinstance(value, str):
        yield path, FORBIDDEN


RICH = {
    "model": "tiny",
    "created_at": WHEN,
    "message": {"role": "assistant", "content": "c", "thinking": "t", **call(name="f", arguments={"k": ["v"]})},
    "response": "r",
    "thinking": "t",
    **call(name="f", arguments={"k": ["v"]}),
    "done": False,
    "done_reason": "stop",
    "total_duration": "1s",
    "logprobs": [{"token": "t", "bytes": [1], "top_logprobs": [{"token": "t"}]}],
    "context": [1, 2],
    "remote_model": "m",
    "remote_host": "h",
    "image": "i",
    "_debug_info": {"rendered_template": "x"},
}
CASES = [
    (dialect, where, {**body, "done": done})
    for dialect in (CHAT, GENERATE)
    for done in (False, True)
    for where, body in _planted(RICH)
]


@pytest.mark.parametrize("stream", [True, False])
def test_a_forbidden_word_never_leaves(stream: bool) -> None:
    """Wherever in a line the word stands, no byte of it goes out, and the client gets a proper end."""
    for dialect, where, body in CASES:
        answer = answering(dialect, block(FORBIDDEN), stream=stream)
        data = json.dumps(body).encode() + b"\n"
        tail = json.dumps({"model": "tiny", "created_at": WHEN, "done": True, "done_reason": "stop"}).encode() + b"\n"
        out = through(answer, data + tail, 40)
        if not stream:
            assert answer.failed is None, where
            out = answer.result()
        assert FORBIDDEN.encode() not in out, where
        assert lines(out)[-1]["done"] is True, where


def test_a_word_in_escapes_is_seen() -> None:
    """JSON escapes in the upstream's line do not hide a word, also on the quick path."""
    data = line("ok") + line("fine") + line("S@CRET").replace(b"@", b"\\u0045") + end()
    assert text_of(through(answering(CHAT, block("SECRET")), data)) == "okfine\n\n" + NOTICE


def test_a_key_given_twice_is_read_once() -> None:
    """Of a duplicate key nothing can pass that was not judged."""
    data = line("ok") + line("x").replace(b'"content":"x"', b'"content":"SECRET","content":"x"') + end()
    out = through(answering(CHAT, block("SECRET")), data)
    assert b"SECRET" not in out
    assert text_of(out) == "okx"


def test_times_are_always_readable() -> None:
    """A time that the ollama command could not read is replaced by the last good one."""
    data = (
        line("a")
        + line("b").replace(WHEN.encode(), b"yesterday")
        + line("c").replace(WHEN.encode(), b"2026-13-01T00:00:00Z")
    )
    out = through(answering(CHAT), data + end())
    assert [got["created_at"] for got in lines(out)] == [WHEN] * 4
    first = through(answering(CHAT), line("a").replace(WHEN.encode(), b"FORBIDDEN") + end())
    assert is_stamp(lines(first)[0]["created_at"])


def test_our_lines_have_the_latest_time() -> None:
    """A line that the proxy writes has the time of the line that it stands for, on the quick path too."""
    times = [f"2026-11-23T19:22:0{i}Z" for i in range(4)]
    data = b"".join(line(c).replace(WHEN.encode(), t.encode()) for c, t in zip("abXd", times, strict=True))
    out = through(answering(CHAT, rewrite("X", "Y"), flag("d")), data + end())
    assert [got["created_at"] for got in lines(out)] == [*times, WHEN]
    assert text_of(out) == "abYd"


def test_a_name_that_a_rule_minds_is_withheld() -> None:
    """The model's name passes only if no rule minds it."""
    out = through(answering(CHAT, block("tiny")), line("a") + end())
    assert {got["model"] for got in lines(out)} == {"withheld"}


@pytest.mark.parametrize("name", ["ollama_api_chat_engine_killed_stream", "ollama_api_generate_engine_killed_stream"])
def test_a_reported_error_is_a_line(name: str) -> None:
    """The upstream's error line reaches the client as a string, after what was held; the answer has failed."""
    answer = answering(_dialect(name), block("andround and never"))
    out = through(answer, golden(name).body)
    assert lines(out)[-1] == {"error": "an error was encountered while running the model: unexpected EOF"}
    assert text_of(out[: out.rindex(b"\n", 0, -1) + 1], answer.text.name).endswith(" andround")
    assert answer.failed is not None


def test_an_error_that_a_rule_minds_is_withheld() -> None:
    """An error may quote the model: its text passes only if no rule minds it."""
    out = through(answering(CHAT, block("SECRET")), b'{"error":"template: SECRET"}\n')
    assert b"SECRET" not in out
    assert list(lines(out)[0]) == ["error"]


@pytest.mark.parametrize("data", [b"", line("a"), line("a") + b'{"model":"tiny","mess'])
def test_a_cut_answer_is_an_error(data: bytes) -> None:
    """A stream that ends without a last line is never passed off as complete."""
    answer = answering(CHAT, block("x"))
    out = through(answer, data)
    assert list(lines(out)[-1]) == ["error"]
    assert isinstance(answer.failed, UpstreamBroken)


def test_a_timeout_is_an_error_line() -> None:
    """What the handler reports comes after the text that was held."""
    answer = answering(CHAT, block("SECRET"))
    out = answer.feed(line("a SEC")) + answer.finish(UpstreamTimeout("the model server was silent for 60 s", "timeout"))
    assert text_of(out[: out.rindex(b"{")]) == "a SEC"
    assert lines(out)[-1] == {"error": "the model server was silent for 60 s"}


def test_a_block_wins_over_an_error() -> None:
    """When the held text of a stream that broke is blocked, the client gets a block and no error line."""
    answer = answering(CHAT, AtEnd("SEC"))
    out = answer.feed(line("a SEC")) + answer.finish()
    assert text_of(out) == "a \n\n" + NOTICE
    assert lines(out)[-1]["done_reason"] == "content_filter"
    assert not any("error" in got for got in lines(out))


@pytest.mark.parametrize(
    "data",
    [
        b"not json\n",
        b"[1]\n",
        b'{"message":[],"done":false}\n',
        b'{"message":{"content":1},"done":false}\n',
        b'{"message":{"tool_calls":{}},"done":false}\n',
        b'{"message":{"content":"\xff"},"done":false}\n',
        b'{"message":{"content":"\\ud800"},"done":false}\n',
    ],
)
def test_what_cannot_be_read_ends_the_answer(data: bytes) -> None:
    """Fail closed: nothing of an unreadable line goes out, an error line does."""
    answer = answering(CHAT)
    out = through(answer, line("a") + data + line("b") + end())
    assert text_of(out[: out.rindex(b"{")]) == "a"
    assert list(lines(out)[-1]) == ["error"]


def test_unknown_lines_are_left_out() -> None:
    """A line in which nothing is known, progress of a download for one, is not passed on."""
    out = through(answering(CHAT), b'{"status":"pulling","completed":1}\n' + line("a") + end())
    assert text_of(out) == "a"
    assert len(lines(out)) == 2


# -- the quick path


def test_lines_of_one_form_need_no_tree() -> None:
    """After the first line the skeleton reads every other line that differs in time and text only."""
    answer = answering(CHAT)
    frames = list(answer._frames(line("first")))
    skeleton = LineSkeleton.of(frames[0])
    assert skeleton is not None
    quick = skeleton.frame(line('a "quoted" \\ é 語'))
    assert quick is not None
    assert quick.deltas[0].text == 'a "quoted" \\ é 語'
    assert skeleton.frame(line("x", done=True)) is None
    assert skeleton.frame(line("x", message={"thinking": "y"})) is None
    assert skeleton.frame(line("").replace(b'"content":""', b'"content":"')) is None


@given(st.text(max_size=20), st.text(max_size=20), st.sampled_from([True, False]))
@settings(max_examples=200, deadline=None)
def test_the_quick_path_reads_what_json_reads(text: str, other: str, quoted: bool) -> None:
    """Whatever the skeleton reads as a text is what a JSON reader finds there, and nothing else is in the line."""
    skeleton = LineSkeleton.of(next(iter(answering(CHAT)._frames(line("first")))))
    assert skeleton is not None
    raw = line(text)
    if quoted:
        raw = raw.replace(b'"},"done"', other.encode("utf-8", "surrogatepass") + b'"},"done"')
    quick = skeleton.frame(raw)
    got = quick.deltas[0].text if quick is not None else None
    if got is not None:
        assert json.loads(raw) == {
            "model": "tiny",
            "created_at": WHEN,
            "message": {"role": "assistant", "content": got},
            "done": False,
        }
