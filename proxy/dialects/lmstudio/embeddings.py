"""POST /api/v0/embeddings. Source: LM Studio's REST docs (v0)."""

from __future__ import annotations

from proxy.dialects.openai.embeddings import OpenAIEmbeddings


class LMStudioEmbeddings(OpenAIEmbeddings):
    """POST /api/v0/embeddings: the same under LM Studio's older path."""

    name = "lmstudio_v0_embeddings"
    path = "/api/v0/embeddings"
