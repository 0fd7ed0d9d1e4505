"""Which key a request shows. A wrong one costs one digest and one comparison with each key, and no log line of its own.

Sources: RFC 6750, section 2.1 (`Authorization: Bearer`); Anthropic's API reference (`x-api-key`).
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256

from proxy.errors import ClientError, Unauthorized
from proxy.server.keys.key import Key
from proxy.server.keys.store import KeyStore

LONGEST = 512  # characters of a key; what is longer is none
LOG_INTERVAL = 60.0  # seconds between two log lines about refused keys
MISSING, WRONG, EXPIRED, SCRAPE = REASONS = ("missing", "wrong", "expired", "scrape")

NO_KEY = "A key is needed: send it as `Authorization: Bearer KEY` or `x-api-key: KEY`"
WRONG_KEY = "This key is not valid here"
EXPIRED_KEY = "This key has expired"
SCRAPE_KEY = "This key opens /metrics only"

log = logging.getLogger("safety_proxy.keys")


class Authentication:
    """Finds the key of a request.

    refused: how many requests were refused, by reason
    """

    def __init__(self, store: KeyStore | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """`store`: None: there are no keys, and none is asked for."""
        self.store = store
        self.refused = Counter(dict.fromkeys(REASONS, 0))
        self._clock = clock
        self._next_line = 0.0
        self._untold = 0

    def key_of(self, header: Mapping[bytes, bytes], client: str = "") -> Key | None:
        """The key; None: none is asked for. `client`: its address, for the log.

        Raises Unauthorized for one that is missing, wrong or expired, and ClientError 403 for one that only scrapes.
        """
        if self.store is None:
            return None
        key = self._valid(self.store, header, client)
        if key.scrape:
            self._count(SCRAPE, client)
            raise ClientError(SCRAPE_KEY, None, "key_not_allowed", 403)
        return key

    def opens(self, header: Mapping[bytes, bytes], client: str, *, scrape: bool) -> bool:
        """Whether a request to the admin listener shows an admin key, or with `scrape` one that scrapes.

        Raises Unauthorized for a key that is missing, wrong or expired.
        """
        if self.store is None:
            raise Unauthorized("The admin listener asks for an admin key here, and there are no keys (setting keys)")
        key = self._valid(self.store, header, client)
        return key.admin or (scrape and key.scrape)

    def _valid(self, store: KeyStore, header: Mapping[bytes, bytes], client: str) -> Key:
        """The first valid key among those that the request shows."""
        reason, message = MISSING, NO_KEY
        for token in _tokens(header):
            key = store.current.find(sha256(token).digest()) if len(token) <= LONGEST else None
            if key is None:
                reason, message = WRONG, WRONG_KEY
            elif store.is_expired(key):
                reason, message = EXPIRED, EXPIRED_KEY
            else:
                return key
        self._count(reason, client)
        raise Unauthorized(message)

    def _count(self, reason: str, client: str) -> None:
        """Count, and log at most one line a minute: whoever tries keys must not fill a disk."""
        self.refused[reason] += 1
        self._untold += 1
        now = self._clock()
        if now < self._next_line:
            return
        self._next_line = now + LOG_INTERVAL
        times = "1 request" if self._untold == 1 else f"{self._untold} requests"
        log.warning("%s refused since the last such line, the latest for its key (%s)%s", times, reason, _from(client))
        self._untold = 0


def _tokens(header: Mapping[bytes, bytes]) -> Iterator[bytes]:
    """The keys that a request shows."""
    scheme, _, token = header.get(b"authorization", b"").strip().partition(b" ")
    if scheme.lower() == b"bearer" and token.strip():
        yield token.strip()
    other = header.get(b"x-api-key", b"").strip()
    if other:
        yield other


def _from(client: str) -> str:
    return f", from {client}" if client else ""
