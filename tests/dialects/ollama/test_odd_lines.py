"""Whatever else a server may send in Ollama's own dialect: fields, lines, errors and bodies that are none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from proxy.dialects.ollama.line import is_stamp
from proxy.errors import UpstreamBroken, UpstreamTimeout
from tests.dialects.golden_files import golden
from tests.dialects.ollama.lines import (
    CHAT,
    GENERATE,
    NOTICE,
    WHEN,
    answering,
    call,
    dialect_of,
    end,
    line,
    lines,
    text_of,
    through,
)
from tests.phrases import AtEnd, block, flag, rewrite


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"<html>", b'{"error":"SECRET"}', b'{"choices":[]}'])
def test_a_body_that_is_no_answer(body: bytes) -> None:
    """What is not an answer of this dialect is an error, for a client that streams or not."""
    for stream in (True, False):
        answer = answering(CHAT, block("SECRET"), stream=stream)
        out = answer.whole(body)
        assert answer.failed is not None
        assert b"SECRET" not in out
        assert not stream or list(lines(out)[0]) == ["error"]


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
    answer = answering(dialect_of(name), block("andround and never"))
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
