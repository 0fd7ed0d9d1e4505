"""How settings become the server's configuration."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from proxy.cli.banner import recording
from proxy.dialects.request import Options
from proxy.errors import SettingsError
from proxy.server.config import ServerConfig
from proxy.server.ops.drops import Drops
from proxy.settings import ROWS, Settings, resolve
from proxy.startup.configuration import open_decision_log, server_config

NO_SETTING = {"options", "upstreams", "offload"}  # two are put together from settings, one is nobody's concern


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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"record_text": "masked"}, "set decision_log"),
        ({"record_text": "full", "decision_log": "x.jsonl"}, 'record_text_full = "i-know"'),
        ({"record_text": "full", "decision_log": "x.jsonl", "record_text_full": "yes"}, 'record_text_full = "i-know"'),
    ],
)
def test_texts_are_recorded_only_where_that_is_meant(settings: dict[str, str], message: str, tmp_path: Path) -> None:
    """Texts need a file, and full ones a word that says so."""
    if "decision_log" in settings:
        settings = settings | {"decision_log": str(tmp_path / settings["decision_log"])}
    with pytest.raises(SettingsError, match=message):
        open_decision_log(resolve(settings, {}).settings, Drops())


def test_full_texts_are_on_the_banner(tmp_path: Path) -> None:
    """The start says what is recorded and where, in capitals where it is everything."""
    file = tmp_path / "x.jsonl"
    given = {"record_text": "full", "decision_log": str(file), "record_text_full": "i-know"}
    settings = resolve(given, {}).settings
    with open_decision_log(settings, Drops()):
        assert "FULL TEXTS" in recording(settings.record_text, settings.decision_log)
    assert "no text" in recording("none", file)
    assert recording("none", None) == ""
