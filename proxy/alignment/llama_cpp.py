"""What llama.cpp's llama-server says of its model: GET /props, GET /v1/models.

Source: llama.cpp, tools/server/README.md. A GGUF's metadata is shown nowhere, so the template and the names are all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from proxy.alignment.claims import Claim, Evidence, Kind, Signal, claim
from proxy.alignment.names import Naming, read_name
from proxy.alignment.templates import LLAMA_CPP_DEFAULT, OWN_TEMPLATE
from proxy.alignment.words import is_embedding, is_guard, plain


def from_llama_cpp(props: Mapping[str, Any], entry: Mapping[str, Any]) -> Claim:
    """GET /props, and the model's entry in /v1/models; either may be empty."""
    names = [*_names(entry), *_own_names(props)]
    texts = [plain(name) for name in names]
    kind: Kind = "embedding" if any(map(is_embedding, texts)) else "guard" if any(map(is_guard, texts)) else "chat"
    template = props.get("chat_template")
    no_template = isinstance(template, str) and template.strip() == LLAMA_CPP_DEFAULT
    evidence = [found for name in names for found in read_name(name, Naming.HUB, embeds=kind == "embedding")]
    if isinstance(template, str) and kind != "embedding":
        evidence += _template(no_template)
    return claim(evidence, "completion" if no_template and kind == "chat" else kind)


def from_openai(entry: Mapping[str, Any]) -> Claim:
    """A model of any server of OpenAI's dialect: its entry in /v1/models. vLLM has the source as `root`."""
    return from_llama_cpp({}, entry)


def _template(no_template: bool) -> Iterator[Evidence]:
    if no_template:
        yield Evidence(Signal.TEMPLATE, "base", "it is llama.cpp's own, which it takes for a model that has none")
    else:
        yield OWN_TEMPLATE


def _names(entry: Mapping[str, Any]) -> Iterable[str]:
    aliases = entry.get("aliases")
    found = [entry.get("id"), *(aliases if isinstance(aliases, list) else ()), entry.get("root")]
    return [name for name in found if isinstance(name, str) and name]


def _own_names(props: Mapping[str, Any]) -> Iterable[str]:
    path = props.get("model_path")
    found = [props.get("model_alias"), path.replace("\\", "/").rpartition("/")[2] if isinstance(path, str) else ""]
    return [name for name in found if isinstance(name, str) and name]
