"""LM Studio's lists and descriptions of models: what of them is shown.

Source: LM Studio's REST docs (v0 and v1).
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
)
from proxy.dialects.common.catalogue import allowed_part

_V0_MODEL = record(
    {
        "id": NAME,
        "object": WORD,
        "type": WORD,
        "publisher": TITLE,
        "arch": WORD,
        "compatibility_type": WORD,
        "quantization": WORD,
        "state": WORD,
        "max_context_length": number,
        "loaded_context_length": number,
        "capabilities": array(WORD),
    },
    needed=["id"],
)
_V1_MODEL = record(
    {
        "type": WORD,
        "publisher": TITLE,
        "key": NAME,
        "display_name": TITLE,
        "architecture": either(WORD, null),
        "quantization": either(record({"name": either(WORD, null), "bits_per_weight": either(number, null)}), null),
        "size_bytes": number,
        "params_string": either(WORD, null),
        "loaded_instances": array(record({"id": NAME, "config": table(number)}, needed=["id"])),
        "max_context_length": number,
        "format": either(WORD, null),
        "capabilities": record(
            {
                "vision": number,
                "trained_for_tool_use": number,
                "reasoning": either(number, record({"allowed_options": array(WORD), "default": WORD})),
            }
        ),
        "variants": array(NAME),
        "selected_variant": NAME,
    },
    needed=["key"],
)


def lmstudio_v0_models(value: Any) -> Any:
    """GET /api/v0/models."""
    return allowed_part(record({"object": WORD, "data": array(_V0_MODEL)}, needed=["data"]), value, "list of models")


def lmstudio_v0_model(value: Any) -> Any:
    """GET /api/v0/models/{model}."""
    return allowed_part(_V0_MODEL, value, "description of a model")


def lmstudio_v1_models(value: Any) -> Any:
    """GET /api/v1/models. A model's description is prose, so it is left out."""
    return allowed_part(record({"models": array(_V1_MODEL)}, needed=["models"]), value, "list of models")
