"""The server in the test's own loop: policies of literal phrases, a scripted upstream, and a bare socket as client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, Self, TypeVar, cast

import httptools
import httpx
from prometheus_client import CollectorRegistry

from proxy.checks.asking import AskingRule
from proxy.checks.registry import BUILT_IN_ONLY, Registry
from proxy.core.check import Check
from proxy.core.failures import Failures
from proxy.core.types import Direction, Kind, Rule
from proxy.policy.file_store import Status
from proxy.policy.models_store import ModelsStore
from proxy.policy.plan import UNKNOWN, ChatTemplate
from proxy.policy.store import PolicyStore
from proxy.server.app import Server
from proxy.server.config import ServerConfig
from proxy.server.exchange.record import Exchange, Observer
from proxy.server.keys.store import KeyStore
from proxy.server.state.directory import StateDirectory
from proxy.store.writer import Writer
from tests.fakes import FakeUpstream
from tests.phrases import PhrasePlan
from tests.plain_http import async_client
from tests.waiting import PATIENCE

WITHIN = PATIENCE
"""Seconds after which a test that waits has failed."""

UNHURRIED: dict[str, Any] = dict.fromkeys(("header_timeout", "body_timeout", "connect_timeout"), PATIENCE)
"""A busy machine may keep a test waiting for longer than a client may keep the proxy waiting."""

T = TypeVar("T")


class Plan(PhrasePlan):
    """Phrases of one direction."""

    any_output_rule = False
    asks = False
    judges_after = False
    has_plugins = False
    shared = True
    history = "replace"
    looks_for_system_text = False
    refuses_images = False
    __hash__ = object.__hash__

    def markers(self, kind: Kind, escaped: bool = False) -> Sequence[Check]:
        """None: the phrases know nothing of chat templates."""
        return ()

    def apart(self) -> Self:
        """It remembers nothing."""
        return self

    def for_exchange(self, failures: Failures) -> Self:
        """Never asked: no check of it is a plug-in's."""
        raise NotImplementedError


@dataclass
class Policies:
    """A policy set of literal phrases (see proxy.policy.policyset.PolicySet)."""

    input: Sequence[Any] = ()
    output: Sequence[Any] = ()
    revision: str = "revision-1"
    history: str = "replace"
    prompt: tuple[str, str] = ("", "")
    policies: Sequence[Any] = ()
    looks_at_templates: bool = False
    looks_at_alignment: bool = False
    asks_in_parallel: bool = False
    refuses_images: bool = False

    @property
    def checks(self) -> list[Check]:
        """All of them."""
        return [*self.input, *self.output]

    @property
    def places(self) -> list[tuple[Rule, Direction, Kind]]:
        """Every rule, in the content that it reads."""
        return [
            (check.rule, direction, Kind.CONTENT)
            for direction, checks in ((Direction.INPUT, self.input), (Direction.OUTPUT, self.output))
            for check in checks
            if hasattr(check, "rule")
        ]

    @property
    def rules(self) -> list[Rule]:
        """Every rule."""
        return [check.rule for check in (*self.input, *self.output)]

    def plan(
        self,
        direction: Direction,
        *,
        model: str,
        role: str | None = None,
        template: ChatTemplate = UNKNOWN,
        key: str | None = None,
        added: tuple[str, ...] = (),
        alignment: str = "unknown",
    ) -> Plan:
        """The same for all models, roles and keys."""
        plan = Plan(self.input if direction is Direction.INPUT else self.output)
        object.__setattr__(plan, "any_output_rule", bool(self.output))
        object.__setattr__(plan, "history", self.history)
        object.__setattr__(plan, "refuses_images", self.refuses_images)
        return plan

    def system_prompt(
        self, model: str, key: str | None = None, added: tuple[str, ...] = (), alignment: str = "unknown"
    ) -> tuple[str, str]:
        """Before and after."""
        return self.prompt

    def message_for(self, rule: Rule, direction: Direction, first: str = "") -> str:
        """The notice."""
        return rule.message or f"Stopped by {rule.policy}."


class Named(NamedTuple):
    """A policy, as far as metrics and status look at it."""

    name: str
    enforced: bool = True
    asking: tuple[AskingRule, ...] = ()


