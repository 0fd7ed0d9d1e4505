"""Every setting in one table, which makes the flags, the environment variables and the keys of safety-proxy.toml.

A flag comes before SAFETY_PROXY_* in the environment, that before safety-proxy.toml, and that before the default.
A secret can also be in a file that SAFETY_PROXY_<NAME>_FILE names. An unknown name is an error.
"""

# ruff: noqa: RUF009  (_setting is dataclasses.field with this table's columns)
from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from proxy import values
from proxy.errors import SettingsError
from proxy.values import Address, Read

PREFIX = "SAFETY_PROXY_"
FILE_NAME = "safety-proxy.toml"
SHIPPED = Path(__file__).with_name("policies").resolve()
DEMO_POLICIES = Path(__file__).parent / "demo" / "policies"
IGNORED_VARIABLES = (
    re.compile(  # what Kubernetes and Docker put into a container beside a service named safety-proxy; test switches
        r"SAFETY_PROXY_(TEST_.*|SERVICE_HOST|SERVICE_PORT(_.*)?|PORT|PORT_\d+_(TCP|UDP)(_.*)?)"
    )
)


def _setting(default: Any, read: Read, metavar: str, text: str, *, secret: bool = False, shown: str = "") -> Any:
    """A row of the table. `default`: as an operator writes it. `shown`: what help shows instead."""
    start = default if default is None else read(default)
    shown = shown or str(default or "") or "none"
    about = {"read": read, "metavar": metavar, "help": text, "secret": secret, "default": shown}
    return field(default=start, metadata=about)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What an operator can set. Times in seconds, sizes in bytes."""

    listen: Address = _setting(
        "127.0.0.1:11435",
        values.address,
        "HOST:PORT",
        "where chat apps connect; or unix:/path, or fd:N for an inherited socket",
    )
    admin: Address | None = _setting(
        "127.0.0.1:9435", values.optional_address, "HOST:PORT", "where /metrics, /healthz and /readyz are; off: nowhere"
    )
    upstream: str | None = _setting(
        None,
        values.upstream,
        "URL",
        "the model server, written as in OLLAMA_HOST; if left out: Ollama, then LM Studio, then the demo model",
    )
    upstream_key: str | None = _setting(
        None, values.text, "KEY", "bearer token for the model server, in place of the app's", secret=True
    )
    upstream_ca: Path | None = _setting(
        None, values.folder, "FILE", "PEM certificates of the authorities that an https upstream is checked against"
    )
    policies: Path = _setting(
        str(SHIPPED),
        values.folder,
        "DIR",
        "the policies; an edit takes effect within a second",
        shown="the shipped ones, in front of the demo model its own",
    )
    shadow: Path | None = _setting(
        None, values.folder, "DIR", "policies that are tried on the same traffic and change nothing"
    )
    plugins: Path | None = _setting(
        None,
        values.folder,
        "DIR",
        "a directory of .py files with checks of your own; they are code, and run with the proxy's rights",
    )
    plugin_budget: float = _setting(
        "50ms",
        values.seconds,
        "TIME",
        "processor time of a plug-in's check for 8192 characters; after more it is stopped for that request; 0: any",
    )
    guard_formats: Path | None = _setting(
        None, values.folder, "DIR", "a directory of .yaml files with formats of guard models of your own"
    )
    hash_key: str | None = _setting(
        None,
        values.text,
        "KEY",
        "for tags that replace values: with the same key, equal values get equal tags",
        secret=True,
        shown="a new one at each start",
    )
    allow_empty: bool = _setting("false", values.boolean, "BOOL", "start although no policy has a rule")
    history: str | None = _setting(
        None,
        values.one_of("replace", "block"),
        "WORD",
        "a blocked text in an earlier turn: replace it and go on, or block",
        shown="what the policies say",
    )
    models_file: Path | None = _setting(
        None,
        values.folder,
        "FILE",
        "what you have found out of your models (docs/alignment.md)",
        shown="models.yaml beside the policies, if it is there",
    )
    require_alignment: str | None = _setting(
        None, values.one_of("instruct"), "WORD", "instruct: no other models are served; docs/alignment.md", shown="none"
    )
    context_margin: float = _setting(
        "1.5",
        values.margin,
        "FACTOR",
        "refuse a prompt estimated at so many times the model's context, if it would be cut silently; 0: never",
    )
    tls_certificate: Path | None = _setting(None, values.folder, "FILE", "PEM certificate: both listeners speak https")
    tls_key: Path | None = _setting(None, values.folder, "FILE", "PEM key of the certificate, if it is in another file")
    tls_key_password: str | None = _setting(None, values.text, "PASSWORD", "password of the key", secret=True)
    proxy_headers_from: tuple[str, ...] = _setting(
        "", values.names, "LIST", "reverse proxies whose X-Forwarded-For is believed; *: all"
    )
    root_path: str = _setting(
        "", values.root_path, "PATH", "path below which a reverse proxy shows the proxy; requests may have it or not"
    )
    allow_remote_clients: bool = _setting(
        "false", values.boolean, "BOOL", "under another ASGI server: clients of other machines are served"
    )
    keys: Path | None = _setting(
        None, values.folder, "FILE", "the file of keys that clients have to show; an edit takes effect within a second"
    )
    allow_anonymous: bool = _setting(
        "false", values.boolean, "BOOL", "without keys: listen where other machines can reach the proxy, and serve them"
    )
    admin_key: str | None = _setting(
        None, values.text, "KEY", "the key that pause and resume show to the admin listener", secret=True
    )
    state_dir: Path | None = _setting(
        None,
        values.folder,
        "DIR",
        "a directory for what survives a restart: a pause, the store; only its owner can read it",
    )
    max_streams: int = _setting("0", values.number, "NUMBER", "requests that the model server works on at once; 0: any")
    max_queue: int = _setting("100", values.number, "NUMBER", "requests that wait while max_streams are under way")
    queue_timeout: float = _setting("1m", values.seconds, "TIME", "how long a request waits for its turn")
    requests_per_minute: int = _setting("0", values.number, "NUMBER", "requests of all clients in a minute; 0: any")
    tokens_per_minute: int = _setting("0", values.number, "NUMBER", "tokens of all clients in a minute; 0: any")
    limits_store: str | None = _setting(
        None,
        values.store_url,
        "URL",
        "a Redis or Valkey server that counts for several proxies",
        secret=True,
        shown="each proxy counts for itself",
    )
    limits_on_error: str = _setting(
        "allow",
        values.one_of("allow", "refuse"),
        "WORD",
        "while limits_store does not answer: allow (each proxy counts for itself) or refuse",
    )
    cool_down_after: int = _setting(
        "0", values.number, "NUMBER", "blocked requests of one key in a minute after which it has to wait; 0: never"
    )
    cool_down: float = _setting("5m", values.seconds, "TIME", "how long it has to wait")
    origins: tuple[str, ...] = _setting("", values.names, "LIST", "web origins that may call (CORS); *: all")
    hosts: tuple[str, ...] = _setting(
        "", values.names, "LIST", "more names under which a proxy bound to loopback answers"
    )
    pass_authorization: bool = _setting(
        "false", values.boolean, "BOOL", "the app's own API key goes to the model server"
    )
    show_prompts: bool = _setting(
        "false", values.boolean, "BOOL", "/api/show shows a model's system prompt, template and Modelfile"
    )
    transport: str = _setting(
        "own", values.one_of("own", "httpx"), "WORD", "HTTP client for the model server: own or httpx"
    )
    max_body: int = _setting("32MiB", values.size, "SIZE", "largest request, also after decompression")
    max_answer: int = _setting("64MiB", values.size, "SIZE", "largest answer for an app that does not stream")
    prompt_memory: int = _setting(
        "64MiB",
        values.size_or_none,
        "SIZE",
        "for what was found in prompts, so that the next turn is quick; 0: keep nothing",
    )
    header_timeout: float = _setting("8s", values.seconds, "TIME", "for a request's head to be complete")
    body_timeout: float = _setting("8s", values.seconds, "TIME", "for a request's body; 16 KiB give one second more")
    connect_timeout: float = _setting("5s", values.seconds, "TIME", "for a connection to the model server")
    first_byte_timeout: float = _setting(
        "10m", values.seconds, "TIME", "for the model server's first byte; loading a model takes minutes"
    )
    idle_timeout: float = _setting("5m", values.seconds, "TIME", "between two bytes of an answer")
    keep_alive: float = _setting(
        "15s", values.seconds, "TIME", "after so long without a byte a streaming app gets a comment"
    )
    end_grace: float = _setting(
        "2s", values.seconds, "TIME", "how long an answer waits for its token counts once the model has ended it"
    )
    grace: float = _setting("10s", values.seconds, "TIME", "how long running answers may go on when the proxy stops")
    logprobs: bool = _setting("false", values.boolean, "BOOL", "token probabilities may pass if no output rule applies")
    allow_images: bool = _setting(
        "true", values.boolean, "BOOL", "pictures and audio in prompts; the proxy does not read them"
    )
    allow_remote_images: bool = _setting(
        "false", values.boolean, "BOOL", "image URLs that the model server would fetch from the network"
    )
    allow_cloud_models: bool = _setting(
        "false", values.boolean, "BOOL", "names that end in :cloud or -cloud, which Ollama sends away"
    )
    allow_raw_prompts: bool = _setting(
        "false", values.boolean, "BOOL", "raw, template, context, suffix: prompts around the chat template"
    )
    allow_stateful: bool = _setting(
        "false", values.boolean, "BOOL", "store, previous_response_id: texts that the proxy never checked"
    )
    allow_server_tools: bool = _setting(
        "false", values.boolean, "BOOL", "integrations and MCP servers that the model server would call"
    )
    allow_model_control: bool = _setting(
        "false", values.boolean, "BOOL", "keep_alive, ttl, context sizes: pinning and evicting models"
    )
    max_context: int = _setting(
        "0",
        values.tokens,
        "TOKENS",
        "the largest context that a request may ask for (num_ctx, context_length); more is lowered to it; 0: none",
    )
    ready_needs_upstream: bool = _setting(
        "false", values.boolean, "BOOL", "/readyz says no while the model server does not answer"
    )
    log_format: str = _setting("text", values.one_of("text", "json"), "WORD", "the log on stderr: text or json")
    log_level: str = _setting(
        "info",
        values.one_of("debug", "info", "warning", "error"),
        "WORD",
        "what the log tells: debug, info, warning or error, and what is worse",
    )
    decision_log: Path | None = _setting(
        None, values.folder, "FILE", "a record for each exchange, as a line of JSON; docs/log.md"
    )
    decision_log_size: int = _setting(
        "100MiB", values.size, "SIZE", "the size at which the decision log's file is put aside and a new one begun"
    )
    decision_log_age: float = _setting("24h", values.seconds, "TIME", "the age at which it is")
    decision_log_keep: int = _setting("10", values.count, "NUMBER", "how many files that were put aside are kept")
    record_text: str = _setting(
        "none",
        values.one_of("none", "masked", "full"),
        "WORD",
        "texts in the decision log: none, masked (without all that a rule finds), or full",
    )
    record_text_full: str | None = _setting(
        None, values.text, "WORD", "has to be i-know where record_text is full: what people write stands in a file then"
    )
    console: bool = _setting("true", values.boolean, "BOOL", "pages for people at / of the admin listener")
    store: str = _setting(
        "sqlite",
        values.record_store,
        "WORD",
        "where the records of exchanges are kept for pages: off, sqlite (a file in state_dir), or a PostgreSQL URL",
        secret=True,
        shown="sqlite, where there is a state_dir",
    )
    store_days: int = _setting("30", values.count, "DAYS", "how long the store keeps a record")
    store_bytes: int = _setting("1GiB", values.store_size, "SIZE", "how much it keeps; the oldest records make room")
    otel_endpoint: str | None = _setting(
        None, values.url, "URL", "an OpenTelemetry collector (OTLP over HTTP) that gets traces and measurements"
    )
    demo_pace: float = _setting("40ms", values.seconds, "TIME", "the demo model's time from token to token")
    upstreams: tuple[values.Upstream, ...] = ()
    """The model servers of the file's `[[upstream]]`; none where `upstream` is set elsewhere, which comes before."""


