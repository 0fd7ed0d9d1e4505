"""Which scripts belong to which rows of the route table."""

from __future__ import annotations

from typing import NamedTuple

from proxy.dialects.base import Dialect
from proxy.server.routing.routes import TABLE, Access
from tests.census import answer_fields, named_fields, ollama_fields, other_fields
from tests.census.answer_fields import Script


class Door(NamedTuple):
    """A guarded path with its dialect and the way in which a model server speaks it."""

    path: str
    dialect: Dialect
    script: Script


SCRIPTS: dict[str, Script] = {
    "/v1/chat/completions": answer_fields.OPENAI_CHAT,
    "/v1/completions": answer_fields.OPENAI_COMPLETIONS,
    "/v1/responses": named_fields.OPENAI_RESPONSES,
    "/v1/messages": named_fields.ANTHROPIC_MESSAGES,
    "/v1/messages/count_tokens": other_fields.ANTHROPIC_COUNT_TOKENS,
    "/api/chat": ollama_fields.OLLAMA_CHAT,
    "/api/generate": ollama_fields.OLLAMA_GENERATE,
    "/api/v1/chat": other_fields.LMSTUDIO_CHAT,
    "/api/v0/chat/completions": answer_fields.LMSTUDIO_V0_CHAT,
    "/api/v0/completions": answer_fields.LMSTUDIO_V0_COMPLETIONS,
    "/v1/embeddings": other_fields.OPENAI_EMBEDDINGS,
    "/api/embed": other_fields.OLLAMA_EMBED,
    "/api/embeddings": other_fields.OLLAMA_EMBEDDINGS,
    "/api/v0/embeddings": other_fields.OPENAI_EMBEDDINGS,
}
GUARDED = {route.path: route.dialect for route in TABLE if route.access is Access.GUARDED}
DOORS = tuple(
    Door(path, dialect, SCRIPTS[path]) for path, dialect in GUARDED.items() if dialect is not None and path in SCRIPTS
)
