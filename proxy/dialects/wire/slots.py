"""Texts put into the places of others."""

from __future__ import annotations

import orjson


def saying(raw: bytes, slot: tuple[int, int], text: str) -> bytes:
    """An event's bytes with another text in its slot; b"" when there is none: no event says nothing."""
    return b"%b%b%b" % (raw[: slot[0]], orjson.dumps(text)[1:-1], raw[slot[1] :]) if text else b""
