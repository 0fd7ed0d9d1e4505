"""A start that would let everybody in is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import KeysError, SettingsError
from proxy.policy.store import PolicyStore
from proxy.server.keys.store import KeyStore
from proxy.settings import Settings, resolve
from proxy.startup.keys import follow_policies, load_keys, refuse_open_application, refuse_open_listeners
from proxy.values import address
from tests.server.keys.samples import written

ROOT = Path(__file__).parent.parent.parent
OPEN = ["0.0.0.0:11435", "[::]:80", "192.0.2.7:80", "proxy.example:80"]


@pytest.mark.parametrize("where", OPEN)
@pytest.mark.parametrize("listener", ["listen", "admin"])
def test_without_keys_the_proxy_listens_on_loopback_only(listener: str, where: str) -> None:
    """The message names the listener, its address, and both ways on."""
    given: dict[str, Any] = {listener: address(where)}
    settings = replace(Settings(), **given)
    with pytest.raises(SettingsError) as caught:
        refuse_open_listeners(settings)
    assert str(caught.value).startswith(f"{listener} is {address(where)}, which other machines can reach, and there")
    assert "safety-proxy key new NAME" in str(caught.value)
    assert "allow_anonymous" in str(caught.value)


@pytest.mark.parametrize("where", ["127.0.0.1:0", "127.8.0.1:0", "[::1]:0", "localhost:0", "unix:/tmp-of-nobody/x"])
def test_on_this_machine_no_keys_are_needed(where: str) -> None:
    """Nor by default: `make run` asks for none."""
    refuse_open_listeners(Settings())
    refuse_open_listeners(Settings(listen=address(where), admin=None))


@pytest.mark.parametrize("given", [{"keys": Path("keys.yaml")}, {"allow_anonymous": True}])
def test_with_keys_or_where_that_is_meant_it_listens_anywhere(given: dict[str, Any]) -> None:
    """An explicit setting, as the image has it, or keys."""
    refuse_open_listeners(Settings(listen=address(OPEN[0]), admin=address(OPEN[1]), **given))
    refuse_open_application(Settings(allow_remote_clients=True, **given))


@pytest.mark.parametrize("anonymous", [True, False])
def test_nobody_names_himself_this_machine(anonymous: bool) -> None:
    """Where everybody's X-Forwarded-For is believed, an open admin listener without keys is refused."""
    settings = Settings(admin=address(OPEN[0]), proxy_headers_from=("*",), allow_anonymous=anonymous)
    with pytest.raises(SettingsError, match="proxy_headers_from is "):
        refuse_open_listeners(settings)
    refuse_open_listeners(replace(settings, keys=Path("keys.yaml")))
    refuse_open_listeners(replace(settings, admin=address("127.0.0.1:0"), allow_anonymous=True))


def test_the_image_starts_with_its_own_settings() -> None:
    """It listens on every interface, and says that it means that."""
    variables = dict(re.findall(r"\b(SAFETY_PROXY_\w+)=(\S+)", (ROOT / "Dockerfile").read_text("utf-8")))
    settings = resolve({}, variables).settings
    assert not settings.listen.is_local
    refuse_open_listeners(settings)
    with pytest.raises(SettingsError):
        refuse_open_listeners(replace(settings, allow_anonymous=False))


def test_a_wrong_file_of_keys_stops_the_start(tmp_path: Path) -> None:
    """There are no old keys that could stay."""
    (tmp_path / "keys.yaml").write_text("version: 1\n")
    with pytest.raises(KeysError, match=r"keys.yaml:1:1: the key `keys` is missing"):
        load_keys(Settings(keys=tmp_path / "keys.yaml"))
    assert load_keys(Settings()) is None


@pytest.mark.anyio
async def test_policies_and_keys_that_do_not_fit_together_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A policy for a key that is not there guards nothing; a key whose policy is not there is of no use."""
    (tmp_path / "policies").mkdir()
    policy = tmp_path / "policies" / "p.yaml"
    text = "version: 1\npolicy: kitchen\napplies_to: {keys: [cook]}\nrules: [{id: a, words: [x], action: flag}]\n"
    policy.write_text(text)
    policies = PolicyStore(tmp_path / "policies", hash_key=b"key")
    await policies.load()
    follow_policies([policies], None)
    assert caplog.messages == ["the policy kitchen applies to no request: there is no key of its applies_to.keys"]
    keys = KeyStore(written(tmp_path / "keys.yaml", {"name": "cook", "policies": ["kitchen"]}))
    keys.load()
    caplog.clear()
    follow_policies([policies], keys)
    assert caplog.messages == []
    policy.write_text(text.replace("policy: kitchen", "policy: hall"))
    await policies.reload()
    assert "requests with the key cook will be refused: its policy kitchen is not loaded" in caplog.messages
    written(keys.path, {"name": "waiter"})
    caplog.clear()
    await keys.reload()
    assert caplog.messages == ["the policy hall applies to no request: there is no key of its applies_to.keys"]
