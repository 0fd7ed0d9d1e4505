"""The kinds of model servers, and which paths each of them serves.

Sources: Ollama's server/routes.go, LM Studio's REST docs, llama.cpp's tools/server/README.md.
"""

from __future__ import annotations

from enum import StrEnum


class BackendKind(StrEnum):
    """What a model server is. The values are its name for people."""

    OLLAMA = "Ollama"
    LM_STUDIO = "LM Studio"
    LLAMA_CPP = "llama.cpp"
    OPENAI = "a server of OpenAI's dialect"


_OWN = {BackendKind.OLLAMA: ("/api/",), BackendKind.LM_STUDIO: ("/api/v0/", "/api/v1/"), BackendKind.LLAMA_CPP: ()}
_LACKS = {BackendKind.OLLAMA: ("/api/v0/", "/api/v1/", "/v1/messages/count_tokens")}
_EVERYBODYS = ("/v1/",)
_HEALTH = "/health"


def speaks(kind: BackendKind | None, path: str) -> bool:
    """Whether a model server of this kind serves a path. One of which nothing is known may serve any.

    llama.cpp serves POST /api/chat and GET /api/tags too, but not as Ollama does, so they do not count.
    """
    if kind is None or path == "/":
        return True
    if path.startswith(_LACKS.get(kind, ())):
        return False
    if path == _HEALTH:
        return kind in (BackendKind.LLAMA_CPP, BackendKind.OPENAI)
    return path.startswith((*_EVERYBODYS, *_OWN.get(kind, ())))
