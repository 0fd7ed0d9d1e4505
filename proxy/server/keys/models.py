"""Which models a key may use: a request for another one is refused, and lists do not show it."""

from __future__ import annotations

from typing import Any

import orjson

from proxy.dialects.common.catalogue import NAMED_BY
from proxy.errors import NotServed
from proxy.server.keys.key import Key

MAX_NAME = 120  # characters of a model's name in a message


def refuse_model(key: Key | None, model: str) -> None:
    """Raise NotServed if the key may not use the model. To its clients there is no such model."""
    if key is not None and not key.allows(model):
        raise NotServed(f"The model {model[:MAX_NAME]!a} is not offered to this key", "model", "model_not_found")


def only_allowed(key: Key | None, listed: bytes) -> bytes:
    """A list of models (JSON) without those that the key may not use."""
    if key is None or key.models is None:
        return listed
    value = orjson.loads(listed)
    if not isinstance(value, dict):
        return listed
    return orjson.dumps({name: _kept(key, part) for name, part in value.items()})


def _kept(key: Key, part: Any) -> Any:
    return [entry for entry in part if _is_allowed(key, entry)] if isinstance(part, list) else part


def _is_allowed(key: Key, entry: Any) -> bool:
    """Whether an entry of a list is no model, or one that the key may use under each of its names."""
    if not isinstance(entry, dict):
        return True
    names = [entry[name] for name in NAMED_BY if isinstance(entry.get(name), str)]
    return all(key.allows(name) for name in names)
