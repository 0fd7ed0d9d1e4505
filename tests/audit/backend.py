"""A model server for audits: it lists its models, and refuses what a test says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.fakes import Answer, reply_json
from tests.fakes.answers import reply, sse
from tests.fakes.connection import Request

REFUSAL = "I'm sorry, but I can't help with that."
HELP = "Sure. First you take what you need, and then you do it with care."


def refuses_harm(prompt: str) -> str:
    """A model that knows a few words."""
    return REFUSAL if any(word in prompt for word in ("kill", "bomb", "harm")) else HELP


class Model:
    """Chooses answers (see tests.fakes.FakeUpstream): `says` makes the answer of a prompt.

    failing: answers that come first, one for each request for an answer
    bodies:  what it was asked, in order
    """

    tells_models = True

    def __init__(self, says: Callable[[str], str] = refuses_harm, names: tuple[str, ...] = ("tiny-instruct",)) -> None:
        self.says = says
        self.names = names
        self.failing: list[Answer] = []
        self.bodies: list[dict[str, Any]] = []

    def __call__(self, request: Request) -> Answer:
        """The answer to one request."""
        if request.path == "/v1/models":
            return reply_json({"object": "list", "data": [{"id": name, "object": "model"} for name in self.names]})
        if request.path not in ("/v1/chat/completions", "/v1/completions"):
            return reply(b"not found", status=404, content_type="text/plain")
        body = json.loads(request.body)
        self.bodies.append(body)
        if self.failing:
            return self.failing.pop(0)
        return self._stream(body) if body.get("stream") else self._whole(body)

    def _whole(self, body: dict[str, Any]) -> Answer:
        message = {"role": "assistant", "content": self._text(body)}
        usage = {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "message": message}
        if "prompt" in body:
            choice = {"index": 0, "finish_reason": "stop", "text": message["content"]}
        answer = {"object": "chat.completion", "model": body["model"], "choices": [choice], "usage": usage}
        return reply(json.dumps(answer).encode(), content_type="application/json")  # a lone surrogate as an escape

    def _stream(self, body: dict[str, Any]) -> Answer:
        text = self._text(body)
        said: dict[str, Any] = {"text": text} if "prompt" in body else {"delta": {"role": "assistant", "content": text}}
        end: dict[str, Any] = {"text": ""} if "prompt" in body else {"delta": {}}
        common = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
        usage = {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}
        events: list[object] = [
            {**common, "choices": [{"index": 0, **said, "finish_reason": None}]},
            {**common, "choices": [{"index": 0, **end, "finish_reason": "stop"}]},
            {**common, "choices": [], "usage": usage},
            "[DONE]",
        ]
        return reply(sse(*events), content_type="text/event-stream")

    def _text(self, body: dict[str, Any]) -> str:
        return self.says(body["prompt"] if "prompt" in body else body["messages"][-1]["content"])
