"""From settings to the server's configuration."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from proxy.dialects.base import Options
from proxy.errors import SettingsError
from proxy.server.config import ServerConfig, UpstreamConfig
from proxy.server.ops.decision_log import DecisionLog, LogSink, Sink
from proxy.server.ops.drops import Drops
from proxy.settings import ROWS, Settings

SURE = "i-know"
"""What record_text_full has to be where record_text is full."""


def server_config(settings: Settings, upstream: str) -> ServerConfig:
    """The server's configuration: every setting that has a field of the same name there."""
    options = Options(**_shared(Options, settings))
    upstreams = tuple(UpstreamConfig(**one._asdict()) for one in settings.upstreams)
    own = {"upstream": upstream, "upstreams": upstreams, "options": options}
    return ServerConfig(**{**_shared(ServerConfig, settings), **own})


def open_decision_log(settings: Settings, drops: Drops) -> DecisionLog:
    """The decision log: the program's own log, and a file where one is set. Raises SettingsError."""
    _check_recording(settings)
    sinks: list[Sink] = [LogSink(as_json=settings.log_format == "json")]
    if settings.decision_log is not None:
        from proxy.server.ops.record_file import RecordFile

        size, age, keep = settings.decision_log_size, settings.decision_log_age, settings.decision_log_keep
        sinks.append(RecordFile(settings.decision_log, drops, size=size, age=age, keep=keep))
    if settings.otel_endpoint is not None:
        sinks.append(_otel_sink(settings.otel_endpoint))
    return DecisionLog(sinks, drops, settings.record_text)


def _otel_sink(endpoint: str) -> Sink:
    try:
        from proxy.server.ops.otel import OtelSink
    except ImportError as error:
        fix = "install the proxy with its extra: pip install 'safety-proxy[otel]'"
        raise SettingsError(f"otel_endpoint is set, and {error.name} is not installed; {fix}") from None
    return OtelSink(endpoint)


def _check_recording(settings: Settings) -> None:
    if settings.record_text != "none" and settings.decision_log is None:
        raise SettingsError(f"record_text is {settings.record_text}, and there is no file for it: set decision_log")
    if settings.record_text == "full" and settings.record_text_full != SURE:
        message = "record_text is full: all that people and models write would stand in a file as it is"
        raise SettingsError(f'{message}. Set record_text_full = "{SURE}" if that is meant, or record_text = "masked"')


def _shared(kind: type[Any], settings: Settings) -> dict[str, Any]:
    return {row.name: getattr(settings, row.name) for row in fields(kind) if row.name in ROWS}
