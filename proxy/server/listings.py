"""Lists of models as the model server gives them, allow-listed: what is shown is known."""

from __future__ import annotations

from typing import Any

from proxy.errors import UpstreamBroken

_MODEL = {"id": str, "object": str, "created": int, "owned_by": str}
_MOST_TEXT = 1024


def openai_models(value: Any) -> dict[str, Any]:
    """GET /v1/models. Raises UpstreamBroken for anything that is not such a list."""
    if not isinstance(value, dict) or not isinstance(value.get("data"), list | None):
        raise UpstreamBroken("The model server's list of models cannot be read", "protocol")
    return {"object": "list", "data": [openai_model(model) for model in value["data"] or ()]}


def openai_model(value: Any) -> dict[str, Any]:
    """One model of that list. llama.cpp's sizes (`meta`) are numbers, and only numbers of it are shown."""
    if not isinstance(value, dict) or not isinstance(value.get("id"), str):
        raise UpstreamBroken("The model server described a model without an id", "protocol")
    model: dict[str, Any] = {k: value[k] for k, kind in _MODEL.items() if type(value.get(k)) is kind}
    if any(len(text) > _MOST_TEXT for text in model.values() if isinstance(text, str)):
        raise UpstreamBroken("The model server described a model at too great a length", "protocol")
    meta = value.get("meta")
    if isinstance(meta, dict):
        model["meta"] = {k: v for k, v in meta.items() if len(k) < 40 and type(v) in (int, float, bool)}
    return model
