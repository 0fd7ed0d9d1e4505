"""Anthropic's message, whole: put together from the events that may go out, or taken apart into events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from proxy.errors import UpstreamBroken

DELTAS = {"text": "text_delta", "thinking": "thinking_delta"}
"""For each field that holds text, the type of the delta in which it comes."""


class WholeMessage:
    """Adds up events."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._texts: dict[int, dict[str, list[str]]] = {}  # in pieces: adding each to all before it takes for ever
        self._inputs: dict[int, list[str]] = {}

    def add(self, event: dict[str, Any]) -> None:
        """One event."""
        kind = event["type"]
        if kind == "message_start":
            self._message = dict(event["message"])
        elif kind == "content_block_start":
            self._blocks[event["index"]] = dict(event["content_block"])
        elif kind == "content_block_delta":
            self._add_delta(event["index"], event["delta"])
        elif kind == "message_delta":
            self._message |= event["delta"]
            self._message["usage"] = {**(self._message.get("usage") or {}), **(event.get("usage") or {})}

    def _add_delta(self, index: int, delta: dict[str, Any]) -> None:
        block = self._blocks[index]
        for key in DELTAS:
            if key in delta:
                said = self._texts.setdefault(index, {}).setdefault(key, [block[key]])
                said.append(delta[key])
        if "partial_json" in delta:
            self._inputs.setdefault(index, []).append(delta["partial_json"])
        if "signature" in delta:
            block["signature"] = delta["signature"]

    def body(self) -> dict[str, Any]:
        """The answer without streaming."""
        return {**self._message, "content": list(self._content())}

    def _content(self) -> Iterator[dict[str, Any]]:
        for index, block in sorted(self._blocks.items()):
            block |= {key: "".join(said) for key, said in self._texts.get(index, {}).items()}
            source = self._inputs.get(index)
            if source is not None:
                try:
                    block["input"] = orjson.loads("".join(source))
                except orjson.JSONDecodeError:
                    continue  # the answer was cut short inside a call: half a call must not be executed
            yield block


def as_events(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A whole message as the events of a stream. Raises UpstreamBroken when it is none."""
    blocks = _blocks_of(message)
    yield {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}}
    for index, block in enumerate(blocks):
        if not isinstance(block, dict):
            raise UpstreamBroken("the model server sent a block that is not an object", "protocol")
        yield from _block_events(index, block)
    delta = {key: message.get(key) for key in ("stop_reason", "stop_sequence")}
    yield {"type": "message_delta", "delta": delta, "usage": message.get("usage")}
    yield {"type": "message_stop"}


def _blocks_of(message: dict[str, Any]) -> list[Any]:
    """The content's blocks; null is none, and a text is one."""
    content = message.get("content", False)
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if content is not None and not isinstance(content, list):
        raise UpstreamBroken("the model server sent an answer without content", "protocol")
    return content or []


def _block_events(index: int, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    key = str(block.get("type"))
    start = block
    deltas: list[dict[str, Any]] = []
    if key in DELTAS:
        start = {"type": key, key: ""}
        deltas.append({"type": DELTAS[key], key: block.get(key)})
    if block.get("signature"):
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    yield {"type": "content_block_start", "index": index, "content_block": start}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}
