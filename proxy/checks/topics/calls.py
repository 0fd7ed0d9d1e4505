"""The requests for vectors of texts, and what responses say. Pure: sending them is for others.

A text that is too long is refused by the server, never cut: Ollama's older /api/embeddings and its /v1/embeddings cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from proxy.checks.guards.calls import Api, Call, CallFailed, checked
from proxy.checks.topics.measure import Vector, unit


def embedding_call(api: Api, model: str, texts: Sequence[str], prefix: str, keep_alive: str = "") -> Call:
    """The request for the vectors of texts, none of which is blank: a server gives vectors of nothing, too."""
    body: dict[str, Any] = {"model": model, "input": [prefix + text for text in texts]}
    if api == "ollama":
        return Call("/api/embed", body | {"truncate": False} | ({"keep_alive": keep_alive} if keep_alive else {}))
    return Call("/v1/embeddings", body)


def vectors(path: str, status: int, data: object, count: int) -> tuple[Vector, ...]:
    """The vectors in a response, in the order of the texts. Raises CallFailed."""
    body = checked(status, data)
    rows = body.get("embeddings") if path == "/api/embed" else _ordered(body.get("data"))
    if not isinstance(rows, list) or len(rows) != count:
        raise CallFailed("shape", f"the server did not answer with {count} vectors")
    return tuple([_vector(row) for row in rows])


def _ordered(entries: object) -> list[object] | None:
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        return None
    known = {entry.get("index"): entry.get("embedding") for entry in entries}
    return [known[i] for i in range(len(entries))] if set(known) == set(range(len(entries))) else None


def _vector(row: object) -> Vector:
    if not isinstance(row, list) or not all(isinstance(number, int | float) and isfinite(number) for number in row):
        raise CallFailed("shape", "the server answered with a vector that is none")
    try:
        return unit(row)
    except ValueError as error:
        raise CallFailed("shape", str(error)) from None
