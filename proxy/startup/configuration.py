"""From settings to the server's configuration."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from proxy.dialects.request import Options
from proxy.errors import SettingsError
from proxy.server.config import ServerConfig, UpstreamConfig
from proxy.server.ops.decision_log import DecisionLog, LogSink, Sink
from proxy.server.ops.drops import STORE, Drops
from proxy.settings import ROWS, Settings

if TYPE_CHECKING:
    from proxy.store.writer import Writer

SURE = "i-know"
"""What record_text_full has to be where record_text is full."""


def server_config(settings: Settings, upstream: str) -> ServerConfig:
    """The server's configuration: every setting that has a field of the same name there."""
    options = Options(**_shared(Options, settings))
    upstreams = tuple(UpstreamConfig(**one._asdict()) for one in settings.upstreams)
    own = {"upstream": upstream, "upstreams": upstreams, "options": options}
    return ServerConfig(**{**_shared(ServerConfig, settings), **own})


def open_decision_log(settings: Settings, drops: Drops, store: Writer | None = None) -> DecisionLog:
    """The decision log: the program's own log, and a file and the store where they are set. Raises SettingsError."""
    _check_recording(settings)
    sinks: list[Sink] = [LogSink(as_json=settings.log_format == "json")]
    if store is not None:
        from proxy.server.ops.store_sink import StoreSink

        sinks.append(StoreSink(store, drops))
    if settings.decision_log is not None:
        from proxy.server.ops.record_file import RecordFile

        size, age, keep = settings.decision_log_size, settings.decision_log_age, settings.decision_log_keep
        sinks.append(RecordFile(settings.decision_log, drops, size=size, age=age, keep=keep))
    if settings.otel_endpoint is not None:
        sinks.append(_otel_sink(settings.otel_endpoint))
    return DecisionLog(sinks, drops, settings.record_text)


def open_store(settings: Settings, drops: Drops) -> Writer | None:
    """The store, which its thread opens once it runs; None: there is none. Raises SettingsError."""
    if not keeps_records(settings):
        return None
    from proxy.store.database import Limits, open_database, url_of
    from proxy.store.writer import Writer

    url_of(settings.store, settings.state_dir)
    limits = Limits(settings.store_days, settings.store_bytes)
    return Writer(
        lambda: open_database(settings.store, settings.state_dir, limits.size), limits, lambda: drops.add(STORE)
    )


def keeps_records(settings: Settings) -> bool:
    """Whether there is a store."""
    return settings.store != "off" and (settings.store != "sqlite" or settings.state_dir is not None)


def _otel_sink(endpoint: str) -> Sink:
    try:
        from proxy.server.ops.otel import OtelSink
    except ImportError as error:
        fix = "install the proxy with its extra: pip install 'safety-proxy[otel]'"
        raise SettingsError(f"otel_endpoint is set, and {error.name} is not installed; {fix}") from None
    return OtelSink(endpoint)


def _check_recording(settings: Settings) -> None:
    if settings.record_text != "none" and settings.decision_log is None and not keeps_records(settings):
        fix = "set decision_log, or state_dir for the store"
        raise SettingsError(f"record_text is {settings.record_text}, and there is no file for it: {fix}")
    if settings.record_text == "full" and settings.record_text_full != SURE:
        message = "record_text is full: all that people and models write would stand in a file as it is"
        raise SettingsError(f'{message}. Set record_text_full = "{SURE}" if that is meant, or record_text = "masked"')


def _shared(kind: type[Any], settings: Settings) -> dict[str, Any]:
    return {row.name: getattr(settings, row.name) for row in fields(kind) if row.name in ROWS}
