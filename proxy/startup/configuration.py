"""From settings to the server's configuration."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from proxy.dialects.base import Options
from proxy.server.config import ServerConfig
from proxy.settings import ROWS, Settings


def server_config(settings: Settings, upstream: str) -> ServerConfig:
    """The server's configuration: every setting that has a field of the same name there."""
    options = Options(**_shared(Options, settings))
    return ServerConfig(**{**_shared(ServerConfig, settings), "upstream": upstream, "options": options})


def _shared(kind: type[Any], settings: Settings) -> dict[str, Any]:
    return {row.name: getattr(settings, row.name) for row in fields(kind) if row.name in ROWS}
