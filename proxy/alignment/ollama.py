"""What Ollama says of a model: GET /api/tags, POST /api/show, GET /api/ps.

Sources: Ollama's docs/api.md, server/routes.go (`GetModelInfo`); GGUF's keys as llama.cpp's converter writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from proxy.alignment.claims import Claim, Evidence, Kind, Signal, claim
from proxy.alignment.names import Naming, read_name
from proxy.alignment.templates import NO_TEMPLATE, OWN_TEMPLATE
from proxy.alignment.words import is_embedding, is_guard, plain, unaligned_votes, votes, words_of
from proxy.policy.schema import Alignment

TUNED: Final = ("tools", "thinking")
"""Capabilities that only a tuned model has. `completion` says nothing; `insert` is going on within a text."""
_BASE_MODEL = re.compile(r"general\.base_model\.\d{1,3}\.name")
_TAGS = frozenset(("chat", "instruct", "sft", "dpo", "rlhf"))


def from_ollama(listed: Mapping[str, Any], shown: Mapping[str, Any]) -> Claim:
    """A model's entry in a list, and its description; either may be empty."""
    name = _text(listed, "name") or _text(listed, "model")
    said = frozenset((*_words(listed, "capabilities"), *_words(shown, "capabilities")))
    kind = _declared(plain(name), said)
    evidence = [*_metadata(shown), *(_template(shown) if kind != "embedding" else ()), *_capabilities(said)]
    evidence += _names(name, kind, listed, shown)
    if kind == "chat" and _has_no_template(shown):
        kind = "completion"
    return claim(evidence, kind, local=_is_local(name, listed, shown), digest=_text(listed, "digest"))


def _declared(name: str, said: frozenset[str]) -> Kind:
    """As its capabilities say; a name counts where there are none."""
    if "embedding" in said and "completion" not in said:
        return "embedding"
    if not said and is_embedding(name):
        return "embedding"
    return "guard" if is_guard(name) else "chat"


def _metadata(shown: Mapping[str, Any]) -> Iterator[Evidence]:
    info = shown.get("model_info")
    if not isinstance(info, dict):
        return
    yield from _said("general.finetune", votes(plain(_text(info, "general.finetune")), tuned=True))
    yield from _said("general.basename", unaligned_votes(plain(_text(info, "general.basename"))))
    for key in (key for key in info if _BASE_MODEL.fullmatch(str(key))):
        found = votes(plain(_text(info, key)))  # every tuned model has a base model
        yield from _said("general.base_model", (vote for vote in found if vote[0] != "base"))
    for tag in map(plain, _words(info, "general.tags")):
        own: Iterator[tuple[Alignment, str]] = iter([("instruct", tag)] if tag in _TAGS else [])
        yield from _said("general.tags", (*unaligned_votes(tag), *own))


def _said(key: str, found: Any) -> Iterator[Evidence]:
    yield from (Evidence(Signal.METADATA, status, f'{key} has "{word}" in it') for status, word in found)


def _template(shown: Mapping[str, Any]) -> Iterator[Evidence]:
    if _has_no_template(shown):
        yield Evidence(Signal.TEMPLATE, "base", f"it is {NO_TEMPLATE}, which is no chat format at all")
    elif _text(shown, "template") or shown.get("renderer"):
        yield OWN_TEMPLATE


def _has_no_template(shown: Mapping[str, Any]) -> bool:
    """Ollama renders some models in code of its own, whatever template it shows (model/renderers)."""
    return _text(shown, "template").strip() == NO_TEMPLATE and not shown.get("renderer")


def _capabilities(said: frozenset[str]) -> Iterator[Evidence]:
    for word in TUNED:
        if word in said:
            yield Evidence(Signal.CAPABILITIES, "instruct", f"it is said to be made for {word}")


def _names(name: str, kind: Kind, listed: Mapping[str, Any], shown: Mapping[str, Any]) -> Iterator[Evidence]:
    """Its own name, and those of what it was made of, of which only a bad word counts."""
    yield from read_name(name, Naming.OLLAMA, embeds=kind == "embedding")
    for source in (listed, shown):
        details = source.get("details")
        parents = [_text(details, "parent_model")] if isinstance(details, dict) else []
        for other in (*parents, _text(source, "remote_model")):
            yield from (one for one in read_name(other, Naming.OLLAMA) if other and one.says == "unaligned")


def _is_local(name: str, listed: Mapping[str, Any], shown: Mapping[str, Any]) -> bool:
    remote = any(source.get(key) for source in (listed, shown) for key in ("remote_host", "remote_model"))
    tag = plain(name).rpartition(":")[2]
    return not remote and words_of(tag)[-1:] != ["cloud"]


def _text(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""


def _words(value: Mapping[str, Any], key: str) -> list[str]:
    found = value.get(key)
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []
