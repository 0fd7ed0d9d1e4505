"""OpenAI's lists of models, as all three backends have them, and llama.cpp's /health: what of them is shown.

Sources: the OpenAI API reference (models), llama.cpp's server README.
"""

from __future__ import annotations

from typing import Any

from proxy.dialects.common.answer_fields import (
    NAME,
    TITLE,
    WORD,
    array,
    either,
    null,
    number,
    record,
    table,
    text,
)
from proxy.dialects.common.catalogue import allowed_part

_META = table(either(number, WORD))
_OPENAI_MODEL = record(
    {
        "id": NAME,
        "object": WORD,
        "created": number,
        "owned_by": TITLE,
        "aliases": array(NAME),
        "architecture": record({"input_modalities": array(WORD), "output_modalities": array(WORD)}),
        "meta": _META,
        "max_model_len": number,
    },
    needed=["id"],
)
_OPENAI_MODELS = record({"object": WORD, "data": either(array(_OPENAI_MODEL), null)}, needed=["data"])


def openai_models(value: Any) -> Any:
    """GET /v1/models."""
    return allowed_part(_OPENAI_MODELS, value, "list of models")


def openai_model(value: Any) -> Any:
    """GET /v1/models/{model}."""
    return allowed_part(_OPENAI_MODEL, value, "description of a model")


def health(value: Any) -> Any:
    """GET /health."""
    return allowed_part(
        record({"status": text("ok|loading model|no slot available|error")}, needed=["status"]), value, "health"
    )
