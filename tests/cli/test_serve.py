"""How settings become the server's configuration."""

from __future__ import annotations

from dataclasses import fields

from proxy.dialects.base import Options
from proxy.server.config import ServerConfig
from proxy.settings import ROWS, Settings
from proxy.startup.configuration import server_config

NO_SETTING = {"options", "offload"}  # the one is put together from settings, the other is nobody's concern


def test_whatever_the_server_can_be_told_an_operator_can_say() -> None:
    """Each field of ServerConfig and Options has a setting of the same name, with the same default."""
    settings = Settings()
    for kind, ready in ((ServerConfig, ServerConfig(upstream="http://x:1")), (Options, Options())):
        for field in fields(kind):
            if field.name not in NO_SETTING:
                assert field.name in ROWS, field.name
                default = None if field.name == "upstream" else getattr(ready, field.name)
                assert getattr(settings, field.name) == default, field.name


def test_settings_reach_the_server() -> None:
    """Also those that are options of the dialects."""
    config = server_config(Settings(keep_alive=3.0, allow_images=False, history="block"), "http://x:1")
    assert (config.upstream, config.keep_alive, config.history) == ("http://x:1", 3.0, "block")
    assert config.options == Options(allow_images=False)
