"""What the pages show, from the running proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from proxy.policy.store import PolicyStore

if TYPE_CHECKING:
    from proxy.store.writer import Writer


class Sources(NamedTuple):
    """What pages read. records: None: nothing is stored."""

    store: PolicyStore
    records: Writer | None
