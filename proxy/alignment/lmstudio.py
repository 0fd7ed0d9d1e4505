"""What LM Studio says of a model: GET /api/v1/models, or the older GET /api/v0/models.

Source: LM Studio's REST documents (v1 and v0). Neither has a template or a word about tuning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from proxy.alignment.claims import Claim, Evidence, Kind, Signal, claim
from proxy.alignment.names import Naming, read_name
from proxy.alignment.words import is_guard, plain

EMBEDDING = ("embedding", "embeddings")


def from_lmstudio(entry: Mapping[str, Any]) -> Claim:
    """An entry of either list."""
    names = _names(entry)
    kind: Kind = "guard" if any(is_guard(plain(name)) for name in names) else "chat"
    if entry.get("type") in EMBEDDING:
        kind = "embedding"
    evidence = list(_capabilities(entry.get("capabilities")))
    evidence += [one for name in names for one in read_name(name, Naming.HUB, embeds=kind == "embedding")]
    found = claim(evidence, kind)
    return found._replace(kind="completion") if found.status == "base" and kind == "chat" else found


def names_of(entry: Mapping[str, Any]) -> list[str]:
    """All that a client can call it."""
    loaded = entry.get("loaded_instances")
    instances = [one.get("id") for one in loaded if isinstance(one, dict)] if isinstance(loaded, list) else []
    variants = entry.get("variants")
    found = [entry.get("key"), entry.get("id"), *instances, *(variants if isinstance(variants, list) else ())]
    return [name for name in found if isinstance(name, str) and name]


def _names(entry: Mapping[str, Any]) -> list[str]:
    """What it is called by whoever published it: an instance's name is the user's own."""
    found = [entry.get("key"), entry.get("id"), entry.get("display_name"), entry.get("selected_variant")]
    return [name for name in found if isinstance(name, str) and name]


def _capabilities(value: Any) -> Iterator[Evidence]:
    """Of v1 an object; of v0 a list. What is false, or not there, says nothing."""
    if isinstance(value, list) and "tool_use" in value:
        yield Evidence(Signal.CAPABILITIES, "instruct", "it is said to be made for tool_use")
    if isinstance(value, dict):
        for key in ("trained_for_tool_use", "reasoning"):
            if value.get(key):
                yield Evidence(Signal.CAPABILITIES, "instruct", f"it is said to be made for {key}")
