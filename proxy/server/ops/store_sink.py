"""The store as a sink of the decision log. Its own thread writes: a locked data base does not hold up the file."""

from __future__ import annotations

import logging
from typing import Any

from proxy.server.exchange.record import Exchange
from proxy.server.ops.drops import STORE, Drops
from proxy.store.rows import BadRecord, row_of
from proxy.store.writer import Writer

log = logging.getLogger("safety_proxy.store")


class StoreSink:
    """Hands records to the store's thread."""

    texts = True

    def __init__(self, writer: Writer, drops: Drops) -> None:
        self._writer = writer
        self._drops = drops

    def wants(self, exchange: Exchange) -> bool:
        """See Sink."""
        return True

    def write(self, record: dict[str, Any], exchange: Exchange) -> None:
        """See Sink."""
        try:
            self._writer.put(row_of(record))
        except BadRecord as error:
            self._drops.add(STORE)
            log.error("request %s cannot be stored: %s; please report this", exchange.id, error)

    def close(self) -> None:
        """See Sink. Who has opened the store closes it."""
