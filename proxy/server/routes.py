"""Every path that is answered, in one table. What does not stand here is refused.

The docs' table of endpoints and the test that tries every door are made from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from proxy.dialects.base import Dialect
from proxy.dialects.openai_chat import OpenAIChat
from proxy.server import listings


class Access(StrEnum):
    """What a path is."""

    GUARDED = "guarded"
    READ_ONLY = "read_only"
    ADMIN = "admin"
    OWN = "own"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Route:
    """One row.

    path:     `{name}` at its end stands for all the rest, which may hold slashes as names of models do
    note:     a sentence for people: what it does, or why it is refused
    dialect:  guarded: who reads and writes it
    upstream: where it goes, if not to the dialect's own path
    clean:    read-only: what of the model server's JSON is shown
    """

    method: str
    path: str
    access: Access
    note: str
    dialect: Dialect | None = None
    upstream: str = ""
    clean: Callable[[Any], Any] | None = None


def _refused(note: str, *doors: str) -> list[Route]:
    return [Route(method, path, Access.REFUSED, note) for method, path in (door.split(" ") for door in doors)]


def _admin(note: str, *doors: str) -> list[Route]:
    return [Route(method, path, Access.ADMIN, note) for method, path in (door.split(" ") for door in doors)]


OPENAI_CHAT = OpenAIChat()

TABLE: tuple[Route, ...] = (
    Route("POST", "/v1/chat/completions", Access.GUARDED, "OpenAI's chat, streaming or whole.", OPENAI_CHAT),
    Route("GET", "/v1/models", Access.READ_ONLY, "The model server's models.", clean=listings.openai_models),
    Route("GET", "/v1/models/{model}", Access.READ_ONLY, "One model.", clean=listings.openai_model),
    *_admin(
        "Changes which models there are, or their prompts: not offered through the proxy.",
        *("POST /api/pull", "POST /api/push", "POST /api/create", "POST /api/copy", "DELETE /api/delete"),
        *("POST /api/blobs/{digest}", "HEAD /api/blobs/{digest}", "POST /api/me", "POST /api/signout"),
        *("DELETE /api/user/keys/{key}", "POST /api/v1/models/load", "POST /api/v1/models/unload"),
        *("POST /api/v1/models/download", "GET /api/v1/models/download/status", "POST /models", "DELETE /models"),
        *("POST /models/load", "POST /models/unload", "POST /props"),
    ),
    *_refused(
        "It would give out an answer that was never checked, or one that goes on after its client has left.",
        *("GET /v1/stream", "DELETE /v1/stream", "POST /v1/streams/lookup", "GET /slots", "POST /slots/{id}"),
    ),
    *_refused(
        "It would make the model server call other machines.",
        *("POST /api/experimental/web_search", "POST /api/experimental/web_fetch", "GET /cors-proxy"),
        *("POST /cors-proxy", "GET /tools", "POST /tools"),
    ),
)


class Found:
    """What the table says of a request."""

    __slots__ = ("methods", "rest", "route")

    def __init__(self, route: Route | None, methods: tuple[str, ...], rest: str = "") -> None:
        self.route = route  # None: no such path, or not with this method
        self.methods = methods  # of that path, in the table's order, with what follows from them
        self.rest = rest  # what `{name}` stands for


class Table:
    """The rows, ready to be asked."""

    def __init__(self, rows: Iterable[Route] = TABLE) -> None:
        self._exact: dict[str, dict[str, Route]] = {}
        self._open: dict[str, dict[str, Route]] = {}
        for row in rows:
            head, brace, _ = row.path.partition("{")
            methods = (self._open if brace else self._exact).setdefault(head, {})
            if row.method in methods:
                raise ValueError(f"two rows for {row.method} {row.path}")
            methods[row.method] = row

    def find(self, method: str, path: str) -> Found:
        """The row for a request. HEAD is answered where GET is."""
        rows, rest = self._exact.get(path), ""
        if rows is None:
            rows, rest = self._find_open(path)
        if rows is None:
            return Found(None, ())
        route = rows.get(method)
        if route is None and method == "HEAD":
            route = rows.get("GET")
        return Found(route, _methods(rows), rest)

    def _find_open(self, path: str) -> tuple[dict[str, Route] | None, str]:
        for head, rows in self._open.items():
            if path.startswith(head) and len(path) > len(head):
                return rows, path[len(head) :]
        return None, ""


def _methods(rows: dict[str, Route]) -> tuple[str, ...]:
    own = list(rows)
    if "GET" in rows and "HEAD" not in rows:
        own.append("HEAD")
    return (*own, "OPTIONS")
