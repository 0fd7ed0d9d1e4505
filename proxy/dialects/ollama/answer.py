"""Answers of Ollama's own dialect: lines of JSON in; the same, or one whole object, out."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from proxy.core.events import LARGE, PAUSE, Frame, Release, TextDelta
from proxy.core.guard import Guard
from proxy.core.types import Channel, Ending, Kind
from proxy.dialects.answer import Answer, Notice
from proxy.dialects.common import upstream_errors
from proxy.dialects.common.ends import end_reason
from proxy.dialects.common.unknown_numbers import UnknownNumbers
from proxy.dialects.ollama import errors as ollama_errors
from proxy.dialects.ollama.line import COUNTS, DONE_REASONS, DURATIONS, LineSkeleton, clean_end, clean_message, is_stamp
from proxy.dialects.request import Request
from proxy.dialects.wire import ndjson
from proxy.dialects.wire.json_body import parse_upstream, says_more
from proxy.errors import UpstreamBroken, UpstreamError

THINKING = Channel(0, Kind.REASONING, "thinking")
_OF_LINE = frozenset(("model", "created_at", "message", "response", "thinking", "tool_calls", "logprobs", "role"))
_OF_MESSAGE = frozenset(("role", "content", "response", "thinking", "tool_calls"))
NEVER = "1970-01-01T00:00:00Z"  # for a line of ours while the upstream has told no time
FINISHES = {Ending.FILTERED: "content_filter", Ending.STOP: "stop", Ending.LENGTH: "length"}
MAX_NAME = 512


class OllamaAnswer(Answer):
    """One exchange of /api/chat or /api/generate; the subclasses know where in a line the model's words stand."""

    text: Channel

    def __init__(self, request: Request, guard: Guard, notice: Notice) -> None:
        super().__init__(request, guard, notice)
        self._lines = ndjson.Parser()
        self._unfinished = self._lines.parts
        self._skeleton: LineSkeleton | None = None
        self._model = ""
        self._created = NEVER
        self._calls = 0  # how many there were so far
        self._over = False  # the upstream has said that it is done
        self._whole: dict[str, Any] = {}
        self._said: dict[str, list[Any]] = {self.text.name: []}  # texts in pieces, and tool calls
        self._message_numbers: dict[str, Any] = {}  # under unknown keys
        self._probabilities: list[Any] = []
        self._unknown = UnknownNumbers(guard.admits)

    # -- reading

    def _frames(self, data: bytes) -> Iterator[Frame]:
        for raw in self._lines.feed(data):
            if len(raw) > LARGE:
                yield PAUSE
            frame = self._skeleton.frame(raw) if self._skeleton is not None else None
            if frame is not None:
                yield frame
            else:
                yield from self._read(raw)

    def _last_frames(self) -> Iterator[Frame]:
        for raw in self._lines.finish():
            yield from self._read(raw)

    def _whole_frames(self, body: bytes) -> Iterator[Frame]:
        yield from self._read(body, whole=True)

    def _read(self, raw: bytes, whole: bool = False) -> Iterator[Frame]:
        line = parse_upstream(raw)
        if line.get("error"):
            raise upstream_errors.reported(line["error"], self.guard)
        clean = self._clean({**line, "done": True} if whole else line)
        said = self._words(clean)
        if whole and not said:
            raise UpstreamBroken("the model server's answer is none of this dialect", "protocol")
        if not said and not clean["done"]:
            return  # nothing in it that is known
        same = not whole and clean == line and not says_more(raw.strip(), line)
        frame = self._frame(raw if same else self._encode(clean), clean, said)
        if same and not self.request.logprobs:  # each token has probabilities of its own
            self._skeleton = LineSkeleton.of(frame) or self._skeleton
        self._skeleton = self._skeleton if self._unknown.steady else None
        yield frame

    def _clean(self, line: dict[str, Any]) -> dict[str, Any]:
        """The part of a line that is understood; nothing else is forwarded."""
        clean = {**self._head(line), **self._clean_words(line), **clean_end(line)}
        if "done_reason" in clean:
            clean["done_reason"] = end_reason(clean["done_reason"], DONE_REASONS, "stop", self.guard.admits)
        self._count_tokens(clean, "prompt_eval_count", "eval_count")
        if self.request.logprobs and isinstance(line.get("logprobs"), list):
            clean["logprobs"] = line["logprobs"]
        self._unknown.ending = clean["done"]
        if isinstance(line.get("message"), dict) and "message" in clean:
            clean["message"] = self._unknown.beside(line["message"], clean["message"], "message")
        return self._unknown.beside(line, clean)

    def _head(self, line: dict[str, Any]) -> dict[str, str]:
        """The model's name, if no rule minds it, and the time, if it is one."""
        name = line.get("model")
        if isinstance(name, str) and name != self._model:
            self._model = name if len(name) <= MAX_NAME and self.guard.admits(name) else "withheld"
        if is_stamp(line.get("created_at")):
            self._tell(line["created_at"])
        return {"model": self._model, "created_at": self._created}

    def _tell(self, time: str) -> None:
        self._created = time
        if self._skeleton is not None:
            self._skeleton.value = b""

    def _frame(self, raw: bytes, clean: dict[str, Any], said: dict[str, Any]) -> Frame:
        deltas = [TextDelta(c, said[c.name]) for c in (THINKING, self.text) if said.get(c.name)]
        for call in said.get("tool_calls", ()):
            deltas += _call_text_deltas(self._calls, call)
            self._calls += 1
        calls = tuple(p.channel for p in deltas if p.channel.kind is Kind.TOOL_ARGUMENTS)
        self._over = clean["done"]
        return Frame(raw, tuple(deltas), closes=calls, finishes=(0,) if self._over else (), body=clean)

    # -- writing

    def _write(self, frame: Frame, release: Release) -> Iterator[dict[str, Any]]:
        line = self._body(frame) or {}
        texts = [TextDelta(p.channel, t) for p, t in zip(frame.deltas, release.texts, strict=True)]
        said = self._released([*texts, *release.flushed], bool(release.blocked_choices), line)
        end = {key: part for key, part in line.items() if key not in _OF_LINE} if line.get("done") else {}
        if end and not release.blocked_choices and any(text for _, text in frame.deltas):
            yield self._line(said, end)  # what ended the answer said something itself
            return
        calls = {"tool_calls": said.pop("tool_calls")} if end and "tool_calls" in said else {}
        if said:
            yield self._line(said)
        notice = self.notice_for(0) if release.blocked_choices else ""
        if notice:
            yield self._line({self.text.name: notice})
        if end:
            yield self._line(calls, end | (self._why() if release.blocked_choices else {}))

    def _released(self, deltas: list[TextDelta], cut: bool, line: dict[str, Any]) -> dict[str, Any]:
        """Text and complete calls that may be shown. A call whose exchange was cut would be executed: none goes out."""
        said: dict[str, Any] = {}
        for channel in (self.text, THINKING):
            text = "".join(p.text for p in deltas if p.channel == channel)
            if text:
                said[channel.name] = text
        calls = _judged_calls(deltas, self._words(line).get("tool_calls", ()))
        if calls and not cut:
            said["tool_calls"] = calls
        return said

    def _line(self, said: dict[str, Any], end: dict[str, Any] | None = None) -> dict[str, Any]:
        """A line of ours. Its time is the last one that the upstream told: the ollama command wants a real one."""
        if self._skeleton is not None and self._skeleton.value:
            self._tell(self._skeleton.value.decode())
        words = self._around({self.text.name: "", **said})
        return {"model": self._model, "created_at": self._created, **words, **(end or {"done": False})}

    def _blocked_end(self) -> dict[str, Any]:
        """The last line of an answer that a rule has ended. The upstream was stopped before it counted."""
        counted = {**dict.fromkeys((*DURATIONS, *COUNTS), 0), "eval_count": self.events, "estimated": True}
        return self._line({}, {"done": True, **self._why(), **counted})

    def _why(self) -> dict[str, str]:
        return {"done_reason": FINISHES[self.guard.blocked_choices[0].rule.ending]}

    # -- ending

    def _settle(self, out: list[bytes]) -> None:
        if self._over:
            self.done = True
        elif self.guard.blocked_choices:
            self._put_terminal(out)

    def _put_terminal(self, out: list[bytes]) -> None:
        self._put([self._blocked_end()], out)
        self.done = True

    def _is_complete(self) -> bool:
        """Only a line that says so ends an answer, and after it nothing more is read."""
        return False

    def result(self) -> bytes:
        """One object with everything that the lines said."""
        said = {key: deltas if key == "tool_calls" else "".join(deltas) for key, deltas in self._said.items()}
        probabilities = {"logprobs": self._probabilities} if self._probabilities else {}
        return orjson.dumps({**self._whole, **self._around({**self._message_numbers, **said}), **probabilities})

    def _body(self, frame: Frame) -> Any:
        if frame.body is None and frame.deltas:
            return orjson.loads(frame.raw)
        return frame.body

    def _collect_text(self, delta: TextDelta) -> None:
        self._said.setdefault(delta.channel.name, []).append(delta.text)

    def _encode(self, body: Any) -> bytes:
        return orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE)

    def _collect(self, body: Any) -> None:
        if body is None:
            return
        words = self._words(body)
        for key in (self.text.name, "thinking"):
            if words.get(key):
                self._said.setdefault(key, []).append(words[key])
        if words.get("tool_calls"):
            self._said.setdefault("tool_calls", []).extend(words["tool_calls"])
        self._message_numbers |= {key: part for key, part in words.items() if key not in _OF_MESSAGE}
        self._probabilities += body.get("logprobs", ())
        self._whole |= body

    def _error_event(self, error: UpstreamError) -> bytes:
        return ollama_errors.line(str(error)) + b"\n"

    # -- where the words stand

    @abstractmethod
    def _clean_words(self, line: dict[str, Any]) -> dict[str, Any]:
        """The part of a line that carries the model's words, cleaned."""

    @abstractmethod
    def _words(self, line: dict[str, Any]) -> dict[str, Any]:
        """Where in a cleaned line they stand."""

    @abstractmethod
    def _around(self, said: dict[str, Any]) -> dict[str, Any]:
        """The part of a line that says `said`."""


