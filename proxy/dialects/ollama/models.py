"""Ollama's lists and descriptions of models: what of them is shown, and what may be asked.

Source: Ollama's docs/api.md.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from proxy.dialects.common.answer_fields import (
    DIGEST,
    HOST,
    LABEL,
    NAME,
    TIME,
    WORD,
    array,
    either,
    null,
    number,
    record,
    table,
    text,
)
from proxy.dialects.common.catalogue import Names, allowed_part
from proxy.dialects.common.request_fields import OPTIONAL_STRING, SWITCH, Object, Report, left_out
from proxy.dialects.wire.json_body import parse_request
from proxy.errors import BadRequest

ROOT = b"Ollama is running"
OTHER_ROOT = b"The model server is running"
_DETAILS = record(
    {
        "parent_model": either(text(""), NAME),
        "format": WORD,
        "family": WORD,
        "families": either(array(WORD), null),
        "parameter_size": WORD,
        "quantization_level": WORD,
        "context_length": number,
        "embedding_length": number,
    }
)
_REMOTE = {"remote_model": NAME, "remote_host": HOST}
_LISTED = {
    "name": NAME,
    "model": NAME,
    "size": number,
    "digest": DIGEST,
    "details": _DETAILS,
    "capabilities": array(WORD),
    **_REMOTE,
}
_TAG = record({**_LISTED, "modified_at": TIME}, needed=["name"])
_LOADED = record(
    {**_LISTED, "expires_at": TIME, "size_vram": number, "context_length": number},
    needed=["name"],
)
_TAGS = record({"models": either(array(_TAG), null)}, needed=["models"])
_PS = record({"models": either(array(_LOADED), null)}, needed=["models"])


def tags(value: Any) -> Any:
    """GET /api/tags."""
    return allowed_part(_TAGS, value, "list of models")


def loaded(value: Any) -> Any:
    """GET /api/ps."""
    return allowed_part(_PS, value, "list of loaded models")


def version(value: Any) -> Any:
    """GET /api/version."""
    return allowed_part(record({"version": WORD}, needed=["version"]), value, "version")


def cloud_status(value: Any, cloud: bool = False) -> Any:
    """GET /api/status: whether there are models that run elsewhere. The ollama command recommends some if there are.

    cloud: the operator lets prompts leave this machine; otherwise there are none here, whatever the model server says
    """
    clean = allowed_part(_STATUS, value, "status")
    return clean if cloud else {"cloud": {"disabled": True}}


_STATUS = record({"cloud": record({"disabled": number, "source": WORD}, needed=["disabled"])}, needed=["cloud"])


def missing(model: str) -> str:
    """How Ollama says that there is no such model: its command and others look for these words."""
    return f"model '{model}' not found"


def root(body: bytes, names: Names | None = None) -> bytes:
    """GET /, which is text. The ollama command begins with HEAD / and wants status 200."""
    return ROOT if body.strip() == ROOT else OTHER_ROOT


_INFO_TEXTS = re.compile(
    r"general\.(?:architecture|type|basename|finetune|version|size_label|license|organization|quantized_by)"
    r"|general\.base_model\.\d{1,3}\.(?:name|organization|version)|tokenizer\.ggml\.(?:model|pre)"
)
_INFO_NUMBERS = table(either(number, null))
_INFO_LABELS = table(LABEL, _INFO_TEXTS.pattern)
_PARAMETER = re.compile(r'[a-z_]{1,32} {1,40}(?:-?[0-9.e+\-]{1,32}|true|false|"[^"\n]{1,64}")')
_SECRETS = ("system", "template", "modelfile", "license", "messages")
_SHOW = record(
    {
        "details": _DETAILS,
        "capabilities": array(WORD),
        "modified_at": TIME,
        "tensors": array(record({"name": WORD, "type": WORD, "shape": array(number)}, needed=["name"])),
        **_REMOTE,
    }
)


def show(value: Any, reveal: bool = False) -> Any:
    """POST /api/show: what the ollama command prints, without the operator's system prompt, template and messages.

    reveal: with them, and with the licence's text and the Modelfile, which names files
    """
    clean = allowed_part(_SHOW, value, "description of a model")
    for key in ("model_info", "projector_info"):
        if isinstance(value.get(key), dict):
            clean[key] = _info(value[key])
    if isinstance(value.get("parameters"), str):
        clean["parameters"] = _parameters(value["parameters"])
    if reveal:
        clean |= {key: value[key] for key in _SECRETS if key in value}
    return clean


def _info(value: dict[str, Any]) -> dict[str, Any]:
    """A GGUF file's metadata: numbers, and the texts that name where a model comes from."""
    return {**_INFO_NUMBERS(value), **_INFO_LABELS(value)}


def _parameters(value: str) -> str:
    """Lines of a name and a number or a short quoted text, a stop sequence for one."""
    return "\n".join(line for line in value.split("\n") if _PARAMETER.fullmatch(line.rstrip()))


SHOW_REQUEST = Object(
    {
        "model": OPTIONAL_STRING,
        "name": OPTIONAL_STRING,
        "verbose": SWITCH,
        **dict.fromkeys(("system", "template", "options"), left_out("it would change what is shown of the model")),
    }
)


def show_request(body: bytes) -> tuple[str, bytes]:
    """The model's name, and what goes upstream for POST /api/show.

    An empty value is an absent one; `name` is the old word for `model`.
    The ollama command sends what its user has set (`/set system`, `/set parameter`): the model is shown as it is.
    """
    asked = SHOW_REQUEST(parse_request(body), "", Report())
    model = asked.get("model") or asked.get("name")
    if not model:
        raise BadRequest("model is missing", "model", "missing_field")
    return model, orjson.dumps({"model": model, "verbose": bool(asked.get("verbose"))})
