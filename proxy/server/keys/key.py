"""A key, as the server uses it, and all keys that are in force."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hmac import compare_digest

from proxy.policy.names import normalise_model


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What one key may use. 0: as much as all may.

    streams:             requests under way at once
    requests_per_minute: requests that begin in a minute
    tokens_per_minute:   tokens of prompts and answers, as far as they are counted
    max_body:            bytes of a request
    """

    streams: int = 0
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    max_body: int = 0


NO_LIMITS = KeyLimits()


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """Compared by identity: after a reload a key is another one, even if nothing of it has changed.

    digest:   SHA-256 of the key
    policies: names of policies that apply to its requests beside those that apply anyway
    models:   matches the normalised names of the models that it may use; None: any
    admin:    it opens the admin listener
    scrape:   it opens /metrics, and nothing else
    expires:  seconds since 1970; None: never
    """

    name: str
    digest: bytes
    policies: tuple[str, ...] = ()
    models: re.Pattern[str] | None = None
    admin: bool = False
    scrape: bool = False
    expires: float | None = None
    limits: KeyLimits = NO_LIMITS

    def allows(self, model: str) -> bool:
        """Whether requests with this key may use the model, under whatever spelling of its name."""
        return self.models is None or self.models.fullmatch(normalise_model(model)) is not None


class Keys:
    """The keys of one file."""

    def __init__(self, keys: tuple[Key, ...] = (), revision: str = "") -> None:
        """`revision`: SHA-256 of the file, in hex."""
        self.keys = keys
        self.revision = revision

    @property
    def has_admin(self) -> bool:
        """Whether any key opens the admin listener."""
        return any(key.admin for key in self.keys)

    def find(self, digest: bytes) -> Key | None:
        """The key with this digest. It compares with all of them, so the time does not tell how near a wrong one is."""
        found: Key | None = None
        for key in self.keys:
            if compare_digest(key.digest, digest):
                found = key
        return found
