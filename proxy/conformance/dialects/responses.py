"""OpenAI's responses: https://platform.openai.com/docs/api-reference/responses-streaming."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from proxy.conformance.cases import Part
from proxy.conformance.dialects.base import CREATED, MODEL, NUMBERS, Dialect, sse, tool
from proxy.conformance.heard import Understood

USAGE = {
    "input_tokens": NUMBERS[0],
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": NUMBERS[1],
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": sum(NUMBERS),
}
DELTAS = {
    "response.output_text.delta": "content",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.refusal.delta": "refusal",
    "response.function_call_arguments.delta": "arguments",
}
ENDS = {"response.completed", "response.incomplete"}


class Responses(Dialect):
    """`/v1/responses`"""

    name = "responses"
    path = "/v1/responses"
    fields = frozenset({"content", "reasoning", "arguments"})
    sane = ("completed", "max_output_tokens")

    def request(self, turns: Sequence[tuple[str, str]], stream: bool) -> dict[str, Any]:
        """Messages as items."""
        return {"model": MODEL, "input": [{"role": r, "content": text} for r, text in turns], "stream": stream}

    def error(self, message: str) -> Any:
        """As OpenAI's other paths."""
        return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}

    def is_error(self, body: Any) -> bool:
        """An object with a message in it."""
        error = body.get("error") if isinstance(body, dict) else None
        return isinstance(error, dict) and isinstance(error.get("message"), str)

    def stream(self, parts: Sequence[Part], finish: str) -> list[bytes]:
        """An item for each run of parts of one kind."""
        events: list[dict[str, Any]] = [
            {"type": f"response.{kind}", "response": _response("in_progress", [])}
            for kind in ("created", "in_progress")
        ]
        for place, run in enumerate(_runs(parts)):
            events += [{**event, "output_index": place} for event in _item_events(place, run)]
        last = self.whole(parts, finish)
        events.append({"type": "response.completed" if finish == "stop" else "response.incomplete", "response": last})
        return [sse({**event, "sequence_number": n}, named=True) for n, event in enumerate(events)]

    def whole(self, parts: Sequence[Part], finish: str) -> Any:
        """All items."""
        items = [_item(place, run[0], _text(run), "completed") for place, run in enumerate(_runs(parts))]
        details = None if finish == "stop" else {"reason": "max_output_tokens"}
        status = "completed" if finish == "stop" else "incomplete"
        return {**_response(status, items), "incomplete_details": details, "usage": USAGE}

    def hear(self, event: Any, told: Understood) -> None:
        """One event."""
        kind = event["type"]
        if kind in ("error", "response.failed"):
            told.failed = True
        elif kind in DELTAS:
            told.say((0, DELTAS[kind], event["output_index"]), event["delta"])
        elif kind == "response.output_item.added" and event["item"]["type"] == "function_call":
            told.names[event["output_index"]] = event["item"]["name"]
        elif kind in ENDS:
            self._hear_end(event["response"], told)

    def hear_whole(self, body: Any, told: Understood) -> None:
        """All items."""
        for place, item in enumerate(body["output"]):
            if item["type"] == "function_call":
                told.names[place] = item["name"]
                told.say((0, "arguments", place), item["arguments"])
            field = "reasoning" if item["type"] == "reasoning" else "content"
            for part in item.get("content") or ():
                told.say((0, field, place), part.get("text"))
        self._hear_end(body, told)

    def _hear_end(self, response: Any, told: Understood) -> None:
        told.ended = True
        told.usage = response.get("usage")
        told.finish[0] = (response.get("incomplete_details") or {}).get("reason") or response["status"]


def _runs(parts: Sequence[Part]) -> list[list[Part]]:
    return [list(run) for _, run in groupby(parts, key=lambda part: (part.field, part.call))]


def _text(run: Sequence[Part]) -> str:
    return "".join(part.text for part in run)


def _response(status: str, output: list[Any]) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": MODEL,
        "output": output,
        "usage": None,
    }


def _item(place: int, part: Part, text: str, status: str) -> dict[str, Any]:
    if part.field == "arguments":
        names = {"id": f"fc_{place}", "call_id": f"call_{place}", "name": tool(part.call)}
        return {"type": "function_call", **names, "arguments": text, "status": status}
    if part.field == "reasoning":
        content = [{"type": "reasoning_text", "text": text}] if text else []
        return {"type": "reasoning", "id": f"rs_{place}", "summary": [], "content": content, "status": status}
    content = [_part(text)] if text else []
    return {"type": "message", "id": f"msg_{place}", "role": "assistant", "content": content, "status": status}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _item_events(place: int, run: Sequence[Part]) -> list[dict[str, Any]]:
    part, text = run[0], _text(run)
    begin = {"type": "response.output_item.added", "item": _item(place, part, "", "in_progress")}
    end = {"type": "response.output_item.done", "item": _item(place, part, text, "completed")}
    where = {"item_id": begin["item"]["id"]}  # type: ignore[index]
    if part.field == "arguments":
        name = "response.function_call_arguments"
        done: list[dict[str, Any]] = [{"type": f"{name}.done", **where, "arguments": text}]
        return [begin, *({"type": f"{name}.delta", **where, "delta": one.text} for one in run), *done, end]
    where |= {"content_index": 0}
    if part.field == "reasoning":
        name = "response.reasoning_text"
        deltas = [{"type": f"{name}.delta", **where, "delta": one.text} for one in run]
        return [begin, *deltas, {"type": f"{name}.done", **where, "text": text}, end]
    name = "response.output_text"
    opened = {"type": "response.content_part.added", **where, "part": _part("")}
    deltas = [{"type": f"{name}.delta", **where, "delta": one.text, "logprobs": []} for one in run]
    done = [
        {"type": f"{name}.done", **where, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **where, "part": _part(text)},
    ]
    return [begin, opened, *deltas, *done, end]