class ChatAnswer(OllamaAnswer):
    """/api/chat: the words stand in `message`."""

    text = Channel(0, Kind.CONTENT, "content")

    def _clean_words(self, line: dict[str, Any]) -> dict[str, Any]:
        return {"message": clean_message(line["message"], "content")} if line.get("message") is not None else {}

    def _words(self, line: dict[str, Any]) -> dict[str, Any]:
        said: dict[str, Any] = line.get("message", {})
        return said

    def _around(self, said: dict[str, Any]) -> dict[str, Any]:
        return {"message": {"role": "assistant", **said}}


class GenerateAnswer(OllamaAnswer):
    """/api/generate: the words stand in the line itself."""

    text = Channel(0, Kind.CONTENT, "response")

    def _clean_words(self, line: dict[str, Any]) -> dict[str, Any]:
        return clean_message({k: v for k, v in line.items() if k != "role"}, "response")

    def _words(self, line: dict[str, Any]) -> dict[str, Any]:
        return {k: line[k] for k in ("response", "thinking", "tool_calls") if k in line}

    def _around(self, said: dict[str, Any]) -> dict[str, Any]:
        return said


def _call_text_deltas(number: int, call: dict[str, Any]) -> Iterator[TextDelta]:
    """A call's id, its name, and its arguments as JSON source, so that every value in them is judged decoded."""
    function = call["function"]
    if "id" in call:
        yield TextDelta(Channel(0, Kind.TOOL_ARGUMENTS, f"{number}.id"), call["id"])
    yield TextDelta(Channel(0, Kind.TOOL_ARGUMENTS, f"{number}.name"), function["name"])
    given = function["arguments"]
    source = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    yield TextDelta(Channel(0, Kind.TOOL_ARGUMENTS, f"{number}"), source)


def _judged_calls(deltas: list[TextDelta], originals: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The calls of a line, put together again from what the guard let through."""
    calls: dict[str, dict[str, str]] = {}
    for channel, text in deltas:
        if channel.kind is Kind.TOOL_ARGUMENTS:
            number, _, part = channel.name.partition(".")
            calls.setdefault(number, {})[part or "arguments"] = text
    return [_call(parts, original) for parts, original in zip(calls.values(), originals, strict=True)]


def _call(parts: dict[str, str], original: dict[str, Any]) -> dict[str, Any]:
    ident = {"id": parts["id"]} if parts.get("id") else {}
    function = original["function"]
    arguments: Any = parts["arguments"]
    if not isinstance(function["arguments"], str):
        arguments = orjson.loads(arguments) if arguments else {}
    return {**ident, "function": {**function, "name": parts["name"], "arguments": arguments}}
