"""What embedding models want to read before a text. Both sides of a comparison get the same, as neither is a query."""

from __future__ import annotations

from typing import NamedTuple


class EmbeddingModel(NamedTuple):
    """What is known of an embedding model.

    names:     parts of the names under which servers have it, the longer ones first
    prefix:    before each text
    context:   tokens that it reads
    languages: `en`, or `many`
    seen:      the prefix has been seen in the maker's words or in others' working code; else it is as recalled
    """

    names: tuple[str, ...]
    prefix: str
    context: int
    languages: str
    seen: bool = True


MODELS: tuple[EmbeddingModel, ...] = (
    EmbeddingModel(("nomic-embed-text-v2", "nomic-embed-v2"), "classification: ", 512, "many", seen=False),
    EmbeddingModel(("nomic-embed",), "classification: ", 2_048, "en", seen=False),
    EmbeddingModel(("embeddinggemma", "embedding-gemma"), "task: classification | query: ", 2_048, "many"),
    EmbeddingModel(("snowflake-arctic-embed2", "snowflake-arctic-embed-l-v2"), "", 8_192, "many", seen=False),
    EmbeddingModel(("snowflake-arctic-embed",), "", 512, "en", seen=False),
    EmbeddingModel(("qwen3-embedding",), "", 8_192, "many", seen=False),
    EmbeddingModel(("mxbai-embed-large",), "", 512, "en", seen=False),
    EmbeddingModel(("bge-m3",), "", 8_192, "many"),
    EmbeddingModel(("bge-large", "bge-base", "bge-small"), "", 512, "en", seen=False),
    EmbeddingModel(("multilingual-e5",), "query: ", 512, "many", seen=False),
    EmbeddingModel(("paraphrase-multilingual",), "", 128, "many", seen=False),
    EmbeddingModel(("all-minilm",), "", 256, "en"),
    EmbeddingModel(("granite-embedding",), "", 512, "en", seen=False),
)
"""Ollama keeps nomic-embed-text at 2,048 tokens. Qwen3-Embedding wants its instruction before queries only, so none
stands here. A policy can say its own prefix."""


def embedding_model(name: str) -> EmbeddingModel | None:
    """What is known of a model by its name on a server; None for one that is not known."""
    spelled = name.casefold().replace("_", "-")
    return next((model for model in MODELS if any(part in spelled for part in model.names)), None)


def prefix_of(name: str) -> str:
    """What stands before each text for this model."""
    known = embedding_model(name)
    return "" if known is None else known.prefix
