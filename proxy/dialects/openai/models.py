"""OpenAI's lists of models, as all three backends have them, and llama.cpp's /health: what of them is shown.

Sources: the OpenAI API reference (models), llama.cpp's server README.
"""

from __future__ import annotations

from collections.abc import Callable
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

Claims = Callable[[str], dict[str, Any] | None]
"""What is known of a model, by its name, for clients; None: nothing yet."""
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


def openai_models(value: Any, claims: Claims | None = None) -> Any:
    """GET /v1/models. claims: what each model claims to be, which stands beside what the model server says of it."""
    shown = allowed_part(_OPENAI_MODELS, value, "list of models")
    for entry in shown["data"] or ():
        _add_claim(entry, claims)
    return shown


def openai_model(value: Any, claims: Claims | None = None) -> Any:
    """GET /v1/models/{model}."""
    shown = allowed_part(_OPENAI_MODEL, value, "description of a model")
    _add_claim(shown, claims)
    return shown


def _add_claim(entry: dict[str, Any], claims: Claims | None) -> None:
    claim = claims(entry["id"]) if claims is not None else None
    if claim is not None:
        entry["safety_proxy"] = claim


def health(value: Any) -> Any:
    """GET /health."""
    return allowed_part(
        record({"status": text("ok|loading model|no slot available|error")}, needed=["status"]), value, "health"
    )
