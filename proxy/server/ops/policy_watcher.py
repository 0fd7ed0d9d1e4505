"""What makes a running proxy look at its policies again: a watch on the directory, a slow poll, and SIGHUP.

The watch is on the directory, since editors, Kubernetes and config managers replace files instead of writing into them.
The poll compares contents, for file systems that do not tell of changes, and for a directory that was itself replaced.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import watchfiles

from proxy.policy.store import PolicyStore

POLL = 10.0  # seconds
DEBOUNCE = 100  # milliseconds in which changes are gathered
STEP = 20  # milliseconds without a change that end the gathering

log = logging.getLogger("safety_proxy.policies")


class PolicyWatcher:
    """Keeps stores in step with their directories until it is cancelled."""

    def __init__(self, stores: Sequence[PolicyStore], poll: float = POLL, watch: bool = True) -> None:
        """`poll`: seconds between two looks; `watch=False` leaves it at that."""
        self._stores = stores
        self._poll = poll
        self._watch = watch
        self._hangup = asyncio.Event()

    async def run(self) -> None:
        """ExchangeTimeouts, poll and wait for SIGHUP, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reload_on_hangup())
            for store in self._stores:
                gone = asyncio.Event()
                group.create_task(self._poll_contents(store, gone))
                if self._watch:
                    group.create_task(self._watch_directory(store, gone))

    def hang_up(self) -> None:
        """Reload every store, changed or not."""
        self._hangup.set()

    @contextmanager
    def sighup_reloads(self) -> Generator[None, None, None]:
        """Make SIGHUP mean `hang_up`, where there is such a signal; its default action would end the process."""
        number = getattr(signal, "SIGHUP", None)
        if number is None:
            yield
            return
        loop = asyncio.get_running_loop()
        before = signal.signal(number, lambda *_: loop.call_soon_threadsafe(self.hang_up))
        try:
            yield
        finally:
            signal.signal(number, before)

    async def _reload_on_hangup(self) -> None:
        while True:
            await self._hangup.wait()
            self._hangup.clear()
            for store in self._stores:
                await store.reload()

    async def _poll_contents(self, store: PolicyStore, gone: asyncio.Event) -> None:
        watched = _identity(store)
        while True:
            await asyncio.sleep(self._poll)
            await store.refresh()
            if (now := _identity(store)) != watched:
                watched = now
                gone.set()

    async def _watch_directory(self, store: PolicyStore, gone: asyncio.Event) -> None:
        """One watch after the other; a new one when the directory is another than the one that is watched."""
        while True:
            gone.clear()
            first_look = asyncio.create_task(store.refresh())  # runs once the watch is in place
            try:
                async for _ in watchfiles.awatch(
                    store.directory, watch_filter=None, debounce=DEBOUNCE, step=STEP, stop_event=gone, recursive=False
                ):
                    await store.refresh()
            except (OSError, RuntimeError) as error:
                log.warning(
                    "%s cannot be watched (%s): changes are seen every %g s", store.directory, error, self._poll
                )
                await gone.wait()
            finally:
                first_look.cancel()


def _identity(store: PolicyStore) -> tuple[int, int] | None:
    try:
        found = store.directory.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
