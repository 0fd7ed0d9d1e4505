"""Header fields as ASGI has them."""

from __future__ import annotations

Headers = list[tuple[bytes, bytes]]
"""Pairs of a name in lower case and a value, in the order of the message."""
