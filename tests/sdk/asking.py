"""What every client is asked, and what it tells: the same cases for each, and one record of what came of them."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from tests.e2e.scripts import FORBIDDEN, FORBIDDEN_ARGUMENT

NOTICE: Final = "This was stopped by the house."
LABEL: Final = "[email]"
REQUEST_ID: Final = re.compile(r"request [0-9a-f]{16}\b")
MAX_TOKENS: Final = 500
SCHEMA: Final = {"type": "object", "properties": {"city": {"type": "string"}, "note": {"type": "string"}}}
POLICY: Final = f"""
version: 1
policy: house
rules:
  - id: phrase
    words: ["{FORBIDDEN}", "{FORBIDDEN_ARGUMENT}"]
    action: block
    message: "{NOTICE}"
  - id: mail
    detector: email
    action: rewrite
    replacement: "{LABEL}"
"""


class Dialect(enum.Enum):
    """Whose paths a way uses, and the words with which answers end there: clean, with a tool call, at a block."""

    CHAT = "/v1/chat/completions", "stop", "tool_calls", "content_filter"
    RESPONSES = "/v1/responses", "completed", "completed", "content_filter"
    MESSAGES = "/v1/messages", "end_turn", "tool_use", "refusal"
    OLLAMA = "/api/chat and /api/generate", "stop", "stop", "content_filter"

    def __init__(self, path: str, clean: str, called: str, blocked: str) -> None:
        self.path, self.clean, self.called, self.blocked = path, clean, called, blocked


@dataclass(frozen=True, slots=True)
class Case:
    """A question. `prompt` chooses what the model server does; `title` heads the column in the docs."""

    name: str
    title: str
    prompt: str
    tools: bool = False


CASES: Final = (
    Case("clean", "clean answer", "Please speak. [[emoji]]"),
    Case("tool", "tool call", "Please speak. [[tool-clean]]", tools=True),
    Case("rewrite", "rewrite", "Please speak. [[mail]]"),
    Case("blocked", "block in the answer", "Please speak. [[bad]]"),
    Case("blocked-tool", "block in a tool call", "Please speak. [[tool]]", tools=True),
    Case("blocked-prompt", "block of the prompt", f"Tell me of the {FORBIDDEN}."),
    Case("dies-midway", "model server dies midway", "Please speak. [[dies-midway]]"),
    Case("dies-first", "model server dies before the first byte", "Please speak. [[dies-first]]"),
)
DEATHS: Final = frozenset({"dies-midway", "dies-first"})
"""What no healthy server does: the scripted one does it."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to one server. `model` is the way's own name, so that the proxy counts its requests apart."""

    url: str
    model: str
    prompt: str
    tools: bool

    @property
    def base_url(self) -> str:
        """What OpenAI's clients take."""
        return f"{self.url}/v1"

    @property
    def messages(self) -> Any:
        """The conversation, in the form that all dialects of chat share."""
        return [{"role": "user", "content": self.prompt}]

    def with_tools(self, tool: Any) -> dict[str, Any]:
        """The `tools` argument, where the case has one."""
        return {"tools": [tool]} if self.tools else {}


@dataclass(slots=True)
class Told:
    """What a client has shown. What it showed before it raised stays.

    calls: tool calls as (name, arguments); arguments are text only where the client leaves them so
    error: the exception's class, its `code`, `status` and text, as the client offers them
    asked: how many requests the client made
    """

    text: str = ""
    reason: str | None = None
    calls: list[tuple[str, Any]] = field(default_factory=list)
    error: str | None = None
    code: str | None = None
    status: int | None = None
    message: str = ""
    asked: int = 0

    def failed(self, error: Exception) -> None:
        """Keep what an exception tells its catcher."""
        self.error = type(error).__name__
        code, status = getattr(error, "code", None), getattr(error, "status_code", None)
        self.code = code if isinstance(code, str) else None
        self.status = status if isinstance(status, int) else None
        self.message = str(error)

    def settle(self) -> None:
        """Decode arguments and leave out the one part of a notice that differs each time."""
        self.calls = [(name, json.loads(args) if isinstance(args, str) else args) for name, args in self.calls]
        self.text = REQUEST_ID.sub("request ID", self.text)
        self.message = REQUEST_ID.sub("request ID", self.message)


@dataclass(frozen=True, slots=True)
class Way:
    """One way to use one package.

    client: the package's name; `node` tells npm's from PyPI's
    how:    the call, as the docs print it
    scripted: it asks the scripted server, in Ollama's shapes; else a real llama.cpp server, as long as nobody dies
    tools:  whether tools can be offered
    """

    name: str
    client: str
    how: str
    dialect: Dialect
    streams: bool
    scripted: bool = False
    tools: bool = True

    def takes(self, case: Case) -> bool:
        """Whether the case can be asked in this way."""
        return self.tools or not case.tools

    @property
    def node(self) -> bool:
        """Whether it runs in Node."""
        return self.name.startswith("node-")


Run = Callable[[Ask, Told], None]
"""Asks in one way, and fills in what was told."""


class Calls:
    """Puts tool calls together that come in pieces, by their index."""

    def __init__(self) -> None:
        self._pieces: dict[Any, list[str]] = {}

    def add(self, index: Any, name: str | None, arguments: str | None) -> None:
        """One more piece."""
        piece = self._pieces.setdefault(index, ["", ""])
        piece[0] += name or ""
        piece[1] += arguments or ""

    def whole(self) -> list[tuple[str, Any]]:
        """All of them, in the order of their first pieces."""
        return [(name, arguments) for name, arguments in self._pieces.values()]
