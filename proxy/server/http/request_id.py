"""Names of requests."""

from __future__ import annotations

from random import getrandbits


def new_id() -> str:
    """A name for a request, 16 hex digits; it identifies, it does not protect."""
    return f"{getrandbits(64):016x}"
