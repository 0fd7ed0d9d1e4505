"""Requests to servers on the loopback, which speak plain HTTP.

httpx reads all certificate authorities for each client, and a client is made for each `httpx.post`: 45 ms that most
tests would do nothing else in. It also gives up after 5 seconds, which is not long on a busy machine.
"""

from __future__ import annotations

import ssl
from typing import Any, Final

import httpx

from tests.waiting import PATIENCE

NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For `httpx.Client(verify=NO_TLS)`: knows no authority, so no TLS connection can be made with it."""
DEFAULTS: Final = {"verify": NO_TLS, "timeout": PATIENCE}


def client(**options: Any) -> httpx.Client:
    """As httpx.Client."""
    return httpx.Client(**{**DEFAULTS, **options})


def async_client(**options: Any) -> httpx.AsyncClient:
    """As httpx.AsyncClient."""
    return httpx.AsyncClient(**{**DEFAULTS, **options})


def get(url: str, **options: Any) -> httpx.Response:
    """As httpx.get."""
    return httpx.get(url, **{**DEFAULTS, **options})


def post(url: str, **options: Any) -> httpx.Response:
    """As httpx.post."""
    return httpx.post(url, **{**DEFAULTS, **options})