ROWS: dict[str, Field[Any]] = {row.name: row for row in fields(Settings) if row.metadata}
"""The settings that have a flag, a variable and a key."""


class EffectiveSettings(NamedTuple):
    """The settings in force, and where each came from."""

    settings: Settings
    sources: dict[str, str]

    def lines(self) -> Iterator[tuple[str, str, str]]:
        """Name, value and source of every setting; defaults as help shows them, secrets hidden."""
        for name, row in ROWS.items():
            value, source = getattr(self.settings, name), self.sources[name]
            if name == "upstream" and self.settings.upstreams:
                value = tuple(one.url for one in self.settings.upstreams)
            is_hidden = row.metadata["secret"] and value is not None
            is_default = source == "default" and not isinstance(value, Path)
            yield name, "(hidden)" if is_hidden else row.metadata["default"] if is_default else _spelled(value), source


def resolve(flags: Mapping[str, Any], environ: Mapping[str, str], config: str | None = None) -> EffectiveSettings:
    """Put the settings together.

    flags:  what was given on the command line, by setting name
    config: the path given with --config; None: safety-proxy.toml in the working directory, if there is one
    Raises SettingsError with one line that names the place and the fix.
    """
    _reject_unknown_variables(environ)
    layers = [
        {name: (f"flag {flag(name)}", value) for name, value in flags.items()},
        dict(_from_environment(environ)),
        dict(_from_file(config or environ.get(f"{PREFIX}CONFIG"))),
    ]
    found: dict[str, Any] = {}
    sources = dict.fromkeys(ROWS, "default")
    for layer in reversed(layers):
        for name, (source, value) in layer.items():
            several = name == "upstream" and isinstance(value, list)
            found[name] = None if several else _read(name, value, source)
            found |= {"upstreams": _upstreams(value, source) if several else ()} if name == "upstream" else {}
            sources[name] = source
    if found.get("upstreams") and found.get("upstream_key"):
        raise SettingsError(f"{sources['upstream_key']} is for one model server; give each [[upstream]] its own key")
    return EffectiveSettings(Settings(**found), sources)