@dataclass
class Store:
    """Where the policies are (see proxy.policy.store.PolicyStore)."""

    current: Policies
    next: Policies | None = None
    status: Status = field(default_factory=lambda: Status(revision="revision-1", loaded_at=1.0, loads=1))
    listeners: list[Callable[[Status], None]] = field(default_factory=list)
    approvers: list[Any] = field(default_factory=list)
    directory: Path = Path("policies")
    shadow: bool = False
    registry: Registry = BUILT_IN_ONLY

    async def reload(self) -> bool:
        """Take `next`, or fail if there is none."""
        if self.next is None:
            self.status = Status("revision-1", 1.0, "policies/a.yaml:1:1: unknown key", 2.0, 1, 1)
        else:
            self.current = self.next
            self.status = Status(self.next.revision, 2.0, loads=2)
        for listener in self.listeners:
            listener(self.status)
        return not self.status.error

    async def prepare(self) -> None:
        """These policies have nothing to prepare."""


class Answer(NamedTuple):
    """An HTTP answer. `complete`: it came to its proper end."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    def events(self) -> list[Any]:
        """The data of a stream's events: JSON decoded, all else as text. Comments are left out."""
        return events(self.body)

    def text(self, index: int = 0, field: str = "content") -> str:
        """What a chat stream says in one field of one choice."""
        return text(self.events(), index, field)


def events(body: bytes) -> list[Any]:
    """The data of server-sent events."""
    found = []
    for event in body.decode().split("\n\n"):
        data = [line.removeprefix("data: ") for line in event.split("\n") if line.startswith("data: ")]
        if data:
            found.append(json.loads(data[0]) if data[0].startswith("{") else data[0])
    return found


def text(found: Sequence[Any], index: int = 0, field: str = "content") -> str:
    """What chat chunks say in one field of one choice."""
    chunks = [chunk for chunk in found if isinstance(chunk, dict)]
    choices = [choice for chunk in chunks for choice in chunk.get("choices", []) if choice["index"] == index]
    return "".join(choice["delta"].get(field) or "" for choice in choices)


class Wire:
    """A client on a bare socket: it sends exactly these bytes, and leaves when it wants to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.received = b""

    async def send(self, data: bytes) -> None:
        """Bytes to the proxy."""
        self._writer.write(data)
        await soon(self._writer.drain())

    async def post(self, path: str, body: object, *headers: str, method: str = "POST") -> None:
        """A whole request."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.send(head(path, *headers, f"content-length: {len(data)}", method=method) + data)

    async def until(self, mark: bytes) -> bytes:
        """Read until the mark has come."""
        while mark not in self.received:
            data = await soon(self._reader.read(65536))
            if not data:
                raise AssertionError(f"{mark!r} did not come: {self.received!r}")
            self.received += data
        return self.received

    async def answer(self) -> Answer:
        """Read one answer to its end; `complete` tells whether it had one."""
        parser = Parser()
        while not parser.done:
            if self.received:
                data, self.received = self.received, b""
            else:
                data = await soon(self._reader.read(65536))
            if not data:
                break
            parser.feed(data)
        return Answer(parser.status, parser.headers, parser.body, parser.done)

    async def ended(self) -> bytes:
        """What comes until the proxy closes the connection."""
        try:
            return await soon(self._reader.read())
        except ConnectionError:
            return b""

    def leave(self) -> None:
        """Close the connection at once."""
        self._writer.transport.abort()

    def half_close(self) -> None:
        """Say that nothing more will be sent, as a client does that is going."""
        self._writer.write_eof()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.transport.abort()
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)


