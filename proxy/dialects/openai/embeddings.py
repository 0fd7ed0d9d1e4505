"""POST /v1/embeddings. Source: the OpenAI API reference (embeddings)."""

from __future__ import annotations

from proxy.dialects.common.answer_fields import PLAIN_NAME, array, either, null, number, record, text
from proxy.dialects.common.embeddings import INPUT, EmbeddingsDialect, vector
from proxy.dialects.common.limits import CONTROL
from proxy.dialects.common.request_fields import (
    COUNT,
    NULL,
    STRING,
    Object,
    by_type,
    lenient,
    one_of,
)
from proxy.dialects.openai import errors as openai_errors
from proxy.errors import ClientError, UpstreamError

_OPENAI = Object(
    {
        "model": STRING,
        "input": INPUT,
        "encoding_format": lenient(by_type('"float" or "base64"', string=one_of("float", "base64"), null=NULL)),
        "dimensions": COUNT,
        **CONTROL,
    },
    ["input"],
)
_OPENAI_ANSWER = record(
    {
        "object": text("list"),
        "data": array(
            record({"object": text("embedding"), "index": number, "embedding": vector}, needed=["embedding"])
        ),
        "model": either(PLAIN_NAME, null),
        "usage": record({"prompt_tokens": number, "total_tokens": number}),
    },
    needed=["data"],
)


class OpenAIEmbeddings(EmbeddingsDialect):
    """POST /v1/embeddings."""

    name = "openai_embeddings"
    path = "/v1/embeddings"
    fields = _OPENAI
    answer_fields = staticmethod(_OPENAI_ANSWER)
    vectors = "data"

    def error(self, error: ClientError | UpstreamError, request_id: str) -> bytes:
        return openai_errors.error(error, request_id)

    def blocked(self, message: str, request_id: str) -> bytes:
        return openai_errors.blocked(message, request_id, param="input")
