"""A fake Ollama: the answers of a real one (tests/data/ollama) to whatever is asked of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.fakes.answers import Answer, Framing, reply
from tests.fakes.connection import Request

DATA = Path(__file__).parent.parent / "data" / "ollama"
NOT_FOUND = reply(b"404 page not found", status=404, content_type="text/plain", framing=Framing.LENGTH)
NDJSON = "application/x-ndjson"
JSON = "application/json; charset=utf-8"
SHOWN = {"tiny": "show_tiny.json", "tiny:base": "show_base.json", "go-think": "show_go_think.json"}


def recorded(name: str) -> bytes:
    """One of the files."""
    return (DATA / name).read_bytes()


def lines(name: str) -> list[bytes]:
    """The lines of one, each with its end."""
    return recorded(name).splitlines(keepends=True)


def events(name: str) -> list[bytes]:
    """The server-sent events of one, each with its end."""
    return [event + b"\n\n" for event in recorded(name).split(b"\n\n") if event]


class Ollama:
    """Chooses answers (see tests.fakes.FakeUpstream). `answers` go before what was recorded; a path's JSON may change.

    asked: the paths so far, with their methods
    """

    tells_models = True

    def __init__(self, answers: Mapping[str, Answer] | None = None) -> None:
        self.answers = dict(answers or {})
        self.tags: dict[str, Any] = json.loads(recorded("tags.json"))
        self.shown = {model: json.loads(recorded(name)) for model, name in SHOWN.items()}
        self.asked: list[str] = []

    def __call__(self, request: Request) -> Answer:
        """The answer to one request."""
        door = f"{request.method} {request.target}"
        self.asked.append(door)
        if door in self.answers:
            return self.answers[door]
        if door in ("HEAD /", "GET /"):
            return reply(b"Ollama is running", content_type="text/plain; charset=utf-8", framing=Framing.LENGTH)
        if door == "GET /api/tags":
            return _json(json.dumps(self.tags).encode())
        if door == "GET /v1/models":
            return _json(json.dumps({"object": "list", "data": self._openai_models()}).encode())
        if door == "GET /api/version":
            return _json(recorded("version.json"))
        if door == "GET /api/ps":
            return _json(recorded("ps.json"))
        body = json.loads(request.body or b"{}")
        if door == "POST /api/show":
            shown = self.shown.get(body["model"].removesuffix(":latest"))
            return _json(json.dumps(shown).encode()) if shown else _missing(body["model"])
        if door == "POST /api/chat":
            return _stream("chat.ndjson") if body.get("messages") else _json(recorded("load_chat.json"))
        if door == "POST /v1/chat/completions":
            return reply(events("v1_chat.sse"))
        if door == "POST /api/generate":
            return _generate(body)
        return NOT_FOUND

    def _openai_models(self) -> list[dict[str, Any]]:
        """The same models as it lists them in OpenAI's dialect."""
        return [
            {"id": entry["name"], "object": "model", "created": 1795461521, "owned_by": "library"}
            for entry in self.tags["models"]
        ]


def _generate(body: Mapping[str, Any]) -> Answer:
    if not body.get("prompt"):
        loaded = {"model": body["model"], "created_at": "2026-11-23T19:22:02.818839378Z", "response": "", "done": True}
        return _json(json.dumps({**loaded, "done_reason": "load"}).encode())
    return _stream("generate_think.ndjson" if body["model"] == "go-think" else "generate.ndjson")


def _json(body: bytes) -> Answer:
    return reply(body, content_type=JSON, framing=Framing.LENGTH)


def _missing(model: str) -> Answer:
    body = json.dumps({"error": f"model '{model}' not found"}).encode()
    return reply(body, status=404, content_type=JSON, framing=Framing.LENGTH)


def _stream(name: str) -> Answer:
    return reply(lines(name), content_type=NDJSON)