class Parser:
    """An HTTP answer as it comes."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.done = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Bytes of it."""
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools' callback."""
        self.headers[name.decode().lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """httptools' callback."""
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers.clear()

    def on_body(self, data: bytes) -> None:
        """httptools' callback."""
        self.body += data

    def on_message_complete(self) -> None:
        """httptools' callback."""
        self.done = self.status >= 200


def head(path: str, *headers: str, method: str = "POST", host: str = "localhost") -> bytes:
    """A request's head."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}", *headers, "", ""]
    return "\r\n".join(lines).encode()


class Seen:
    """Sees every exchange (see proxy.server.exchange.record.Observer)."""

    def __init__(self) -> None:
        self.begun: list[Exchange] = []
        self._over: list[Exchange] = []
        self._changed = asyncio.Event()

    def begin(self, exchange: Exchange) -> None:
        """One more."""
        self.begun.append(exchange)
        self._changed.set()

    async def first(self, count: int = 1) -> None:
        """Wait for so many exchanges to begin."""
        while len(self.begun) < count:
            self._changed.clear()
            await self._changed.wait()

    def end(self, exchange: Exchange) -> None:
        """One is over."""
        self._over.append(exchange)
        self._changed.set()

    async def ended(self, index: int) -> Exchange:
        """Wait for the exchange that is the index-th to end."""
        while len(self._over) <= index:
            self._changed.clear()
            await self._changed.wait()
        return self._over[index]


class Proxy:
    """A running server with what a test asks of it."""

    def __init__(self, server: Server, client: httpx.AsyncClient, store: Store, seen: Seen) -> None:
        self.server = server
        self.client = client
        self.registry = server.metrics.registry
        self.store = store
        self.seen = seen

    @property
    def url(self) -> str:
        """Where apps connect."""
        host, port = self.server.bound.listen
        return f"http://{host}:{port}"

    @property
    def admin_url(self) -> str:
        """Where operators connect."""
        assert self.server.bound.admin is not None
        host, port = self.server.bound.admin
        return f"http://{host}:{port}"

    @asynccontextmanager
    async def wire(self) -> AsyncIterator[Wire]:
        """A connection of one's own."""
        reader, writer = await asyncio.open_connection(*self.server.bound.listen)
        async with Wire(reader, writer) as wire:
            yield wire

    async def chat(self, *headers: str, path: str = "/v1/chat/completions", **body: Any) -> Answer:
        """Ask and read the whole answer."""
        async with self.wire() as wire:
            await wire.post(path, chat_body(**body), *headers)
            return await wire.answer()

    async def send(self, data: bytes) -> Answer:
        """Exactly these bytes, and the answer to them."""
        async with self.wire() as wire:
            await wire.send(data)
            return await wire.answer()

    def later(self, seconds: float) -> None:
        """What the proxy's clock does when nothing has happened for so many seconds; nobody has to wait for them."""
        for timeouts in list(self.server.runtime._watchdog._running):
            timeouts.check(perf_counter() + seconds)

    def metric(self, name: str, **labels: str) -> float:
        """A sample's value; 0.0 if there is none."""
        return self.registry.get_sample_value(f"safety_proxy_{name}", labels) or 0.0

    async def exchange(self, index: int = 0) -> Exchange:
        """What happened in the exchange of that number, as soon as it is over."""
        return await soon(self.seen.ended(index))


def chat_body(content: Any = "Hello", **more: Any) -> dict[str, Any]:
    """A chat request; `messages` given by name stand in the place of the one message."""
    messages = more.pop("messages", [{"role": "user", "content": content}])
    return {"model": "tiny", "messages": messages, "stream": True, **more}


def chunk(
    content: str | None = None, *, index: int = 0, finish: str | None = None, delta: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A chunk of a chat stream as llama.cpp writes it."""
    said = {**(delta or {}), **({} if content is None else {"content": content})}
    return {
        "choices": [{"finish_reason": finish, "index": index, "delta": said}],
        "created": 1,
        "id": "chatcmpl-1",
        "model": "tiny",
        "object": "chat.completion.chunk",
    }


ROLE = chunk(delta={"role": "assistant"})
"""How llama.cpp begins a stream."""


def said(*contents: str) -> list[Any]:
    """A whole stream: the contents, the end, and [DONE]."""
    return [
        chunk(delta={"role": "assistant"}),
        *(chunk(content) for content in contents),
        chunk(finish="stop"),
        "[DONE]",
    ]


@asynccontextmanager
async def running(
    upstream: FakeUpstream | str,
    policies: Policies | None = None,
    *,
    registry: Registry = BUILT_IN_ONLY,
    reviews: ModelsStore | None = None,
    keys: KeyStore | None = None,
    state: StateDirectory | None = None,
    records: Writer | None = None,
    observers: Sequence[Observer] = (),
    **config: Any,
) -> AsyncIterator[Proxy]:
    """A proxy in front of `upstream`; `config` are fields of ServerConfig. `keys`: those that clients have to show."""
    seen = Seen()
    store = Store(policies or Policies(), registry=registry)
    url = upstream if isinstance(upstream, str) else upstream.url
    defaults = {"listen": ("127.0.0.1", 0), "admin": ("127.0.0.1", 0), "grace": 0.0} | UNHURRIED
    settings = ServerConfig(upstream=url, **{**defaults, **config})
    server = Server(
        *(settings, cast(PolicyStore, store), None, CollectorRegistry(), [seen, *observers]),
        reviews=reviews,
        keys=keys,
        state=state,
        records=records,
    )
    async with server, async_client() as client:
        yield Proxy(server, client, store, seen)


async def soon(waiting: Awaitable[T]) -> T:
    """Wait, but not for ever."""
    return await asyncio.wait_for(waiting, WITHIN)
