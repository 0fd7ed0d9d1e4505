"""Requests to servers on the loopback, which speak plain HTTP.

httpx reads all certificate authorities for each client, and a client is made for each `httpx.post`: 45 ms that most
tests would do nothing else in.
"""

from __future__ import annotations

import ssl
from typing import Any, Final

import httpx

NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For `httpx.Client(verify=NO_TLS)`: knows no authority, so no TLS connection can be made with it."""


def get(url: str, **options: Any) -> httpx.Response:
    """As httpx.get."""
    return httpx.get(url, verify=NO_TLS, **options)


def post(url: str, **options: Any) -> httpx.Response:
    """As httpx.post."""
    return httpx.post(url, verify=NO_TLS, **options)