def flag(name: str) -> str:
    """A setting's command line flag."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """A setting's environment variable."""
    return PREFIX + name.upper()


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean X?`, or nothing if no name is near."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _read(name: str, value: Any, source: str) -> Any:
    row = ROWS[name]
    if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
        raise SettingsError(f"{source} is not UTF-8 text")
    try:
        return row.metadata["read"](value)
    except ValueError as error:
        shown = "" if row.metadata["secret"] else f" (it is {_spelled(value)!r})"
        raise SettingsError(f"{source} {error}{shown}") from None


def _upstreams(tables: list[Any], source: str) -> tuple[values.Upstream, ...]:
    """The tables of `[[upstream]]`, in their order, which is the order in which they are asked."""
    found: list[values.Upstream] = []
    for number, table in enumerate(tables, 1):
        place = f"{source}: [[upstream]] number {number}"
        if not isinstance(table, dict):
            raise SettingsError(f"{source}: takes one URL, or a table [[upstream]] for each of several")
        try:
            one = values.one_upstream(table)
        except ValueError as error:
            raise SettingsError(f"{place} {error}") from None
        for other in found:
            if (one.name or one.url) == (other.name or other.url):
                raise SettingsError(f"{place} is called {one.name or one.url}, as one before; give it another name")
        found.append(one)
    return tuple(found)


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, Any]]]:
    for name, row in ROWS.items():
        key = variable(name)
        if row.metadata["secret"] and f"{key}_FILE" in environ:
            if key in environ:
                raise SettingsError(f"{key} and {key}_FILE are both set; unset one of them")
            yield name, (f"variable {key}_FILE", _secret(f"{key}_FILE", environ[f"{key}_FILE"]))
        elif key in environ:
            yield name, (f"variable {key}", environ[key])


def _reject_unknown_variables(environ: Mapping[str, str]) -> None:
    known = [f"{PREFIX}CONFIG"]
    for name, row in ROWS.items():
        known += [variable(name), *([f"{variable(name)}_FILE"] if row.metadata["secret"] else [])]
    for key in sorted(environ):
        if key.startswith(PREFIX) and key not in known and not IGNORED_VARIABLES.fullmatch(key):
            raise SettingsError(
                f"variable {key} is not a setting{nearest(key, known)} (safety-proxy config lists them)"
            )


def _secret(key: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"variable {key}: {path} cannot be read: {_reason(error)}") from None


def _from_file(path: str | None) -> Iterator[tuple[str, tuple[str, Any]]]:
    if path is None and not Path(FILE_NAME).exists():
        return
    path = path or FILE_NAME
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {_reason(error)}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from None
    for key, value in table.items():
        if key == "upstream" and isinstance(value, dict):
            raise SettingsError(f"{path}: [upstream] is a section; write [[upstream]] before each model server")
        if key not in ROWS and isinstance(value, dict):
            raise SettingsError(
                f"{path}: [{key}] is a section; the file has none but [[upstream]], write its settings at the top"
            )
        if key not in ROWS:
            raise SettingsError(f"{path}: {key} is not a setting{nearest(key, ROWS)} (safety-proxy config lists them)")
        yield key, (f"{path}: {key}", value)


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8 text"


def _spelled(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(value) if isinstance(value, tuple) and not isinstance(value, Address) else str(value)
