"""The proxy as ASGI applications, for a server of your choice: `uvicorn proxy.asgi:app`.

app:   what chat apps connect to
admin: metrics, probes and reload, for an address that only operators reach
Settings come from the environment and safety-proxy.toml, as `safety-proxy serve` reads them. `create_app` takes them as
an argument.

Another server has its own limits for heads, trailers, slow clients and connections. `safety-proxy serve` adds what
stock servers lack. An application does not know where another server listens. So it refuses clients of other machines,
unless the setting allow_remote_clients is true. docs/serving.md tells more.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import ExitStack, suppress

import orjson

from proxy.errors import PolicyError, SettingsError
from proxy.server.http.request import AsgiApplication, Receive, Scope, Send
from proxy.server.ops.drops import Drops
from proxy.server.ops.policy_watcher import PolicyWatcher
from proxy.server.runtime import Runtime
from proxy.server.state.directory import StateDirectory
from proxy.settings import Settings, resolve
from proxy.startup.configuration import open_decision_log, open_store, server_config
from proxy.startup.discovery import DEMO, upstream_url
from proxy.startup.keys import follow_policies, load_keys, refuse_open_application
from proxy.startup.plugins import find_registry
from proxy.startup.policies import load, load_reviews, policy_folder

__all__ = ["Application", "admin", "app", "create_admin", "create_app"]

log = logging.getLogger("safety_proxy.server")

FOREIGN_SERVER = (
    "running under another ASGI server: limits for heads, slow clients and connections are that server's own; "
    "clients of other machines are %s (setting allow_remote_clients)"
)


class SharedRuntime:
    """One runtime for the applications of one process. It starts with the first of them and stops with the last."""

    def __init__(self, settings: Settings | None) -> None:
        """`settings`: None: read from the environment at the start."""
        self._settings = settings
        self._runtime: Runtime | None = None
        self._watching: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[None] | None = None
        self._stack = ExitStack()
        self._users = 0
        self._starting: asyncio.Lock | None = None

    async def get(self) -> Runtime:
        """The runtime. Starts it if it does not run. Raises SettingsError or PolicyError."""
        if self._runtime is None:
            self._starting = self._starting or asyncio.Lock()
            async with self._starting:
                if self._runtime is None:
                    self._runtime = await self._start_or_stop()
        return self._runtime

    async def acquire(self) -> None:
        """An application's lifespan begins. Raises SettingsError or PolicyError."""
        await self.get()
        self._users += 1

    async def release(self) -> None:
        """An application's lifespan ends. With the last one everything stops."""
        self._users -= 1
        if self._users <= 0:
            await self.aclose()

    async def aclose(self) -> None:
        """Stop. Running exchanges get a proper end."""
        runtime, self._runtime = self._runtime, None
        tasks = [task for task in (self._watching, self._checking) if task is not None]
        self._watching = self._checking = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if runtime is not None:
            runtime.interrupt()
            await runtime.aclose()
        self._stack.close()

    async def _start_or_stop(self) -> Runtime:
        """A start that fails leaves nothing running: the next request tries again."""
        try:
            return await self._start()
        except BaseException:
            self._stack.close()
            raise

    async def _start(self) -> Runtime:
        settings = self._settings or resolve({}, os.environ).settings
        refuse_open_application(settings)
        keys = load_keys(settings)
        state = StateDirectory.open(settings.state_dir) if settings.state_dir is not None else None
        registry = await asyncio.to_thread(find_registry, settings)
        url = await upstream_url(settings, self._stack)
        key, empty = settings.hash_key, settings.allow_empty
        folder = policy_folder(settings, is_demo=settings.upstream == DEMO)
        store = await load(folder, hash_key=key, allow_empty=empty, registry=registry)
        shadow = None
        if settings.shadow:
            shadow = await load(settings.shadow, hash_key=key, allow_empty=empty, shadow=True, registry=registry)
        reviews = await load_reviews(settings, folder)
        stores = [one for one in (store, shadow) if one is not None]
        follow_policies(stores, keys)
        watched = [one for one in (*stores, reviews, keys) if one is not None]
        drops = Drops()
        kept = await asyncio.to_thread(open_store, settings, drops)
        if kept is not None:
            self._stack.enter_context(kept)
        decisions = self._stack.enter_context(open_decision_log(settings, drops, kept))
        self._watching = asyncio.get_running_loop().create_task(PolicyWatcher(watched).run())
        log.warning(FOREIGN_SERVER, "served" if settings.allow_remote_clients else "refused")
        config = server_config(settings, url)
        runtime = Runtime(
            *(config, store, shadow),
            observers=[decisions],
            drops=drops,
            reviews=reviews,
            keys=keys,
            state=state,
            records=kept,
        )
        self._checking = asyncio.get_running_loop().create_task(runtime.run_checks())
        return runtime


class Application:
    """One of the two applications, with its lifespan (ASGI, lifespan protocol 2.0).

    If nobody runs the lifespan, as below a mount in another application, it starts with its first request.
    """

    def __init__(self, shared: SharedRuntime, part: str) -> None:
        """`part`: `app` or `admin`."""
        self.shared = shared
        self._part = part

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope: http, websocket or lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        try:
            runtime = await self.shared.get()
        except (SettingsError, PolicyError) as error:
            await _refuse_start(scope, send, error)
            return
        served: AsgiApplication = getattr(runtime, self._part)
        await served(scope, receive, send)

    async def aclose(self) -> None:
        """Stop what a first request has started, if no lifespan does."""
        await self.shared.aclose()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.shared.acquire()
        except (SettingsError, PolicyError) as error:
            await send({"type": "lifespan.startup.failed", "message": _sentence(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        with suppress(asyncio.CancelledError):
            await receive()
        await self.shared.release()
        await send({"type": "lifespan.shutdown.complete"})


def create_app(settings: Settings | None = None) -> Application:
    """The chat side. `settings`: None: read from the environment and safety-proxy.toml at the start."""
    return Application(SharedRuntime(settings), "app")


def create_admin(beside: Application) -> Application:
    """The operators' side of the same proxy. It shares policies and metrics with the chat side."""
    return Application(beside.shared, "admin")


def _sentence(error: SettingsError | PolicyError) -> str:
    problems = error.problems if isinstance(error, PolicyError) else [str(error)]
    return "safety-proxy cannot start: " + "; ".join(problems)


async def _refuse_start(scope: Scope, send: Send, error: SettingsError | PolicyError) -> None:
    """Without a lifespan a client is the first to notice. The sentence goes to the log, because it names files."""
    log.error("%s", _sentence(error))
    if scope["type"] != "http":
        return
    message = {"message": "The proxy cannot start; its log says why", "type": "server_error", "code": "not_started"}
    body = orjson.dumps({"error": message})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})


app = create_app()
admin = create_admin(app)
