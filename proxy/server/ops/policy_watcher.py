"""What reloads the policies, and the keys, of a running proxy: a watch on the directory, a slow poll, and SIGHUP.

The watch is on the directory, because editors, Kubernetes and config managers replace files instead of writing to them.
The poll compares contents. It serves file systems that do not report changes, and directories that are replaced.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Protocol, TypeAlias

import watchfiles

from proxy.policy.file_store import Status

POLL_INTERVAL = 10.0  # seconds
DEBOUNCE = 100  # milliseconds in which changes are gathered
QUIET = 20  # milliseconds without a change that end the gathering

Reloading: TypeAlias = Callable[[], AbstractContextManager[object]]

log = logging.getLogger("safety_proxy.policies")


class Store(Protocol):
    """What is kept in step with a directory: `proxy.policy.store.PolicyStore`, `proxy.server.keys.store.KeyStore`."""

    listeners: list[Callable[[Status], None]]

    @property
    def directory(self) -> Path:
        """What is watched."""

    async def reload(self) -> bool:
        """Read again, changed or not."""

    async def refresh(self) -> None:
        """Read again if something has changed."""

    async def prepare(self) -> None:
        """Make what is in force quick."""


class PolicyWatcher:
    """Keeps stores in step with their directories until it is cancelled."""

    def __init__(
        self,
        stores: Sequence[Store],
        poll: float = POLL_INTERVAL,
        watch: bool = True,
        reloading: Reloading = nullcontext,
    ) -> None:
        """`poll`: seconds between two polls. `watch=False`: poll only. `reloading`: around requested reloads."""
        self._stores = stores
        self._reloading = reloading
        self._poll = poll
        self._watch = watch
        self._reload_requested = asyncio.Event()

    async def run(self) -> None:
        """Watch, poll and wait for requests to reload, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reload_on_request())
            for store in self._stores:
                group.create_task(self._prepare(store))
                replaced = asyncio.Event()
                group.create_task(self._poll_contents(store, replaced))
                if self._watch:
                    group.create_task(self._watch_directory(store, replaced))

    def request_reload(self) -> None:
        """Reload every store, changed or not."""
        self._reload_requested.set()

    @contextmanager
    def reload_on_sighup(self) -> Generator[None, None, None]:
        """SIGHUP requests a reload while the block runs. Its default action is to end the process. Windows has none."""
        number = getattr(signal, "SIGHUP", None)
        if number is None:
            yield
            return
        loop = asyncio.get_running_loop()
        before = signal.signal(number, lambda *_: loop.call_soon_threadsafe(self.request_reload))
        try:
            yield
        finally:
            signal.signal(number, before)

    async def _reload_on_request(self) -> None:
        while True:
            await self._reload_requested.wait()
            self._reload_requested.clear()
            with self._reloading():
                for store in self._stores:
                    await store.reload()

    async def _poll_contents(self, store: Store, replaced: asyncio.Event) -> None:
        watched = _identity(store)
        while True:
            await asyncio.sleep(self._poll)
            await store.refresh()
            if (now := _identity(store)) != watched:
                watched = now
                replaced.set()

    async def _prepare(self, store: Store) -> None:
        """Prepare every set for long texts once it is in force, and what requests have added to it since."""
        loaded = asyncio.Event()
        store.listeners.append(lambda _: loaded.set())
        while True:
            loaded.clear()
            try:
                await store.prepare()
            except Exception:  # edits have to be followed whatever fails here
                log.exception("the policies of %s are not prepared: long texts are read whole", store.directory)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll):
                    await loaded.wait()

    async def _watch_directory(self, store: Store, replaced: asyncio.Event) -> None:
        """Watch the directory; if it is replaced, watch the new one."""
        while True:
            replaced.clear()
            first_refresh = asyncio.create_task(store.refresh())  # runs once the watch is in place
            try:
                async for _ in _changes(store, replaced):
                    await store.refresh()
            except (OSError, RuntimeError) as error:
                log.warning(
                    "%s cannot be watched (%s): changes are seen every %g s", store.directory, error, self._poll
                )
                await replaced.wait()
            finally:
                first_refresh.cancel()


def _changes(store: Store, stop: asyncio.Event) -> AsyncIterator[object]:
    return watchfiles.awatch(
        store.directory, watch_filter=None, debounce=DEBOUNCE, step=QUIET, stop_event=stop, recursive=False
    )


def _identity(store: Store) -> tuple[int, int] | None:
    try:
        found = store.directory.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
