"""One line of an Ollama answer: the part of it that is understood, and a quick way to read lines that are all alike."""

from __future__ import annotations

import re
from typing import Any

from proxy.core.events import Frame
from proxy.core.types import Channel
from proxy.dialects.wire.json_body import type_name
from proxy.dialects.wire.skeleton import TwoPartSkeleton, inside
from proxy.errors import UpstreamBroken

DONE_REASONS = ("stop", "length", "load", "unload", "content_filter")
DURATIONS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
COUNTS = ("prompt_eval_count", "eval_count")
COUNTERS = frozenset((*DURATIONS, *COUNTS))

_STAMP = (
    rb"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    rb"(?:\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
STAMP = re.compile(_STAMP)
"""RFC 3339, as strictly as the ollama command reads it."""


def is_stamp(value: Any) -> bool:
    """Whether a value is a time that the ollama command can read."""
    return isinstance(value, str) and value.isascii() and STAMP.fullmatch(value.encode()) is not None


def clean_message(said: Any, text_key: str) -> dict[str, Any]:
    """What the model says in a line: text under `text_key`, thinking, tool calls; the rest is left behind."""
    if not isinstance(said, dict):
        raise UpstreamBroken(f"the model server sent {type_name(said)} where a message belongs", "protocol")
    clean: dict[str, Any] = {}
    for key, value in said.items():
        if key in (text_key, "thinking"):
            clean[key] = _text(value)
        elif key == "role":
            clean[key] = "assistant"
        elif key == "tool_calls" and value is not None:
            clean[key] = [_clean_call(call) for call in _typed(value, list)]
    return clean


def _clean_call(call: Any) -> dict[str, Any]:
    fields = _typed(call, dict)
    function = _typed(fields.get("function"), dict)
    clean: dict[str, Any] = {"id": _text(fields["id"])} if fields.get("id") else {}
    index = {"index": function["index"]} if type(function.get("index")) is int else {}
    arguments = function.get("arguments")
    clean["function"] = {
        **index,
        "name": _text(function.get("name")),
        "arguments": {} if arguments is None else arguments,
    }
    return clean


def clean_end(line: dict[str, Any]) -> dict[str, Any]:
    """Whether and why a line ends the answer (in the upstream's words), and what was counted."""
    clean: dict[str, Any] = {"done": line.get("done") is True}
    if clean["done"] and line.get("done_reason") is not None:
        clean["done_reason"] = line["done_reason"]
    if clean["done"]:
        clean |= {k: v for k, v in line.items() if k in COUNTERS and type(v) in (int, float)}
    return clean


def _text(value: Any) -> str:
    return "" if value is None else str(_typed(value, str))


def _typed(value: Any, wanted: type) -> Any:
    if not isinstance(value, wanted):
        raise UpstreamBroken(f"the model server sent {type_name(value)} where something else belongs", "protocol")
    return value


class LineSkeleton(TwoPartSkeleton):
    """The bytes around the two things in which lines of one answer differ: the time (`value`) and one text.

    A line with the same bytes around a strict time and one JSON string means the same, so it needs no JSON tree: a
    text that decodes as one JSON string cannot end early and bring keys of its own.
    """

    silent = True
    __slots__ = ("_middle", "_prefix", "_suffix")

    def __init__(self, prefix: bytes, middle: bytes, suffix: bytes, channel: Channel) -> None:
        super().__init__(channel)
        self._prefix, self._middle, self._suffix = prefix, middle, suffix

    @classmethod
    def of(cls, frame: Frame) -> LineSkeleton | None:
        """The skeleton of a line that was understood whole; None when it has more in it than one text."""
        if not frame.is_one_delta:
            return None
        channel = frame.deltas[0].channel
        time = _value(frame.raw, b"created_at", 0)
        text = _value(frame.raw, channel.name.encode(), time.end()) if time is not None else None
        if time is None or text is None or STAMP.fullmatch(time["value"]) is None:
            return None
        raw = frame.raw
        return cls(
            raw[: time.start("value")], raw[time.end("value") : text.start("value")], raw[text.end("value") :], channel
        )

    def text(self, raw: bytes) -> str | None:
        """The text of a line of this form, with `value` set; None for any other line."""
        start = len(self._prefix)
        if not raw.startswith(self._prefix) or not raw.endswith(self._suffix):
            return None
        end = raw.find(b'"', start)
        text = end + len(self._middle)
        last = len(raw) - len(self._suffix)
        if not raw.startswith(self._middle, end) or last < text or STAMP.fullmatch(raw, start, end) is None:
            return None
        said = inside(raw[text:last])
        if said is not None:
            self.value, self._slot = raw[start:end], (text, last)
        return said


def _value(raw: bytes, key: bytes, start: int) -> re.Match[bytes] | None:
    """Where the JSON string under `key` stands; None unless the key stands there once."""
    found = list(re.finditer(rb'"%b": ?"(?P<value>(?:[^"\\]|\\.)*)"' % re.escape(key), raw[:], re.DOTALL))
    return found[0] if len(found) == 1 and found[0].start() >= start else None
