"""Read-only endpoints: what is shown of the model server's lists and descriptions.

Each vendor's `models` has a function per endpoint. It takes the parsed answer and returns what may be shown of it, and
raises UpstreamBroken for anything else than such an answer. `cleaned` does the same for bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from proxy.dialects.common.answer_fields import LEFT_OUT, Shape
from proxy.dialects.wire.json_body import parse_upstream
from proxy.errors import UpstreamBroken


def cleaned(clean: Callable[..., Any], body: bytes, **flags: bool) -> bytes:
    """The same as bytes."""
    return orjson.dumps(clean(parse_upstream(body), **flags))


def allowed_part(shape: Shape, value: Any, what: str) -> Any:
    """The part of `value` that `shape` lets through; `what` it is stands in the error. Raises UpstreamBroken."""
    part = shape(value)
    if part is LEFT_OUT:
        raise UpstreamBroken(f"the model server's {what} cannot be read", "protocol")
    return part
