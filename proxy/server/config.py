"""The server's configuration with its defaults. `proxy.startup.configuration` makes it from the settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from proxy.dialects.request import Options
from proxy.server.http.listener import Address

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamConfig:
    """One of the model servers.

    url:    base URL; its path is put before every requested path
    name:   for logs and metrics; "": its URL
    key:    bearer token for this model server, in place of the client's
    models: names of the models that it gets, with `*` and `?`; none: those that it lists
    weight: how much it takes beside others that have the same model
    """

    url: str
    name: str = ""
    key: str | None = field(default=None, repr=False)
    models: tuple[str, ...] = ()
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Times in seconds, sizes in bytes. Port 0 means any free port.

    upstream:           base URL of the model server; its path is put before every requested path
    upstream_key:       bearer token for the model server, in place of the client's
    upstream_ca:        PEM certificates that an https upstream is checked against; None: the public authorities
    upstreams:          the model servers, where there are several; none: the one that `upstream` names
    transport:          `own` (https goes through httpx all the same), or `httpx`
    header_timeout:     for a request's head, from its first byte (or from the connection's beginning) to its end
    body_timeout:       for a request's body; every BODY_RATE bytes give one second more
    first_byte_timeout: for the model server's first byte; loading a model takes minutes
    idle_timeout:       between two bytes of the model server, and for a client that does not read
    keep_alive:         after so long without a byte a streaming client gets a comment
    end_grace:          how long an answer stays open for its counts once the model has ended every choice of it
    grace:              how long running exchanges may go on when the server stops
    pass_authorization: the client's authorization and x-api-key go upstream
    show_prompts:       POST /api/show tells a model's system prompt, template and Modelfile
    context_margin:     a prompt of so many times the model's context is refused if it would be cut; 0: never
    require_alignment:  only models that are known to be such are served; None: all
    history:            overrides what policies say of a block in an earlier turn
    origins:            web origins besides the defaults that may call (CORS); `*` allows all
    hosts:              Host names besides the defaults that are answered while the listener is bound to loopback
    tls_certificate, tls_key, tls_key_password: PEM files of both listeners; none: plain HTTP
    proxy_headers_from: addresses of reverse proxies whose X-Forwarded-For is believed: the log names their clients
    root_path:          the path below which a reverse proxy shows the proxy
    otel_endpoint:      where traces go; then the model server is told of our own span
    record_text:        what of the texts goes into the decision log
    ready_needs_upstream: /readyz says no while the model server does not answer
    console:            the admin listener has pages for people
    allow_remote_clients: under another ASGI server, whose address is not known, clients of other machines are served
    allow_anonymous:    there are no keys, and clients of other machines are served all the same
    max_streams:        requests that the model server works on at once; 0: any number
    max_queue:          requests that wait for it; queue_timeout: how long each does
    requests_per_minute, tokens_per_minute: of all clients; 0: any number
    limits_store:       URL of a Redis or Valkey server that counts for several proxies; None: this process counts
    limits_on_error:    while it does not answer: `allow` (this process counts) or `refuse`
    cool_down_after:    blocked requests of one key in a minute after which it waits `cool_down`; 0: never
    max_body:           largest request body, also after decompression
    max_answer:         largest answer that is collected for a client that does not stream
    offload:            bodies larger than this are parsed in a thread
    prompt_memory:      for what was found in prompts, so that the next turn need not look again; 0: nothing is kept
    """

    upstream: str
    upstream_key: str | None = field(default=None, repr=False)
    upstream_ca: Path | None = None
    upstreams: tuple[UpstreamConfig, ...] = ()
    listen: Address = ("127.0.0.1", 11435)
    admin: Address | None = ("127.0.0.1", 9435)
    transport: Literal["own", "httpx"] = "own"
    header_timeout: float = 8.0
    body_timeout: float = 8.0
    connect_timeout: float = 5.0
    first_byte_timeout: float = 600.0
    idle_timeout: float = 300.0
    keep_alive: float = 15.0
    end_grace: float = 2.0
    grace: float = 10.0
    pass_authorization: bool = False
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_key_password: str | None = field(default=None, repr=False)
    proxy_headers_from: tuple[str, ...] = ()
    root_path: str = ""
    otel_endpoint: str | None = None
    record_text: Literal["none", "masked", "full"] = "none"
    ready_needs_upstream: bool = False
    console: bool = True
    allow_remote_clients: bool = False
    allow_anonymous: bool = False
    max_streams: int = 0
    max_queue: int = 100
    queue_timeout: float = 60.0
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    limits_store: str | None = field(default=None, repr=False)
    limits_on_error: Literal["allow", "refuse"] = "allow"
    cool_down_after: int = 0
    cool_down: float = 300.0
    max_body: int = 32 * MIB
    max_answer: int = 64 * MIB
    offload: int = 256 * 1024
    prompt_memory: int = 64 * MIB
    show_prompts: bool = False
    context_margin: float = 1.5
    require_alignment: Literal["instruct"] | None = None
    history: Literal["replace", "block"] | None = None
    options: Options = field(default_factory=Options)

    @property
    def backends(self) -> tuple[UpstreamConfig, ...]:
        """The model servers, at least one."""
        return self.upstreams or (UpstreamConfig(url=self.upstream, key=self.upstream_key),)
