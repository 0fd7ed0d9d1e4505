"""A self-test: each policy's first example goes through the matcher that serves requests.

A filter that finds nothing any more looks like a quiet day. The self-test tells the two apart.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence

from proxy.policy.store import PolicyStore

INTERVAL = 60.0  # seconds between two runs

log = logging.getLogger("safety_proxy.policies")


class SelfTest:
    """Runs the examples of the policies in force."""

    def __init__(
        self,
        stores: Sequence[PolicyStore],
        report: Callable[[Mapping[str, bool], float], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`report` is told of all policies whether their examples were found, and the time in seconds since 1970."""
        self._stores = stores
        self._report = report
        self._clock = clock

    async def run(self) -> None:
        """Test every INTERVAL, until cancelled."""
        while True:
            await self.test()
            await asyncio.sleep(INTERVAL)

    async def test(self) -> None:
        """Test every policy once. Other work goes on between two policies."""
        results: dict[str, bool] = {}
        for store in self._stores:
            for policy, found in store.current.self_test():
                results[policy] = found
                if not found:
                    log.error("self-test: policy %s no longer finds its first example", policy)
                await asyncio.sleep(0)
        self._report(results, self._clock())
