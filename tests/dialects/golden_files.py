"""Answers that real model servers gave, byte for byte: `golden("ollama_api_chat_stream").body`.

golden/NAME.txt is an answer's body with the transfer coding undone, golden/index.json has the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).with_name("golden")


@dataclass(frozen=True, slots=True)
class Golden:
    """One answer: who gave it to which request, its status, its headers (names in lower case), and its body."""

    name: str
    backend: str
    request: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The path that was asked."""
        return self.request.split(" ", 2)[1]

    @property
    def content_type(self) -> str:
        """The media type without parameters; empty if the server named none."""
        return self.headers.get("content-type", "").partition(";")[0]

    @property
    def frames(self) -> list[bytes]:
        """The body, cut after each server-sent event or line of NDJSON; anything else is one frame."""
        ends = {"text/event-stream": b"\n\n", "application/x-ndjson": b"\n"}
        end = ends.get(self.content_type)
        if end is None:
            return [self.body]
        *frames, rest = self.body.split(end)
        return [frame + end for frame in frames] + ([rest] if rest else [])


@cache
def _index() -> dict[str, dict[str, Any]]:
    index: dict[str, dict[str, Any]] = json.loads((FOLDER / "index.json").read_text(encoding="utf-8"))
    return index


def golden_names(prefix: str = "") -> list[str]:
    """The names that begin with `prefix`, sorted: "llama_", "ollama_", "ollama_v1_chat_", "ollama_err_" and so on."""
    return sorted(name for name in _index() if name.startswith(prefix))


def golden(name: str) -> Golden:
    """The answer of that name. KeyError if there is none."""
    return Golden(name=name, body=(FOLDER / f"{name}.txt").read_bytes(), **_index()[name])


def table() -> str:
    """The table in golden/README.md: a line for each file."""
    rows = [f"| {name} | {entry['backend']} | `{entry['request']}` |" for name, entry in sorted(_index().items())]
    return "\n".join(["| file | backend | request |", "|---|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    print(table(), end="")
