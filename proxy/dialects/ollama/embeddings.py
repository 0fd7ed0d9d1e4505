"""POST /api/embed, and the older /api/embeddings. Source: Ollama's docs/api.md."""

from __future__ import annotations

from proxy.dialects.common.answer_fields import PLAIN_NAME, number, record
from proxy.dialects.common.embeddings import INPUT, VECTORS, EmbeddingsDialect, vector
from proxy.dialects.common.limits import CONTROL, limit
from proxy.dialects.common.request_fields import (
    COUNT,
    NULL,
    STRING,
    SWITCH,
    Object,
    by_type,
    lenient,
)
from proxy.dialects.ollama import errors as ollama_errors
from proxy.dialects.ollama.request import OPTIONS, without_loading
from proxy.dialects.request import Options, Request
from proxy.errors import ClientError, UpstreamError

_OLLAMA = {
    "model": STRING,
    "options": lenient(by_type("an object", object=OPTIONS, null=NULL)),
    "keep_alive": CONTROL["keep_alive"],
    "truncate": SWITCH,
    "dimensions": COUNT,
}
_EMBED = Object({**_OLLAMA, "input": INPUT}, ["model", "input"])
_OLD = Object({**_OLLAMA, "prompt": STRING}, ["model", "prompt"])
_COUNTS = dict.fromkeys(("total_duration", "load_duration", "prompt_eval_count"), number)
_EMBED_ANSWER = record({"model": PLAIN_NAME, "embeddings": VECTORS, **_COUNTS}, needed=["embeddings"])
_OLD_ANSWER = record({"embedding": vector}, needed=["embedding"])


class OllamaEmbed(EmbeddingsDialect):
    """POST /api/embed."""

    name = "ollama_embed"
    path = "/api/embed"
    fields = _EMBED
    answer_fields = staticmethod(_EMBED_ANSWER)
    vectors = "embeddings"

    def error(self, error: ClientError | UpstreamError, request_id: str) -> bytes:
        return ollama_errors.error(error, request_id)

    def blocked(self, message: str, request_id: str) -> bytes:
        return ollama_errors.blocked(message, request_id)

    def _limit(self, request: Request, options: Options) -> None:
        request.dropped += tuple(without_loading(request.body, options))
        limit(request, options)


class OllamaEmbeddings(OllamaEmbed):
    """POST /api/embeddings: Ollama's older call, one text and one vector."""

    name = "ollama_embeddings"
    path = "/api/embeddings"
    key = "prompt"
    fields = _OLD
    answer_fields = staticmethod(_OLD_ANSWER)
    vectors = "embedding"
